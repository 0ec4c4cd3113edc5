//! The local vault: an age-encrypted file and its key, for machines without PowerShell.
//!
//! A folder (0700) holds `vault.age` (all secrets in one file), `key.txt` (the age identity, 0600),
//! `vault.mark` (which revision was written last) and `vault.lock`. Promised:
//!
//! - **Nothing that was acknowledged is lost**, neither to a crash nor to another process. A write takes
//!   the lock, reads the file again if it is not the one it knows, writes a new file beside it, syncs,
//!   renames it over the old one and syncs the folder. A failed write leaves the old file.
//! - **Reads are never stale**: each compares the file at the path with the one last read. They take no
//!   lock, so a stuck writer holds up writers only, and those for a bounded time.
//! - **Nothing is repaired by guessing**: a damaged file, a missing or exposed key, a vanished vault, an
//!   older file that was put back are errors that name the file and what to do. A key is made only where there is no vault.
//! - Plain text is held in buffers that are wiped. What the libraries copy on the way (up to 64 KiB of the
//!   last block written) is not.
//!
//! The key lies beside its data: that protects a copy of `vault.age` alone, such as a backup without the
//! key, but not from anyone who can read the folder.

mod content;
mod error;
mod file;
mod key;
mod lock;
mod mark;
mod paths;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

pub use error::LocalError;
pub use paths::FILES;

use crate::mount::merge;
use crate::platform;
use crate::platform::sync_folder;
use crate::private_file::create_private_dir;
use crate::protocol::{Metadata, SecretInfo};
use crate::secret::SecretValue;
use content::StoredSecrets;
use file::Snapshot;
use key::{VaultKey, exists};
use lock::{FolderLock, LOCK_WAIT, ThreadGate};
use paths::Paths;

/// An open local vault. Any number of threads and processes may use the same folder. Calls block on the
/// disk; a read of an unchanged file costs one `stat`.
pub struct LocalVault {
    paths: Paths,
    key: VaultKey,
    #[cfg(test)]
    created: bool,
    gate: ThreadGate,
    state: Mutex<Snapshot>,
}

impl LocalVault {
    /// The same with its key in the folder.
    #[cfg(test)]
    pub fn open(folder: &Path) -> Result<LocalVault, LocalError> {
        LocalVault::open_with_key(folder, None)
    }

    /// Opens the vault in a folder; makes folder, key and an empty vault at first use. A key that is in a file
    /// elsewhere must be there.
    pub fn open_with_key(folder: &Path, key: Option<&Path>) -> Result<LocalVault, LocalError> {
        create_private_dir(folder)?;
        let paths = Paths::of(folder, key);
        // The vault first: it appears after its key, so a vault seen means that the key must be there.
        let _created = match exists(&paths.vault)? {
            true => false,
            false => first_use(&paths)?,
        };
        let key = VaultKey::load(&paths)?;
        let state = Mutex::new(load(&paths, &key)?);
        Ok(LocalVault {
            paths,
            key,
            #[cfg(test)]
            created: _created,
            gate: ThreadGate::default(),
            state,
        })
    }

    /// Whether this call of [`LocalVault::open`] made the key.
    #[cfg(test)]
    pub fn created(&self) -> bool {
        self.created
    }

    /// The folder that holds vault, key and lock.
    #[cfg(test)]
    pub fn folder(&self) -> &Path {
        &self.paths.folder
    }

    /// The value and metadata of a secret. Names are compared without case.
    pub fn get(&self, name: &str) -> Result<Option<(SecretValue, Metadata)>, LocalError> {
        let secrets = self.current()?;
        Ok(secrets.get(name).map(|entry| (entry.value.clone(), entry.metadata.clone())))
    }

    /// Writes a secret; when this returns it is on disk. Without metadata the present metadata is kept.
    /// An overwritten secret keeps the spelling of its name.
    pub fn set(&self, name: &str, value: SecretValue, metadata: Option<Metadata>) -> Result<(), LocalError> {
        content::check(name, &value)?;
        self.change(|secrets| {
            secrets.set(name, value, metadata);
            true
        })?;
        Ok(())
    }

    /// Writes one member of a table and keeps its siblings; what is no table becomes one.
    pub fn set_member(
        &self,
        name: &str,
        member: &str,
        value: SecretValue,
        metadata: Option<Metadata>,
    ) -> Result<(), LocalError> {
        content::check(name, &value)?;
        self.change(|secrets| {
            let whole = merge(secrets.get(name).map(|entry| &entry.value), member, value);
            secrets.set(name, whole, metadata);
            true
        })?;
        Ok(())
    }

    /// Replaces a secret's metadata and leaves its value; false where there is none.
    pub fn set_metadata(&self, name: &str, metadata: Metadata) -> Result<bool, LocalError> {
        self.change(|secrets| {
            let Some(value) = secrets.get(name).map(|entry| entry.value.clone()) else { return false };
            secrets.set(name, value, Some(metadata));
            true
        })
    }

    /// Removes a secret; false where there is none.
    pub fn remove(&self, name: &str) -> Result<bool, LocalError> {
        self.change(|secrets| secrets.remove(name))
    }

    /// Names, types and metadata, sorted by name without case.
    pub fn list(&self) -> Result<Vec<SecretInfo>, LocalError> {
        Ok(self.current()?.list())
    }

    /// The content of the file as it is now.
    fn current(&self) -> Result<Arc<StoredSecrets>, LocalError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.is_current(&self.paths)? {
            *state = load(&self.paths, &self.key)?;
        }
        Ok(Arc::clone(&state.secrets))
    }

    /// Reads, edits and replaces the file under the lock. The edit says whether there is anything to write.
    fn change(&self, edit: impl FnOnce(&mut StoredSecrets) -> bool) -> Result<bool, LocalError> {
        let _turn = self.gate.enter(&self.paths.lock, LOCK_WAIT)?;
        let _lock = FolderLock::acquire(&self.paths.lock, LOCK_WAIT)?;
        self.key.check_in_place(&self.paths)?;
        let mut secrets = StoredSecrets::clone(&*self.current()?);
        if !edit(&mut secrets) {
            return Ok(false);
        }
        secrets.revision += 1;
        let next = Snapshot::replace(&self.paths, &self.key, secrets)?;
        let revision = next.secrets.revision;
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = next;
        sync_folder(&self.paths.folder).map_err(LocalError::unconfirmed(&self.paths.vault))?;
        mark::write(&self.paths, revision);
        Ok(true)
    }
}

impl fmt::Debug for LocalVault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalVault").field("folder", &self.paths.folder).finish_non_exhaustive()
    }
}

/// How the folder of a vault looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VaultFolder {
    /// There is no vault; the first use makes one.
    Nothing,
    /// A first use was cut off; the next one completes it.
    Begun,
    /// Its files are there.
    Whole,
}

/// Looks at a vault's folder and changes nothing. An error says which file is missing, and what to do.
pub fn look(folder: &Path, key: Option<&Path>) -> Result<VaultFolder, LocalError> {
    let paths = Paths::of(folder, key);
    match (exists(&paths.key)?, exists(&paths.vault)?, exists(&paths.mark)?) {
        (true, true, _) => Ok(VaultFolder::Whole),
        (false, true, _) => Err(LocalError::MissingKey { key: paths.key, vault: paths.vault }),
        (_, false, true) => Err(LocalError::Vanished { path: paths.vault, mark: paths.mark }),
        // A key elsewhere was not made by a first use.
        (true, false, false) if key.is_none() => Ok(VaultFolder::Begun),
        (_, false, false) => Ok(VaultFolder::Nothing),
    }
}

/// Reads the vault file, and refuses one that is older than what was written last.
fn load(paths: &Paths, key: &VaultKey) -> Result<Snapshot, LocalError> {
    // The mark is read first: another process may write both meanwhile.
    let last = mark::last(paths);
    let snapshot = Snapshot::load(paths, key)?;
    let revision = snapshot.secrets.revision;
    match last {
        Some(last) if last > revision => {
            Err(LocalError::WentBack { path: paths.vault.clone(), revision, last, mark: paths.mark.clone() })
        }
        _ => Ok(snapshot),
    }
}

/// Makes what is missing, in an order in which a crash at any point leaves a folder that the next call
/// completes: the key, then an empty vault. True if the key was made here.
fn first_use(paths: &Paths) -> Result<bool, LocalError> {
    let _lock = FolderLock::acquire(&paths.lock, LOCK_WAIT)?;
    if exists(&paths.vault)? {
        return Ok(false);
    }
    // A vault was here. An empty one in its place would hide that it was lost.
    if exists(&paths.mark)? {
        return Err(LocalError::Vanished { path: paths.vault.clone(), mark: paths.mark.clone() });
    }
    let created = paths.own_key && !exists(&paths.key)?;
    if created {
        VaultKey::create(paths)?;
    }
    Snapshot::replace(paths, &VaultKey::load(paths)?, StoredSecrets::default())?;
    sync_folder(&paths.folder).map_err(LocalError::unconfirmed(&paths.vault))?;
    mark::write(paths, 0);
    Ok(created)
}

/// The system's data folder for this program, or nothing where no home folder is known.
pub fn default_folder() -> Option<PathBuf> {
    platform::data_folder().map(|folder| folder.join("secretbridge"))
}
