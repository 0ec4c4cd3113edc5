//! secretbridge keeps PowerShell's SecretManagement vaults open behind a fast and safe front.
//!
//! The way of one request:
//!
//! ```text
//! http ─► guard ─► route ─► mount ─► cache ─► vault ─► pool ─► worker ─► pwsh
//! ```

pub mod bridge;
pub mod cache;
pub mod cli;
pub mod config;
pub mod error;
pub mod exit;
pub mod http;
pub mod local;
pub mod logging;
pub mod mount;
pub mod plan;
pub mod platform;
pub mod pool;
pub mod private_file;
pub mod protocol;
pub mod pwsh;
pub mod registry;
pub mod secret;
pub mod shutdown;
pub mod store;
pub mod vault;
pub mod worker;
