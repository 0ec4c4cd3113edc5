//! Arguments of the commands that hand secrets to programs and files: `exec`, `inject`, `export`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::secrets::Connect;
use crate::config::parse_duration;
use crate::reach::name::SecretName;

const EXEC_AFTER: &str = "\
EXAMPLES:
  secretbridge exec --env DB_PASSWORD=team/db -- ./server
  secretbridge exec --file /etc/app/key.pem=team/key -- ./server
      The file is a link into a private folder in memory; both are gone when the program has ended.
  secretbridge exec --env TOKEN=team/token --watch --mask -- ./worker
      Restarts the program when the secret changes, and hides the secret in what it prints.
  secretbridge exec --env-file .env -- npm start
      The file may be in a repository: it says DB_PASSWORD=secretbridge://team/db and PORT=8080.
  secretbridge exec --from 'team/web-*' -- ./server
  secretbridge run -- make test
      `run --` means `exec`.

A variable of the environment that is a reference, as in DB=secretbridge://team/db, is filled too. Where a \
variable is named twice, --env goes before --env-file, that before --from, and that before the environment. \
Signals are passed on. With --watch they go to the program and to all that it has started, and a restart \
ends all of that. The exit code is the program's own; 128 and the signal's number where a signal ended it, \
127 where there is no such program, 126 where it cannot be run.";

/// Arguments of `exec`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_long_help = format!("{EXEC_AFTER}\n\n{}", super::exit_codes::EXIT_CODES))]
pub struct ExecArgs {
    /// Give the program a secret in this variable. May be repeated.
    #[arg(long, short, value_name = "NAME=SECRET", value_parser = binding)]
    pub env: Vec<Binding>,
    /// Give the program the variables of this .env file. A value that is a reference is replaced by its secret, any other
    /// stays as it is. May be repeated.
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// Give the program all secrets of this vault, or those that are like the pattern, in variables named after their
    /// keys: db-password is DB_PASSWORD. May be repeated.
    #[arg(long, value_name = "VAULT[/PATTERN]")]
    pub from: Vec<String>,
    /// Give the program a secret in this file. A name without a folder is a file in the folder that the variable
    /// SECRETBRIDGE_FILES names. May be repeated.
    #[arg(long, short, value_name = "PATH=SECRET", value_parser = binding)]
    pub file: Vec<Binding>,
    /// Hide the secrets in what the program prints: each is shown as ********.
    #[arg(long)]
    pub mask: bool,
    /// Restart the program when a secret changes. Changes that come together cause one restart.
    #[arg(long)]
    pub watch: bool,
    /// How often --watch looks for a change.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = time)]
    pub interval: Duration,
    /// How long the program may take to end at a restart before it is killed.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    pub grace: Duration,
    /// Where the secrets are.
    #[command(flatten)]
    pub connect: Connect,
    /// The program and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// A place for a secret, and the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// A variable or a path.
    pub place: String,
    /// The secret.
    pub name: SecretName,
}

/// Arguments of `inject`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_long_help = format!("\
EXAMPLES:
  secretbridge inject app.toml.tmpl --output app.toml
  secretbridge inject .env --in-place
  echo 'password = \"secretbridge://team/db\"' | secretbridge inject - --format toml

A reference (secretbridge://vault/key#/member) is replaced by the secret, quoted as the format asks. A \
template may also say {{{{ secret(\"vault/key\") }}}} and whatever else minijinja knows.

{}", super::exit_codes::EXIT_CODES))]
pub struct InjectArgs {
    /// The file with references; - is standard input.
    pub template: PathBuf,
    /// Write here, whole or not at all, with the mode of the file that is there, or of the template.
    #[arg(long, short, value_name = "FILE", conflicts_with = "in_place")]
    pub output: Option<PathBuf>,
    /// Write over the file itself.
    #[arg(long, short)]
    pub in_place: bool,
    /// How values are quoted. Without it the file's name tells.
    #[arg(long, value_enum)]
    pub format: Option<InjectFormat>,
    /// Where the secrets are.
    #[command(flatten)]
    pub connect: Connect,
}

/// What an injected file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum InjectFormat {
    /// Nothing is quoted.
    Text,
    /// TOML.
    Toml,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// Lines NAME=value.
    Env,
}

/// Arguments of `export`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_long_help = format!("\
EXAMPLES:
  secretbridge export team --format env > .env
  eval \"$(secretbridge export --format shell DB_PASSWORD=team/db)\"
  secretbridge export team --format powershell | Out-String | Invoke-Expression
  secretbridge export TOKEN=team/token --format github
      In a GitHub workflow: sets the variable for later steps and masks the value in the log.

{}", super::exit_codes::EXIT_CODES))]
pub struct ExportArgs {
    /// A vault, a vault and a pattern, or NAME=SECRET. Names of variables are made of keys: db-password is
    /// DB_PASSWORD.
    #[arg(required = true, value_name = "VAULT[/PATTERN] | NAME=SECRET")]
    pub what: Vec<String>,
    /// How it is written.
    #[arg(long, value_enum, default_value_t = ExportFormat::Env)]
    pub format: ExportFormat,
    /// Where the secrets are.
    #[command(flatten)]
    pub connect: Connect,
}

/// How variables are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ExportFormat {
    /// Lines of a .env file.
    #[default]
    Env,
    /// A JSON object.
    Json,
    /// For `eval` in a POSIX shell.
    Shell,
    /// For Invoke-Expression in PowerShell.
    Powershell,
    /// For the file that GITHUB_ENV names.
    Github,
}

/// Reads `NAME=SECRET`.
pub fn binding(text: &str) -> Result<Binding, String> {
    let (place, name) = text.split_once('=').ok_or("write NAME=vault/key")?;
    if place.is_empty() || place.contains('\0') {
        return Err("the name before = is missing".to_owned());
    }
    Ok(Binding { place: place.to_owned(), name: name.parse()? })
}

fn time(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Ok(time) if !time.is_zero() => Ok(time),
        Ok(_) => Err("must be more than zero".to_owned()),
        Err(error) => Err(error),
    }
}

/// `run -- cmd` and `run --env … -- cmd` mean `exec`: no script comes before the two dashes.
pub(super) fn run_means_exec(arguments: &mut [OsString]) {
    const WITH_VALUE: [&str; 20] = [
        "--env",
        "-e",
        "--env-file",
        "--from",
        "--file",
        "-f",
        "--interval",
        "--grace",
        "--url",
        "--token-file",
        "--ca-file",
        "--config",
        "-c",
        "--local-vault",
        "--timeout",
        "--log",
        "--log-format",
        "--log-file",
        "--pwsh",
        "--format",
    ];
    let mut run = None;
    let mut skip = false;
    for (index, argument) in arguments.iter().enumerate().skip(1) {
        let Some(word) = argument.to_str() else { return };
        match word {
            _ if skip => skip = false,
            "--" => break,
            _ if word.starts_with('-') => skip = WITH_VALUE.contains(&word),
            "run" if run.is_none() => run = Some(index),
            // It belongs to another command, or to the script.
            _ => return,
        }
    }
    let Some(index) = run else { return };
    if arguments[index..].iter().any(|argument| argument == "--") {
        arguments[index] = "exec".into();
    }
}
