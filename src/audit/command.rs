//! `secretbridge audit verify`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use super::verify::{self, TrailVerdict};
use crate::exit::Exit;

/// At most so many mistakes are printed.
const SHOWN: usize = 20;

/// Checks a trail and prints what came of it: to standard output where it is whole, to standard error else.
pub fn verify(files: &[PathBuf]) -> Exit {
    match verify::verify(files) {
        Ok(verdict) if verdict.broken.is_empty() => {
            // If it cannot be written, nobody reads it.
            let _ = std::io::stdout().write_all(good(&verdict).as_bytes());
            Exit::Ok
        }
        Ok(verdict) => {
            let _ = std::io::stderr().write_all(bad(&verdict).as_bytes());
            Exit::Failure
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "secretbridge: the audit trail cannot be read: {error}");
            Exit::Failure
        }
    }
}

fn good(verdict: &TrailVerdict) -> String {
    let mut out = format!("{} lines, none changed, put in or taken out\n", verdict.lines);
    if !verdict.continues.is_empty() {
        let _ = writeln!(out, "they continue a trail whose last digest is {}", verdict.continues);
    }
    if verdict.torn > 0 {
        let _ = writeln!(out, "{} cut off by a crash, as the trail itself says", verdict.torn);
    }
    let _ = writeln!(out, "last line: {}, digest {}", verdict.last, verdict.link);
    out + "keep that digest elsewhere: a trail that was cut off at its end, or made anew, does not end in it\n"
}

fn bad(verdict: &TrailVerdict) -> String {
    let mut out = String::new();
    for (path, line, what) in verdict.broken.iter().take(SHOWN) {
        let _ = writeln!(out, "{}:{line}: {what}", path.display());
    }
    let _ = writeln!(
        out,
        "secretbridge: {} of {} lines are not as they were written",
        verdict.broken.len(),
        verdict.lines
    );
    out
}
