//! What Windows' service control manager is to do. Pure.

use std::path::{Path, PathBuf};

use super::model::{Registration, ServiceStep, Unfit, WantedService, unfit};

/// The option that the service is started with, and its name.
pub const AS_SERVICE: &str = "--as-service";

/// An account of the system that is named without a domain.
const WITHOUT_DOMAIN: [&str; 1] = ["LocalSystem"];

/// Accounts that anybody has: they have no password.
const WITHOUT_PASSWORD: [&str; 3] =
    [r"NT AUTHORITY\LocalService", r"NT AUTHORITY\NetworkService", r"NT AUTHORITY\SYSTEM"];

pub(super) fn install(wanted: &WantedService) -> Result<Vec<ServiceStep>, Unfit> {
    if wanted.of_user.is_some() {
        return Err(no_user());
    }
    let account = account(wanted)?;
    let name = wanted.name.clone();
    let mut arguments = vec![AS_SERVICE.to_owned(), name.clone()];
    arguments.extend(wanted.arguments.iter().cloned());
    let places = Places::of(wanted);
    let registration = Registration {
        name: name.clone(),
        program: wanted.program.clone(),
        arguments,
        account: account.clone(),
    };
    let mut steps = vec![ServiceStep::Register(registration)];
    if account.ends_with('$') {
        steps.push(ServiceStep::Right(account.clone()));
    }
    steps.push(ServiceStep::Folder { path: places.folder, account: account.clone() });
    // Only what the service is told to use.
    let uses = |path: &Path| wanted.arguments.iter().any(|argument| Path::new(argument) == path);
    if uses(&places.token) {
        steps.push(ServiceStep::Token { path: places.token, account: account.clone() });
    }
    if uses(&places.audit) {
        steps.push(ServiceStep::Log { path: places.audit, account });
    }
    steps.push(ServiceStep::EventSource(name.clone()));
    if wanted.start {
        steps.push(ServiceStep::Start(name));
    }
    Ok(steps)
}

pub(super) fn uninstall(name: &str) -> Vec<ServiceStep> {
    vec![
        ServiceStep::Stop(name.to_owned()),
        ServiceStep::Unregister(name.to_owned()),
        ServiceStep::RemoveEventSource(name.to_owned()),
    ]
}

pub(super) fn no_user() -> Unfit {
    unfit(
        "Windows has no services of one user",
        "leave --user out; a scheduled task that runs `secretbridge serve` at logon does the same",
    )
}

/// The account: a virtual one with the service's name unless another is wanted. None that needs a password:
/// it would stand in the list of processes.
fn account(wanted: &WantedService) -> Result<String, Unfit> {
    let Some(account) = &wanted.account else { return Ok(format!(r"NT SERVICE\{}", wanted.name)) };
    let one_of = |names: &[&str]| names.iter().any(|name| name.eq_ignore_ascii_case(account));
    let own = account.to_ascii_uppercase().strip_prefix(r"NT SERVICE\").map(str::to_owned);
    if let Some(own) = own {
        return if own.eq_ignore_ascii_case(&wanted.name) {
            Ok(account.clone())
        } else {
            Err(unfit(
                format!("{account} is the account of another service"),
                format!(r"NT SERVICE\{}, which is what is taken without --account", wanted.name),
            ))
        };
    }
    let managed = account.ends_with('$') && account.contains('\\');
    if managed || one_of(&WITHOUT_DOMAIN) || one_of(&WITHOUT_PASSWORD) {
        return Ok(account.clone());
    }
    Err(unfit(
        format!("the account {account} has a password, or is not named with its domain"),
        r"a group managed service account, DOMAIN\name$, has none that anybody knows",
    ))
}

/// Where a service's files are, below `%ProgramData%`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The folder of all.
    pub folder: PathBuf,
    /// The bearer token.
    pub token: PathBuf,
    /// The audit trail.
    pub audit: PathBuf,
}

impl Places {
    /// Those of a service.
    pub fn of(wanted: &WantedService) -> Places {
        let folder = wanted.shared_data.join(&wanted.name);
        Places { token: folder.join("token"), audit: folder.join("audit.jsonl"), folder }
    }
}

/// A command line as Windows' programs take it apart: `CommandLineToArgvW`, and so the C runtime and Rust.
/// The program is always in quotes: a path with a space would otherwise be tried at each space.
pub fn command_line(program: &str, arguments: &[String]) -> String {
    let mut line = format!("\"{program}\"");
    for argument in arguments {
        line.push(' ');
        line.push_str(&quoted(argument));
    }
    line
}

fn quoted(argument: &str) -> String {
    if !argument.is_empty() && !argument.contains([' ', '\t', '\n', '\u{b}', '"']) {
        return argument.to_owned();
    }
    let mut quoted = String::from("\"");
    let mut backslashes = 0;
    for c in argument.chars() {
        match c {
            '\\' => backslashes += 1,
            // Backslashes before a quote are doubled, and one more escapes the quote.
            '"' => {
                quoted.extend(std::iter::repeat_n('\\', backslashes + 1));
                backslashes = 0;
            }
            _ => backslashes = 0,
        }
        quoted.push(c);
    }
    quoted.extend(std::iter::repeat_n('\\', backslashes));
    quoted.push('"');
    quoted
}
