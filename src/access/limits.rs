//! How often and how many at once: limits by caller and by address, and the slowing of wrong tokens.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What is allowed; zero is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CallLimits {
    /// Requests a second of one caller; as many at once may go before.
    pub rate_per_caller: u32,
    /// Requests a second from one address.
    pub rate_per_address: u32,
    /// Requests of one caller under way.
    pub concurrent_per_caller: u32,
    /// Requests from one address under way.
    pub concurrent_per_address: u32,
}

/// So many wrong tokens of one address cost nothing, later ones wait for their turn.
const FREE_MISTAKES: u32 = 10;

/// How often one address may try another wrong token after that.
const MISTAKES_A_SECOND: u32 = 2;

/// The longest that an answer to a wrong token waits; beyond that it is refused at once.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Where more are counted, those whose time is over are forgotten.
const MANY: usize = 10_000;

/// The counts of one server. A reload keeps them.
#[derive(Debug, Default)]
pub struct CallCounter(Mutex<CallCounts>);

#[derive(Debug, Default)]
struct CallCounts {
    /// When the next request of each is due, were they evenly spaced.
    due: HashMap<String, Instant>,
    under_way: HashMap<String, u32>,
}

/// A place among those under way; given back on drop.
#[derive(Debug)]
pub struct CallSeat {
    counter: Arc<CallCounter>,
    of: Vec<String>,
}

/// A limit that a request has met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallRefusal {
    /// Its key in `[limits]`.
    pub limit: &'static str,
    /// When it is worth another try.
    pub retry_after: Duration,
}

impl CallCounter {
    /// Counts a request of the caller from the address.
    pub fn enter(
        self: &Arc<CallCounter>,
        limits: &CallLimits,
        caller: &impl fmt::Display,
        address: impl FnOnce() -> String,
        now: Instant,
    ) -> Result<Option<CallSeat>, CallRefusal> {
        if *limits == CallLimits::default() {
            return Ok(None);
        }
        let (caller, address) = (format!("caller {caller}"), format!("address {}", address()));
        let mut counts = self.counts();
        let mut of = Vec::new();
        for (who, most, limit) in [
            (&caller, limits.concurrent_per_caller, "concurrent_per_caller"),
            (&address, limits.concurrent_per_address, "concurrent_per_address"),
        ] {
            if most > 0 && counts.under_way.get(who).copied().unwrap_or(0) >= most {
                return Err(CallRefusal { limit, retry_after: Duration::from_secs(1) });
            }
        }
        // Both are asked before either is counted, so that a refused request costs nothing.
        for spend in [false, true] {
            for (who, rate, limit) in [
                (&caller, limits.rate_per_caller, "rate_per_caller"),
                (&address, limits.rate_per_address, "rate_per_address"),
            ] {
                if rate > 0 {
                    let taken = counts.take(who, rate, rate, now, spend);
                    taken.map_err(|retry_after| CallRefusal { limit, retry_after })?;
                }
            }
        }
        for (who, limit) in [(caller, limits.concurrent_per_caller), (address, limits.concurrent_per_address)]
        {
            if limit > 0 {
                *counts.under_way.entry(who.clone()).or_default() += 1;
                of.push(who);
            }
        }
        Ok((!of.is_empty()).then(|| CallSeat { counter: self.clone(), of }))
    }

    /// How long the answer to a wrong token of that address waits; an `Err` is refused at once, with the time
    /// after which another try is heard.
    pub fn mistake(&self, address: &str, now: Instant) -> Result<Duration, Duration> {
        let who = format!("mistake {address}");
        let mut counts = self.counts();
        match counts.take(&who, MISTAKES_A_SECOND, FREE_MISTAKES, now, true) {
            Ok(()) => Ok(Duration::ZERO),
            Err(wait) if wait <= LONGEST_WAIT => {
                // It is let in, and the next one is due after it.
                if let Some(due) = counts.due.get_mut(&who) {
                    *due += Duration::from_secs(1) / MISTAKES_A_SECOND;
                }
                Ok(wait)
            }
            Err(wait) => Err(wait),
        }
    }

    fn counts(&self) -> std::sync::MutexGuard<'_, CallCounts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CallCounts {
    /// One request of so many a second, of which `burst` may come at once.
    fn take(&mut self, who: &str, rate: u32, burst: u32, now: Instant, spend: bool) -> Result<(), Duration> {
        if self.due.len() > MANY {
            self.due.retain(|_, due| *due > now);
        }
        let step = Duration::from_secs(1) / rate;
        let due = self.due.get(who).copied().unwrap_or(now).max(now);
        let ahead = due + step - now;
        let allowed = step * burst;
        if ahead > allowed {
            return Err(ahead - allowed);
        }
        if spend {
            self.due.insert(who.to_owned(), due + step);
        }
        Ok(())
    }
}

impl Drop for CallSeat {
    fn drop(&mut self) {
        let mut counts = self.counter.counts();
        for who in &self.of {
            if let Some(under_way) = counts.under_way.get_mut(who) {
                *under_way -= 1;
                if *under_way == 0 {
                    counts.under_way.remove(who);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_held_by_caller_and_by_address_and_says_when_to_come_back() {
        let counter = Arc::new(CallCounter::default());
        let limits = CallLimits { rate_per_caller: 2, rate_per_address: 4, ..CallLimits::default() };
        let now = Instant::now();
        let enter =
            |caller: &str, now| counter.enter(&limits, &caller, || "10.0.0.1".to_owned(), now).map(drop);
        assert_eq!((enter("a", now), enter("a", now)), (Ok(()), Ok(())));
        let refused = |limit, millis| Err(CallRefusal { limit, retry_after: Duration::from_millis(millis) });
        assert_eq!(enter("a", now), refused("rate_per_caller", 500));
        assert_eq!((enter("b", now), enter("b", now)), (Ok(()), Ok(())));
        assert_eq!(enter("c", now), refused("rate_per_address", 250), "the address has had its four");
        assert_eq!(enter("a", now + Duration::from_millis(500)), Ok(()));
        assert_eq!(counter.enter(&limits, &"d", || "10.0.0.2".to_owned(), now).map(drop), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn those_under_way_are_counted_until_they_end() {
        let counter = Arc::new(CallCounter::default());
        let limits = CallLimits { concurrent_per_caller: 1, ..CallLimits::default() };
        let enter = || counter.enter(&limits, &"a", || "10.0.0.1".to_owned(), Instant::now());
        let seat = enter().unwrap();
        assert!(enter().is_err_and(|refused| refused.limit == "concurrent_per_caller"));
        drop(seat);
        assert!(enter().is_ok());
        assert!(counter.counts().under_way.is_empty(), "nothing is kept of those that ended");
    }

    #[tokio::test(start_paused = true)]
    async fn wrong_tokens_wait_longer_and_longer_and_then_are_not_heard() {
        let counter = CallCounter::default();
        let now = Instant::now();
        let waits: Vec<_> = (0..40).map(|_| counter.mistake("10.0.0.1", now)).collect();
        assert!(waits[..10].iter().all(|wait| *wait == Ok(Duration::ZERO)));
        assert_eq!((waits[10], waits[11]), (Ok(Duration::from_millis(500)), Ok(Duration::from_secs(1))));
        assert!(waits[39].is_err_and(|wait| wait > LONGEST_WAIT));
        assert_eq!(counter.mistake("10.0.0.2", now), Ok(Duration::ZERO), "another address waits for nothing");
        assert_eq!(counter.mistake("10.0.0.1", now + Duration::from_secs(60)), Ok(Duration::ZERO));
    }
}
