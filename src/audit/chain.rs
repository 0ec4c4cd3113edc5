//! The chain: each line's link is the SHA-256 of the link before it and the line's own text.

use std::fmt::Write as _;

use ring::digest::{Context, SHA256};

/// The member that holds a line's link, always its last.
pub(super) const FIELD: &str = "chain";

/// A line's link: 64 hexadecimal digits, or nothing before the first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct ChainLink(String);

// === impl ChainLink ===

impl ChainLink {
    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

impl From<String> for ChainLink {
    fn from(text: String) -> ChainLink {
        ChainLink(text)
    }
}

/// The link of a line whose text, up to the link itself, is `text`.
pub(super) fn next(before: &ChainLink, text: &str) -> ChainLink {
    let mut digest = Context::new(&SHA256);
    digest.update(before.0.as_bytes());
    digest.update(b"\n");
    digest.update(text.as_bytes());
    let mut hex = String::with_capacity(64);
    for byte in digest.finish().as_ref() {
        let _ = write!(hex, "{byte:02x}");
    }
    ChainLink(hex)
}

/// A line's text up to its link.
pub(super) fn linked_text<'a>(line: &'a str, link: &ChainLink) -> Option<&'a str> {
    line.strip_suffix(&format!(",\"{FIELD}\":\"{}\"}}", link.0))
}
