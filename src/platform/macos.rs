//! macOS's ways.

// No crate gives these functions a safe interface.
#![allow(unsafe_code)]

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::{Child, Command};

use super::{Hardened, ServiceNotice};

pub(super) use super::no_other_user::OtherUser;
pub use super::unix::Signals;
pub(super) use super::unix::*;

pub(super) const MANAGER: super::service::Manager = super::service::Manager::Launchd;
pub(super) const DATA_BELOW_HOME: &str = "Library/Application Support";
pub(super) const CONFIG_BELOW_HOME: &str = "Library/Application Support";
pub(super) const CACHE_BELOW_HOME: &str = "Library/Caches";

pub(super) fn spawn(command: &mut Command) -> io::Result<(Child, Group)> {
    command.process_group(0);
    let parent = std::process::id() as libc::pid_t;
    // SAFETY: between fork and exec only async-signal-safe functions are called, and nothing allocates.
    unsafe {
        command.pre_exec(move || {
            // Asked for here: of a worker that was killed by then, its watcher would see the pid of another parent.
            let worker = libc::getpid();
            match libc::fork() {
                -1 => Err(io::Error::last_os_error()),
                0 => watch(parent, worker),
                _ => Ok(()),
            }
        });
    }
    let child = command.spawn()?;
    let group = Group::of(child.id());
    Ok((child, group))
}

/// macOS has no death signal. So each worker has a watcher in its group, which waits for the end of this
/// program or of the worker and then kills the group, itself included.
///
/// # Safety
///
/// Only in a child just forked: it closes every descriptor, and never returns.
unsafe fn watch(server: libc::pid_t, worker: libc::pid_t) -> ! {
    // SAFETY: async-signal-safe functions alone, with numbers and with memory of this frame.
    unsafe {
        // The worker's pipes must not stay open because of it.
        (0..libc::getdtablesize()).for_each(|number| {
            libc::close(number);
        });
        let queue = libc::kqueue();
        let exit_of = |process: libc::pid_t| libc::kevent {
            ident: process as libc::uintptr_t,
            filter: libc::EVFILT_PROC,
            flags: libc::EV_ADD,
            fflags: libc::NOTE_EXIT,
            data: 0,
            udata: std::ptr::null_mut(),
        };
        let both = [exit_of(server), exit_of(worker)];
        let mut event = exit_of(server);
        // One that has ended already cannot be watched: the call then fails, or reports that at once.
        while libc::kevent(queue, both.as_ptr(), 2, &raw mut event, 1, std::ptr::null()) == -1
            && io::Error::last_os_error().raw_os_error() == Some(libc::EINTR)
        {}
        libc::kill(-worker, libc::SIGKILL);
        libc::_exit(0)
    }
}

pub(super) fn journal<S>() -> Option<super::Journal<S>> {
    None
}

pub(super) fn harden() -> Hardened {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let no_core_file = setrlimit(Resource::Core, none).is_ok();
    // SAFETY: numbers alone. No debugger may attach from now on.
    let unreadable = unsafe { libc::ptrace(libc::PT_DENY_ATTACH, 0, std::ptr::null_mut(), 0) } == 0;
    Hardened { unreadable, no_core_file, locked: false }
}

pub(super) fn notify(_notice: ServiceNotice) {}

pub(super) fn watchdog() -> Option<Duration> {
    None
}

pub(super) fn inherited_tcp(_address: SocketAddr) -> Option<TcpListener> {
    None
}

pub(super) fn inherited_unix(_path: &Path) -> Option<UnixListener> {
    None
}

pub(super) fn resident_memory(pid: u32) -> Option<u64> {
    usage(pid).map(|usage| usage.ri_resident_size)
}

pub(super) fn started(pid: u32) -> Option<u64> {
    usage(pid).map(|usage| usage.ri_proc_start_abstime)
}

fn usage(pid: u32) -> Option<libc::rusage_info_v2> {
    let pid = libc::c_int::try_from(pid).ok()?;
    // SAFETY: numbers alone, for which all zeros is a value.
    let mut usage: libc::rusage_info_v2 = unsafe { std::mem::zeroed() };
    // SAFETY: the structure is of the version that is asked for.
    let code = unsafe { libc::proc_pid_rusage(pid, libc::RUSAGE_INFO_V2, (&raw mut usage).cast()) };
    (code == 0).then_some(usage)
}

pub(super) fn runtime_folder_for_others() -> PathBuf {
    std::env::temp_dir()
}

pub(super) fn runtime_folder() -> PathBuf {
    // The user's own, made by the system, below /var/folders.
    std::env::temp_dir()
}

/// macOS has none that a program can rely on; the folder of the user's own is the best there is.
pub(super) fn memory_folder() -> Option<PathBuf> {
    Some(runtime_folder())
}

/// Sockets of macOS have files, or no address at all.
pub(super) fn name_of_peer(_stream: &tokio::net::UnixStream) -> Option<super::local::LocalName> {
    None
}

pub(super) fn system_config_folder() -> PathBuf {
    "/Library/Application Support".into()
}
