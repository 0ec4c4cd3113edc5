//! macOS's ways.

use std::path::PathBuf;

use tokio::process::Command;

pub use super::unix::Signals;
pub(super) use super::unix::*;

pub(super) const DATA_BELOW_HOME: &str = "Library/Application Support";

pub(super) fn isolate(command: &mut Command) {
    // There is no death signal; the end of a worker's input is what ends it.
    command.process_group(0);
}

pub(super) fn resident_memory(_pid: u32) -> Option<u64> {
    None
}

pub(super) fn started(_pid: u32) -> Option<u64> {
    None
}

pub(super) fn runtime_folder() -> PathBuf {
    std::env::temp_dir()
}

pub(super) fn home_from_database() -> Option<PathBuf> {
    std::env::home_dir().filter(|home| !home.as_os_str().is_empty())
}
