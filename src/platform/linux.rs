//! Linux's ways.

// `pre_exec` is the only door to the death signal.
#![allow(unsafe_code)]

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::process::{Signal, getuid, set_parent_process_death_signal};
use tokio::process::{Child, Command};

pub use super::unix::Signals;
pub(super) use super::unix::*;

pub(super) const DATA_BELOW_HOME: &str = ".local/share";
pub(super) const CONFIG_BELOW_HOME: &str = ".config";
pub(super) const CACHE_BELOW_HOME: &str = ".cache";

pub(super) fn spawn(command: &mut Command) -> io::Result<(Child, Group)> {
    command.process_group(0);
    let parent = rustix::process::getpid();
    // SAFETY: between fork and exec only async-signal-safe system calls are made, and nothing allocates.
    unsafe {
        command.pre_exec(move || {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // The parent may have died before the signal was set.
            if rustix::process::getppid() != Some(parent) {
                return Err(std::io::Error::from_raw_os_error(rustix::io::Errno::SRCH.raw_os_error()));
            }
            Ok(())
        });
    }
    let child = command.spawn()?;
    let group = Group::of(child.id());
    Ok((child, group))
}

pub(super) fn resident_memory(pid: u32) -> Option<u64> {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

pub(super) fn started(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; the start is the 20th field after it.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(19)?.parse().ok()
}

pub(super) fn runtime_folder() -> PathBuf {
    let from_session = super::variable("XDG_RUNTIME_DIR").filter(|folder| is_ours(folder));
    let shared_memory = || Some(PathBuf::from("/dev/shm")).filter(|folder| is_writable(folder));
    from_session.or_else(shared_memory).unwrap_or_else(std::env::temp_dir)
}

pub(super) fn system_config_folder() -> PathBuf {
    "/etc".into()
}

pub(super) fn home_from_database() -> Option<PathBuf> {
    let uid = getuid().as_raw().to_string();
    let database = std::fs::read_to_string("/etc/passwd").ok()?;
    let line = database.lines().find(|line| line.split(':').nth(2) == Some(&uid))?;
    line.split(':').nth(5).filter(|home| !home.is_empty()).map(PathBuf::from)
}

/// Whether a folder is this user's own.
fn is_ours(folder: &Path) -> bool {
    fs::metadata(folder).is_ok_and(|found| found.is_dir() && found.uid() == getuid().as_raw())
}

fn is_writable(folder: &Path) -> bool {
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_ok()
}
