//! Linux's ways.

// Only `pre_exec` can set the signal that ends a worker with its parent.
#![allow(unsafe_code)]

use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::FromRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Signal, getuid, set_parent_process_death_signal};
use socket2::{SockAddr, Socket};
use tokio::process::{Child, Command};

use super::unix;
use super::{FileAccess, Hardened, ServiceNotice};

mod acl;

mod other_user;

pub(super) use other_user::OtherUser;

pub use super::unix::Signals;
pub(super) use super::unix::*;

pub(super) const MANAGER: super::service::Manager = super::service::Manager::Systemd;
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
            // The parent may have ended before the signal was set.
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

pub(super) fn access_of(file: &File) -> io::Result<FileAccess> {
    let list = |buffer: &mut [u8]| rustix::fs::fgetxattr(file, acl::ATTRIBUTE, buffer);
    Ok(with_list(unix::access_of(file)?, list))
}

pub(super) fn access_at(path: &Path) -> io::Result<FileAccess> {
    let list = |buffer: &mut [u8]| rustix::fs::getxattr(path, acl::ATTRIBUTE, buffer);
    Ok(with_list(unix::access_at(path)?, list))
}

/// What the mode alone does not tell.
fn with_list(access: FileAccess, list: impl FnOnce(&mut [u8]) -> rustix::io::Result<usize>) -> FileAccess {
    if !access.others_read && !access.others_write {
        return access;
    }
    // A longer one names more than one reader in any case.
    let mut buffer = [0; 256];
    let found = list(&mut buffer).ok().and_then(|length| buffer.get(..length));
    match found.and_then(|list| acl::of_others(list, rustix::process::geteuid().as_raw())) {
        Some(may) => FileAccess { others_read: may & 0o5 != 0, others_write: may & 0o2 != 0, ..access },
        None => access,
    }
}

/// Standard error is the journal where it is the socket that `JOURNAL_STREAM` names.
pub(super) fn journal<S>() -> Option<super::Journal<S>>
where
    S: tracing::Subscriber + for<'span> tracing_subscriber::registry::LookupSpan<'span>,
{
    let named = std::env::var("JOURNAL_STREAM").ok()?;
    let stderr = rustix::fs::fstat(rustix::stdio::stderr()).ok()?;
    if named != format!("{}:{}", stderr.st_dev, stderr.st_ino) {
        return None;
    }
    let layer = tracing_journald::layer().ok()?.with_field_prefix(Some("SECRETBRIDGE".to_owned()));
    Some(Box::new(layer.with_syslog_identifier("secretbridge".to_owned())))
}

pub(super) fn harden() -> Hardened {
    use rustix::mm::{MlockAllFlags, mlockall};
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    // Locked page by page as it is used: all at once would also lock what is only reserved.
    let all = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    Hardened {
        unreadable: set_dumpable_behavior(DumpableBehavior::NotDumpable).is_ok(),
        no_core_file: setrlimit(Resource::Core, none).is_ok(),
        // Under a limit, locking would make allocations fail once it is reached.
        locked: rustix::process::getrlimit(Resource::Memlock).current.is_none() && mlockall(all).is_ok(),
    }
}

pub(super) fn notify(notice: ServiceNotice) {
    use sd_notify::NotifyState;
    let told = match notice {
        ServiceNotice::Ready => sd_notify::notify(&[NotifyState::Ready]),
        ServiceNotice::Stopping => sd_notify::notify(&[NotifyState::Stopping]),
        ServiceNotice::Alive => sd_notify::notify(&[NotifyState::Watchdog]),
        ServiceNotice::Reloading => NotifyState::monotonic_usec_now()
            .and_then(|now| sd_notify::notify(&[NotifyState::Reloading, now])),
    };
    if let Err(error) = told {
        tracing::warn!(%error, ?notice, "the service manager could not be told");
    }
}

pub(super) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// The sockets that systemd has bound, until somebody asks for them.
static INHERITED: Mutex<Option<Vec<Socket>>> = Mutex::new(None);

pub(super) fn inherited_tcp(address: SocketAddr) -> Option<TcpListener> {
    inherited(|bound| bound.as_socket() == Some(address)).map(Into::into)
}

pub(super) fn inherited_unix(path: &Path) -> Option<UnixListener> {
    inherited(|bound| bound.as_pathname() == Some(path)).map(Into::into)
}

fn inherited(is_wanted: impl Fn(&SockAddr) -> bool) -> Option<Socket> {
    let mut sockets = INHERITED.lock().unwrap_or_else(PoisonError::into_inner);
    let sockets = sockets.get_or_insert_with(|| {
        let numbers = sd_notify::listen_fds().into_iter().flatten();
        // SAFETY: systemd's promise that these are open and for this program alone; they are taken once.
        numbers.map(|number| unsafe { Socket::from_raw_fd(number) }).collect()
    });
    let at = sockets.iter().position(|socket| socket.local_addr().is_ok_and(|bound| is_wanted(&bound)))?;
    Some(sockets.swap_remove(at))
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
    from_session.unwrap_or_else(runtime_folder_for_others)
}

pub(super) fn runtime_folder_for_others() -> PathBuf {
    let shared_memory = Some(PathBuf::from("/dev/shm")).filter(|folder| is_writable(folder));
    shared_memory.unwrap_or_else(std::env::temp_dir)
}

pub(super) fn memory_folder() -> Option<PathBuf> {
    [runtime_folder(), runtime_folder_for_others()].into_iter().find(|folder| is_in_memory(folder))
}

/// Whether a folder is of a file system without a disk: tmpfs or ramfs, by their numbers in `statfs(2)`.
fn is_in_memory(folder: &Path) -> bool {
    const TMPFS: i128 = 0x0102_1994;
    const RAMFS: i128 = 0x8584_58f6;
    rustix::fs::statfs(folder).is_ok_and(|found| [TMPFS, RAMFS].contains(&i128::from(found.f_type)))
}

/// The abstract name that the other end has bound itself to. What accepting tells of it is not the whole.
pub(super) fn name_of_peer(stream: &tokio::net::UnixStream) -> Option<super::local::LocalName> {
    let address = rustix::net::getpeername(stream).ok()??;
    let address = rustix::net::SocketAddrUnix::try_from(address).ok()?;
    address.abstract_name().map(Into::into)
}

pub(super) fn system_config_folder() -> PathBuf {
    "/etc".into()
}

/// Whether a folder is this user's own.
fn is_ours(folder: &Path) -> bool {
    fs::metadata(folder).is_ok_and(|found| found.is_dir() && found.uid() == getuid().as_raw())
}

fn is_writable(folder: &Path) -> bool {
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_a_list_opens_to_us_alone_is_private_and_one_that_names_others_is_not() {
        use rustix::fs::{XattrFlags, setxattr};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credential");
        crate::private_file::write_private_new(&path, b"handed over").unwrap();
        let us = rustix::process::geteuid().as_raw();
        let none = u32::MAX;
        for (who, is_private) in [(us, true), (us + 1, false)] {
            let list = acl::tests::list(&[(0x02, 4, who), (0x04, 0, none), (0x10, 4, none), (0x20, 0, none)]);
            if setxattr(&path, acl::ATTRIBUTE, &list, XattrFlags::empty()).is_err() {
                // The disk has no such lists.
                return;
            }
            let access = unix::access_at(&path).unwrap();
            assert!(access.others_read && access.shown == "mode 0440", "{}", access.shown);
            assert_eq!(!access_at(&path).unwrap().others_read, is_private);
            assert_eq!(crate::private_file::read_private(&path).is_ok(), is_private);
        }
    }
}
