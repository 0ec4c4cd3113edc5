//! The lock-out of a store whose password is refused: tried again less and less often, and at once when
//! its files have changed.

use std::time::Duration;

use tokio::time::Instant;

use super::{Fingerprint, Store};

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
    /// The lock-out in force: two failures with the files unchanged between them, and its time not over.
    pub fn lockout(&self, now: Instant) -> Option<Lockout> {
        let files = self.files_now();
        let mut state = self.state();
        let lockout = state.lockout.clone()?;
        if lockout.files != files {
            // Whoever changed the file may have put the password right.
            state.lockout = None;
            return None;
        }
        (lockout.failures >= 2 && now < lockout.until).then_some(lockout)
    }

    /// Notes a failed unlock; `files` are those of before the try.
    pub fn unlock_failed(&self, reason: &str, files: Fingerprint, now: Instant) -> Lockout {
        let mut state = self.state();
        let before = state.lockout.take().filter(|lockout| lockout.files == files);
        let failures = before.map_or(1, |lockout| lockout.failures.saturating_add(1));
        let wait = Duration::from_secs(1 << failures.saturating_sub(2).min(6)).min(MAX_LOCKOUT);
        let lockout = Lockout { failures, until: now + wait, reason: reason.to_owned(), files };
        if failures == 2 {
            tracing::error!(store = %self.id, reason, "the store does not unlock; trying again less and less often");
        }
        state.lockout = Some(lockout.clone());
        lockout
    }

    /// A vault came with a password of its own: what an earlier one met says nothing of it.
    pub fn forget_lockout(&self) {
        self.state().lockout = None;
    }

    /// Notes that an unlock worked, which reads the file.
    pub fn unlocked(&self) {
        self.is_whole();
        if self.state().lockout.take().is_some_and(|lockout| lockout.failures >= 2) {
            tracing::info!(store = %self.id, "the store unlocks again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Discipline;

    #[tokio::test(start_paused = true)]
    async fn two_failures_lock_out_with_back_off_until_the_file_changes() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::over("s", Discipline::SecretStore, vec![folder.path().join("storefile")]);
        let now = Instant::now();
        store.unlock_failed("SecretStoreUnlockFailed", store.files_now(), now);
        assert_eq!(store.lockout(now), None, "one failure may be a file in mid-write");
        store.unlock_failed("SecretStoreUnlockFailed", store.files_now(), now);
        assert!(store.lockout(now).is_some());
        assert_eq!(store.lockout(now + Duration::from_secs(1)), None, "then another try");
        let third = store.unlock_failed("SecretStoreUnlockFailed", store.files_now(), now);
        assert_eq!(third.until, now + Duration::from_secs(2));
        std::fs::write(folder.path().join("storefile"), "changed").unwrap();
        assert_eq!(store.lockout(now), None);
    }
}
