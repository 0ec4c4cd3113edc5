//! The wall clock, which may jump: somebody sets it, or a virtual machine wakes up.
//!
//! So nothing that must go on depends on it. Deadlines, cached values, unlocks, back-off and the age of
//! workers are measured on tokio's `Instant`; files are compared by their times being other, never later.
//! What is left asks here, and the lints refuse any other way: the time of events and of log lines, and how
//! long it is until a date that a script names, which is turned into a length of time at once.

use time::OffsetDateTime;

/// The date and time now, in UTC.
#[allow(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now() -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    #[cfg(test)]
    let now = now + JUMP.get();
    now
}

#[cfg(test)]
thread_local! {
    static JUMP: std::cell::Cell<time::Duration> = const { std::cell::Cell::new(time::Duration::ZERO) };
}

/// Sets the clock of this thread forward or back, from what it is.
#[cfg(test)]
pub fn jump(by: time::Duration) {
    JUMP.set(JUMP.get() + by);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_is_seen() {
        let before = now();
        jump(time::Duration::days(-400));
        assert!(now() < before - time::Duration::days(399));
    }
}
