//! The files of a local vault.

use std::path::{Path, PathBuf};

/// The files that a vault is lost without: its key, and what it keeps.
pub const FILES: [&str; 2] = ["key.txt", "vault.age"];

/// Begins the names of files that are about to be renamed into place.
pub(super) const STAGED_PREFIX: &str = ".vault-";

/// Where the vault's files are.
pub(super) struct Paths {
    pub(super) folder: PathBuf,
    pub(super) vault: PathBuf,
    pub(super) key: PathBuf,
    /// The key is in the folder, and made there.
    pub(super) own_key: bool,
    pub(super) lock: PathBuf,
    pub(super) mark: PathBuf,
}

impl Paths {
    pub(super) fn of(folder: &Path, key: Option<&Path>) -> Paths {
        Paths {
            folder: folder.to_owned(),
            vault: folder.join(FILES[1]),
            key: key.map_or_else(|| folder.join(FILES[0]), Path::to_owned),
            own_key: key.is_none(),
            lock: folder.join("vault.lock"),
            mark: folder.join("vault.mark"),
        }
    }
}
