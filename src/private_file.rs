//! Files and folders that only their owner may see: keys, tokens, unlock passwords.
//!
//! Promised: a file that [`read_private`] returns was a regular file that no other user could read or
//! change; a file that [`write_private_new`] made is complete, on disk, and was never readable by anyone
//! else. Symbolic links are followed, as mounted secrets often are links; what is checked is the file that
//! was opened, so there is no gap between check and use.

use std::borrow::Cow;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use tempfile::NamedTempFile;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::platform::{self, FileAccess, FileKind, FileOwner};

/// The largest private file that is read: far more than any key, token or password.
pub const MAX_PRIVATE_FILE: u64 = 1024 * 1024;

/// Begins the name of a file that the service manager hands over, as in `credential:token`: `LoadCredential=` and the
/// like of systemd.
const CREDENTIAL: &str = "credential:";

/// Names the folder of such files.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// Why a private file or folder was not read or made. No variant holds content.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PrivateFileError {
    /// The permission bits let others in.
    #[error("{path} is open to other users ({shown}); run: {command}", path = .path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Who may use it, as the system shows it.
        shown: String,
        /// What mends it.
        command: String,
    },
    /// Others may change it, or put something else in its place.
    #[error("{path} may be changed by other users ({shown}); run: {command}", path = .path.display())]
    Writable {
        /// The file or folder.
        path: PathBuf,
        /// Who may use it, as the system shows it.
        shown: String,
        /// What mends it.
        command: String,
    },
    /// It belongs to another user.
    #[error(
        "{path} belongs to another user ({owner}); run this program as that user, or run: {command}",
        path = .path.display()
    )]
    ForeignOwner {
        /// The file or folder.
        path: PathBuf,
        /// Its owner.
        owner: String,
        /// What mends it.
        command: String,
    },
    /// The service manager did not hand it over.
    #[error(
        "the credential '{name}' was not handed over: {why} (hint: LoadCredential={name}:/path/of/its/file in the \
         unit of systemd, then daemon-reload and restart)"
    )]
    NoCredential {
        /// Its name.
        name: String,
        /// How that is known.
        why: String,
    },
    /// A folder, device or pipe where a file should be.
    #[error("{path} is not a regular file", path = .path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// Something else where a folder should be.
    #[error("{path} is not a folder; move it away or name another folder", path = .path.display())]
    NotAFolder {
        /// The path.
        path: PathBuf,
    },
    /// Larger than a private file may be.
    #[error("{path} is larger than {MAX_PRIVATE_FILE} bytes, which no key, token or password is", path = .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A new file was to be made and there is one.
    #[error("{path} exists already", path = .path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot {doing} {path}: {source}{}", hint(.doing, .path), path = .path.display())]
    Io {
        /// What was tried: `read`, `create`.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// What to do about a file or folder below HOME that could not be made.
fn hint(doing: &str, path: &Path) -> String {
    match platform::data_folder().filter(|data| doing == "create" && path.starts_with(data)) {
        Some(data) => format!(
            " (hint: {} must be a folder that this user can write: set HOME, or XDG_DATA_HOME, to one that is)",
            data.display()
        ),
        None => String::new(),
    }
}

impl PrivateFileError {
    /// The system did not do it; else somebody has to change a mode, an owner or a place.
    #[must_use]
    pub fn is_of_the_system(&self) -> bool {
        matches!(self, PrivateFileError::Io { .. })
    }

    /// There is no such file.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, PrivateFileError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Makes a folder that only its owner may enter (0700), parents included. One that is there already is left
/// as it is, and refused if it is another user's or if others may write to it: what is in it is private by
/// itself, but could be replaced.
pub fn create_private_dir(path: &Path) -> Result<(), PrivateFileError> {
    let failed = |doing| move |source| PrivateFileError::Io { doing, path: path.to_owned(), source };
    let missing: Vec<&Path> = path.ancestors().take_while(|folder| is_missing(folder)).collect();
    match make_private_dirs(path) {
        // If a file is in the way, the check below says so.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed("create")(error)),
        _ => {}
    }
    if !fs::metadata(path).map_err(failed("look at"))?.is_dir() {
        return Err(PrivateFileError::NotAFolder { path: path.to_owned() });
    }
    check_folder(path)?;
    // If a crash undoes the making of the folder, its content is lost too.
    missing
        .into_iter()
        .try_for_each(|made| platform::sync_folder(folder_of(made)))
        .map_err(failed("sync the folder of"))
}

/// Whether a path stands for what the service manager hands over.
pub fn is_credential(text: &str) -> bool {
    text.starts_with(CREDENTIAL)
}

/// Where a file is: a credential, in the folder that the service manager names; anything else, where it says.
pub fn place_of(path: &Path) -> Result<Cow<'_, Path>, PrivateFileError> {
    let Some(name) = path.to_str().and_then(|text| text.strip_prefix(CREDENTIAL)) else {
        return Ok(Cow::Borrowed(path));
    };
    let missing = |why: String| PrivateFileError::NoCredential { name: name.to_owned(), why };
    let is_name = Path::new(name).components().eq([Component::Normal(name.as_ref())]);
    if !is_name {
        return Err(missing("that is no name of one".to_owned()));
    }
    let folder =
        platform::variable(CREDENTIALS).ok_or_else(|| missing(format!("{CREDENTIALS} is not set")))?;
    let file = folder.join(name);
    match file.try_exists() {
        Ok(false) => Err(missing(format!("there is none of that name in {}", folder.display()))),
        _ => Ok(Cow::Owned(file)),
    }
}

/// Reads a file that must be private: a regular file, owned by us or by root, without any permission for
/// group or others.
pub fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, PrivateFileError> {
    let path = &*place_of(path)?;
    let failed = |source| PrivateFileError::Io { doing: "read", path: path.to_owned(), source };
    let file = platform::open_without_waiting(path).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    if !about.is_file() {
        return Err(PrivateFileError::NotAFile { path: path.to_owned() });
    }
    let access = platform::access_of(&file).map_err(failed)?;
    if let FileOwner::Other(_) = access.owner {
        return Err(foreign(path, &access.owner));
    }
    check_closed(path, &access, FileKind::File)?;
    // All the room at once: a buffer that grows leaves unwiped copies behind.
    let limit = about.len().saturating_add(1).min(MAX_PRIVATE_FILE + 1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit as usize + 64));
    file.take(MAX_PRIVATE_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_PRIVATE_FILE {
        return Err(PrivateFileError::TooLarge { path: path.to_owned() });
    }
    Ok(bytes)
}

/// Makes a private file (0600) that must not exist yet. It appears complete and synced, or not at all.
pub fn write_private_new(path: &Path, bytes: &[u8]) -> Result<(), PrivateFileError> {
    let failed = |source| PrivateFileError::Io { doing: "create", path: path.to_owned(), source };
    let folder = folder_of(path);
    let staged = stage(folder, ".private-", bytes).map_err(failed)?;
    match staged.persist_noclobber(path) {
        Ok(_) => platform::sync_folder(folder).map_err(failed),
        Err(refused) if refused.error.kind() == io::ErrorKind::AlreadyExists => {
            Err(PrivateFileError::Exists { path: path.to_owned() })
        }
        Err(refused) => Err(failed(refused.error)),
    }
}

/// A synced temporary file (0600) in `folder`, to be renamed into place; removed if it is dropped.
pub(crate) fn stage(folder: &Path, prefix: &str, bytes: &[u8]) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix).suffix(STAGED_SUFFIX);
    let mut staged = builder.make_in(folder, platform::create_private_file)?;
    staged.write_all(bytes)?;
    staged.as_file().sync_all()?;
    Ok(staged)
}

/// Puts a staged file in the place of another. Unlike tempfile's own way this does so on Windows also while
/// somebody reads that one.
pub(crate) fn put(staged: NamedTempFile, path: &Path) -> io::Result<fs::File> {
    let (file, staged) = staged.into_parts();
    platform::replace(&staged, path)?;
    // It has gone to its place; there is nothing to remove any more.
    let _ = staged.keep();
    Ok(file)
}

/// How the names of staged files end.
pub(crate) const STAGED_SUFFIX: &str = ".tmp";

fn is_missing(folder: &Path) -> bool {
    !folder.as_os_str().is_empty() && matches!(folder.try_exists(), Ok(false))
}

pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn make_private_dirs(path: &Path) -> io::Result<()> {
    match platform::create_private_folder(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let Some(parent) = path.parent() else { return Err(error) };
            make_private_dirs(parent)?;
            platform::create_private_folder(path)
        }
        // If two processes start at once, one of them makes it.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        outcome => outcome,
    }
}

pub(crate) fn foreign(path: &Path, owner: &FileOwner) -> PrivateFileError {
    let (path, command) = (path.to_owned(), platform::command_to_own(path));
    PrivateFileError::ForeignOwner { path, owner: owner.to_string(), command }
}

fn check_closed(path: &Path, access: &FileAccess, kind: FileKind) -> Result<(), PrivateFileError> {
    if !access.others_read && !access.others_write {
        return Ok(());
    }
    Err(PrivateFileError::Exposed {
        path: path.to_owned(),
        shown: access.shown.clone(),
        command: platform::command_to_close(path, kind),
    })
}

fn check_folder(path: &Path) -> Result<(), PrivateFileError> {
    let access = platform::access_at(path).map_err(|source| PrivateFileError::Io {
        doing: "look at",
        path: path.to_owned(),
        source,
    })?;
    if access.owner != FileOwner::Us {
        return Err(foreign(path, &access.owner));
    }
    if access.others_write {
        return Err(PrivateFileError::Writable {
            path: path.to_owned(),
            shown: access.shown,
            command: platform::command_to_protect(path, FileKind::Folder),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::testing::{give_away, link, make_pipe, mode, set_mode};

    #[test]
    fn a_new_file_is_private_complete_and_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        write_private_new(&path, b"one").unwrap();
        assert_eq!(mode(&path), 0o600);
        assert!(matches!(write_private_new(&path, b"two"), Err(PrivateFileError::Exists { .. })));
        assert_eq!(&**read_private(&path).unwrap(), b"one");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_file_open_to_others_is_refused_with_the_command_that_mends_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        write_private_new(&path, b"canary-77").unwrap();
        for open in [0o640, 0o604, 0o620, 0o601] {
            set_mode(&path, open);
            let error = read_private(&path).unwrap_err();
            assert!(matches!(error, PrivateFileError::Exposed { .. }), "{open:o}");
            let text = format!("{error} {error:?}");
            assert!(text.contains(&platform::command_to_close(&path, FileKind::File)), "{text}");
            assert!(!text.contains("canary"));
        }
        set_mode(&path, 0o400);
        assert_eq!(&**read_private(&path).unwrap(), b"canary-77");
    }

    #[test]
    fn links_to_private_files_are_followed_and_judged_by_their_target() {
        let dir = tempfile::tempdir().unwrap();
        let (path, linked) = (dir.path().join("password"), dir.path().join("link"));
        write_private_new(&path, b"p").unwrap();
        if let Err(error) = link(&path, &linked) {
            eprintln!("skipped: this user may not make links: {error}");
            return;
        }
        assert_eq!(&**read_private(&linked).unwrap(), b"p");
        set_mode(&path, 0o644);
        assert!(matches!(read_private(&linked), Err(PrivateFileError::Exposed { .. })));
    }

    #[test]
    fn what_is_no_file_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        if make_pipe(&pipe) {
            assert!(matches!(read_private(&pipe), Err(PrivateFileError::NotAFile { .. })));
        }
        assert!(matches!(read_private(dir.path()), Err(PrivateFileError::NotAFile { .. })));
        assert!(read_private(&dir.path().join("none")).unwrap_err().is_not_found());
    }

    #[test]
    fn the_largest_file_is_read_and_one_byte_more_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (fits, large) = (dir.path().join("fits"), dir.path().join("large"));
        write_private_new(&fits, &vec![7; MAX_PRIVATE_FILE as usize]).unwrap();
        write_private_new(&large, &vec![7; MAX_PRIVATE_FILE as usize + 1]).unwrap();
        assert_eq!(read_private(&fits).unwrap().len() as u64, MAX_PRIVATE_FILE);
        assert!(matches!(read_private(&large), Err(PrivateFileError::TooLarge { .. })));
    }

    #[test]
    fn a_folder_is_made_private_with_its_parents_and_one_that_is_there_keeps_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a/b");
        create_private_dir(&folder).unwrap();
        assert_eq!((mode(&folder), mode(&dir.path().join("a"))), (0o700, 0o700));
        for there in [0o755, 0o700] {
            set_mode(&folder, there);
            create_private_dir(&folder).unwrap();
            assert_eq!(mode(&folder), there);
        }
        set_mode(&folder, 0o777);
        let error = create_private_dir(&folder).unwrap_err();
        assert!(matches!(error, PrivateFileError::Writable { .. }), "{error}");
        assert_eq!(mode(&folder), 0o777, "nothing is changed in silence");
        write_private_new(&dir.path().join("file"), b"").unwrap();
        let in_the_way = create_private_dir(&dir.path().join("file"));
        assert!(matches!(in_the_way, Err(PrivateFileError::NotAFolder { .. })), "{in_the_way:?}");
    }

    #[test]
    fn what_belongs_to_another_user_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, file) = (dir.path().join("folder"), dir.path().join("file"));
        create_private_dir(&folder).unwrap();
        write_private_new(&file, b"x").unwrap();
        let (Some(somebody), Some(_)) = (give_away(&folder), give_away(&file)) else {
            // Only root can give files away; a user meets the system's folder instead.
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().last().unwrap();
            assert!(matches!(create_private_dir(root), Err(PrivateFileError::ForeignOwner { .. })));
            return;
        };
        let denied = create_private_dir(&folder);
        assert!(matches!(denied, Err(PrivateFileError::ForeignOwner { owner, .. }) if owner == somebody));
        let denied = read_private(&file);
        assert!(matches!(denied, Err(PrivateFileError::ForeignOwner { owner, .. }) if owner == somebody));
    }
}
