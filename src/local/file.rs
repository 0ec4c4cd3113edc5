//! The vault file: read whole, replaced whole, never changed in place.

use std::fs::{self, File, Metadata};
use std::io::{BufReader, ErrorKind};
use std::sync::Arc;
use std::time::SystemTime;

use super::content::{BadContent, StoredSecrets};
use super::error::LocalError;
use super::key::{VaultKey, unreadable};
use super::paths::{Paths, STAGED_PREFIX};
use crate::platform;
use crate::private_file::{STAGED_SUFFIX, put, stage};

/// The largest vault file: it is held in memory as a whole.
const MAX_VAULT: u64 = 256 * 1024 * 1024;

/// Content of the vault file, and which file that was.
pub(super) struct Snapshot {
    pub(super) secrets: Arc<StoredSecrets>,
    stamp: Stamp,
    /// Kept open so that its inode number cannot be given to a later file while we compare by it. Windows tells
    /// no such number of a path.
    _held: Option<File>,
}

/// Tells one file from another, and from itself after a change in place.
#[derive(PartialEq, Eq)]
struct Stamp {
    identity: Option<(u64, u64)>,
    length: u64,
    modified: Option<SystemTime>,
}

impl Snapshot {
    /// Reads the vault file.
    pub(super) fn load(paths: &Paths, key: &VaultKey) -> Result<Snapshot, LocalError> {
        let failed = LocalError::read(&paths.vault);
        let file = File::open(&paths.vault).map_err(|error| vanished(paths, error))?;
        let about = file.metadata().map_err(failed)?;
        if about.len() > MAX_VAULT {
            return Err(LocalError::Damaged { path: paths.vault.clone(), reason: "it is too large" });
        }
        let plain =
            key.decrypt(BufReader::new(&file), about.len() as usize).map_err(|e| unreadable(paths, e))?;
        let secrets = StoredSecrets::decode(&plain).map_err(|bad| refused(paths, bad))?;
        Ok(Snapshot::new(secrets, &about, file))
    }

    /// Puts new content in place of the old, by rename. Only under the folder's lock. The caller syncs
    /// the folder.
    pub(super) fn replace(
        paths: &Paths,
        key: &VaultKey,
        secrets: StoredSecrets,
    ) -> Result<Snapshot, LocalError> {
        let failed = LocalError::write(&paths.vault);
        sweep(paths);
        let sealed = key.encrypt(&secrets).map_err(failed)?;
        if sealed.len() as u64 > MAX_VAULT {
            return Err(LocalError::Refused { reason: "the vault would grow beyond 256 MiB" });
        }
        let staged = stage(&paths.folder, STAGED_PREFIX, &sealed).map_err(failed)?;
        let file = put(staged, &paths.vault).map_err(failed)?;
        let about = file.metadata().map_err(LocalError::read(&paths.vault))?;
        Ok(Snapshot::new(secrets, &about, file))
    }

    /// Whether the file at the path is still the one that was read, unchanged.
    pub(super) fn is_current(&self, paths: &Paths) -> Result<bool, LocalError> {
        let there = fs::metadata(&paths.vault).map_err(|error| vanished(paths, error))?;
        Ok(Stamp::of(&there) == self.stamp)
    }

    fn new(secrets: StoredSecrets, about: &Metadata, file: File) -> Snapshot {
        let stamp = Stamp::of(about);
        let held = stamp.identity.is_some().then_some(file);
        Snapshot { secrets: Arc::new(secrets), stamp, _held: held }
    }
}

impl Stamp {
    fn of(about: &Metadata) -> Stamp {
        Stamp { identity: platform::identity(about), length: about.len(), modified: about.modified().ok() }
    }
}

/// Removes what crashed writers left. Under the lock no other writer's file is alive; a file that will
/// not go is no reason to fail the write.
fn sweep(paths: &Paths) {
    let Ok(folder) = fs::read_dir(&paths.folder) else { return };
    for file in folder.flatten() {
        let name = file.file_name();
        let name = name.as_encoded_bytes();
        if name.starts_with(STAGED_PREFIX.as_bytes()) && name.ends_with(STAGED_SUFFIX.as_bytes()) {
            let _ = fs::remove_file(file.path());
        }
    }
}

fn vanished(paths: &Paths, error: std::io::Error) -> LocalError {
    match error.kind() {
        ErrorKind::NotFound => LocalError::Vanished { path: paths.vault.clone(), mark: paths.mark.clone() },
        _ => LocalError::read(&paths.vault)(error),
    }
}

fn refused(paths: &Paths, bad: BadContent) -> LocalError {
    let path = paths.vault.clone();
    match bad {
        BadContent::Format(format) => LocalError::NewerFormat { path, format },
        BadContent::Reason(reason) => LocalError::Damaged { path, reason },
    }
}
