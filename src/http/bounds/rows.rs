//! Tables with commas.

use super::counter::{BodyBound, Countdown};
use crate::plan::BodyLimits;

/// Counts rows, a row's columns as fields, and cells as values. A quoted cell may hold line ends, but a body
/// can leave its quotation marks open, so each line end counts as a row.
pub(super) fn check(text: &[u8], limits: &BodyLimits) -> Result<(), BodyBound> {
    let mut rows = Countdown::new(limits.max_rows, BodyBound::Rows(limits.max_rows));
    let mut values = Countdown::new(limits.max_values, BodyBound::Values(limits.max_values));
    // A line end may be `\n`, `\r\n` or `\r` alone.
    for row in text.split(|byte| matches!(byte, b'\n' | b'\r')).filter(|row| !row.is_empty()) {
        rows.one()?;
        let mut fields = Countdown::new(limits.max_fields, BodyBound::Fields(limits.max_fields));
        for byte in std::iter::once(&b',').chain(row) {
            if *byte == b',' {
                fields.one()?;
                values.one()?;
            }
        }
    }
    Ok(())
}
