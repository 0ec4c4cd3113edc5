//! A store of any kind: what is behind one or more vaults.
//!
//! One whose password is refused is locked out: it is tried again less and less often, and at once when its files have
//! changed.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::fingerprint::Fingerprint;
use crate::secret::Text;
use crate::store::{Discipline, StoreId};

/// A store.
#[derive(Debug)]
pub struct Store {
    /// Its identity.
    pub id: StoreId,
    /// How it takes calls.
    pub discipline: Discipline,
    files: Vec<PathBuf>,
    lockout: Mutex<Option<Lockout>>,
    /// What last unlocked it, where it has one password for all of its vaults.
    password: Mutex<Option<Text>>,
}

/// Unlocking failed, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lockout {
    /// Failures with the files unchanged between them.
    pub failures: u32,
    /// No further try before this.
    pub until: Instant,
    /// What PowerShell said, by id.
    pub reason: String,
    files: Fingerprint,
}

/// Longest time between two tries to unlock.
const MAX_LOCKOUT: Duration = Duration::from_secs(60);

impl Store {
    /// A store of this identity, without files that another process may change.
    pub fn new(id: impl Into<StoreId>, discipline: Discipline) -> Store {
        Store::in_files(id, discipline, Vec::new())
    }

    /// A store in these files, data before configuration. It has one password for all of its vaults.
    pub fn in_files(id: impl Into<StoreId>, discipline: Discipline, files: Vec<PathBuf>) -> Store {
        Store { id: id.into(), discipline, files, lockout: Mutex::default(), password: Mutex::default() }
    }

    /// Its files, data before configuration.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The look of its files now.
    pub fn files_now(&self) -> Fingerprint {
        Fingerprint::of(&self.files)
    }

    /// Notes a password that unlocked it.
    pub fn learn(&self, password: &Text) {
        if !self.files.is_empty() {
            *locked(&self.password) = Some(password.clone());
        }
    }

    /// The password that last unlocked it, where all its vaults have the same.
    pub fn password(&self) -> Option<Text> {
        locked(&self.password).clone()
    }

    /// The lock-out in force: two failures with the files unchanged between them, and its time not over.
    pub fn lockout(&self, now: Instant) -> Option<Lockout> {
        let files = self.files_now();
        let mut present = locked(&self.lockout);
        let lockout = present.clone()?;
        if lockout.files != files {
            // The file was changed: the password may be right now.
            *present = None;
            return None;
        }
        (lockout.failures >= 2 && now < lockout.until).then_some(lockout)
    }

    /// Notes a failed unlock; `files` are those of before the try.
    pub fn unlock_failed(&self, reason: &str, files: Fingerprint, now: Instant) -> Lockout {
        let mut present = locked(&self.lockout);
        let before = present.take().filter(|lockout| lockout.files == files);
        let failures = before.map_or(1, |lockout| lockout.failures.saturating_add(1));
        let wait = Duration::from_secs(1 << failures.saturating_sub(2).min(6)).min(MAX_LOCKOUT);
        let lockout = Lockout { failures, until: now + wait, reason: reason.to_owned(), files };
        if failures == 2 {
            tracing::error!(store = %self.id, reason, "the store does not unlock; trying again less and less often");
        }
        *present = Some(lockout.clone());
        lockout
    }

    /// There is a new password: that an earlier one was refused says nothing about it.
    pub fn forget_lockout(&self) {
        *locked(&self.lockout) = None;
    }

    /// Notes that an unlock worked.
    pub fn unlocked(&self) {
        if locked(&self.lockout).take().is_some_and(|lockout| lockout.failures >= 2) {
            tracing::info!(store = %self.id, "the store unlocks again");
        }
    }
}

fn locked<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in here panics half-way; a poisoned lock holds whole data.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const FAULT: &str = "SecretStoreUnlockFailed";

    #[tokio::test(start_paused = true)]
    async fn two_failures_lock_out_until_the_file_changes() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::in_files("s", Discipline::Readers, vec![folder.path().join("storefile")]);
        let now = Instant::now();
        store.unlock_failed(FAULT, store.files_now(), now);
        assert_eq!(store.lockout(now), None, "one failure may be a file in mid-write");
        store.unlock_failed(FAULT, store.files_now(), now);
        assert!(store.lockout(now).is_some());
        std::fs::write(folder.path().join("storefile"), "changed").unwrap();
        assert_eq!(store.lockout(now), None);
    }

    /// Where each vault has its own, one says nothing of another's.
    #[test]
    fn a_password_that_unlocked_a_store_in_files_is_that_of_all_its_vaults() {
        for (files, known) in [(vec!["/nowhere/storefile".into()], true), (Vec::new(), false)] {
            let store = Store::in_files("s", Discipline::Readers, files);
            assert!(store.password().is_none());
            store.learn(&"p".into());
            assert_eq!(store.password().is_some_and(|password| password.expose() == "p"), known);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_back_off_doubles_up_to_a_minute_whatever_the_wall_clock_says() {
        let store = Store::in_files("s", Discipline::Readers, Vec::new());
        store.unlock_failed(FAULT, store.files_now(), Instant::now());
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
            let begun = Instant::now();
            store.unlock_failed(FAULT, store.files_now(), begun);
            clock::jump(time::Duration::days(4_000));
            assert!(store.lockout(Instant::now()).is_some(), "{seconds}");
            clock::jump(time::Duration::days(-8_000));
            tokio::time::advance(Duration::from_secs(seconds) - Duration::from_millis(1)).await;
            assert!(store.lockout(Instant::now()).is_some(), "{seconds}");
            tokio::time::advance(Duration::from_millis(1)).await;
            assert_eq!(store.lockout(Instant::now()), None, "another try after {seconds} s");
        }
        store.unlocked();
        store.unlock_failed(FAULT, store.files_now(), Instant::now());
        assert_eq!(store.lockout(Instant::now()), None, "one that works begins it anew");
    }
}
