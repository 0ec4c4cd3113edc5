//! When a vault whose calls fail is worth another unlock or login, and what its last call showed.

use std::time::Duration;

use tokio::time::Instant;

use super::Store;

/// Why a vault may need an unlock or a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It says so, by its error or by its own test.
    Locked,
    /// A call failed, and nothing speaks against it.
    Suspected,
}

/// Unlocks and logins after which the call failed all the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Vain {
    locked: RenewalWait,
    suspected: RenewalWait,
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

impl Vain {
    fn of(&mut self, cause: Cause) -> &mut RenewalWait {
        match cause {
            Cause::Locked => &mut self.locked,
            Cause::Suspected => &mut self.suspected,
        }
    }
}

impl Store {
    /// Whether it is worth another unlock or login: not soon after one that was in vain.
    pub fn may_renew(&self, cause: Cause, now: Instant) -> bool {
        self.state().vain.of(cause).until.is_none_or(|until| now >= until)
    }

    /// Notes whether a call went well after an unlock or login.
    pub fn renewed(&self, cause: Cause, helped: bool, now: Instant) {
        let mut state = self.state();
        let wait = state.vain.of(cause);
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Discipline;

    #[tokio::test(start_paused = true)]
    async fn an_unlock_in_vain_is_tried_again_less_and_less_often_and_one_that_helps_at_once() {
        let store = Store::over("s", Discipline::Serial, Vec::new());
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            let now = Instant::now();
            assert!(store.may_renew(Cause::Locked, now));
            store.renewed(Cause::Locked, false, now);
            assert!(!store.may_renew(Cause::Locked, now), "{seconds}");
            assert!(store.may_renew(Cause::Suspected, now), "what is only suspected is counted by itself");
            tokio::time::advance(Duration::from_secs(seconds)).await;
        }
        store.renewed(Cause::Locked, true, Instant::now());
        assert!(store.may_renew(Cause::Locked, Instant::now()));
    }
}
