//! XML without document types, which the workers refuse.

use super::counter::{BodyBound, Countdown};
use crate::plan::BodyLimits;

/// Counts depth, and elements and attributes as values. What is not XML is counted all the same.
pub(super) fn check(text: &[u8], limits: &BodyLimits) -> Result<(), BodyBound> {
    let mut values = Countdown::new(limits.max_values, BodyBound::Values(limits.max_values));
    let (mut depth, mut at) = (0_usize, 0_usize);
    while let Some(found) = memchr::memchr(b'<', &text[at..]) {
        at += found + 1;
        values.one()?;
        let rest = &text[at..];
        at = match rest {
            [b'!', b'-', b'-', ..] => past(text, at + 3, b"-->"),
            [b'!', b'[', ..] => past(text, at, b"]]>"),
            [b'?', ..] => past(text, at, b"?>"),
            [b'/', ..] => {
                depth = depth.saturating_sub(1);
                past(text, at, b">")
            }
            _ => {
                let (end, is_empty) = past_tag(text, at, &mut values)?;
                depth += usize::from(!is_empty);
                if depth > limits.max_depth {
                    return Err(BodyBound::Depth(limits.max_depth));
                }
                end
            }
        };
    }
    Ok(())
}

fn past(text: &[u8], at: usize, end: &[u8]) -> usize {
    let at = at.min(text.len());
    memchr::memmem::find(&text[at..], end).map_or(text.len(), |found| at + found + end.len())
}

/// The end of a tag, and whether its element is empty. Each attribute is a value.
fn past_tag(text: &[u8], mut at: usize, values: &mut Countdown) -> Result<(usize, bool), BodyBound> {
    let mut last = 0;
    while let Some(byte) = text.get(at) {
        at += 1;
        match byte {
            b'>' => return Ok((at, last == b'/')),
            b'=' => values.one()?,
            quote @ (b'"' | b'\'') => {
                at = memchr::memchr(*quote, &text[at..]).map_or(text.len(), |found| at + found + 1);
            }
            _ => {}
        }
        last = *byte;
    }
    Ok((at, false))
}
