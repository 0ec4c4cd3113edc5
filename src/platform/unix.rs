//! What Linux and macOS have in common.

// No crate gives the environment's memory a safe interface.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown,
};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, geteuid, getuid, kill_process_group};

use super::{Account, FileAccess, FileKind, FileOwner};

mod channel;
pub(super) mod child;
pub(super) mod job;
pub(super) mod service;
mod signals;
pub(super) mod socket;
#[cfg(test)]
pub(super) mod testing;

pub(super) use channel::Channel;
pub use signals::Signals;

pub(super) const HOME: &str = "HOME";
pub(super) const DATA: &str = "XDG_DATA_HOME";
pub(super) const CONFIG: &str = "XDG_CONFIG_HOME";
pub(super) const CACHE: &str = "XDG_CACHE_HOME";

pub(super) fn create_private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

pub(super) fn create_private_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(path)
}

pub(super) fn free_space(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

pub(super) fn account(name: &str) -> Option<Account> {
    // The user database is more than a file: directories, such as LDAP's, and macOS's own are in it too.
    let user = nix::unistd::User::from_name(name).ok()??;
    Some(user.dir).filter(|home| !home.as_os_str().is_empty()).map(|home| Account { home })
}

pub(super) fn home_from_database() -> Option<PathBuf> {
    let user = nix::unistd::User::from_uid(nix::unistd::getuid()).ok()??;
    Some(user.dir).filter(|home| !home.as_os_str().is_empty())
}

pub(super) fn readable_by_others() -> Option<fs::Permissions> {
    Some(fs::Permissions::from_mode(0o644))
}

pub(super) fn open_folder_to_others(folder: &Path) -> io::Result<()> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
}

pub(super) fn access_of(file: &File) -> io::Result<FileAccess> {
    Ok(access(&file.metadata()?))
}

pub(super) fn access_at(path: &Path) -> io::Result<FileAccess> {
    Ok(access(&fs::metadata(path)?))
}

fn access(about: &Metadata) -> FileAccess {
    let owner = match about.uid() {
        uid if uid == geteuid().as_raw() => FileOwner::Us,
        0 => FileOwner::System,
        uid => FileOwner::Other(uid.to_string()),
    };
    let mode = about.mode() & 0o7777;
    FileAccess {
        owner,
        // To search a folder or run a file is to use what is in it.
        others_read: mode & 0o055 != 0,
        others_write: mode & 0o022 != 0,
        sticky: about.is_dir() && mode & 0o1000 != 0,
        shown: format!("mode {mode:04o}"),
    }
}

pub(super) fn command_to_close(path: &Path, kind: FileKind) -> String {
    let mode = match kind {
        FileKind::File => 600,
        FileKind::Folder => 700,
    };
    format!("chmod {mode} {}", quoted(path))
}

pub(super) fn command_to_protect(path: &Path, _kind: FileKind) -> String {
    format!("chmod go-w {}", quoted(path))
}

pub(super) fn command_to_own(path: &Path) -> String {
    format!("chown {} {}", geteuid().as_raw(), quoted(path))
}

/// As a shell takes it.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

pub(super) fn open_without_waiting(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)
}

pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

pub(super) fn identity(about: &Metadata) -> Option<(u64, u64)> {
    Some((about.dev(), about.ino()))
}

pub(super) fn real_path(path: &Path) -> io::Result<PathBuf> {
    fs::canonicalize(path)
}

pub(super) fn replace(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

pub(super) fn open_as(file: &File, _path: &Path, other: &Path) -> io::Result<()> {
    let other = fs::metadata(other)?;
    // Only the administrator may give a file away; to a group of ours we may give it. A mode for a group is for that
    // group alone.
    let of_group = fchown(file, None, Some(other.gid()));
    let _ = fchown(file, Some(other.uid()), None);
    let lost = if of_group.is_err() && file.metadata()?.gid() != other.gid() { 0o070 } else { 0 };
    file.set_permissions(fs::Permissions::from_mode(other.mode() & 0o7777 & !lost))
}

pub(super) fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    Ok(identity(&file.metadata()?) == identity(&fs::metadata(path)?))
}

pub(super) fn try_lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

pub(super) fn unlock(file: &File) {
    // The only failure is that it is not locked.
    let _ = file.unlock();
}

/// A process group, by its leader.
pub(super) struct Group(Option<Pid>);

impl Group {
    pub(super) fn of(leader: Option<u32>) -> Group {
        Group(leader.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }

    pub(super) fn kill(&self) {
        if let Some(leader) = self.0 {
            // It fails only if no process of the group is left.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

#[cfg(feature = "fake-pwsh")]
pub(super) fn kill_self() -> ! {
    let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
    std::process::abort()
}

/// Overwrites the value where it stands in the block of memory that the system shows as the environment.
pub(super) fn forget_variable(name: &str) {
    let Ok(name) = CString::new(name) else { return };
    // SAFETY: the value ends with a zero, and stays where it is as long as nobody sets the variable, which
    // this program never does. Whoever reads it meanwhile sees a part of it, or nothing.
    unsafe {
        let value = libc::getenv(name.as_ptr());
        if !value.is_null() {
            for at in 0..libc::strlen(value) {
                value.add(at).write_volatile(0);
            }
        }
    }
}

pub(super) fn user_tag() -> String {
    getuid().as_raw().to_string()
}

/// The longest path that a socket's address holds, in bytes, with the NUL after it.
const LONGEST_SOCKET: usize = 104;

pub(super) fn own_socket() -> Option<PathBuf> {
    let folder = super::runtime_folder();
    let of_session = super::variable("XDG_RUNTIME_DIR").is_some_and(|session| session == folder);
    let name = match of_session {
        true => "server.sock".to_owned(),
        // The folder is the same for every HOME of the user, and each HOME has a server of its own.
        false => format!("server-{:08x}.sock", super::places::fingerprint(&crate::local::default_folder()?)),
    };
    let path = super::own_folder().join(name);
    (path.as_os_str().len() < LONGEST_SOCKET).then_some(path)
}

pub(super) fn machine_name() -> Option<String> {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Some(name).filter(|name| !name.is_empty())
}

/// The domains in which this machine looks up short names.
pub(super) fn domains() -> Vec<String> {
    let text = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let of = |line: &str| {
        let mut words = line.split_whitespace();
        let wanted = matches!(words.next(), Some("search" | "domain"));
        words.filter(|_| wanted).map(str::to_owned).collect::<Vec<_>>()
    };
    text.lines().flat_map(of).collect()
}

/// The names that this machine's list of hosts gives to its loopback addresses and to addresses of its own.
pub(super) fn names_in_hosts() -> Vec<String> {
    let text = fs::read_to_string("/etc/hosts").unwrap_or_default();
    let own = |address: &str| {
        let address: std::net::IpAddr = address.parse().ok()?;
        // If it can be bound, it belongs to this user.
        let ours = address.is_loopback() || std::net::UdpSocket::bind((address, 0)).is_ok();
        ours.then_some(())
    };
    let of = |line: &str| {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let ours = words.next().and_then(own).is_some();
        words.filter(|_| ours).map(str::to_owned).collect::<Vec<_>>()
    };
    text.lines().flat_map(of).collect()
}

pub(super) fn secret_management() -> PathBuf {
    let of_vaults = super::vaults_of().map(|user| user.home().to_owned());
    of_vaults.or_else(super::home).unwrap_or_default().join(".secretmanagement")
}

pub(super) fn most_open_files() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}
