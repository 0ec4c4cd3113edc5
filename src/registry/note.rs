//! What the servers of this user have put into the user's registry, so that each thing is taken out again once.
//!
//! Beside the registry stands a folder with a note for each server that has put something in:
//!
//! ```text
//! ~/.secretmanagement/secretbridge/lock         held while the registry is changed
//! ~/.secretmanagement/secretbridge/4f2a….json   what one server has put in
//! ~/.secretmanagement/secretbridge/4f2a….lock   held by that server as long as it lives
//! ```
//!
//! The system frees the locks of a server that is killed, and the next one finds its note.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::platform;
use crate::private_file::{PrivateFileError, create_private_dir, put, stage};
use crate::secret::fold;

/// How long a server waits for others that change the registry. Each takes a second or two.
const WAIT: Duration = Duration::from_secs(30);

const POLL: Duration = Duration::from_millis(20);

/// A vault that a server has put in, or is about to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotedVault {
    /// Its name in the registry.
    pub vault: String,
    /// The bare name of its module.
    pub module: String,
    /// A digest of what was asked for.
    pub asked: String,
    /// A digest of what stood there afterwards. Missing while it is being put in.
    pub found: Option<String>,
}

/// The folder of the notes.
pub struct Notes(PathBuf);

/// A note with its server's lock.
pub struct ServerNote {
    path: PathBuf,
    lock: NoteLock,
    /// What was put in.
    pub vaults: Vec<NotedVault>,
}

/// A lock on a file, until it is dropped or the process ends.
pub struct NoteLock(File);

// === impl Notes ===

impl Notes {
    /// The folder, which may not be there.
    pub fn at(folder: PathBuf) -> Notes {
        Notes(folder)
    }

    /// Whether any server has left a note. Costs no lock.
    pub fn any(&self) -> bool {
        !self.paths().is_empty()
    }

    /// Leave to change the registry, for one server of this user at a time.
    pub async fn turn(&self) -> Result<NoteLock, PrivateFileError> {
        create_private_dir(&self.0)?;
        let path = self.0.join("lock");
        let until = Instant::now() + WAIT;
        loop {
            let failed = |source| PrivateFileError::Io { doing: "lock", path: path.clone(), source };
            match NoteLock::attempt(&path).map_err(failed)? {
                Some(lock) => return Ok(lock),
                None if Instant::now() < until => sleep(POLL).await,
                None => return Err(failed(io::ErrorKind::TimedOut.into())),
            }
        }
    }

    /// A note for this server. In its turn only.
    pub fn begin(&self) -> Result<ServerNote, PrivateFileError> {
        let failed =
            |source| PrivateFileError::Io { doing: "create a note in", path: self.0.clone(), source };
        let name = getrandom::u64().map_err(|error| failed(io::Error::other(error.to_string())))?;
        let path = self.0.join(format!("{name:016x}.json"));
        let lock = NoteLock::attempt(&path.with_extension("lock")).map_err(failed)?;
        let lock = lock.ok_or_else(|| failed(io::ErrorKind::AlreadyExists.into()))?;
        Ok(ServerNote { path, lock, vaults: Vec::new() })
    }

    /// The notes of servers that are gone, and what those that live have put in. In its turn only.
    pub fn of_others(&self, own: Option<&ServerNote>) -> (Vec<ServerNote>, Vec<NotedVault>) {
        let (mut gone, mut living) = (Vec::new(), Vec::new());
        for path in self.paths() {
            if own.is_some_and(|own| own.path == path) {
                continue;
            }
            // A note that cannot be read says nothing any more.
            let vaults = fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok());
            let vaults: Vec<NotedVault> = vaults.unwrap_or_default();
            match NoteLock::attempt(&path.with_extension("lock")) {
                Ok(Some(lock)) => gone.push(ServerNote { path, lock, vaults }),
                _ => living.extend(vaults),
            }
        }
        (gone, living)
    }

    fn paths(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(&self.0) else { return Vec::new() };
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort();
        paths
    }
}

// === impl ServerNote ===

impl ServerNote {
    /// What it says of a vault.
    pub fn of(&self, vault: &str) -> Option<&NotedVault> {
        let folded = fold(vault);
        self.vaults.iter().find(|noted| fold(&noted.vault) == folded)
    }

    /// Says something else of a vault, on the disk too.
    pub fn say(&mut self, noted: NotedVault) -> Result<(), PrivateFileError> {
        self.vaults.retain(|other| fold(&other.vault) != fold(&noted.vault));
        self.vaults.push(noted);
        self.save()
    }

    /// Forgets a vault, on the disk too. A note that says nothing is removed.
    pub fn forget(&mut self, vault: &str) -> Result<(), PrivateFileError> {
        self.vaults.retain(|other| fold(&other.vault) != fold(vault));
        self.save()
    }

    /// Removes its files.
    pub fn end(self) {
        let _ = fs::remove_file(&self.path);
        let lock = self.path.with_extension("lock");
        drop(self.lock);
        let _ = fs::remove_file(lock);
    }

    fn save(&self) -> Result<(), PrivateFileError> {
        let failed = |source| PrivateFileError::Io { doing: "write", path: self.path.clone(), source };
        if self.vaults.is_empty() {
            return match fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
                _ => Ok(()),
            };
        }
        let text = serde_json::to_vec(&self.vaults).map_err(|error| failed(error.into()))?;
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let staged = stage(folder, ".note-", &text).map_err(failed)?;
        put(staged, &self.path).map(drop).map_err(failed)
    }
}

// === impl NoteLock ===

impl NoteLock {
    fn attempt(path: &Path) -> io::Result<Option<NoteLock>> {
        let file = match platform::create_private_file(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                OpenOptions::new().read(true).write(true).open(path)?
            }
            outcome => outcome?,
        };
        Ok(platform::try_lock(&file)?.then_some(NoteLock(file)))
    }
}

impl Drop for NoteLock {
    fn drop(&mut self) {
        platform::unlock(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(vault: &str) -> NotedVault {
        NotedVault { vault: vault.into(), module: "M".into(), asked: "a".into(), found: None }
    }

    #[tokio::test]
    async fn the_note_of_a_server_that_is_gone_is_found_and_that_of_one_that_lives_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let notes = Notes::at(folder.path().join("secretbridge"));
        assert!(!notes.any());
        let _turn = notes.turn().await.unwrap();
        let mut first = notes.begin().unwrap();
        first.say(noted("One")).unwrap();
        let mut second = notes.begin().unwrap();
        second.say(noted("two")).unwrap();
        assert!(notes.any());
        let (gone, living) = notes.of_others(Some(&second));
        assert!(gone.is_empty() && living == [noted("One")]);
        // As after a kill: the lock is free, and the note stays.
        drop(first);
        let (mut gone, living) = notes.of_others(Some(&second));
        assert!(living.is_empty());
        let note = gone.remove(0);
        assert_eq!(note.of("ONE"), Some(&noted("One")));
        note.end();
        assert!(notes.of_others(Some(&second)).0.is_empty());
        second.forget("TWO").unwrap();
        assert!(!notes.any(), "a note that says nothing is no note");
    }

    #[tokio::test(start_paused = true)]
    async fn one_server_at_a_time_has_the_turn_and_a_wait_for_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let notes = Notes::at(folder.path().join("n"));
        let turn = notes.turn().await.unwrap();
        assert!(notes.turn().await.is_err());
        drop(turn);
        notes.turn().await.unwrap();
    }
}
