//! When an unlock of a custom vault ends, and how dates are written.

use std::time::Duration;

use crate::clock;

/// When an unlock ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UnlockEnd {
    /// As the block said it, or by the plan's interval; nothing where it does not end.
    pub(super) expiry: Option<String>,
    /// How long until then; nothing where that is no date either.
    pub(super) left: Option<Duration>,
}

/// By what the unlock block said, or else by the plan's interval. The error is a date that is over.
pub(super) fn unlock_end(said: Option<&str>, interval: Duration) -> Result<UnlockEnd, String> {
    let by_plan = || (!interval.is_zero()).then(|| round_trip(clock::now() + interval));
    let Some(expiry) = said.map(str::to_owned).or_else(by_plan) else {
        return Ok(UnlockEnd { expiry: None, left: None });
    };
    match remaining(&expiry) {
        Some(Duration::ZERO) => Err(expiry),
        left => Ok(UnlockEnd { expiry: Some(expiry), left }),
    }
}

/// How long until then; nothing if it is no date.
fn remaining(expiry: &str) -> Option<Duration> {
    let then = time::OffsetDateTime::parse(expiry, &time::format_description::well_known::Rfc3339).ok()?;
    Some(Duration::try_from(then - clock::now()).unwrap_or(Duration::ZERO))
}

/// As `$date.ToUniversalTime()` is written with the invariant culture, which is what Pode's message shows.
pub(super) fn pode_date(expiry: &str) -> String {
    let form = time::macros::format_description!("[month]/[day]/[year] [hour]:[minute]:[second]");
    let then = time::OffsetDateTime::parse(expiry, &time::format_description::well_known::Rfc3339);
    then.ok().and_then(|then| then.to_offset(time::UtcOffset::UTC).format(form).ok()).unwrap_or_default()
}

/// As PowerShell reads it back to the tick.
pub(super) fn round_trip(then: time::OffsetDateTime) -> String {
    then.format(&time::format_description::well_known::Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use time::format_description::well_known::Rfc3339;

    use super::*;

    #[test]
    fn an_unlock_ends_when_its_block_says_or_else_by_the_plan() {
        let hour = Duration::from_secs(3600);
        let (later, before) = (round_trip(clock::now() + hour * 5), round_trip(clock::now() - hour));
        let hours = |said: Option<&str>, interval: Duration| {
            unlock_end(said, interval).map(|end| {
                let hours = end.left.map(|left| (left.as_secs() + 60) / 3600);
                (end.expiry.is_some(), hours)
            })
        };
        for (said, interval, expected) in [
            (None, Duration::ZERO, Ok((false, None))),
            (None, hour, Ok((true, Some(1)))),
            (Some(later.as_str()), hour, Ok((true, Some(5)))),
            (Some(later.as_str()), Duration::ZERO, Ok((true, Some(5)))),
            (Some("tomorrow"), hour, Ok((true, None))),
            (Some(before.as_str()), hour, Err(before.clone())),
        ] {
            assert_eq!(hours(said, interval), expected, "{said:?}, {interval:?}");
        }
    }

    #[test]
    fn an_expiry_is_a_length_of_time_from_the_clock_as_it_is_at_that_moment() {
        for jump in [0, 4_000, -8_000] {
            clock::jump(time::Duration::days(jump));
            let minute = (clock::now() + Duration::from_secs(60)).format(&Rfc3339).unwrap();
            let left = remaining(&minute).unwrap();
            assert!((50..=60).contains(&left.as_secs()), "{left:?}");
            let past = (clock::now() - Duration::from_secs(60)).format(&Rfc3339).unwrap();
            assert_eq!(remaining(&past), Some(Duration::ZERO));
        }
        assert_eq!(remaining("tomorrow"), None);
    }
}
