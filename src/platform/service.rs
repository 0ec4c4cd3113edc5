//! This program as a service of the system: Windows' service manager, systemd, launchd.
//!
//! What has to be done is decided as a list of [`Step`]s, purely and alike on every system, so that it can be
//! shown before it is done and tested anywhere. [`perform`] does one step and asks the system.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::system;

pub mod events;
pub mod launchd;
pub mod phase;
pub mod scm;
pub mod systemd;
#[cfg(test)]
mod tests;

/// The longest name of a service, in characters.
const LONGEST_NAME: usize = 80;

/// What looks after services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manager {
    /// Windows' service control manager.
    Scm,
    /// systemd.
    Systemd,
    /// macOS' launchd.
    Launchd,
}

/// What is to be a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedService {
    /// The service's name.
    pub name: String,
    /// This program, an absolute path.
    pub program: String,
    /// What it is started with.
    pub arguments: Vec<String>,
    /// The account that it runs as, where not the manager's own choice.
    pub account: Option<String>,
    /// A service of this user alone, and the user's home.
    pub of_user: Option<PathBuf>,
    /// Start it now.
    pub start: bool,
    /// Where files for all users are: `%ProgramData%`; read on Windows alone.
    pub shared_data: PathBuf,
}

/// A registration with Windows' service control manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The service's name.
    pub name: String,
    /// The program.
    pub program: String,
    /// What it is started with.
    pub arguments: Vec<String>,
    /// The account, as the manager takes it.
    pub account: String,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceStep {
    /// Make a system account with this name and home, unless there is one of that name.
    Account {
        /// Its name.
        name: String,
        /// Its home.
        home: String,
    },
    /// Write a file that everybody may read, in place of one that is there.
    File {
        /// Where.
        path: PathBuf,
        /// What.
        text: String,
    },
    /// Remove a file. That it is gone already is no error.
    Remove(PathBuf),
    /// Run a program of the system.
    Run(Vec<String>),
    /// Run a program of the system; that it fails is no error.
    Try(Vec<String>),
    /// Register with Windows' service control manager: delayed automatic start, and a restart after a failure.
    Register(Registration),
    /// Let an account log on as a service.
    Right(String),
    /// Make a folder for the system, its administrators and this account.
    Folder {
        /// Where.
        path: PathBuf,
        /// The account.
        account: String,
    },
    /// Make a new bearer token in a file that the system, its administrators and this account may read. One
    /// that is there stays.
    Token {
        /// Where.
        path: PathBuf,
        /// The account.
        account: String,
    },
    /// Make an empty file that this account may write to, and read beside it the system and its
    /// administrators. One that is there stays.
    Log {
        /// Where.
        path: PathBuf,
        /// The account.
        account: String,
    },
    /// Register the source of the service's events in the Event Log.
    EventSource(String),
    /// Forget the source again.
    RemoveEventSource(String),
    /// Have Windows' service control manager start it.
    Start(String),
    /// Stop it, and wait until it has ended.
    Stop(String),
    /// Remove it from Windows' service control manager.
    Unregister(String),
}

/// How a service is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceCondition {
    /// There is none of this name.
    Absent,
    /// It is installed and does not run.
    Stopped,
    /// It starts or stops.
    Changing,
    /// It runs.
    Running,
    /// It ended by itself with an error.
    Failed,
}

/// What a manager tells of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// How it is.
    pub state: ServiceCondition,
    /// What else is known, by name: `process`, `account`, `starts`, `command`.
    pub details: Vec<(&'static str, String)>,
}

/// This system's manager of services.
pub const MANAGER: Manager = system::MANAGER;

/// Why something cannot be a service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (hint: {hint})")]
pub struct Unfit {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// Refuses names that a manager would refuse, or that lead to another file.
pub fn check_name(name: &str) -> Result<(), Unfit> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if begins && name.chars().all(plain) && name.len() <= LONGEST_NAME {
        return Ok(());
    }
    Err(unfit(
        format!("'{name}' cannot be the name of a service"),
        format!("letters, digits, '.', '_' and '-', at most {LONGEST_NAME}"),
    ))
}

fn unfit(message: impl Into<String>, hint: impl Into<String>) -> Unfit {
    Unfit { message: message.into(), hint: hint.into() }
}

/// What installs a service.
pub fn install(manager: Manager, wanted: &WantedService) -> Result<Vec<ServiceStep>, Unfit> {
    check_name(&wanted.name)?;
    match manager {
        Manager::Scm => scm::install(wanted),
        Manager::Systemd => systemd::install(wanted),
        Manager::Launchd => launchd::install(wanted),
    }
}

/// What removes a service. Configuration, tokens, vaults and logs stay.
pub fn uninstall(manager: Manager, name: &str, home: Option<&Path>) -> Result<Vec<ServiceStep>, Unfit> {
    check_name(name)?;
    match manager {
        Manager::Scm if home.is_some() => Err(scm::no_user()),
        Manager::Scm => Ok(scm::uninstall(name)),
        Manager::Systemd => Ok(systemd::uninstall(name, home)),
        Manager::Launchd => Ok(launchd::uninstall(name, home)),
    }
}

/// Does one step. [`Step::Token`] and [`Step::Log`] make an empty file.
pub fn perform(step: &ServiceStep) -> io::Result<()> {
    system::service::perform(step)
}

/// Asks the manager. `user`: among the services of this user.
pub fn status(name: &str, user: bool) -> io::Result<Status> {
    system::service::status(name, user)
}

/// Runs the work as the service that Windows' service control manager has just started, tells it how that
/// goes, and gives what the work came to. Elsewhere the work is just run.
pub fn run(name: &str, work: Box<dyn FnOnce() -> u8 + Send>) -> io::Result<u8> {
    system::service::run_as(name, work)
}

/// Whether [`run`] runs this program as a service of Windows: it has no standard error then, but an Event Log.
pub fn is_service() -> bool {
    system::service::is_service()
}

/// Writes an event to the system's Event Log, under the source that has the service's name. Does nothing
/// where there is none.
pub fn report(event: &events::ServiceEvent<'_>) {
    system::service::report(event);
}

// === impl Step ===

/// What it does, for people; a file is shown whole.
impl fmt::Display for ServiceStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServiceStep::Account { name, home } => {
                write!(f, "make the system account {name} with the home {home}, unless it is there")
            }
            ServiceStep::File { path, text } => {
                write!(f, "write {}:", path.display())?;
                text.lines().try_for_each(|line| match line {
                    "" => writeln!(f),
                    line => write!(f, "\n    {line}"),
                })
            }
            ServiceStep::Remove(path) => write!(f, "remove {}", path.display()),
            ServiceStep::Run(words) | ServiceStep::Try(words) => write!(f, "run {}", words.join(" ")),
            ServiceStep::Register(wanted) => {
                let Registration { name, account, program, arguments } = wanted;
                let line = scm::command_line(program, arguments);
                write!(
                    f,
                    "register the service {name} for the account {account}, with delayed automatic start, \
                     restarted 5 s, 30 s and then 60 s after a failure: {line}"
                )
            }
            ServiceStep::Right(account) => write!(f, "let the account {account} log on as a service"),
            ServiceStep::Folder { path, account } => {
                write!(f, "make {} for SYSTEM, Administrators and {account} alone", path.display())
            }
            ServiceStep::Token { path, account } => write!(
                f,
                "make a bearer token in {}, unless it is there; SYSTEM, Administrators and {account} may read it",
                path.display()
            ),
            ServiceStep::Log { path, account } => write!(
                f,
                "make {}, unless it is there; SYSTEM and Administrators may read it, {account} may write to it",
                path.display()
            ),
            ServiceStep::EventSource(name) => {
                write!(f, "register the source {name} in the Event Log (Application)")
            }
            ServiceStep::RemoveEventSource(name) => write!(f, "remove the source {name} from the Event Log"),
            ServiceStep::Start(name) => write!(f, "start the service {name}"),
            ServiceStep::Stop(name) => write!(f, "stop the service {name}"),
            ServiceStep::Unregister(name) => write!(f, "remove the service {name}"),
        }
    }
}

// === impl State ===

impl fmt::Display for ServiceCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ServiceCondition::Absent => "not installed",
            ServiceCondition::Stopped => "stopped",
            ServiceCondition::Changing => "starting or stopping",
            ServiceCondition::Running => "running",
            ServiceCondition::Failed => "failed",
        })
    }
}
