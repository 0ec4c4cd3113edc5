//! What systemd is to do. Pure.

use std::path::{Path, PathBuf};

use super::model::{ServiceCondition, ServiceStep, Status, Unfit, WantedService, unfit};

/// The unit that packages install.
const SYSTEM: &str = include_str!("../../../scripts/systemd/secretbridge.service");

/// The unit of one user.
const USER: &str = include_str!("../../../scripts/systemd/user.service");

/// The account of the unit that packages install, and its home.
const ACCOUNT: (&str, &str) = ("secretbridge", "/var/lib/secretbridge");

/// Folders that the unit closes.
const HOMES: [&str; 3] = ["/home", "/root", "/run/user"];

/// Folders that the unit has for itself.
const HIDDEN: [&str; 2] = ["/tmp", "/var/tmp"];

pub(super) fn install(wanted: &WantedService) -> Result<Vec<ServiceStep>, Unfit> {
    let WantedService { name, of_user, .. } = wanted;
    let mut steps = Vec::new();
    if of_user.is_some() && wanted.account.is_some() {
        return Err(unfit("a service of one user runs as that user", "leave --account or --user out"));
    }
    if of_user.is_none() && wanted.account.is_none() {
        steps.push(ServiceStep::Account { name: ACCOUNT.0.to_owned(), home: ACCOUNT.1.to_owned() });
    }
    steps.push(ServiceStep::File { path: place(name, of_user.as_deref()), text: unit(wanted)? });
    let run = |words: &[&str]| ServiceStep::Run(systemctl(of_user.is_some(), words));
    steps.push(run(&["daemon-reload"]));
    steps.push(run(&["enable", name]));
    if wanted.start {
        // A service that runs already is restarted, so that the change takes effect.
        steps.push(run(&["restart", name]));
    }
    Ok(steps)
}

pub(super) fn uninstall(name: &str, home: Option<&Path>) -> Vec<ServiceStep> {
    let words = |words: &[&str]| systemctl(home.is_some(), words);
    vec![
        ServiceStep::Try(words(&["disable", "--now", name])),
        ServiceStep::Remove(place(name, home)),
        ServiceStep::Run(words(&["daemon-reload"])),
    ]
}

/// What asks for the state of a unit.
#[cfg_attr(windows, allow(dead_code, reason = "for others; its tests run everywhere"))]
pub fn question(name: &str, user: bool) -> Vec<String> {
    let properties =
        "--property=LoadState,ActiveState,SubState,MainPID,UnitFileState,User,FragmentPath,ExecStart";
    systemctl(user, &["show", name, properties])
}

/// What the answer says.
#[cfg_attr(windows, allow(dead_code, reason = "for others; its tests run everywhere"))]
pub fn answer(text: &str) -> Status {
    let value = |name: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or_default().trim().to_owned()
    };
    let state = match (value("LoadState").as_str(), value("ActiveState").as_str()) {
        ("not-found" | "", _) => ServiceCondition::Absent,
        (_, "active") => ServiceCondition::Running,
        (_, "activating" | "deactivating" | "reloading") => ServiceCondition::Changing,
        (_, "failed") => ServiceCondition::Failed,
        _ => ServiceCondition::Stopped,
    };
    // `{ path=/bin/x ; argv[]=/bin/x a b ; ignore_errors=no ; … }`
    let command = value("ExecStart");
    let command = command.split_once("argv[]=").and_then(|(_, rest)| rest.split(" ; ").next());
    let details = [
        ("process", value("MainPID")),
        ("account", value("User")),
        ("starts", value("UnitFileState")),
        ("unit", value("FragmentPath")),
        ("command", command.unwrap_or_default().to_owned()),
    ];
    let details = details.into_iter().filter(|(_, value)| !value.is_empty() && value != "0");
    Status { details: details.filter(|_| state != ServiceCondition::Absent).collect(), state }
}

fn systemctl(user: bool, words: &[&str]) -> Vec<String> {
    let before = ["systemctl"].into_iter().chain(user.then_some("--user"));
    before.chain(words.iter().copied()).map(str::to_owned).collect()
}

fn place(name: &str, home: Option<&Path>) -> PathBuf {
    match home {
        Some(home) => format!("{}/.config/systemd/user/{name}.service", home.display()).into(),
        None => format!("/etc/systemd/system/{name}.service").into(),
    }
}

/// The text of the unit: the one that packages install, with this program's command and account.
fn unit(wanted: &WantedService) -> Result<String, Unfit> {
    let words = || std::iter::once(&wanted.program).chain(&wanted.arguments);
    if let Some(hidden) = words().find(|word| wanted.of_user.is_none() && below(word, &HIDDEN)) {
        return Err(unfit(
            format!("{hidden} is not seen by a service, which has a folder for temporary files of its own"),
            "move it to another folder, such as /usr/local/bin or /etc/secretbridge",
        ));
    }
    let line = words().map(|word| quoted(word)).collect::<Result<Vec<_>, _>>()?.join(" ");
    let template = if wanted.of_user.is_some() { USER } else { SYSTEM };
    let mut text = String::new();
    for old in template.lines() {
        let new = match (old.split('=').next(), &wanted.account) {
            (Some("ExecStart"), _) => format!("ExecStart={line}"),
            (Some("User"), Some(account)) => format!("User={}", quoted(account)?),
            // The account's own.
            (Some("Group"), Some(_)) => continue,
            // Each service has folders of its own.
            (Some("StateDirectory" | "RuntimeDirectory" | "Environment"), _) => old
                .replace("/secretbridge", &format!("/{}", wanted.name))
                .replace("Directory=secretbridge", &format!("Directory={}", wanted.name)),
            // A program or a file below a home must be seen.
            (Some("ProtectHome"), _) if words().any(|word| below(word, &HOMES)) => {
                "ProtectHome=read-only".to_owned()
            }
            _ => old.to_owned(),
        };
        text.push_str(&new);
        text.push('\n');
    }
    Ok(text)
}

fn below(path: &str, folders: &[&str]) -> bool {
    folders.iter().any(|folder| Path::new(path).starts_with(folder))
}

/// A word of a command in a unit: `%` begins a specifier there, `$` a variable, `\` an escape.
fn quoted(word: &str) -> Result<String, Unfit> {
    if word.chars().any(char::is_control) {
        return Err(unfit("an argument has a control character, which a unit cannot hold", "leave it out"));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:=,@+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return Ok(word.to_owned());
    }
    let mut quoted = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '%' | '$' => quoted.extend([c, c]),
            _ => quoted.push(c),
        }
    }
    quoted.push('"');
    Ok(quoted)
}
