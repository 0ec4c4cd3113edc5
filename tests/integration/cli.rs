//! The command line's verbs, against a running server and without one.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::support::server::{Builder, Server};

mod backup;
mod checking;
mod child;
mod completing;
mod docs;
mod doctor;
mod found;
mod init;
mod serverless;
mod service;
mod setup;
mod terminal;
mod trail;
mod transfer;
mod verbs;

/// The program.
const PROGRAM: &str = env!("CARGO_BIN_EXE_secretbridge");

/// A command line in a folder and home of its own.
pub struct Line {
    folder: std::path::PathBuf,
    home: std::path::PathBuf,
    variables: Vec<(String, String)>,
}

impl Line {
    /// Beside a server: in its home, where its socket is found.
    pub fn beside(server: &Server) -> Line {
        Line { folder: server.folder().into(), home: server.home().into(), variables: Vec::new() }
    }

    /// In a home of its own.
    pub fn alone(folder: &Path) -> Line {
        for name in ["home", "run"] {
            use std::os::unix::fs::DirBuilderExt as _;
            std::fs::DirBuilder::new().mode(0o700).recursive(true).create(folder.join(name)).unwrap();
        }
        Line { folder: folder.into(), home: folder.join("home"), variables: Vec::new() }
    }

    /// With one more variable.
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Line {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// The command, ready to run.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(args).current_dir(&self.folder).env_clear();
        command.env("HOME", &self.home).env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("XDG_RUNTIME_DIR", self.folder.join("run"));
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs it with this on its standard input.
    #[track_caller]
    pub fn run(&self, args: &[&str], input: &[u8]) -> Output {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        // One that ends before it reads leaves a broken pipe.
        let _ = child.stdin.take().expect("a pipe").write_all(input);
        child.wait_with_output().expect("it ends")
    }

    /// What it prints, of a run that goes well.
    #[track_caller]
    pub fn ok(&self, args: &[&str], input: &[u8]) -> String {
        let output = self.run(args, input);
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        assert_eq!(text(&output.stderr), "", "{args:?}");
        text(&output.stdout)
    }

    /// What it prints as JSON.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ok(args, b"")).expect("JSON")
    }

    /// What it says, of a run that ends with this code and prints nothing.
    #[track_caller]
    pub fn fails(&self, code: i32, args: &[&str], input: &[u8]) -> String {
        let output = self.run(args, input);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", text(&output.stderr));
        assert_eq!(text(&output.stdout), "", "{args:?}");
        text(&output.stderr)
    }

    /// Kills it as soon as it has printed so many lines, with most of the way before it. Returns these lines.
    #[track_caller]
    pub fn killed_after(&self, lines: usize, args: &[&str]) -> Vec<String> {
        let mut command = self.command(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the program starts");
        let mut printed = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let told = printed.by_ref().take(lines).map(|line| line.expect("text")).collect();
        child.kill().expect("it runs");
        let status = child.wait().expect("it ends");
        assert!(!status.success(), "it had ended before it was killed: {status}");
        told
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A server that keeps secrets in a local vault.
fn server() -> Server {
    Builder::new().args(["serve", "--listen", "127.0.0.1:0"]).start()
}

/// A server with a vault named `team`, one that is only read, and a mount.
fn server_with_file() -> Server {
    let toml = r#"
        listen = "127.0.0.1:0"
        [vaults.team]
        local = true
        folder = "team"
        expose = true
        cache_ttl = "1h"
        [vaults.fixed]
        local = true
        folder = "team"
        expose = true
        read_only = true
        [secrets.Login]
        vault = "team"
        key = "login"
        expand_property = "pass"
    "#;
    Builder::new().config(toml).start()
}
