//! The command line. Pure: it reads arguments and nothing else, but for the variables named in the help.

#![allow(
    rustdoc::broken_intra_doc_links,
    rustdoc::bare_urls,
    reason = "what clap shows as help is no markdown"
)]

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _, Parser, Subcommand};

pub use audit::{AuditCommand, Moment, ShowArgs, VerifyArgs};
pub use backup::{BackupArgs, RestoreArgs};
pub use child::{Binding, ExecArgs, ExportArgs, ExportFormat, InjectArgs, InjectFormat, binding};
pub use complete::{CompleteArgs, NameKind, WantedName};
pub use doctor::DoctorArgs;
pub use init::{InitArgs, InitVault, SchemaArgs};
pub use secrets::{
    CacheArgs, CacheVerb, Connect, GetArgs, InfoArgs, ListArgs, LockArgs, RmArgs, SetArgs, StatusArgs,
    UnlockArgs, ValueType, VaultsArgs,
};
pub use serve::{AccessArgs, PlanFormat, RunArgs, ServeArgs};
pub use service::{InstallArgs, ServiceArgs, ServiceStatusArgs, UninstallArgs, Which};
pub use setup::{CompletionsArgs, ManArgs, ModuleArgs, ModulePlace, ModuleVerb};
pub use transfer::{CopyArgs, ImportArgs, ImportFormat, PutArgs};
pub use upkeep::{CheckArgs, PrepareArgs, TokenArgs};

use crate::exit::Exit;
use crate::logging;
pub use crate::logging::LogFormat;
use exit_codes::EXIT_CODES;

mod audit;
mod backup;
mod child;
mod complete;
mod doctor;
mod exit_codes;
mod init;
mod mistakes;
mod secrets;
mod serve;
mod service;
mod setup;
mod transfer;
mod upkeep;

const FIRST_STEPS: &str = "\
EXAMPLES:
  secretbridge serve                                      a local vault, on http://127.0.0.1:8085
  echo 'correct horse' | secretbridge set local/db        in another shell: it finds the server by itself
  secretbridge get local/db
  secretbridge exec --env DB_PASSWORD=local/db -- ./app   a program with the secret in its environment
  secretbridge serve --expose-vault Team                  a vault that you registered in PowerShell
  secretbridge run server.ps1                             a script written for Pode
  secretbridge doctor                                     what is wrong here, and what mends it";

/// What a server logs without a word.
const LOG: &str = "info";

/// What other commands log without a word: their answer is what counts.
const QUIET_LOG: &str = "warn";

/// Keeps PowerShell's SecretManagement vaults open behind a fast and safe front.
#[derive(Debug, Parser)]
#[command(name = "secretbridge", version, long_version = setup::LONG_VERSION, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "`secretbridge COMMAND --help` tells more, with examples.")]
#[command(after_long_help = format!("{FIRST_STEPS}\n\n{EXIT_CODES}"))]
pub struct Cli {
    /// Options that every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command takes.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// What to log: a level (off, error, warn, info, debug, trace) or a filter such as `warn,secretbridge::pool=debug`.
    /// [default: info for servers, warn for other commands]
    #[arg(
        long,
        global = true,
        env = "SECRETBRIDGE_LOG",
        hide_env_values = true,
        value_name = "LEVEL|FILTER"
    )]
    #[arg(value_parser = log_filter)]
    pub log: Option<String>,
    /// How to write the log to standard error.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// Append the log to this file (mode 0600) in place of standard error; SIGHUP opens it anew.
    #[arg(long, global = true, value_name = "FILE")]
    pub log_file: Option<PathBuf>,
    /// The pwsh program. Without it, SECRETBRIDGE_PWSH names it, then PATH is searched.
    // The variable is read where pwsh is looked for, because a configuration file stands between the two.
    #[arg(long, global = true, value_name = "PATH")]
    pub pwsh: Option<PathBuf>,
    /// Windows' service manager starts the service of this name.
    #[arg(long, global = true, value_name = "NAME", hide = true)]
    pub as_service: Option<String>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Serve vaults over HTTP.
    Serve(ServeArgs),
    /// Write a first configuration, with a comment for each key.
    Init(InitArgs),
    /// Print the JSON Schema of the configuration, for editors.
    Schema(SchemaArgs),
    /// Check a configuration file and tell every mistake in it.
    Check(CheckArgs),
    /// Look at everything that a server needs; tell what is wrong and how to mend it.
    Doctor(DoctorArgs),
    /// Compile the worker ahead of the first start.
    Prepare(PrepareArgs),
    /// Serve a PowerShell script written for Pode's Secrets feature.
    Run(RunArgs),
    /// Read the audit trail: who got at which secret; and check that nobody changed it.
    #[command(subcommand)]
    #[command(after_long_help = format!("EXAMPLES:\n  secretbridge audit show team/db --since 24h\n  secretbridge audit verify\n\n{}", exit_codes::EXIT_CODES))]
    Audit(AuditCommand),
    /// Read a secret.
    #[command(visible_alias = "read")]
    Get(GetArgs),
    /// Write a secret; its value comes from standard input, a file or a hidden prompt.
    Set(SetArgs),
    /// List secrets: names, types and metadata, never values.
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Show a secret's type and metadata, never its value.
    Info(InfoArgs),
    /// Remove secrets.
    #[command(visible_alias = "remove")]
    Rm(RmArgs),
    /// List the vaults.
    Vaults(VaultsArgs),
    /// Unlock a vault of a running server.
    Unlock(UnlockArgs),
    /// Lock a vault of a running server: it answers nothing until it is unlocked.
    Lock(LockArgs),
    /// Show the state of a running server and of its vaults.
    Status(StatusArgs),
    /// Clear the cache of a running server.
    #[command(after_long_help = format!("EXAMPLES:\n  secretbridge cache clear\n\n{}", exit_codes::EXIT_CODES))]
    Cache(CacheArgs),
    /// Run a program with secrets in its environment or in files.
    Exec(ExecArgs),
    /// Replace the references in a file by their secrets.
    Inject(InjectArgs),
    /// Print secrets as variables for a shell, a file or a workflow.
    Export(ExportArgs),
    /// Copy secrets from one vault to another.
    Copy(CopyArgs),
    /// Write the secrets of vaults into one encrypted archive.
    Backup(BackupArgs),
    /// Write the secrets of an archive back into vaults.
    Restore(RestoreArgs),
    /// Write the secrets of a .env, JSON, CSV, Bitwarden or KeePass file into a vault.
    Import(ImportArgs),
    /// Print the script with which a shell completes this program's command line.
    Completions(CompletionsArgs),
    /// Print the names that may stand at a place of a command line; the scripts of `completions` ask for them.
    #[command(hide = true)]
    CompleteNames(CompleteArgs),
    /// Print a manual page, or write all of them into a folder.
    Man(ManArgs),
    /// Install the PowerShell module SecretBridge and completions, or take them out.
    #[command(after_long_help = format!("EXAMPLES:\n  secretbridge module install\n  secretbridge module uninstall\n\n{}", exit_codes::EXIT_CODES))]
    Module(ModuleArgs),
    /// Make a bearer token, or print the hash of one.
    #[command(subcommand)]
    #[command(after_long_help = format!("EXAMPLES:\n  secretbridge token new --file web.token\n  secretbridge token hash web.token\n\n{}", exit_codes::EXIT_CODES))]
    Token(TokenArgs),
    /// Run this program as a service of Windows, systemd or launchd.
    #[command(subcommand)]
    #[command(after_long_help = format!("EXAMPLES:\n  secretbridge service install\n  secretbridge service status\n\n{}", exit_codes::EXIT_CODES))]
    Service(ServiceArgs),
}

impl Command {
    /// Whether it serves until it is stopped.
    fn is_server(&self) -> bool {
        matches!(self, Command::Serve(_) | Command::Run(_))
    }
}

impl Cli {
    /// What to log.
    pub fn log(&self) -> &str {
        let default = if self.command.is_server() { LOG } else { QUIET_LOG };
        // A variable that is set but empty is as one that is not set.
        self.global.log.as_deref().filter(|filter| !filter.is_empty()).unwrap_or(default)
    }
}

/// Reads the command line. An error is printed by its own `print`, which knows where help goes.
pub fn parse<I, A>(arguments: I) -> Result<Cli, clap::Error>
where
    I: IntoIterator<Item = A>,
    A: Into<OsString> + Clone,
{
    let mut arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
    child::run_means_exec(&mut arguments);
    let words: Vec<String> = arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    Cli::try_parse_from(arguments).map_err(|error| mistakes::told(Cli::command(), error, &words))
}

/// Whether a command line, right or wrong, asks for a log of JSON lines.
pub fn wants_json(arguments: &[OsString]) -> bool {
    let is = |word: &OsString, text: &str| word.to_str().is_some_and(|word| word.eq_ignore_ascii_case(text));
    let ours = arguments.iter().position(|word| word == "--").map_or(arguments, |end| &arguments[..end]);
    ours.iter().any(|word| is(word, "--log-format=json"))
        || ours.windows(2).any(|pair| is(&pair[0], "--log-format") && is(&pair[1], "json"))
}

/// How the program ends after such an error: help and version that were asked for are no mistake.
pub fn exit_of(error: &clap::Error) -> Exit {
    use clap::error::ErrorKind;
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Ok,
        _ => Exit::Usage,
    }
}

fn log_filter(text: &str) -> Result<String, logging::LogError> {
    match text.trim() {
        "" => Ok(String::new()),
        filter => logging::parse_filter(filter).map(|_| filter.to_owned()),
    }
}

#[cfg(test)]
mod tests;
