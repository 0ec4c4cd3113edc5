//! This program as a service of the system: Windows' service manager, systemd, launchd.
//!
//! What has to be done is decided as a list of [`ServiceStep`]s, purely and alike on every system, so that it can be
//! shown before it is done and tested anywhere. [`perform`] does one step and asks the system.

use std::fmt;
use std::io;
use std::path::Path;

use super::system;
use model::unfit;
pub use model::{Manager, Registration, ServiceCondition, ServiceStep, Status, Unfit, WantedService};

#[cfg_attr(not(windows), allow(dead_code, reason = "for Windows alone; its tests run everywhere"))]
pub mod events;
pub mod launchd;
mod model;
#[cfg_attr(not(windows), allow(dead_code, reason = "for Windows alone; its tests run everywhere"))]
pub mod phase;
pub mod scm;
pub mod systemd;
#[cfg(test)]
mod tests;

/// The longest name of a service, in characters.
const LONGEST_NAME: usize = 80;

/// This system's manager of services.
pub const MANAGER: Manager = system::MANAGER;

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

/// Does one step. [`ServiceStep::Token`] and [`ServiceStep::Log`] make an empty file.
pub fn perform(step: &ServiceStep) -> io::Result<()> {
    system::service::perform(step)
}

/// Asks the manager. `user`: among the services of this user.
pub fn status(name: &str, user: bool) -> io::Result<Status> {
    system::service::status(name, user)
}

/// The command of a service that runs another program than this one: nobody meant that one.
pub fn foreign(status: &Status) -> Option<&str> {
    let (_, command) = status.details.iter().find(|(name, _)| *name == "command")?;
    let ours = command.to_ascii_lowercase().contains("secretbridge") || command.contains(scm::AS_SERVICE);
    (!ours).then_some(command)
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

// === impl ServiceStep ===

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
