//! What launchd is to do. Pure.

use std::path::{Path, PathBuf};

use super::model::{ServiceCondition, ServiceStep, Status, Unfit, WantedService, unfit};

/// The file that packages install.
const TEMPLATE: &str = include_str!("../../../scripts/launchd/secretbridge.plist");

pub(super) fn install(wanted: &WantedService) -> Result<Vec<ServiceStep>, Unfit> {
    match (&wanted.of_user, &wanted.account) {
        (None, None) => {
            return Err(unfit(
                "a service for the whole machine needs an account",
                "name one with --account, or install it for yourself with --user",
            ));
        }
        (Some(_), Some(_)) => {
            return Err(unfit("a service of one user runs as that user", "leave --account or --user out"));
        }
        _ => {}
    }
    let home = wanted.of_user.as_deref();
    let path = place(&wanted.name, home);
    let shown = path.display().to_string();
    let mut steps = vec![ServiceStep::File { path, text: text(wanted)? }];
    let domain = domain(home.is_some());
    // A service of that name is removed first: launchd does not read a file again that has changed.
    steps.push(ServiceStep::Try(words(&["bootout", &format!("{domain}/{}", wanted.name)])));
    if wanted.start {
        steps.push(ServiceStep::Run(words(&["bootstrap", &domain, &shown])));
    }
    Ok(steps)
}

pub(super) fn uninstall(name: &str, home: Option<&Path>) -> Vec<ServiceStep> {
    let target = format!("{}/{name}", domain(home.is_some()));
    vec![ServiceStep::Try(words(&["bootout", &target])), ServiceStep::Remove(place(name, home))]
}

/// What asks for the state of a service.
#[cfg_attr(windows, allow(dead_code, reason = "for others; its tests run everywhere"))]
pub fn question(name: &str, user: bool) -> Vec<String> {
    words(&["print", &format!("{}/{name}", domain(user))])
}

/// What the answer says; `None` where launchd knows no such service.
#[cfg_attr(windows, allow(dead_code, reason = "for others; its tests run everywhere"))]
pub fn answer(text: Option<&str>) -> Status {
    let Some(text) = text else { return Status { state: ServiceCondition::Absent, details: Vec::new() } };
    let value = |name: &str| {
        let found = text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(" = "));
        found.map(str::to_owned)
    };
    let exit = value("last exit code");
    let state = match value("state").as_deref() {
        Some("running") => ServiceCondition::Running,
        Some("spawn scheduled" | "spawning" | "exiting") => ServiceCondition::Changing,
        _ if exit.as_deref().is_some_and(|code| code != "0" && !code.contains("never")) => {
            ServiceCondition::Failed
        }
        _ => ServiceCondition::Stopped,
    };
    let details = [
        ("process", value("pid")),
        ("account", value("username")),
        ("unit", value("path")),
        ("command", value("program")),
    ];
    Status { state, details: details.into_iter().filter_map(|(name, value)| Some((name, value?))).collect() }
}

/// launchd's own place for a domain's services. `UID` is put in when it is run.
fn domain(user: bool) -> String {
    if user { format!("gui/{}", crate::platform::user_tag()) } else { "system".to_owned() }
}

fn words(words: &[&str]) -> Vec<String> {
    std::iter::once("launchctl").chain(words.iter().copied()).map(str::to_owned).collect()
}

fn place(name: &str, home: Option<&Path>) -> PathBuf {
    match home {
        Some(home) => format!("{}/Library/LaunchAgents/{name}.plist", home.display()).into(),
        None => format!("/Library/LaunchDaemons/{name}.plist").into(),
    }
}

/// The file: the one that packages install, with this service's name, command and account.
fn text(wanted: &WantedService) -> Result<String, Unfit> {
    let log = match &wanted.of_user {
        Some(home) => format!("{}/Library/Logs/{}.log", home.display(), wanted.name),
        None => format!("/Library/Logs/{}.log", wanted.name),
    };
    let mut command = String::new();
    for word in std::iter::once(&wanted.program).chain(&wanted.arguments) {
        if word.chars().any(char::is_control) {
            return Err(unfit(
                "an argument has a control character, which a plist cannot hold",
                "leave it out",
            ));
        }
        command.push_str(&format!("        <string>{}</string>\n", escaped(word)));
    }
    let mut keys = format!("    <key>StandardErrorPath</key>\n    <string>{}</string>\n", escaped(&log));
    if let Some(account) = &wanted.account {
        keys.push_str(&format!("    <key>UserName</key>\n    <string>{}</string>\n", escaped(account)));
    }
    let (before, rest) = TEMPLATE.split_once("    <array>\n").unwrap_or((TEMPLATE, ""));
    let (_, after) = rest.split_once("    </array>\n").unwrap_or(("", rest));
    let before = before.replace("<string>secretbridge<", &format!("<string>{}<", wanted.name));
    // What the packages' file says of its use.
    let before: Vec<&str> = before.lines().filter(|line| !line.starts_with("<!--")).collect();
    Ok(format!("{}\n    <array>\n{command}    </array>\n{keys}{after}", before.join("\n")))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
