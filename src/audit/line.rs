//! The text of lines. Pure: what is numbered, chained and escaped here is written elsewhere.

use std::fmt::Write as _;

use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;

use super::chain::{self, ChainLink};
use super::fold::Folded;
use super::record::{AuditedAccess, Record};

/// Names and paths are cut to this many characters.
const LONGEST: usize = 1024;

/// Where a trail stands: what the next line continues.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct TrailPosition {
    /// The number of the last line; 0 before the first.
    pub(super) seq: u64,
    /// The last line's link.
    pub(super) link: ChainLink,
    /// The file ends in a line that was cut off.
    pub(super) torn: bool,
}

/// Makes lines, one after the other.
pub(super) struct LineMaker {
    position: TrailPosition,
    /// Where the trail stood before what was made since the last call of `clear`.
    before: TrailPosition,
    chained: bool,
    /// The wall clock, and the moment at which it was read.
    now: (OffsetDateTime, Instant),
    /// The second that was written last, in Unix time and as text.
    second: (i64, String),
    out: String,
}

// === impl LineMaker ===

impl LineMaker {
    pub(super) fn new(position: TrailPosition, chained: bool) -> LineMaker {
        LineMaker {
            before: position.clone(),
            position,
            chained,
            now: (crate::clock::now(), Instant::now()),
            second: (i64::MIN, String::new()),
            out: String::new(),
        }
    }

    /// Reads the clock: once for a batch.
    pub(super) fn tick(&mut self) {
        self.now = (crate::clock::now(), Instant::now());
    }

    /// What was made since the last call.
    pub(super) fn text(&self) -> &str {
        &self.out
    }

    /// What was made is written.
    pub(super) fn clear(&mut self) {
        self.out.clear();
        self.before.clone_from(&self.position);
    }

    /// What was made is given up: the next line takes the place of the first of it.
    pub(super) fn take_back(&mut self) {
        self.out.clear();
        self.position.clone_from(&self.before);
    }

    /// The first line of a run, or of a file that continues another.
    pub(super) fn start(&mut self, event: &str) {
        let (torn, before) = (self.position.torn, self.position.link.clone());
        self.position.torn = false;
        if torn {
            self.out.push('\n');
        }
        self.line(event, self.now.1, |line| {
            text(line, "version", env!("CARGO_PKG_VERSION"));
            let _ = write!(line, ",\"pid\":{}", std::process::id());
            if torn {
                line.push_str(",\"after_torn_line\":true");
            }
            text(line, "continues", before.text());
        });
    }

    /// The last line of a run.
    pub(super) fn stop(&mut self) {
        self.line("stop", self.now.1, |_| {});
    }

    /// The lines of a request: one for each access, or one that says that there was none.
    pub(super) fn record(&mut self, record: &Record) {
        if record.accesses.is_empty() {
            return self.line("request", record.received, |line| request(line, record, None));
        }
        for access in &record.accesses {
            self.line("access", record.received, |line| request(line, record, Some(access)));
        }
    }

    /// A line for many that are alike.
    pub(super) fn folded(&mut self, folded: &Folded) {
        self.line("folded", folded.last, |line| {
            let _ = write!(line, ",\"count\":{}", folded.count);
            text(line, "who", &folded.who);
            text(line, "peer", &folded.from);
            text(line, "outcome", folded.outcome);
            let _ = write!(line, ",\"status\":{}", folded.status);
            let seconds = folded.last.saturating_duration_since(folded.first).as_secs_f64();
            let _ = write!(line, ",\"seconds\":{seconds:.3}");
        });
    }

    /// A line for records that were given up.
    pub(super) fn dropped(&mut self, count: u64) {
        self.line("dropped", self.now.1, |line| {
            let _ = write!(line, ",\"count\":{count}");
        });
    }

    fn line(&mut self, event: &str, at: Instant, fields: impl FnOnce(&mut String)) {
        self.position.seq += 1;
        let (wall, moment) = self.now;
        let time = wall - moment.saturating_duration_since(at);
        let begin = self.out.len();
        let _ = write!(self.out, "{{\"seq\":{}", self.position.seq);
        if self.second.0 != time.unix_timestamp() {
            let whole = time.replace_nanosecond(0).unwrap_or(time);
            // A clock never shows a date that cannot be formatted.
            let text = whole.format(&Rfc3339).unwrap_or_default();
            self.second = (time.unix_timestamp(), text.trim_end_matches('Z').to_owned());
        }
        let _ = write!(self.out, ",\"time\":\"{}.{:03}Z\"", self.second.1, time.millisecond());
        text(&mut self.out, "event", event);
        fields(&mut self.out);
        if self.chained {
            self.position.link = chain::next(&self.position.link, &self.out[begin..]);
            text(&mut self.out, chain::FIELD, self.position.link.text());
        }
        self.out.push_str("}\n");
    }
}

fn request(line: &mut String, record: &Record, access: Option<&AuditedAccess>) {
    let _ = write!(line, ",\"request\":{}", record.request);
    text(line, "who", &record.who.to_string());
    // Addresses and numbers only.
    let _ = write!(line, ",\"peer\":\"{}\"", record.peer);
    text(line, "method", record.method.as_str());
    text(line, "path", &record.path);
    text(line, "route", &record.route);
    if let Some(access) = access {
        text(line, "action", access.action);
        text(line, "vault", &access.vault);
        text(line, "key", &access.key);
        text(line, "mount", &access.mount);
    }
    text(line, "outcome", access.map_or(record.outcome, |access| access.outcome));
    let _ = write!(line, ",\"status\":{}", record.status);
    let _ = write!(line, ",\"latency_ms\":{:.3}", record.latency.as_secs_f64() * 1000.0);
    if let Some(trace) = &record.trace {
        text(line, "traceparent", trace);
    }
}

fn text(line: &mut String, name: &str, value: &str) {
    line.push_str(",\"");
    line.push_str(name);
    line.push_str("\":\"");
    // Nearly every text, and many times as fast as letter by letter.
    let is_clean = |byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
    if value.len() <= LONGEST && value.bytes().all(is_clean) {
        line.push_str(value);
        line.push('"');
        return;
    }
    let mut left = LONGEST;
    for c in value.chars() {
        let Some(less) = left.checked_sub(1) else {
            line.push('…');
            break;
        };
        left = less;
        match c {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            c if is_plain(c) => line.push(c),
            c => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                let _ = write!(line, "\\u{unit:04x}");
            }),
        }
    }
    line.push('"');
}

/// Neither a control character, nor one that ends a line or turns the direction for some viewer.
pub fn is_plain(c: char) -> bool {
    let hidden = matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff0}'..='\u{ffff}' | '\u{e0000}'..='\u{e0fff}');
    !c.is_control() && !hidden
}

/// Number, link and the text that the link is of, from a line. `None` where it is not a line of a trail.
pub(super) fn read(line: &str) -> Option<(u64, ChainLink, Option<String>)> {
    #[derive(serde::Deserialize)]
    struct ReadLine<'a> {
        seq: u64,
        #[serde(borrow)]
        event: &'a RawValue,
        chain: Option<String>,
        continues: Option<String>,
    }
    let read: ReadLine<'_> = serde_json::from_str(line).ok()?;
    let starts = matches!(read.event.get(), "\"start\"" | "\"continue\"");
    Some((read.seq, read.chain.map(ChainLink::from).unwrap_or_default(), read.continues.filter(|_| starts)))
}
