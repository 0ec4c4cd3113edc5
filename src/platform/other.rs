//! Systems without a way of their own yet.

use std::path::PathBuf;

use tokio::process::Command;

pub(super) fn isolate(_command: &mut Command) {}

pub(super) fn kill_group(_leader: u32) {}

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
    std::env::var_os("USERPROFILE").map(PathBuf::from)
}
