//! Stars secrets out in a stream, also where one comes in pieces.

use std::sync::Arc;

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use zeroize::Zeroizing;

use crate::secret::SecretValue;

/// What stands for a secret.
const STARS: &[u8] = b"********";

/// A line of a secret of many lines is starred out by itself from this length on: shorter ones are words that
/// stand elsewhere too.
const LINE: usize = 8;

/// What is to be starred out.
#[derive(Clone)]
pub(super) struct Mask(Option<Arc<Patterns>>);

struct Patterns {
    all: Vec<Zeroizing<Vec<u8>>>,
    search: AhoCorasick,
}

impl Mask {
    /// The texts of these values, as they are, in base64 and as JSON writes them.
    pub(super) fn of<'a>(values: impl Iterator<Item = &'a SecretValue>) -> Mask {
        let mut all: Vec<Zeroizing<Vec<u8>>> = Vec::new();
        let mut add = |bytes: &[u8]| {
            if !bytes.is_empty() && !all.iter().any(|known| known.as_slice() == bytes) {
                all.push(Zeroizing::new(bytes.to_vec()));
            }
        };
        for value in values {
            if let SecretValue::Bytes(bytes) = value {
                add(bytes.expose());
                add(BASE64.encode(bytes.expose()).as_bytes());
            }
            for text in value.texts() {
                add(text.as_bytes());
                add(BASE64.encode(text).as_bytes());
                let json = Zeroizing::new(serde_json::Value::from(text).to_string());
                add(json.trim_matches('"').as_bytes());
                if text.contains('\n') {
                    text.lines().filter(|line| line.len() >= LINE).for_each(|line| add(line.as_bytes()));
                }
            }
        }
        let builder = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(all.iter().map(|one| one.as_slice()));
        Mask(builder.ok().filter(|_| !all.is_empty()).map(|search| Arc::new(Patterns { all, search })))
    }

    /// What of the text can be written now, starred out; the rest, which may begin a secret, stays.
    fn take(&self, pending: &mut Vec<u8>, ended: bool) -> Vec<u8> {
        let Some(patterns) = &self.0 else { return std::mem::take(pending) };
        let mut out = Vec::with_capacity(pending.len());
        let mut at = 0;
        loop {
            let rest = &pending[at..];
            let hold = if ended { rest.len() } else { patterns.hold(rest) };
            match patterns.search.find(rest) {
                Some(found) if found.start() < hold => {
                    out.extend_from_slice(&rest[..found.start()]);
                    out.extend_from_slice(STARS);
                    at += found.end();
                }
                _ => {
                    out.extend_from_slice(&rest[..hold]);
                    at += hold;
                    break;
                }
            }
        }
        pending.drain(..at);
        out
    }
}

impl Patterns {
    /// Where a secret may begin that is not there to its end: the start of the longest tail that is the
    /// beginning of one.
    fn hold(&self, text: &[u8]) -> usize {
        let longest = self.all.iter().map(|one| one.len()).max().unwrap_or_default();
        let from = text.len().saturating_sub(longest.saturating_sub(1));
        (from..text.len())
            .find(|&at| {
                self.all.iter().any(|one| one.len() > text.len() - at && one.starts_with(&text[at..]))
            })
            .unwrap_or(text.len())
    }
}

/// Copies a stream to its end, or until nobody reads it any more.
pub(super) async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mask: Mask) {
    let mut pending = Vec::new();
    let mut part = [0_u8; 8192];
    loop {
        let length = from.read(&mut part).await.unwrap_or(0);
        pending.extend_from_slice(&part[..length]);
        let out = mask.take(&mut pending, length == 0);
        if to.write_all(&out).await.is_err() || to.flush().await.is_err() || length == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(secrets: &[&str], pieces: &[&str]) -> (String, Vec<String>) {
        let values: Vec<_> = secrets.iter().map(|text| SecretValue::string(*text)).collect();
        let mask = Mask::of(values.iter());
        let mut pending = Vec::new();
        let mut out: Vec<String> = pieces
            .iter()
            .map(|piece| {
                pending.extend_from_slice(piece.as_bytes());
                String::from_utf8(mask.take(&mut pending, false)).unwrap()
            })
            .collect();
        out.push(String::from_utf8(mask.take(&mut pending, true)).unwrap());
        (out.concat(), out)
    }

    #[test]
    fn a_secret_is_starred_out_also_where_it_comes_in_pieces() {
        for pieces in [&["x hunter2 y"][..], &["x hun", "ter2 y"], &["x h", "u", "nter", "2", " y"]] {
            assert_eq!(masked(&["hunter2"], pieces).0, "x ******** y");
        }
        assert_eq!(masked(&["abc", "abcdef"], &["abc", "def abc!"]).0, "******** ********!");
        assert_eq!(masked(&["abc"], &["ab"]).0, "ab", "what only begins like one comes at the end");
        assert_eq!(masked(&[], &["plain"]).0, "plain");
    }

    #[test]
    fn what_begins_no_secret_is_not_held_up() {
        let (_, out) = masked(&["hunter2"], &["password? ", "h"]);
        assert_eq!(out[0], "password? ");
    }

    #[test]
    fn base64_json_and_lines_of_a_secret_are_starred_out_too() {
        assert_eq!(masked(&["hunter2"], &["aHVudGVyMg=="]).0, "********");
        assert_eq!(masked(&["a\"b\\c"], &[r#"{"v":"a\"b\\c"}"#]).0, r#"{"v":"********"}"#);
        assert_eq!(masked(&["-----BEGIN\nsecretline1\nx"], &["> secretline1 x"]).0, "> ******** x");
    }
}
