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
            // The file was changed: the password may be right now.
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
    use crate::clock;
    use crate::store::Discipline;

    const FAULT: &str = "SecretStoreUnlockFailed";

    #[tokio::test(start_paused = true)]
    async fn two_failures_lock_out_until_the_file_changes() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::over("s", Discipline::Readers, vec![folder.path().join("storefile")]);
        let now = Instant::now();
        store.unlock_failed(FAULT, store.files_now(), now);
        assert_eq!(store.lockout(now), None, "one failure may be a file in mid-write");
        store.unlock_failed(FAULT, store.files_now(), now);
        assert!(store.lockout(now).is_some());
        std::fs::write(folder.path().join("storefile"), "changed").unwrap();
        assert_eq!(store.lockout(now), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_back_off_doubles_up_to_a_minute_whatever_the_wall_clock_says() {
        let store = Store::over("s", Discipline::Readers, Vec::new());
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
