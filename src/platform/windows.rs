//! Windows' ways.

// The system's own functions are foreign ones. Each call says why it is sound.
#![allow(unsafe_code)]

use std::fs::Metadata;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

use super::{ChannelReader, ChannelWriter, FileKind, Hardened, ServiceNotice};

pub(super) use super::no_other_user::OtherUser;

mod access;
pub(super) mod child;
mod events;
mod files;
mod group;
pub(super) mod job;
mod names;
pub(super) mod service;
mod sid;
pub(super) mod socket;
#[cfg(test)]
pub(super) mod testing;
mod text;

pub(super) use access::{access_at, access_of, create_private_file, create_private_folder, open_as};
pub use events::Signals;
pub(super) use files::{
    free_space, is_at, open_without_waiting, real_path, replace, try_lock, unlock, user_modules,
};
pub(super) use group::Group;

pub(super) const MANAGER: super::service::Manager = super::service::Manager::Scm;
pub(super) const HOME: &str = "USERPROFILE";
pub(super) const DATA: &str = "LOCALAPPDATA";
pub(super) const CACHE: &str = DATA;
pub(super) const DATA_BELOW_HOME: &str = r"AppData\Local";
pub(super) const CONFIG: &str = "APPDATA";
pub(super) const CONFIG_BELOW_HOME: &str = r"AppData\Roaming";
pub(super) const CACHE_BELOW_HOME: &str = DATA_BELOW_HOME;

/// What rights are passed on to what is in a folder.
fn passed_on(kind: FileKind) -> &'static str {
    match kind {
        FileKind::File => "",
        FileKind::Folder => "(OI)(CI)",
    }
}

// Users stand in the commands by number: `%USERNAME%` means nothing to PowerShell, and the `$` at the end of a service
// account's name means something else there.

pub(super) fn command_to_close(path: &Path, kind: FileKind) -> String {
    // A grant takes nothing from others that the file has been given for itself.
    let others: String =
        access::others_at(path, true).unwrap_or_default().iter().map(|sid| format!(" \"*{sid}\"")).collect();
    let removed = if others.is_empty() { others } else { format!(" /remove:g{others}") };
    let (us, passed_on) = (user_tag(), passed_on(kind));
    format!("icacls \"{}\" /inheritance:r{removed} /grant:r \"*{us}:{passed_on}F\"", path.display())
}

/// What others may do becomes reading.
pub(super) fn command_to_protect(path: &Path, kind: FileKind) -> String {
    let others = access::others_at(path, false).unwrap_or_default();
    if others.is_empty() {
        return command_to_close(path, kind);
    }
    let passed_on = passed_on(kind);
    let grants: String = others.iter().map(|sid| format!(" \"*{sid}:{passed_on}RX\"")).collect();
    format!("icacls \"{}\" /inheritance:d /grant:r{grants}", path.display())
}

pub(super) fn command_to_own(path: &Path) -> String {
    format!("icacls \"{}\" /setowner \"*{}\"", path.display(), user_tag())
}

pub(super) fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

pub(super) fn identity(_about: &Metadata) -> Option<(u64, u64)> {
    None
}

pub(super) fn most_open_files() -> Option<u64> {
    None
}

pub(super) fn resident_memory(pid: u32) -> Option<u64> {
    use windows_sys::Win32::System::ProcessStatus::{K32GetProcessMemoryInfo, PROCESS_MEMORY_COUNTERS};
    let process = open_process(pid, 0)?;
    let size = size_of::<PROCESS_MEMORY_COUNTERS>() as u32;
    let mut counters = PROCESS_MEMORY_COUNTERS { cb: size, ..PROCESS_MEMORY_COUNTERS::default() };
    // SAFETY: the handle is open, and the structure is ours and of the size given.
    let done = unsafe { K32GetProcessMemoryInfo(process.as_raw_handle(), &raw mut counters, size) };
    (done != 0).then_some(counters.WorkingSetSize as u64)
}

pub(super) fn started(pid: u32) -> Option<u64> {
    use windows_sys::Win32::Foundation::{FILETIME, WAIT_TIMEOUT};
    use windows_sys::Win32::System::Threading::{GetProcessTimes, PROCESS_SYNCHRONIZE, WaitForSingleObject};
    let process = open_process(pid, PROCESS_SYNCHRONIZE)?;
    let mut times = [FILETIME::default(); 4];
    let [begin, end, kernel, user] = &mut times;
    // The number of a process that has ended stays taken for as long as somebody holds a handle to it. Its exit code
    // does not tell that it runs: 259 is what the system says of one that does, and what any program may end with.
    // SAFETY: the handle is open, and all that is written to is ours.
    let alive = unsafe {
        GetProcessTimes(process.as_raw_handle(), begin, end, kernel, user) != 0
            && WaitForSingleObject(process.as_raw_handle(), 0) == WAIT_TIMEOUT
    };
    alive.then(|| u64::from(begin.dwHighDateTime) << 32 | u64::from(begin.dwLowDateTime))
}

fn open_process(pid: u32, more: u32) -> Option<OwnedHandle> {
    use windows_sys::Win32::System::Threading::{OpenProcess, PROCESS_QUERY_LIMITED_INFORMATION};
    // SAFETY: takes numbers alone.
    let handle = unsafe { OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION | more, 0, pid) };
    // SAFETY: a handle that was just opened, and is nobody else's.
    (!handle.is_null()).then(|| unsafe { OwnedHandle::from_raw_handle(handle) })
}

pub(super) fn spawn(command: &mut Command) -> io::Result<(Child, Group)> {
    Group::spawn(command)
}

#[cfg(feature = "fake-pwsh")]
pub(super) fn kill_self() -> ! {
    use windows_sys::Win32::System::Threading::{GetCurrentProcess, TerminateProcess};
    // SAFETY: the pseudo handle is always good.
    unsafe { TerminateProcess(GetCurrentProcess(), group::KILLED) };
    std::process::abort()
}

/// Pipes with one instance each, which is taken: by their name they cannot be opened again, and the worker's handles are
/// given to nobody.
pub(super) struct Channel;

impl Channel {
    pub(super) fn attach(command: &mut Command) -> io::Result<Channel> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Ok(Channel)
    }

    pub(super) fn open(self, child: &mut Child) -> io::Result<(ChannelReader, ChannelWriter)> {
        match (child.stdout.take(), child.stdin.take()) {
            (Some(reader), Some(writer)) => Ok((Box::new(reader), Box::new(writer))),
            _ => Err(io::Error::other("no pipes")),
        }
    }
}

pub(super) fn journal<S>() -> Option<super::Journal<S>> {
    None
}

pub(super) fn harden() -> Hardened {
    use windows_sys::Win32::System::Diagnostics::Debug::{
        SEM_FAILCRITICALERRORS, SEM_NOGPFAULTERRORBOX, SetErrorMode,
    };
    // SAFETY: takes a number alone. A crash leaves no dump and asks nobody; workers inherit it.
    unsafe { SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX) };
    keep_standard_handles();
    // Programs of the same user may open each other's memory here: that is the system's own rule.
    Hardened { unreadable: false, no_core_file: true, locked: false }
}

/// The streams that whoever started this program has given it are not passed on to workers, which have their own.
/// A program that is started to share them is given copies all the same.
fn keep_standard_handles() {
    use windows_sys::Win32::Foundation::{HANDLE_FLAG_INHERIT, SetHandleInformation};
    use windows_sys::Win32::System::Console::{
        GetStdHandle, STD_ERROR_HANDLE, STD_INPUT_HANDLE, STD_OUTPUT_HANDLE,
    };
    for number in [STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, STD_ERROR_HANDLE] {
        // SAFETY: takes numbers alone. A stream that is not there, or a console of an old kind, is left as it is.
        unsafe { SetHandleInformation(GetStdHandle(number), HANDLE_FLAG_INHERIT, 0) };
    }
}

pub(super) fn forget_variable(name: &str) {
    // SAFETY: on Windows the environment may be changed at any time.
    unsafe { std::env::remove_var(name) };
}

pub(super) fn notify(notice: ServiceNotice) {
    service::told(notice);
}

pub(super) fn watchdog() -> Option<Duration> {
    None
}

pub(super) fn inherited_tcp(_address: SocketAddr) -> Option<TcpListener> {
    None
}

/// Windows has none; the folder of the user's own is the best there is.
pub(super) fn memory_folder() -> Option<PathBuf> {
    Some(runtime_folder())
}

pub(super) fn runtime_folder_for_others() -> PathBuf {
    std::env::temp_dir()
}

pub(super) fn runtime_folder() -> PathBuf {
    std::env::temp_dir()
}

pub(super) fn user_tag() -> String {
    sid::Sid::of_user().and_then(|sid| sid.text()).unwrap_or_else(|_| "user".to_owned())
}

pub(super) fn own_socket() -> Option<PathBuf> {
    let home = super::places::fingerprint(&crate::local::default_folder()?);
    Some(format!(r"\\.\pipe\secretbridge-{}-{home:08x}", user_tag()).into())
}

/// The whole name: `COMPUTERNAME` has its first 15 letters.
pub(super) fn machine_name() -> Option<String> {
    names::of_machine().or_else(names::from_before_dns)
}

/// A profile is where the profiles of all users are.
pub(super) fn account(name: &str) -> Option<super::Account> {
    let home = super::home()?.parent()?.join(name);
    home.is_dir().then_some(super::Account { home })
}

pub(super) fn readable_by_others() -> Option<std::fs::Permissions> {
    None
}

pub(super) fn open_folder_to_others(_folder: &Path) -> io::Result<()> {
    Ok(())
}

pub(super) fn system_config_folder() -> PathBuf {
    super::variable("ProgramData").unwrap_or_else(|| r"C:\ProgramData".into())
}

/// The domain of this machine, and that of its user. A service is told neither in its environment.
pub(super) fn domains() -> Vec<String> {
    names::domain_of_machine().into_iter().chain(std::env::var("USERDNSDOMAIN").ok()).collect()
}

/// Windows asks its name service; the list of hosts is for other machines there.
pub(super) fn names_in_hosts() -> Vec<String> {
    names::from_before_dns().into_iter().collect()
}

pub(super) fn home_from_database() -> Option<PathBuf> {
    std::env::home_dir()
}

pub(super) fn secret_management() -> PathBuf {
    super::data_folder().unwrap_or_default().join(r"Microsoft\PowerShell\secretmanagement")
}
