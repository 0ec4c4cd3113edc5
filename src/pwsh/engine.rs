//! The PowerShell engine behind a program, by which what was compiled for it is known.

use serde::{Deserialize, Serialize};

/// The PowerShell engine of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Engine {
    /// PowerShell's version.
    pub version: String,
    /// .NET's version and the system that it runs on.
    pub runtime: String,
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
