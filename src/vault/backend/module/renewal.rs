//! When a vault whose calls fail is worth another unlock or login, and what its last call showed.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Why a vault may need an unlock or a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It says so, by its error or by its own test.
    Locked,
    /// A call failed, and nothing speaks against it.
    Suspected,
}

/// Unlocks and logins of a vault.
#[derive(Debug, Default)]
pub(super) struct VaultRenewal(Mutex<Renewals>);

#[derive(Debug, Clone, Default)]
struct Renewals {
    /// Those after which the call failed all the same.
    locked: RenewalWait,
    suspected: RenewalWait,
    /// When a worker found that the vault had locked itself.
    locked_itself: Option<Instant>,
}

#[derive(Debug, Clone, Copy, Default)]
struct RenewalWait {
    times: u32,
    until: Option<Instant>,
}

impl Cause {
    /// The first wait after one that was in vain, and the longest.
    fn waits(self) -> (Duration, Duration) {
        match self {
            Cause::Locked => (Duration::from_secs(1), Duration::from_secs(60)),
            Cause::Suspected => (Duration::from_secs(10), Duration::from_secs(600)),
        }
    }
}

impl Renewals {
    fn of(&mut self, cause: Cause) -> &mut RenewalWait {
        match cause {
            Cause::Locked => &mut self.locked,
            Cause::Suspected => &mut self.suspected,
        }
    }
}

impl VaultRenewal {
    /// Whether it is worth another unlock or login: not soon after one that was in vain.
    pub fn may_renew(&self, cause: Cause, now: Instant) -> bool {
        self.state().of(cause).until.is_none_or(|until| now >= until)
    }

    /// Notes whether a call went well after an unlock or login.
    pub fn renewed(&self, cause: Cause, helped: bool, now: Instant) {
        let mut state = self.state();
        let wait = state.of(cause);
        if helped {
            *wait = RenewalWait::default();
            return;
        }
        let (first, longest) = cause.waits();
        wait.until = Some(now + first.saturating_mul(1 << wait.times.min(16)).min(longest));
        wait.times += 1;
    }

    /// It has locked itself: what was unlocked before is not relied on, in any worker.
    pub fn locked_itself(&self, now: Instant) {
        self.state().locked_itself = Some(now);
    }

    /// Whether what was unlocked then is to be unlocked again before use.
    pub fn unlock_is_old(&self, unlocked: Instant, interval: Duration, now: Instant) -> bool {
        let by_interval = !interval.is_zero() && now.saturating_duration_since(unlocked) >= interval;
        by_interval || self.state().locked_itself.is_some_and(|at| unlocked < at)
    }

    fn state(&self) -> MutexGuard<'_, Renewals> {
        // Nothing in here panics half-way; a poisoned lock holds whole data.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_unlock_in_vain_is_tried_again_less_and_less_often_and_one_that_helps_at_once() {
        let renewal = VaultRenewal::default();
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            let now = Instant::now();
            assert!(renewal.may_renew(Cause::Locked, now));
            renewal.renewed(Cause::Locked, false, now);
            assert!(!renewal.may_renew(Cause::Locked, now), "{seconds}");
            assert!(renewal.may_renew(Cause::Suspected, now), "what is only suspected is counted by itself");
            let almost = Duration::from_secs(seconds) - Duration::from_millis(1);
            assert!(!renewal.may_renew(Cause::Locked, now + almost), "{seconds}");
            tokio::time::advance(Duration::from_secs(seconds)).await;
        }
        renewal.renewed(Cause::Locked, true, Instant::now());
        assert!(renewal.may_renew(Cause::Locked, Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_unlock_is_old_after_its_interval_or_once_the_vault_has_locked_itself() {
        let (renewal, now, second) = (VaultRenewal::default(), Instant::now(), Duration::from_secs(1));
        assert!(!renewal.unlock_is_old(now, Duration::ZERO, now + second * 10_000), "no interval is set");
        assert!(!renewal.unlock_is_old(now, second * 5, now + second * 4));
        assert!(renewal.unlock_is_old(now, second * 5, now + second * 5));
        renewal.locked_itself(now + second);
        assert!(renewal.unlock_is_old(now, Duration::ZERO, now + second * 2));
        assert!(!renewal.unlock_is_old(now + second, Duration::ZERO, now + second * 2), "unlocked since");
    }
}
