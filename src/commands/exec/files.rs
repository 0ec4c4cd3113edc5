//! Secrets in files of a private folder in memory, and links to them where the program looks.

use std::path::{Path, PathBuf};

use crate::commands::output;
use crate::platform;
use crate::pwsh::Folder;
use crate::reach::Failure;
use crate::secret::SecretValue;

/// The files and the links to them. All of them go with it.
pub(super) struct SecretFiles {
    folder: Option<Folder>,
    links: Vec<PathBuf>,
}

impl SecretFiles {
    /// Makes them: a place without a folder is a file in the private folder, any other a link to one.
    pub(super) fn create<'a>(
        wanted: impl Iterator<Item = (&'a str, &'a SecretValue)>,
    ) -> Result<SecretFiles, Failure> {
        let mut files = SecretFiles { folder: None, links: Vec::new() };
        for (index, (place, value)) in wanted.enumerate() {
            if files.folder.is_none() {
                let made = Folder::bare(&place_of_files());
                files.folder =
                    Some(made.map_err(|error| Failure::failed(format!("the private folder: {error}")))?);
            }
            let folder = files.folder.as_ref().map(|folder| folder.path().to_owned()).unwrap_or_default();
            let path = Path::new(place);
            let is_bare = path.components().count() == 1 && path.file_name().is_some();
            let file = if is_bare { folder.join(path) } else { folder.join(format!("{index}")) };
            output::private_file(&file, &output::bytes_of(value))?;
            if !is_bare {
                files.link(&file, path)?;
            }
        }
        Ok(files)
    }

    pub(super) fn folder(&self) -> Option<&Path> {
        self.folder.as_ref().map(Folder::path)
    }

    fn link(&mut self, file: &Path, place: &Path) -> Result<(), Failure> {
        // A link to a file that is gone was left by a run that was killed.
        if place.is_symlink() && !place.exists() {
            let _ = std::fs::remove_file(place);
        }
        platform::link_file(file, place).map_err(|error| {
            let failure = Failure::usage(format!("cannot put a secret at {}: {error}", place.display()));
            match error.kind() {
                std::io::ErrorKind::AlreadyExists => {
                    failure.hint("move what is there away, or name another path")
                }
                _ => failure,
            }
        })?;
        self.links.push(place.to_owned());
        Ok(())
    }
}

impl Drop for SecretFiles {
    fn drop(&mut self) {
        for link in &self.links {
            // Do not remove a file that the program has put in its place.
            if link.is_symlink() {
                let _ = std::fs::remove_file(link);
            }
        }
    }
}

/// In memory, so that no secret stays on a disk. Where the system has no folder there, the usual one, and that is said.
fn place_of_files() -> PathBuf {
    platform::memory_folder().unwrap_or_else(|| {
        let folder = platform::runtime_folder();
        tracing::warn!(
            "the files with secrets are below {}, which is on a disk: neither XDG_RUNTIME_DIR nor /dev/shm is a folder in \
             memory that can be written",
            folder.display()
        );
        folder
    })
}
