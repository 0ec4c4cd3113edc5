//! JSON, also with comments and trailing commas, which PowerShell takes.

use super::counter::{BodyBound, Countdown};
use crate::plan::BodyLimits;

/// Counts depth, values and the digits of numbers. What is not JSON is counted all the same.
pub(super) fn check(text: &[u8], limits: &BodyLimits) -> Result<(), BodyBound> {
    let mut values = Countdown::new(limits.max_values, BodyBound::Values(limits.max_values));
    // Each comma and each opening bracket brings one more than the document itself.
    values.one()?;
    let (mut depth, mut digits, mut at) = (0_usize, 0_usize, 0_usize);
    while let Some(byte) = text.get(at) {
        at += 1;
        if !matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E') {
            digits = 0;
        }
        match byte {
            b'"' => at = past_string(text, at),
            b'/' => at = past_comment(text, at),
            b'{' | b'[' => {
                depth += 1;
                values.one()?;
                if depth > limits.max_depth {
                    return Err(BodyBound::Depth(limits.max_depth));
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' => values.one()?,
            b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E' => {
                digits += 1;
                if digits > limits.max_digits {
                    return Err(BodyBound::Digits(limits.max_digits));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn past_string(text: &[u8], mut at: usize) -> usize {
    while let Some(found) = memchr::memchr2(b'"', b'\\', &text[at.min(text.len())..]) {
        at += found;
        if text[at] == b'"' {
            return at + 1;
        }
        // The escaped character may be a quotation mark.
        at += 2;
    }
    text.len()
}

fn past_comment(text: &[u8], at: usize) -> usize {
    let rest = &text[at..];
    let length = match rest.first() {
        Some(b'*') => memchr::memmem::find(rest, b"*/").map(|end| end + 2),
        Some(b'/') => memchr::memchr2(b'\n', b'\r', rest).map(|end| end + 1),
        _ => Some(0),
    };
    length.map_or(text.len(), |length| at + length)
}
