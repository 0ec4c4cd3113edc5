//! Checks a trail's chain: every line's link, over files in the order in which they were written.

use std::io;
use std::path::{Path, PathBuf};

use super::chain::{self, ChainLink};
use super::{files, line};

/// What a check came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrailVerdict {
    /// Lines that were read.
    pub lines: u64,
    /// The number of the last line.
    pub last: u64,
    /// The last line's link: whoever keeps it elsewhere notices also that the end was cut off.
    pub link: String,
    /// What the first line continues: a file that is not given here, or nothing.
    pub continues: String,
    /// Lines that a crash has cut off. The trail says so itself in the line after.
    pub torn: u64,
    /// What is wrong: file, line, words.
    pub broken: Vec<(PathBuf, u64, &'static str)>,
}

/// What is wrong with a line that was written without a chain.
const NO_LINK: &str = "it has no link";

impl TrailVerdict {
    /// Whether there are lines, and none of them is linked: the trail was written without a chain.
    pub fn has_no_chain(&self) -> bool {
        let unlinked = self.broken.iter().filter(|(_, _, what)| *what == NO_LINK).count();
        self.lines > 0 && unlinked as u64 == self.lines
    }
}

/// Where the check stands.
#[derive(Default)]
struct Check {
    seq: u64,
    link: Option<ChainLink>,
    verdict: TrailVerdict,
    /// The last line was none: where, and whether a start after it may excuse it.
    open: Option<(PathBuf, u64)>,
}

/// Reads files as one trail. The first thing that is wrong in each file is told; reading goes on behind it.
pub fn verify(trail: &[PathBuf]) -> io::Result<TrailVerdict> {
    let mut check = Check::default();
    for path in trail {
        let mut reader = files::open(path)?;
        let mut number = 0;
        while let Some(bytes) = reader.next(false)? {
            number += 1;
            check.line(path, number, bytes);
        }
    }
    if let Some((path, number)) = check.open.take() {
        check.verdict.broken.push((path, number, "not a whole line"));
    }
    check.verdict.last = check.seq;
    check.verdict.link = check.link.map(|link| link.text().to_owned()).unwrap_or_default();
    Ok(check.verdict)
}

// === impl Check ===

impl Check {
    fn line(&mut self, path: &Path, number: u64, bytes: &[u8]) {
        self.verdict.lines += 1;
        let text = bytes.strip_suffix(b"\n").and_then(|bytes| std::str::from_utf8(bytes).ok());
        let Some((text, (seq, link, continues))) = text.and_then(|text| Some((text, line::read(text)?)))
        else {
            self.excuse(None);
            self.open = Some((path.to_owned(), number));
            return;
        };
        self.excuse(Some(text));
        let wrong = self.judge(text, seq, &link, continues);
        self.verdict.broken.extend(wrong.map(|wrong| (path.to_owned(), number, wrong)));
        (self.seq, self.link) = (seq, Some(link));
    }

    /// A line that is not whole is right only if the next line says that a crash cut it off.
    fn excuse(&mut self, next: Option<&str>) {
        let Some((path, number)) = self.open.take() else { return };
        if next.is_some_and(|next| next.contains(",\"after_torn_line\":true,")) {
            self.verdict.torn += 1;
        } else {
            self.verdict.broken.push((path, number, "not a line of the trail"));
        }
    }

    fn judge(
        &mut self,
        text: &str,
        seq: u64,
        link: &ChainLink,
        continues: Option<String>,
    ) -> Option<&'static str> {
        let before = match (&self.link, continues) {
            // The files before the first are not here.
            (None, continues) => {
                let Some(before) = continues else { return Some("the lines before it are missing") };
                self.verdict.continues.clone_from(&before);
                self.seq = seq.saturating_sub(1);
                ChainLink::from(before)
            }
            (Some(before), Some(continues)) if before.text() != continues => {
                return Some("it does not continue the line before");
            }
            (Some(before), _) => before.clone(),
        };
        if seq != self.seq + 1 {
            return Some("its number is not the next: lines are missing, or were put in");
        }
        let Some(linked) = chain::linked_text(text, link) else { return Some(NO_LINK) };
        (chain::next(&before, linked) != *link).then_some("its link is wrong: the line was changed")
    }
}
