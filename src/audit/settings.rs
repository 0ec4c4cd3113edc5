//! Where the audit trail goes.

use std::path::PathBuf;

/// Where the trail goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditSettings {
    /// Where to.
    pub to: Destination,
    /// Each line holds a digest of itself and the one before.
    pub chain: bool,
}

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Destination {
    /// Standard error, whole lines between those of the log.
    #[default]
    Stderr,
    /// A file, which is appended to. Only its owner can read it.
    File(PathBuf),
    /// Nowhere; requests are still counted.
    None,
}
