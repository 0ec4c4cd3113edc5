//! The events of the service in Windows' Event Log, by numbers that stay the same. Pure.
//!
//! The message of each is its text alone. Numbers are below 1000, so that `EventCreate.exe`, which every
//! Windows has, shows them.

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Something that is as it should be.
    Information,
    /// Something to look at.
    Warning,
    /// Something that did not work.
    Error,
}

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceEvent<'a> {
    /// Its number, one of `IDS`.
    pub id: u16,
    /// How bad it is.
    pub severity: Severity,
    /// What happened.
    pub text: &'a str,
}

/// The server answers requests.
pub const SERVING: u16 = 1;
/// It drains and ends.
pub const STOPPING: u16 = 2;
/// It has ended without an error.
pub const STOPPED: u16 = 3;
/// It reads its configuration again.
pub const RELOADING: u16 = 4;
/// What it says at its start: addresses, vaults, files.
pub const SAID: u16 = 5;
/// It ended with an error: the text says why.
pub const FAILED: u16 = 300;

/// Where warnings begin.
const WARNINGS: u16 = 100;
/// Where errors begin.
const ERRORS: u16 = 200;

/// What is added to the number of a warning or an error, by the part of the program that tells it. The first
/// that fits counts; what fits none is 0.
const PARTS: [(&str, u16); 20] = [
    ("secretbridge::vault", 10),
    ("secretbridge::store", 10),
    ("secretbridge::local", 10),
    ("secretbridge::cache", 10),
    ("secretbridge::registry", 10),
    ("secretbridge::bridge", 10),
    ("secretbridge::pool", 20),
    ("secretbridge::worker", 20),
    ("secretbridge::pwsh", 20),
    ("secretbridge::protocol", 20),
    ("worker", 20),
    ("secretbridge::http", 30),
    ("secretbridge::server", 30),
    ("secretbridge::access", 40),
    ("secretbridge::audit", 50),
    ("audit", 50),
    ("secretbridge::config", 60),
    ("secretbridge::commands", 60),
    ("secretbridge::script", 70),
    ("script", 70),
];

/// The number of a warning or an error by the part that tells it, such as `secretbridge::pool::slot`.
pub fn id(severity: Severity, part: &str) -> u16 {
    let begins =
        |name: &str| part.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    let offset = PARTS.iter().find(|(name, _)| begins(name)).map_or(0, |(_, offset)| *offset);
    match severity {
        Severity::Information => SAID,
        Severity::Warning => WARNINGS + offset,
        Severity::Error => ERRORS + offset,
    }
}

/// The text as the Event Viewer shows it whole: it takes `%` and a number for a part of a message, also in the text of
/// an event, and there is no way to escape that.
pub fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut before = ' ';
    for c in text.chars() {
        if before == '%' && c.is_ascii_digit() {
            shown.push(' ');
        }
        shown.push(c);
        before = c;
    }
    shown
}

/// Every number that is used, with its meaning: the table of the documentation.
#[cfg(test)]
pub const IDS: [(u16, &str); 22] = [
    (SERVING, "requests are served"),
    (STOPPING, "it drains and ends"),
    (STOPPED, "it has ended without an error"),
    (RELOADING, "the configuration is read again"),
    (SAID, "what it says at its start: addresses, vaults, files"),
    (100, "a warning of another part"),
    (110, "a warning of a vault"),
    (120, "a warning of a worker"),
    (130, "a warning of a listener or a connection"),
    (140, "a warning of access"),
    (150, "a warning of the audit trail"),
    (160, "a warning of the configuration"),
    (170, "a warning of a script"),
    (200, "an error of another part"),
    (210, "an error of a vault"),
    (220, "an error of a worker"),
    (230, "an error of a listener or a connection"),
    (240, "an error of access"),
    (250, "an error of the audit trail"),
    (260, "an error of the configuration: the old one stays in force"),
    (270, "an error of a script"),
    (FAILED, "it ended with an error"),
];
