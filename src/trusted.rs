//! Files that decide what this program does: configuration, scripts, init files, module folders, TLS keys
//! and certificates. Nobody but this user and the system itself may change them, or put another in their
//! place. Files that hold a secret are read by [`read_private`](crate::private_file::read_private), which
//! asks for more.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::plan::{InitScript, Plan};
use crate::platform::shells::{InstallScope, modules};
use crate::platform::{self, FileAccess, FileKind, FileOwner, OtherUser};
use crate::private_file::{PrivateFileError, folder_of, foreign};

mod named;

/// So many scripts that one names are looked into at most.
const MOST_SCRIPTS: usize = 1000;

/// Reads a file that decides. What is checked is the file that was opened.
pub fn read(path: &Path) -> Result<Vec<u8>, PrivateFileError> {
    let failed = |source| PrivateFileError::Io { doing: "read", path: path.to_owned(), source };
    let mut file = platform::open_without_waiting(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(PrivateFileError::NotAFile { path: path.to_owned() });
    }
    check_access(path, &platform::access_of(&file).map_err(failed)?, FileKind::File, None)?;
    check_folder(path, None)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Checks a file or folder that decides, and that others read by its path. What is not there is left to
/// them. Workers of another user read what that user may change, too.
pub fn check(path: &Path, user: Option<&OtherUser>) -> Result<(), PrivateFileError> {
    let failed = |source| PrivateFileError::Io { doing: "look at", path: path.to_owned(), source };
    let kind = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(found) if found.is_dir() => FileKind::Folder,
        Ok(found) if found.is_file() => FileKind::File,
        Ok(_) => return Err(PrivateFileError::NotAFile { path: path.to_owned() }),
    };
    check_access(path, &platform::access_at(path).map_err(failed)?, kind, user)?;
    check_folder(path, user)
}

/// As [`check`], for a script and the scripts and modules that it names, and those that these name.
pub fn check_script(path: &Path, user: Option<&OtherUser>) -> Result<(), PrivateFileError> {
    let (mut seen, mut left) = (BTreeSet::new(), vec![path.to_owned()]);
    while let Some(path) = left.pop() {
        check(&path, user)?;
        if seen.len() < MOST_SCRIPTS && seen.insert(fs::canonicalize(&path).unwrap_or(path.clone())) {
            let text = named::text_of(&path).unwrap_or_default();
            left.extend(named::scripts(&text, folder_of(&path)));
        }
    }
    Ok(())
}

/// Says which of the folders where PowerShell looks for modules by itself others may change.
pub fn warn_of_module_folders() {
    let named = std::env::var_os("PSModulePath").unwrap_or_default();
    let usual = [InstallScope::User, InstallScope::System].into_iter().filter_map(modules);
    let mut folders: Vec<PathBuf> = std::env::split_paths(&named).chain(usual).collect();
    folders.retain(|folder| folder.is_absolute());
    folders.sort();
    folders.dedup();
    for error in folders.iter().filter_map(|folder| check(folder, None).err()) {
        tracing::warn!("PowerShell loads modules from a folder that is not safe: {error}");
    }
}

/// Checks what a plan has workers read: module folders, modules named by their path, init files.
pub fn check_plan(plan: &Plan, user: Option<&OtherUser>) -> Result<(), PrivateFileError> {
    for script in &plan.init {
        match script {
            InitScript::File(path) => check_script(path, user)?,
            InitScript::Text(text) => {
                named::scripts(text, Path::new("")).iter().try_for_each(|path| check_script(path, user))?;
            }
        }
    }
    let modules = plan.vaults.iter().filter_map(|vault| vault.extension());
    let modules = modules.map(|extension| Path::new(&extension.module)).filter(|path| path.is_absolute());
    let folders = plan.pwsh.module_path.iter().map(|path| path.as_path());
    modules.chain(folders).try_for_each(|path| check(path, user))
}

/// A user who may write into the folder may put another file in the place of this one.
fn check_folder(path: &Path, user: Option<&OtherUser>) -> Result<(), PrivateFileError> {
    // Of a link, the folder that holds its target.
    let real = platform::real_path(path).unwrap_or_else(|_| path.to_owned());
    let folder = folder_of(&real);
    let failed = |source| PrivateFileError::Io { doing: "look at", path: folder.to_owned(), source };
    let access = platform::access_at(folder).map_err(failed)?;
    // In a folder such as /tmp others may add files, and not replace ours.
    if access.sticky && !matches!(access.owner, FileOwner::Other(_)) {
        return Ok(());
    }
    check_access(folder, &access, FileKind::Folder, user)
}

fn check_access(
    path: &Path,
    access: &FileAccess,
    kind: FileKind,
    user: Option<&OtherUser>,
) -> Result<(), PrivateFileError> {
    if matches!(access.owner, FileOwner::Other(_)) && !user.is_some_and(|user| user.owns(access)) {
        return Err(foreign(path, &access.owner));
    }
    if access.others_write {
        return Err(PrivateFileError::Writable {
            path: path.to_owned(),
            shown: access.shown.clone(),
            command: platform::command_to_protect(path, kind),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::testing::{give_away, make_pipe, set_mode};

    #[test]
    fn what_others_may_change_is_refused_with_the_command_that_mends_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("plan.toml");
        fs::write(&file, "x").unwrap();
        set_mode(&file, 0o644);
        assert_eq!(read(&file).unwrap(), b"x");
        for mode in [0o664, 0o646, 0o622] {
            set_mode(&file, mode);
            for error in [read(&file).unwrap_err(), check(&file, None).unwrap_err()] {
                assert!(matches!(error, PrivateFileError::Writable { .. }), "{error}");
                let command = platform::command_to_protect(&file, FileKind::File);
                assert!(error.to_string().contains(&command), "{error}");
            }
        }
    }

    #[test]
    fn a_file_that_others_may_replace_is_refused_by_the_name_of_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("plan.toml");
        fs::write(&file, "x").unwrap();
        set_mode(folder.path(), 0o777);
        let error = read(&file).unwrap_err().to_string();
        assert!(error.contains(&platform::command_to_protect(folder.path(), FileKind::Folder)), "{error}");
        set_mode(folder.path(), 0o1777);
        // Where folders can be sticky, nobody may put another file in its place now.
        assert_eq!(read(&file).is_ok(), platform::access_at(folder.path()).unwrap().sticky);
    }

    #[test]
    fn another_users_file_is_refused_and_a_missing_one_is_left_to_its_reader() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("server.ps1");
        check(&file, None).unwrap();
        fs::write(&file, "x").unwrap();
        check(&file, None).unwrap();
        if give_away(&file).is_some() {
            assert!(matches!(check(&file, None).unwrap_err(), PrivateFileError::ForeignOwner { .. }));
        }
    }

    #[test]
    fn a_pipe_is_no_file_and_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        if make_pipe(&pipe) {
            assert!(matches!(read(&pipe), Err(PrivateFileError::NotAFile { .. })));
        }
    }
}
