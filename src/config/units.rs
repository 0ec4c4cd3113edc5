//! Times and sizes as people write them.

use std::time::Duration;

/// Longer than this is a mistake, and would overflow the clock.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// Reads `1h 30m`, `500ms`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|_| "is not a time".to_owned())?;
    bounded(duration)
}

/// Reads whole seconds, as the digits of a TOML integer.
pub(super) fn parse_seconds(digits: &str, radix: u32) -> Result<Duration, String> {
    let seconds = u64::from_str_radix(digits, radix).map_err(|_| "is not a time".to_owned())?;
    bounded(Duration::from_secs(seconds))
}

fn bounded(duration: Duration) -> Result<Duration, String> {
    if duration > LONGEST { Err("is longer than ten years".to_owned()) } else { Ok(duration) }
}

/// Reads `8MiB`, `1 GB`, `4096`. Upper and lower case are alike, but for the `i`: `MiB` is 1024 times
/// 1024 bytes, `MB` a million.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim();
    let factor = if unit.is_empty() {
        1
    } else {
        let known = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit));
        known.ok_or_else(|| "is not a size".to_owned())?.1
    };
    let number: u64 = number.parse().map_err(|_| "is not a size".to_owned())?;
    // No more than what TOML can write as an integer, so that a size can be written back.
    number
        .checked_mul(factor)
        .filter(|size| i64::try_from(*size).is_ok())
        .ok_or_else(|| "is too large".to_owned())
}

/// Reads whole bytes, as the digits of a TOML integer.
pub(super) fn parse_bytes(digits: &str, radix: u32) -> Result<u64, String> {
    u64::from_str_radix(digits, radix).map_err(|_| "is not a size".to_owned())
}

/// Writes a size in the largest unit that divides it.
pub(super) fn format_size(size: u64) -> String {
    let unit = UNITS[..4].iter().find(|(_, factor)| size > 0 && size.is_multiple_of(*factor));
    match unit {
        Some((name, factor)) => format!("{}{name}", size / factor),
        None => format!("{size}B"),
    }
}

/// Writes a time so that it reads back the same.
pub(super) fn format_duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_binary_with_an_i_and_decimal_without() {
        for (text, size) in [
            ("0", 0),
            ("17", 17),
            ("8MiB", 8 << 20),
            ("8 mib", 8 << 20),
            ("1GB", 1_000_000_000),
            ("2kB", 2000),
            ("3B", 3),
        ] {
            assert_eq!(parse_size(text), Ok(size), "{text}");
        }
        for text in ["", "MiB", "1.5GiB", "-1B", "8M", "99999999999GiB", "1GiB2", "٣B"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        for size in [0, 1, 1023, 1 << 20, 3 << 30, 1_000_000] {
            assert_eq!(parse_size(&format_size(size)), Ok(size));
        }
        for millis in [0, 1, 999, 60_000, 43_200_000, 31_557_600_001, 315_000_000_000] {
            let duration = Duration::from_millis(millis);
            assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }
    }

    #[test]
    fn a_time_that_would_overflow_the_clock_is_refused() {
        assert!(parse_duration("3000 years").is_err());
        assert!(parse_seconds("18446744073709551615", 10).is_err());
        assert!(parse_seconds("-1", 10).is_err());
    }
}
