//! Mistakes in a configuration file: where each is, what it is, and what to write instead.
//!
//! A message never shows a value of `unlock` or `parameters`: it may be a password.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[non_exhaustive]
pub struct ConfigProblem {
    /// Line, counted from 1.
    pub line: usize,
    /// Column, counted in characters from 1.
    pub column: usize,
    /// The key, e.g. `vaults.store.unlock`; empty for the file as a whole.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// All the mistakes of a file, in the order of their positions. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Problems {
    /// The file, where the text came from one.
    pub file: Option<PathBuf>,
    /// The mistakes.
    pub problems: Vec<ConfigProblem>,
}

/// Gathers problems while a document is walked.
pub(super) struct Report<'t> {
    text: &'t str,
    found: RefCell<Vec<NotedProblem>>,
    syntax: RefCell<Vec<usize>>,
    damaged: Cell<bool>,
}

struct NotedProblem {
    offset: usize,
    path: String,
    message: String,
    hint: Option<String>,
}

// === impl Problems ===

impl Problems {
    /// The same mistakes, named as those of a file.
    pub fn of_file(self, file: impl Into<PathBuf>) -> Problems {
        Problems { file: Some(file.into()), ..self }
    }

    /// The document that `check --json` prints.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let file = self.file.as_ref().map(|file| file.to_string_lossy());
        serde_json::json!({ "file": file, "problems": self.problems })
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            if let Some(file) = &self.file {
                write!(f, "{}:", file.display())?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.line, self.column)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

// === impl Report ===

impl<'t> Report<'t> {
    pub fn new(text: &'t str) -> Report<'t> {
        Report { text, found: RefCell::default(), syntax: RefCell::default(), damaged: Cell::new(false) }
    }

    /// Records a mistake at a byte offset.
    pub fn add(&self, offset: usize, path: &str, message: impl Into<String>, hint: Option<String>) {
        let found = NotedProblem { offset, path: path.to_owned(), message: message.into(), hint };
        self.found.borrow_mut().push(found);
    }

    /// Records a mistake of the TOML itself.
    pub fn add_syntax(&self, error: &toml::de::Error) {
        // The parser has no span for an end of file that came too early.
        let offset = error.span().map_or(self.text.len(), |span| span.start);
        self.damaged.set(true);
        self.syntax.borrow_mut().push(self.position(offset).0);
        let message = error.message();
        self.add(offset, "", message.strip_suffix(", expected nothing").unwrap_or(message), None);
    }

    /// The TOML has mistakes, so parts of the document may be missing: what is absent is no mistake.
    pub fn is_damaged(&self) -> bool {
        self.damaged.get()
    }

    pub fn is_clean(&self) -> bool {
        self.found.borrow().is_empty()
    }

    pub fn line(&self, offset: usize) -> usize {
        self.position(offset).0
    }

    /// The problems in order, or `None`. A line that is not TOML gets no second opinion.
    pub fn finish(self) -> Option<Problems> {
        let syntax = self.syntax.take();
        let mut problems: Vec<ConfigProblem> = self
            .found
            .take()
            .into_iter()
            .map(|found| {
                let (line, column) = self.position(found.offset);
                ConfigProblem { line, column, path: found.path, message: found.message, hint: found.hint }
            })
            .filter(|problem| problem.path.is_empty() || !syntax.contains(&problem.line))
            .collect();
        problems.sort();
        problems.dedup();
        (!problems.is_empty()).then_some(Problems { file: None, problems })
    }

    fn position(&self, offset: usize) -> (usize, usize) {
        position(self.text.as_bytes(), offset)
    }
}

/// Line and column of a byte offset, both from 1.
pub(super) fn position(text: &[u8], offset: usize) -> (usize, usize) {
    let before = &text[..offset.min(text.len())];
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    // A character has one byte that does not continue another.
    let column = before[line_start..].iter().filter(|byte| (**byte & 0xC0) != 0x80).count() + 1;
    (line, column)
}

/// A name as it may stand in a message: on one line, without control characters, not too long.
pub(super) fn quoted(name: &str) -> String {
    const LONGEST: usize = 60;
    let shown: String = name.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    // A name's own quotes need no escape between single ones in a message for people.
    let shown = shown.replace("\\'", "'").replace("\\\"", "\"");
    if name.chars().nth(LONGEST).is_some() { format!("'{shown}…'") } else { format!("'{shown}'") }
}

/// The candidate that was probably meant.
pub(super) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    let limit = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= limit && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `did you mean 'x'?`, or else the list of what there is.
pub(super) fn suggest<'a>(
    name: &str,
    what: &str,
    candidates: impl IntoIterator<Item = &'a str> + Clone,
) -> Option<String> {
    if let Some(near) = nearest(name, candidates.clone()) {
        return Some(format!("did you mean {}?", quoted(near)));
    }
    const MOST: usize = 24;
    let all: Vec<&str> = candidates.into_iter().collect();
    (!all.is_empty() && all.len() <= MOST).then(|| format!("{what}: {}", all.join(", ")))
}

/// Insertions, deletions, replacements and swaps of neighbours that turn one word into the other.
fn distance(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.chars().collect();
    let to: Vec<char> = to.chars().collect();
    // Past this no suggestion is made anyway, and a hostile key costs no time.
    if from.len().abs_diff(to.len()) > 20 {
        return usize::MAX;
    }
    let mut before = vec![0; to.len() + 1];
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for row in 1..=from.len() {
        let mut next = vec![row; to.len() + 1];
        for column in 1..=to.len() {
            let replace = last[column - 1] + usize::from(from[row - 1] != to[column - 1]);
            next[column] = replace.min(last[column] + 1).min(next[column - 1] + 1);
            let swapped =
                row > 1 && column > 1 && from[row - 1] == to[column - 2] && from[row - 2] == to[column - 1];
            if swapped {
                next[column] = next[column].min(before[column - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, next);
    }
    last[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_understood() {
        let keys = ["unlock", "unlock_interval", "module", "local"];
        for (typed, meant) in [
            ("unlok", Some("unlock")),
            ("ulnock", Some("unlock")),
            ("Module", Some("module")),
            ("unlock_intervall", Some("unlock_interval")),
            ("password", None),
            ("x", None),
        ] {
            assert_eq!(nearest(typed, keys), meant, "{typed}");
        }
    }

    #[test]
    fn columns_are_counted_in_characters() {
        let text = "a = 1\nß = 'é' # x";
        assert_eq!(position(text.as_bytes(), 0), (1, 1));
        assert_eq!(position(text.as_bytes(), 6), (2, 1));
        assert_eq!(position(text.as_bytes(), text.find('#').expect("there")), (2, 9));
        assert_eq!(position(text.as_bytes(), 10_000), (2, 12));
    }

    #[test]
    fn a_name_cannot_break_the_line_of_a_message() {
        assert_eq!(quoted("a\n\u{1b}[1m'b'"), "'a\\n\\u{1b}[1m'b''");
        assert_eq!(quoted(&"x".repeat(100)).chars().count(), 63);
    }
}
