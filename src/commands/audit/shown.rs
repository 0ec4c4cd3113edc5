//! How lines of a trail are printed: as they are, in a table for people, or with tabs between the fields.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;

use serde_json::json;

use crate::audit::{TrailLine, is_plain};
use crate::reach::Failure;

const HEADING: [&str; 6] = ["TIME", "WHO", "FROM", "ACTION", "SECRET", "OUTCOME"];

/// The columns of a table at its begin. One that is wider makes its column wider from there on, because nobody
/// knows the lines to come.
const WIDTHS: [usize; 6] = [24, 8, 21, 6, 24, 0];

/// Something of a trail that is shown.
pub(super) enum ShownLine {
    /// A line, and its text as it stands in the file.
    Line(Box<TrailLine>, String),
    /// Something that is no line of a trail: its file and its number there. What stands there is not shown.
    Broken(PathBuf, u64),
}

/// Prints lines one after the other, each at once on a terminal.
pub(super) struct Printer {
    json: bool,
    terminal: bool,
    widths: [usize; 6],
    begun: bool,
    closed: bool,
    out: io::BufWriter<io::Stdout>,
}

// === impl ShownLine ===

impl ShownLine {
    /// Reads a line; none where it is not one of a trail.
    pub(super) fn of(bytes: &[u8]) -> Option<ShownLine> {
        let line = TrailLine::parse(bytes)?;
        Some(ShownLine::Line(Box::new(line), std::str::from_utf8(bytes).ok()?.trim_end().to_owned()))
    }

    fn json(&self) -> String {
        match self {
            ShownLine::Line(_, text) => text.clone(),
            ShownLine::Broken(path, number) => {
                json!({ "event": "broken", "file": path.display().to_string(), "line": number }).to_string()
            }
        }
    }

    /// Time, who, from where, what, to which secret, how it ended.
    fn fields(&self) -> [String; 6] {
        let line = match self {
            ShownLine::Line(line, _) => line,
            ShownLine::Broken(path, number) => {
                let none = || "-".to_owned();
                let place = format!("{}:{number}", path.display());
                return [
                    none(),
                    none(),
                    none(),
                    "broken".to_owned(),
                    place,
                    "not a line of the trail".to_owned(),
                ];
            }
        };
        let (what, about) = match line.event.as_str() {
            "access" => (line.action.clone(), secret(line)),
            "request" => (line.method.clone(), line.path.clone()),
            "folded" => (format!("{} more", line.count), "-".to_owned()),
            "dropped" => ("dropped".to_owned(), format!("{} lines were lost", line.count)),
            "start" => ("start".to_owned(), format!("secretbridge {}, process {}", line.version, line.pid)),
            other => (other.to_owned(), "-".to_owned()),
        };
        let outcome = match (line.outcome.as_str(), line.status) {
            ("", _) => "-".to_owned(),
            ("ok", _) | (_, 0) => line.outcome.clone(),
            (outcome, status) => format!("{outcome} ({status})"),
        };
        let or_none = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        [line.time.clone(), or_none(&line.who), or_none(&line.peer), what, about, outcome]
    }
}

/// `vault/key`, and in brackets the mount that led there.
fn secret(line: &TrailLine) -> String {
    let name = match line.key.as_str() {
        "" => line.vault.clone(),
        key => format!("{}/{key}", line.vault),
    };
    if line.mount.is_empty() { name } else { format!("{name} ({})", line.mount) }
}

/// Names come from clients and vaults: one with a line break or an escape sequence must not draw over others.
fn tame(cell: &str) -> String {
    cell.chars()
        .flat_map(|c| if is_plain(c) { vec![c] } else { c.escape_default().collect::<Vec<_>>() })
        .collect()
}

// === impl Printer ===

impl Default for Printer {
    fn default() -> Printer {
        Printer::new(false)
    }
}

impl Printer {
    /// To standard output.
    pub(super) fn new(json: bool) -> Printer {
        let terminal = io::stdout().is_terminal();
        let out = io::BufWriter::new(io::stdout());
        Printer { json, terminal, widths: WIDTHS, begun: false, closed: false, out }
    }

    /// Nobody reads any more.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) fn print(&mut self, line: &ShownLine) -> Result<(), Failure> {
        let text = match self.json {
            true => line.json() + "\n",
            false => self.row(&line.fields()),
        };
        let written = self.out.write_all(text.as_bytes());
        self.done(written)
    }

    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        let flushed = self.out.flush();
        self.done(flushed)
    }

    fn done(&mut self, outcome: io::Result<()>) -> Result<(), Failure> {
        match outcome {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.closed = true,
            Err(error) => return Err(Failure::failed(format!("cannot write to standard output: {error}"))),
            Ok(()) => {}
        }
        Ok(())
    }

    fn row(&mut self, fields: &[String; 6]) -> String {
        let cells = fields.each_ref().map(|field| tame(field));
        if !self.terminal {
            return cells.join("\t") + "\n";
        }
        let heading = if self.begun { String::new() } else { self.aligned(&HEADING.map(str::to_owned)) };
        self.begun = true;
        heading + &self.aligned(&cells)
    }

    fn aligned(&mut self, cells: &[String; 6]) -> String {
        for (width, cell) in self.widths.iter_mut().zip(cells) {
            *width = (*width).max(cell.chars().count());
        }
        let padded: Vec<_> =
            cells.iter().zip(self.widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        padded.join("  ").trim_end().to_owned() + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: &str = r#"{"seq":42,"time":"2026-11-30T10:15:29.123Z","event":"access","request":17,"who":"token","peer":"127.0.0.1:50412","method":"GET","path":"/secret","route":"/secret","action":"read","vault":"team","key":"db","mount":"Db","outcome":"ok","status":200,"latency_ms":0.084}"#;
    const REFUSED: &str = r#"{"seq":43,"time":"2026-11-30T10:15:30.000Z","event":"request","request":18,"who":"stranger","peer":"10.0.0.7:4711","method":"GET","path":"/a\u000ab\u202e","route":"","outcome":"token_wrong","status":401,"latency_ms":0.1,"chain":"00"}"#;

    fn printed(json: bool, terminal: bool, lines: &[ShownLine]) -> String {
        let mut printer = Printer { json, terminal, ..Printer::new(json) };
        lines.iter().map(|line| if json { line.json() + "\n" } else { printer.row(&line.fields()) }).collect()
    }

    #[test]
    fn a_line_is_a_row_with_who_when_where_what_and_the_end() {
        let lines = [
            ShownLine::of(READ.as_bytes()).unwrap(),
            ShownLine::of(REFUSED.as_bytes()).unwrap(),
            ShownLine::Broken("audit.jsonl".into(), 7),
        ];
        let tabs = printed(false, false, &lines);
        assert_eq!(
            tabs,
            "2026-11-30T10:15:29.123Z\ttoken\t127.0.0.1:50412\tread\tteam/db (Db)\tok\n\
             2026-11-30T10:15:30.000Z\tstranger\t10.0.0.7:4711\tGET\t/a\\nb\\u{202e}\ttoken_wrong (401)\n\
             -\t-\t-\tbroken\taudit.jsonl:7\tnot a line of the trail\n"
        );
        let table = printed(false, true, &lines);
        let starts: Vec<_> =
            table.lines().map(|line| line.split_whitespace().next().unwrap_or_default()).collect();
        assert_eq!(starts, ["TIME", "2026-11-30T10:15:29.123Z", "2026-11-30T10:15:30.000Z", "-"]);
        let json = printed(true, true, &lines);
        let broken = r#"{"event":"broken","file":"audit.jsonl","line":7}"#;
        assert_eq!(json, format!("{READ}\n{REFUSED}\n{broken}\n"), "they stand as they are in the trail");
    }

    #[test]
    fn what_is_no_line_of_a_trail_is_none() {
        for text in [
            "",
            "{",
            "{}",
            "[1]",
            "{\"seq\":1}",
            "info: started",
            "{\"seq\":\"x\",\"time\":\"\",\"event\":\"\"}",
        ] {
            assert!(ShownLine::of(text.as_bytes()).is_none(), "{text}");
        }
    }
}
