//! secretbridge keeps PowerShell's SecretManagement vaults open behind a fast and safe front.
//!
//! The way of one request:
//!
//! ```text
//! http ─► guard ─► route ─► mount ─► cache ─► vault ─► pool ─► worker ─► pwsh
//! ```

pub mod bridge;
pub mod error;
pub mod http;
pub mod plan;
pub mod protocol;
pub mod secret;
