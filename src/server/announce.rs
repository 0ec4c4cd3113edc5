//! What a person wants to know at the start, on standard error.

use std::io::Write;
use std::path::Path;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::bridge::Bridge;
use crate::cli::{Global, ServeArgs};
use crate::http::BoundAddress;
use crate::logging::console::Console;
use crate::plan::Bind;
use crate::platform;
use crate::platform::local::{BY_PIPES, shown};
use crate::pwsh;
use crate::vault::backend::kinds;

/// What is encoded in a segment of a path.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Said when a signal ends a start.
pub const STOPPED_EARLY: &str = "stopped before it was ready";

/// Said when the drain begins.
pub const STOPPING: &str = "stopping: requests under way are answered first";

/// Says it, line by line.
pub struct Announcer<W = Console> {
    out: W,
    terminal: bool,
    last: Option<usize>,
    /// The line of progress is not ended yet.
    open: bool,
}

impl Announcer {
    /// To standard error.
    pub fn to_stderr() -> Announcer {
        let out = Console::default();
        Announcer { terminal: out.is_terminal(), out, last: None, open: false }
    }
}

impl<W: Write> Announcer<W> {
    /// One line.
    pub fn line(&mut self, text: impl std::fmt::Display) {
        // A message that cannot be written is no reason to stop.
        let _ = writeln!(self.out, "{text}");
    }

    /// How many workers are up.
    pub fn workers(&mut self, up: usize, of: usize) {
        if self.last == Some(up) {
            return;
        }
        self.last = Some(up);
        if self.terminal {
            self.open = true;
            let _ = write!(self.out, "\rstarting pwsh workers: {up} of {of} ready");
        } else if up == of {
            self.line(format_args!("pwsh workers: {of} ready"));
        }
    }

    /// Ends the line of progress, whatever came of it.
    pub fn end_progress(&mut self) {
        if std::mem::take(&mut self.open) {
            self.line("");
        }
    }

    /// The vaults that are served, and those that could be.
    pub fn vaults(&mut self, bridge: &Bridge, arguments: &ServeArgs, global: &Global) {
        let plan = bridge.plan();
        for vault in &plan.vaults {
            let kind = kinds::of(vault);
            if let Some(folder) = kind.files(vault).and_then(|files| files.folder) {
                self.line(format_args!("{}: {}", kind.title(), folder.display()));
            }
        }
        for vault in bridge.health().vaults.iter().filter(|vault| !vault.condition.state.serves()) {
            let reason = vault.reason.as_deref().unwrap_or("see the log");
            self.line(format_args!("vault '{}' is {}: {reason}", vault.name, vault.condition.state));
        }
        if arguments.config.is_none() && !plan.vaults.iter().any(kinds::needs_worker) {
            match pwsh::find(global.pwsh.as_deref(), None) {
                Ok(path) => self.line(format_args!("pwsh: {}, started when a vault of yours is exposed", path.display())),
                Err(_) => self.line("pwsh: none found; the local vault needs none (SecretManagement vaults need PowerShell 7.4 or later, https://aka.ms/powershell)"),
            }
        }
        let registry = platform::vault_registry();
        match bridge.found() {
            [] if arguments.config.is_none() && plan.auto_import.enabled => {
                self.line(format_args!(
                    "your SecretManagement vaults: none registered in {} (Register-SecretVault in pwsh adds one)",
                    registry.display()
                ));
            }
            found => {
                for vault in found.iter().filter(|vault| !vault.exposed) {
                    self.line(format_args!(
                        "your vault '{}' ({}) is not served; --expose-vault {} serves it for reading, {} for writing too",
                        vault.name,
                        vault.module,
                        word(&vault.name),
                        word(&format!("{}:rw", vault.name)),
                    ));
                }
                for vault in found.iter().filter(|vault| vault.exposed) {
                    let read_only = plan.vault(&vault.name).is_none_or(|vault| vault.read_only);
                    self.line(format_args!(
                        "your vault '{}' ({}) is served for {}: /vaults/{}/secrets/{{key}}",
                        vault.name,
                        vault.module,
                        if read_only { "reading" } else { "reading and writing" },
                        utf8_percent_encode(&vault.name, SEGMENT),
                    ));
                }
            }
        }
    }

    /// Where it listens, who may call, and with `curl` a line to try.
    pub fn addresses(&mut self, addresses: &[BoundAddress], open: bool, file: Option<&Path>, curl: bool) {
        if open {
            self.line("no token is asked for: whoever can connect can read and write the secrets");
        }
        if let Some(file) = file {
            self.line(format_args!("bearer token: {}", file.display()));
        }
        for address in addresses {
            self.line(format_args!("listening on {address}"));
        }
        if let (true, Some(file), Some(address)) = (curl, file, addresses.first()) {
            let place = match &address.bind {
                Bind::Tcp(_) => format!("{address}/secrets"),
                // curl speaks to sockets, and not to pipes.
                Bind::Unix(path) if BY_PIPES => {
                    self.line(format_args!("try: secretbridge list --url {}", shown(path)));
                    return;
                }
                Bind::Unix(path) => {
                    let socket = quoted(&path.display().to_string());
                    format!("--unix-socket {socket} http://localhost/secrets")
                }
            };
            let file = quoted(&file.display().to_string());
            self.line(format_args!("try: curl -H \"Authorization: Bearer $(cat {file})\" {place}"));
        }
    }
}

/// A word for a shell, in quotes where it needs them.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-:".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text.to_owned() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::{Announcer, word};

    #[test]
    fn a_word_that_a_shell_would_change_is_quoted() {
        for (text, expected) in [
            ("Team:rw", "Team:rw"),
            ("My Vault", "'My Vault'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
            ("$x", "'$x'"),
        ] {
            assert_eq!(word(text), expected);
        }
    }

    fn progress(terminal: bool) -> String {
        let mut say = Announcer { out: Vec::new(), terminal, last: None, open: false };
        for up in [0, 0, 1, 2] {
            say.workers(up, 2);
        }
        say.end_progress();
        say.line("next");
        String::from_utf8(say.out).unwrap()
    }

    #[test]
    fn progress_is_one_line_on_a_terminal_and_one_word_in_a_file() {
        let line = |up| format!("\rstarting pwsh workers: {up} of 2 ready");
        assert_eq!(progress(true), line(0) + &line(1) + &line(2) + "\nnext\n");
        assert_eq!(progress(false), "pwsh workers: 2 ready\nnext\n");
    }
}
