//! Arguments of `audit`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime, PrimitiveDateTime, Time};

use crate::config::parse_duration;

const TRAIL: &str = "\
The trail is the file of [audit] in the configuration, with the files that a rotation has renamed beside it: \
audit.jsonl.1, audit.jsonl-20261130, audit.jsonl.2.gz. The configuration is found as every command finds it; \
--file names another trail. A \
service of Windows without an [audit] of its own writes %ProgramData%\\secretbridge\\audit.jsonl.";

const SHOW_AFTER: &str = "\
EXAMPLES:
  secretbridge audit show team/db --since 24h
      Who read or wrote this secret since yesterday, from where, and how it ended.
  secretbridge audit show --since 02:30 --until 03:15
  secretbridge audit show --failed --last 20
      The last twenty that got no secret: a wrong token, a rule, a locked vault, a fault.
  secretbridge audit show --who backup --action read
  secretbridge audit show --follow
  secretbridge audit show --vault team --json | jq -r .key
  journalctl -u secretbridge -o cat | grep '^{\"seq\":' | secretbridge audit show --file -
      A trail that goes to standard error, from systemd's journal.

Times are UTC, as they stand in the trail, unless they name an offset. On a terminal it is a table, \
elsewhere a line of fields with tabs between. A line that is not as it was written is shown by its place; \
`secretbridge audit verify` says more.";

const VERIFY_AFTER: &str = "\
EXAMPLES:
  secretbridge audit verify
      The trail of the configuration, with its rotated files.
  secretbridge audit verify audit.jsonl.1 audit.jsonl";

/// What to do with an audit trail.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum AuditCommand {
    /// Show who read or wrote which secret, when, from where, and how it ended.
    #[command(after_long_help = format!("{TRAIL}\n\n{SHOW_AFTER}\n\n{}", super::exit_codes::EXIT_CODES))]
    Show(ShowArgs),
    /// Check the chain of an audit trail and tell what was changed, put in or taken out.
    #[command(after_long_help = format!("{TRAIL}\n\n{VERIFY_AFTER}\n\n{}", super::exit_codes::EXIT_CODES))]
    Verify(VerifyArgs),
}

/// Arguments of `audit show`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Args)]
pub struct ShowArgs {
    /// Only this vault, or this secret: VAULT, VAULT/KEY; * and ? stand for any text and any character.
    #[arg(value_name = "VAULT[/KEY]", conflicts_with_all = ["vault", "key"])]
    pub of: Option<String>,
    /// Only accesses to this vault. A pattern, as in `list`.
    #[arg(long, value_name = "NAME")]
    pub vault: Option<String>,
    /// Only accesses to this key, or to the mounted secret of this name. A pattern, as in `list`.
    #[arg(long, value_name = "NAME")]
    pub key: Option<String>,
    /// Only what this caller did: the name of a token, `token`, `anyone`, `stranger`. A pattern, as in `list`.
    #[arg(long, value_name = "NAME")]
    pub who: Option<String>,
    /// Only this: read, write, remove or list.
    #[arg(long, value_name = "ACTION", value_parser = ["read", "write", "remove", "list"])]
    pub action: Option<String>,
    /// Only what did not end well.
    #[arg(long)]
    pub failed: bool,
    /// Only from this time on: 15m, 2h, 7d (so long ago), 02:30, 2026-11-30, 2026-11-30T02:30, today, yesterday.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub since: Option<Moment>,
    /// Only up to this time.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub until: Option<Moment>,
    /// Only the last so many of what is left.
    #[arg(long, short = 'n', value_name = "N")]
    pub last: Option<usize>,
    /// Go on with each line as it is written, over rotations too, until Ctrl-C. Begins with the last ten, unless
    /// --last or --since says otherwise.
    #[arg(long, short, conflicts_with = "until")]
    pub follow: bool,
    /// Print the lines as they stand in the trail: JSON objects.
    #[arg(long)]
    pub json: bool,
    /// The trail's file, with those that a rotation has renamed beside it; `-` is standard input. May be repeated.
    #[arg(long, value_name = "FILE")]
    pub file: Vec<PathBuf>,
    /// The configuration whose trail it is; the variable SECRETBRIDGE_CONFIG says the same. Without it: ./secretbridge.toml,
    /// then yours, then the system's.
    #[arg(long, short, value_name = "FILE", conflicts_with = "file")]
    pub config: Option<PathBuf>,
}

/// Arguments of `audit verify`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct VerifyArgs {
    /// The trail's files, in the order in which they were written. Without any, those of the configuration.
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The configuration whose trail it is; the variable SECRETBRIDGE_CONFIG says the same. Without it: ./secretbridge.toml,
    /// then yours, then the system's.
    #[arg(long, short, value_name = "FILE", conflicts_with = "files")]
    pub config: Option<PathBuf>,
}

/// A moment as people write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// So long before now.
    Ago(Duration),
    /// The last time that a clock showed this.
    Clock(Time),
    /// The begin of a day: so many days before today.
    Day(u16),
    /// A date and time.
    At(OffsetDateTime),
}

impl Moment {
    /// When that is.
    pub fn from(self, now: OffsetDateTime) -> OffsetDateTime {
        let day = |days: i64| now.replace_time(Time::MIDNIGHT).saturating_sub(time::Duration::days(days));
        match self {
            Moment::Ago(duration) => {
                let duration = time::Duration::try_from(duration).unwrap_or(time::Duration::MAX);
                now.saturating_sub(duration)
            }
            Moment::Clock(clock) if clock > now.time() => day(1).replace_time(clock),
            Moment::Clock(clock) => now.replace_time(clock),
            Moment::Day(days) => day(days.into()),
            Moment::At(moment) => moment,
        }
    }
}

const CLOCK: &[BorrowedFormatItem<'_>] = format_description!("[hour]:[minute][optional [:[second]]]");
const DATE: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");
const BOTH: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute][optional [:[second]]]");

/// Reads a moment.
fn moment(text: &str) -> Result<Moment, String> {
    let text = text.trim();
    match text.to_ascii_lowercase().as_str() {
        "now" => return Ok(Moment::Ago(Duration::ZERO)),
        "today" => return Ok(Moment::Day(0)),
        "yesterday" => return Ok(Moment::Day(1)),
        _ => {}
    }
    let with_t = text.replacen(' ', "T", 1);
    let utc = with_t.strip_suffix(['Z', 'z']).unwrap_or(&with_t);
    if let Ok(moment) = OffsetDateTime::parse(&with_t, &Rfc3339) {
        return Ok(Moment::At(moment));
    }
    if let Ok(moment) = PrimitiveDateTime::parse(utc, BOTH) {
        return Ok(Moment::At(moment.assume_utc()));
    }
    if let Ok(date) = Date::parse(text, DATE) {
        return Ok(Moment::At(date.midnight().assume_utc()));
    }
    if let Ok(clock) = Time::parse(text, CLOCK) {
        return Ok(Moment::Clock(clock));
    }
    parse_duration(text).map(Moment::Ago).map_err(|_| {
        "is no time; write 15m, 2h or 7d for so long ago, 02:30, 2026-11-30 or 2026-11-30T02:30".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_moment_is_written_as_people_write_it() {
        let now = datetime!(2026-11-30 03:00:00 UTC);
        for (text, expected) in [
            ("90m", datetime!(2026-11-30 01:30 UTC)),
            ("1h 30m", datetime!(2026-11-30 01:30 UTC)),
            ("7d", datetime!(2026-11-23 03:00 UTC)),
            ("02:30", datetime!(2026-11-30 02:30 UTC)),
            ("23:15:10", datetime!(2026-11-29 23:15:10 UTC)),
            ("today", datetime!(2026-11-30 00:00 UTC)),
            ("Yesterday", datetime!(2026-11-29 00:00 UTC)),
            ("now", now),
            ("2026-11-30", datetime!(2026-11-30 00:00 UTC)),
            ("2026-11-30 02:30", datetime!(2026-11-30 02:30 UTC)),
            ("2026-11-30T02:30Z", datetime!(2026-11-30 02:30 UTC)),
            ("2026-11-30T02:30:15.250Z", datetime!(2026-11-30 02:30:15.250 UTC)),
            ("2026-11-30T02:30:15+01:00", datetime!(2026-11-30 01:30:15 UTC)),
        ] {
            assert_eq!(moment(text).map(|moment| moment.from(now)), Ok(expected), "{text}");
        }
        for text in ["", "soon", "25:00", "2026-13-01", "-1h", "12"] {
            assert!(moment(text).is_err(), "{text}");
        }
    }
}
