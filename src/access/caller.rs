//! Who called, as the audit line names it.

use std::fmt;

/// Who called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Somebody who holds the token.
    Token,
    /// Anybody: the plan asks for no token.
    Anyone,
    /// Somebody without the token that the plan asks for.
    Stranger,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Caller::Token => "token",
            Caller::Anyone => "anyone",
            Caller::Stranger => "stranger",
        })
    }
}
