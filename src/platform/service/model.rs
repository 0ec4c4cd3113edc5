//! What a service is, what has to be done for one, and what is told of one.

use std::fmt;
use std::path::PathBuf;

/// What looks after services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manager {
    /// Windows' service control manager.
    Scm,
    /// systemd.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "made on Linux"))]
    Systemd,
    /// macOS' launchd.
    #[cfg_attr(not(target_os = "macos"), allow(dead_code, reason = "made on macOS"))]
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

/// Why something cannot be a service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (hint: {hint})")]
pub struct Unfit {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
}

pub(super) fn unfit(message: impl Into<String>, hint: impl Into<String>) -> Unfit {
    Unfit { message: message.into(), hint: hint.into() }
}

// === impl ServiceCondition ===

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
