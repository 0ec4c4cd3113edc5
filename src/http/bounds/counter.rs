//! A bound, and how what it bounds is counted.

use thiserror::Error;

/// How a body goes beyond what any parser is asked to read. No part of the body is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BodyBound {
    /// Form fields, or a row's columns.
    #[error("the body has more than {0} fields (limit max_fields)")]
    Fields(usize),
    /// Fields of the query.
    #[error("the query has more than {0} fields (limit max_fields)")]
    Query(usize),
    /// Parts of a multipart form.
    #[error("the multipart body has more than {0} parts (limit max_parts)")]
    Parts(usize),
    /// A multipart form's part.
    #[error("a part of the multipart body has more than {0} bytes of headers")]
    PartHead(usize),
    /// Objects in objects, elements in elements.
    #[error("the body is nested more than {0} levels deep (limit max_depth)")]
    Depth(usize),
    /// A number.
    #[error("the body has a number of more than {0} digits (limit max_digits)")]
    Digits(usize),
    /// Rows of a table.
    #[error("the body has more than {0} rows (limit max_rows)")]
    Rows(usize),
    /// Values, elements, attributes or cells.
    #[error("the body has more than {0} values (limit max_values)")]
    Values(usize),
    /// An encoding in which nothing can be counted.
    #[error("the body is in an encoding that is not known here")]
    Charset,
    /// Two media types for one body.
    #[error("the body has more than one Content-Type")]
    TwoTypes,
}

// === impl BodyBound ===

impl BodyBound {
    /// Whether there is too much of something (413); else it is of a kind that is never taken (400).
    pub fn is_size(&self) -> bool {
        !matches!(self, BodyBound::Depth(_) | BodyBound::Digits(_) | BodyBound::Charset | BodyBound::TwoTypes)
    }

    /// A short stable word.
    pub fn code(&self) -> &'static str {
        match self {
            BodyBound::Fields(_) => "too_many_fields",
            BodyBound::Query(_) => "query_too_many_fields",
            BodyBound::Parts(_) => "too_many_parts",
            BodyBound::PartHead(_) => "part_head_too_long",
            BodyBound::Depth(_) => "too_deep",
            BodyBound::Digits(_) => "too_many_digits",
            BodyBound::Rows(_) => "too_many_rows",
            BodyBound::Values(_) => "too_many_values",
            BodyBound::Charset => "charset_unknown",
            BodyBound::TwoTypes => "two_content_types",
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            BodyBound::Charset => "send UTF-8",
            BodyBound::TwoTypes => "send one Content-Type",
            BodyBound::PartHead(_) => "shorten the headers of the part",
            _ => "send less at once, or raise the limit named, under [limits]",
        }
    }
}

/// Counts up to a limit.
pub(super) struct Countdown {
    left: usize,
    over: BodyBound,
}

impl Countdown {
    pub(super) fn new(limit: usize, over: BodyBound) -> Countdown {
        Countdown { left: limit, over }
    }

    pub(super) fn one(&mut self) -> Result<(), BodyBound> {
        self.left = self.left.checked_sub(1).ok_or(self.over)?;
        Ok(())
    }
}
