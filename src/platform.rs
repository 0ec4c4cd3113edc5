//! What differs between operating systems, behind one set of functions. Nothing else in the crate asks
//! which system it is on.
//!
//! | here | Linux | macOS | Windows |
//! | --- | --- | --- | --- |
//! | private files and folders | modes 0600 and 0700 | the same | an ACL for the owner alone |
//! | [`try_lock`] | `flock` | the same | one byte far behind a file's end |
//! | [`local`] connections | Unix sockets | Unix sockets | named pipes |
//! | [`spawn`], [`Group`] | process group, death signal | process group, watcher | job object |
//! | [`resident_memory`], [`started`] | `/proc` | `proc_pid_rusage` | process information |
//! | [`Signals`] | signals | signals | console events, service control |
//! | [`service`] | systemd | launchd | service control manager, Event Log |
//! | [`shells`] | PowerShell, bash, zsh, fish | the same | PowerShell |
//! | [`OtherUser`] | `setuid`, capabilities | none | none |
//! | [`home`], [`data_folder`] | `HOME`, XDG | `HOME`, `~/Library` | `USERPROFILE`, `LOCALAPPDATA` |

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{File, Metadata};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::process::{Child, Command};
use tracing_subscriber::layer::Layer;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "macos")]
mod macos;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
use linux as system;
#[cfg(target_os = "macos")]
use macos as system;
#[cfg(windows)]
use windows as system;

#[cfg(not(target_os = "linux"))]
mod no_other_user;

pub mod local;
mod other_user;
mod places;
pub mod service;
pub mod shells;
#[cfg(test)]
pub mod testing;

pub use other_user::{OtherUser, read_of_vaults, serve_vaults_of, vaults_of, with_files_of_vaults};
pub use places::{
    cache_folder, config_folder, data_folder, home, machine_name, memory_folder, own_folder, own_names,
    own_socket, own_socket_to_call, runtime_folder, runtime_folder_for_others, secret_store,
    system_config_folder, user_tag, variable, vault_registry,
};
pub use system::Signals;
pub use system::child::{PassedOn, TERMINATE};

/// What the system asks the program for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SystemEvent {
    /// Drain and end: SIGINT, SIGTERM; Ctrl-C, a console that closes, a service that is stopped.
    Stop,
    /// Read the configuration again: SIGHUP; a service's `paramchange`.
    Reload,
    /// Log the state: SIGUSR1.
    #[cfg_attr(windows, allow(dead_code, reason = "Windows has no such signal"))]
    Dump,
}

/// What a service manager is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceNotice {
    /// Requests are served.
    Ready,
    /// The configuration is read again; [`ServiceNotice::Ready`] follows.
    Reloading,
    /// It drains and ends.
    Stopping,
    /// It is alive: see [`watchdog`].
    Alive,
}

/// What keeps other programs of this user, and dead copies of the memory, away from secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hardened {
    /// No other program of this user may read the memory or the environment.
    pub unreadable: bool,
    /// A crash leaves no core file, also of the programs that are started.
    pub no_core_file: bool,
    /// Memory is not written to swap. Only where the system sets no limit to locked memory.
    pub locked: bool,
}

/// Who owns a file or folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileOwner {
    /// The user that this program runs as.
    Us,
    /// The system's own: root; SYSTEM or the administrators.
    System,
    /// Somebody else, as the system shows users: a number or a name.
    Other(String),
}

impl fmt::Display for FileOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileOwner::Us => f.write_str("this user"),
            FileOwner::System => f.write_str("the system"),
            FileOwner::Other(name) => f.write_str(name),
        }
    }
}

/// Who may use a file or folder. The owner and the system's own accounts are not counted among others:
/// nothing keeps those out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileAccess {
    /// Its owner.
    pub owner: FileOwner,
    /// Others may read it, or list it.
    pub others_read: bool,
    /// Others may change it.
    pub others_write: bool,
    /// Others who may write to a folder may add files to it, and not replace or remove those of its owner.
    pub sticky: bool,
    /// How the system shows it: `mode 0644`, `Everyone may read it`.
    pub shown: String,
}

/// What a file or folder is, for who may use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
}

/// A user of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Where its home is.
    pub home: PathBuf,
}

// === files and folders ===

/// How many bytes this user may still write to the disk that a folder is on, where the system tells.
pub fn free_space(folder: &Path) -> Option<u64> {
    system::free_space(folder)
}

/// The user of this name, where the system's database of users has it.
pub fn account(name: &str) -> Option<Account> {
    system::account(name)
}

/// Makes a file that only its owner may use, from its first moment on. One that exists is an error.
/// Open for reading and writing.
pub fn create_private_file(path: &Path) -> io::Result<File> {
    system::create_private_file(path)
}

/// Makes a folder that only its owner may use, from its first moment on. One that exists is an error.
pub fn create_private_folder(path: &Path) -> io::Result<()> {
    system::create_private_folder(path)
}

/// Lets those use an open file, which is at this path, who may use another file.
pub fn open_as(file: &File, path: &Path, other: &Path) -> io::Result<()> {
    system::open_as(file, path, other)
}

/// What lets others read a file that is being made, where files have that by themselves: mode 0644 less the umask.
pub fn readable_by_others() -> Option<std::fs::Permissions> {
    system::readable_by_others()
}

/// Lets others look into a folder: mode 0755. Where a folder is open by that of the folder above it (Windows), nothing is done.
pub fn open_folder_to_others(folder: &Path) -> io::Result<()> {
    system::open_folder_to_others(folder)
}

/// Who may use an open file or folder.
pub fn access_of(file: &File) -> io::Result<FileAccess> {
    system::access_of(file)
}

/// Who may use the file or folder at a path; links are followed.
pub fn access_at(path: &Path) -> io::Result<FileAccess> {
    system::access_at(path)
}

/// The command that leaves a file or folder to its owner alone, for a person to run.
pub fn command_to_close(path: &Path, kind: FileKind) -> String {
    system::command_to_close(path, kind)
}

/// The command that keeps others from changing a file or folder, for a person to run.
pub fn command_to_protect(path: &Path, kind: FileKind) -> String {
    system::command_to_protect(path, kind)
}

/// The command that makes a file or folder this user's own, for a person to run.
pub fn command_to_own(path: &Path) -> String {
    system::command_to_own(path)
}

/// Opens a file for reading. A pipe at the path does not make this wait for its writer.
pub fn open_without_waiting(path: &Path) -> io::Result<File> {
    system::open_without_waiting(path)
}

/// Makes renames in a folder last through a crash. Where a folder cannot be synced (Windows), a rename is
/// on disk when it returns or soon after.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    system::sync_folder(folder)
}

/// Tells one file from another for as long as one of the two is held open. `None` where the system tells no
/// such number of a path; [`is_at`] says it of an open file everywhere.
pub fn identity(about: &Metadata) -> Option<(u64, u64)> {
    system::identity(about)
}

/// The path of a file or folder without links and `..`, as people and programs write it: on Windows without the
/// `\\?\` that PowerShell and other programs do not take everywhere, unless it is too long for that.
pub fn real_path(path: &Path) -> io::Result<PathBuf> {
    system::real_path(path)
}

/// Puts a file in the place of another, also while others read that one. On Windows this may take a moment:
/// virus scanners hold new files for themselves.
pub fn replace(from: &Path, to: &Path) -> io::Result<()> {
    system::replace(from, to)
}

/// Whether a path still leads to a file that is open. `false` where nothing is there.
pub fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    match system::is_at(file, path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        outcome => outcome,
    }
}

/// Takes a lock that only one holder of an open file has, among all processes; `false` if it is taken. It is
/// given back by [`unlock`], by closing the file, and when the process ends. Who does not ask for it reads and
/// writes the file as before.
pub fn try_lock(file: &File) -> io::Result<bool> {
    system::try_lock(file)
}

/// Gives a lock back. Closing alone is not enough: a child that is being started shares it until it runs.
pub fn unlock(file: &File) {
    system::unlock(file);
}

// === processes ===

/// A program with all the programs that it starts.
pub struct Group(system::Group);

/// Starts a program in a group of its own. The group ends when this program does, however it ends: on
/// Linux when the thread ends that called this, so call it from one that lives as long as the group
/// should; on Windows also when the [`Group`] is dropped.
pub fn spawn(command: &mut Command) -> io::Result<(Child, Group)> {
    system::spawn(command).map(|(child, group)| (child, Group(group)))
}

impl Group {
    /// Kills all of it at once. Does nothing if it is gone.
    pub fn kill(&self) {
        self.0.kill();
    }
}

/// A program with all that it starts, which is asked to end, and killed, as one. It outlives this program.
pub struct ProcessJob(system::job::ProcessJob);

/// Starts a program as a [`ProcessJob`]. Where this program has the terminal, the job gets it until the [`ProcessJob`] is dropped.
/// Needs a tokio runtime around it.
pub fn spawn_job(command: &mut Command) -> io::Result<(Child, ProcessJob)> {
    system::job::ProcessJob::spawn(command).map(|(child, job)| (child, ProcessJob(job)))
}

/// Whether we read from a terminal that other programs of a pipeline need too, so that no job can have it for itself.
pub fn shares_terminal() -> bool {
    system::job::shares_terminal()
}

impl ProcessJob {
    /// Sends a signal to all of it; on Windows Ctrl-Break. Does nothing if it is gone.
    pub fn signal(&self, number: i32) {
        self.0.signal(number);
    }

    /// Kills all of it at once. Does nothing if it is gone.
    pub fn kill(&self) {
        self.0.kill();
    }

    /// Whether nobody of it is left. Only to be asked when the program itself has been waited for.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Stops and goes on with the job, as Ctrl-Z and a shell's `fg` ask. Never ends.
    pub async fn mind_terminal(&mut self) {
        self.0.mind_terminal().await
    }
}

/// Resident memory of a process, in bytes, where the system tells.
pub fn resident_memory(pid: u32) -> Option<u64> {
    system::resident_memory(pid)
}

/// How many files this process may have open at once, where that is limited.
pub fn most_open_files() -> Option<u64> {
    system::most_open_files()
}

/// When a process started, in the system's own ticks: with the pid it names one process for ever.
/// `None` where there is no such process.
pub fn started(pid: u32) -> Option<u64> {
    system::started(pid)
}

/// Ends this program at once, as a kill from outside does: nothing is flushed, and no exit code is chosen.
/// For tests of what that leaves behind.
#[cfg(feature = "fake-pwsh")]
pub fn kill_self() -> ! {
    system::kill_self()
}

/// Two streams to a program's standard streams, which no program can open again by a path.
pub struct Channel(system::Channel);

/// What a program writes.
pub type ChannelReader = Box<dyn AsyncRead + Send + Unpin>;

/// What a program reads.
pub type ChannelWriter = Box<dyn AsyncWrite + Send + Unpin>;

impl Channel {
    /// Makes the program's standard input and output ends of a channel. Where the system has sockets that
    /// programs can inherit, it is made of them: a pipe could be opened once more through `/proc`.
    pub fn attach(command: &mut Command) -> io::Result<Channel> {
        system::Channel::attach(command).map(Channel)
    }

    /// Our ends, once the program runs. Needs a tokio runtime around it.
    pub fn open(self, child: &mut Child) -> io::Result<(ChannelReader, ChannelWriter)> {
        self.0.open(child)
    }
}

/// Closes this program's memory to other programs of the user, as far as the system can. Call it first.
pub fn harden() -> Hardened {
    system::harden()
}

/// Overwrites a variable in this program's environment, where the system shows it to other programs.
pub fn forget_variable(name: &str) {
    system::forget_variable(name);
}

// === service managers ===

/// A log of spans and events for the system's own journal.
pub type Journal<S> = Box<dyn Layer<S> + Send + Sync>;

/// The system's journal, where standard error goes there: it keeps level, target and fields apart.
pub fn journal<S>() -> Option<Journal<S>>
where
    S: tracing::Subscriber + for<'span> tracing_subscriber::registry::LookupSpan<'span>,
{
    system::journal()
}

/// Tells the service manager, if there is one that wants to know.
pub fn notify(notice: ServiceNotice) {
    system::notify(notice);
}

/// How often the service manager wants to hear [`ServiceNotice::Alive`] at least, if it does.
pub fn watchdog() -> Option<Duration> {
    system::watchdog()
}

/// The listening socket that the service manager has bound to this address already, if it has. It is given
/// once.
pub fn inherited_tcp(address: SocketAddr) -> Option<TcpListener> {
    system::inherited_tcp(address)
}

/// Makes ready to bind a listening socket: a restart does not wait for connections of the last run to time out,
/// and no other program can listen on the same address beside us.
pub fn claim_address(socket: &socket2::Socket) -> io::Result<()> {
    system::socket::claim_address(socket)
}

/// Sends a signal to a process, where the system has signals. Does nothing if it is gone.
pub fn send_signal(pid: u32, number: i32) {
    system::child::send_signal(pid, number);
}

/// The program that a word of a command line means. On Windows also one that is no `.exe`, such as a script of
/// the command prompt, by PATH and PATHEXT; elsewhere the system finds it by itself.
pub fn program(word: &OsStr) -> OsString {
    system::child::program(word)
}

/// The exit code that a shell would tell: the program's own, or 128 and the number of the signal that ended it. On
/// Windows it may be any number of 32 bits.
pub fn exit_code(status: std::process::ExitStatus) -> i32 {
    system::child::exit_code(status)
}

/// Makes a symbolic link to a file. One that exists is an error.
pub fn link_file(file: &Path, place: &Path) -> io::Result<()> {
    system::child::link_file(file, place)
}

#[cfg(test)]
mod tests;
