//! How a worker breaks.

use thiserror::Error;

/// Why a worker is of no more use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Broken {
    /// It did not answer in time.
    #[error("it did not answer in time")]
    TimedOut,
    /// It ended, or closed its pipes.
    #[error("it ended")]
    Closed,
    /// It sent a line beyond the limit.
    #[error("it sent a line that is too long")]
    TooLong,
    /// It sent too many lines that are no protocol.
    #[error("it sent noise")]
    Noise,
    /// It broke a rule of the protocol.
    #[error("it broke the protocol: {0}")]
    Protocol(&'static str),
}

impl Broken {
    /// All of [`Broken::cause`].
    pub const CAUSES: [&'static str; 5] = ["timeout", "ended", "line", "noise", "protocol"];

    /// In one word, for counts.
    #[must_use]
    pub fn cause(&self) -> &'static str {
        match self {
            Broken::TimedOut => "timeout",
            Broken::Closed => "ended",
            Broken::TooLong => "line",
            Broken::Noise => "noise",
            Broken::Protocol(_) => "protocol",
        }
    }
}
