//! Who may write: one thread of this process, and of all processes that use the folder one.
//!
//! Both waits are bounded, so that a stopped process which holds the lock makes an error, not a hang.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::error::LocalError;
use crate::platform;

/// How long a writer waits for each of the two.
pub(super) const LOCK_WAIT: Duration = Duration::from_secs(30);

const POLL: Duration = Duration::from_millis(1);

/// Lets one thread of the process in at a time, so that only one polls for the file lock.
#[derive(Default)]
pub(super) struct ThreadGate {
    taken: Mutex<bool>,
    freed: Condvar,
}

/// Leave to go on; given back on drop.
pub(super) struct LockTurn<'a>(&'a ThreadGate);

/// An exclusive advisory lock on the folder, across processes; freed on drop and when the process ends.
pub(super) struct FolderLock(File);

impl ThreadGate {
    pub(super) fn enter(&self, path: &Path, wait: Duration) -> Result<LockTurn<'_>, LocalError> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut taken, _) = self
            .freed
            .wait_timeout_while(taken, wait, |taken| *taken)
            .unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *taken, true) {
            return Err(busy(path, wait));
        }
        Ok(LockTurn(self))
    }
}

impl Drop for LockTurn<'_> {
    fn drop(&mut self) {
        *self.0.taken.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.0.freed.notify_one();
    }
}

impl FolderLock {
    pub(super) fn acquire(path: &Path, wait: Duration) -> Result<FolderLock, LocalError> {
        let attempts = wait.as_millis() / POLL.as_millis();
        for _ in 0..=attempts {
            if let Some(lock) = FolderLock::attempt(path).map_err(LocalError::write(path))? {
                return Ok(lock);
            }
            thread::sleep(POLL);
        }
        Err(busy(path, wait))
    }

    fn attempt(path: &Path) -> io::Result<Option<FolderLock>> {
        let file = open_lock_file(path)?;
        if !platform::try_lock(&file)? {
            return Ok(None);
        }
        let lock = FolderLock(file);
        // Someone may have deleted the file between the two steps; a lock on it would exclude nobody.
        Ok(platform::is_at(&lock.0, path)?.then_some(lock))
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        platform::unlock(&self.0);
    }
}

fn open_lock_file(path: &Path) -> io::Result<File> {
    match platform::create_private_file(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            OpenOptions::new().read(true).write(true).open(path)
        }
        outcome => outcome,
    }
}

fn busy(path: &Path, wait: Duration) -> LocalError {
    LocalError::Busy { path: path.to_owned(), seconds: wait.as_secs() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(20);

    #[test]
    fn a_lock_that_is_held_makes_others_busy_until_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = FolderLock::acquire(&path, SHORT).unwrap();
        assert!(matches!(FolderLock::acquire(&path, SHORT), Err(LocalError::Busy { .. })));
        drop(held);
        FolderLock::acquire(&path, SHORT).unwrap();
    }

    #[test]
    fn a_deleted_lock_file_excludes_nobody_and_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = FolderLock::acquire(&path, SHORT).unwrap();
        assert!(platform::is_at(&held.0, &path).unwrap());
        std::fs::remove_file(&path).unwrap();
        assert!(!platform::is_at(&held.0, &path).unwrap());
        std::fs::write(&path, "").unwrap();
        assert!(!platform::is_at(&held.0, &path).unwrap(), "a new file of the name is another lock");
    }

    #[test]
    fn the_gate_lets_one_in_and_the_next_after_it() {
        let gate = ThreadGate::default();
        let turn = gate.enter(Path::new("lock"), SHORT).unwrap();
        assert!(matches!(gate.enter(Path::new("lock"), SHORT), Err(LocalError::Busy { .. })));
        thread::scope(|scope| {
            let next = scope.spawn(|| gate.enter(Path::new("lock"), LOCK_WAIT).is_ok());
            drop(turn);
            assert!(next.join().unwrap());
        });
    }
}
