//! The command line. Pure: it reads arguments and nothing else, but for the variables named in the help.

#![allow(
    rustdoc::broken_intra_doc_links,
    rustdoc::bare_urls,
    reason = "what clap shows as help is no markdown"
)]

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::audit;
pub use backup::{BackupArgs, RestoreArgs};
pub use child::{Binding, ExecArgs, ExportArgs, ExportFormat, InjectArgs, InjectFormat, binding};
pub use doctor::DoctorArgs;
pub use init::{InitArgs, InitVault, SchemaArgs};
pub use secrets::{
    CacheArgs, CacheVerb, Connect, GetArgs, InfoArgs, ListArgs, LockArgs, RmArgs, SetArgs, StatusArgs,
    UnlockArgs, ValueType, VaultsArgs,
};
pub use service::{InstallArgs, ServiceArgs, ServiceStatusArgs, UninstallArgs, Which};
pub use setup::{CompletionsArgs, ManArgs, ModuleArgs, ModuleVerb};
pub use transfer::{CopyArgs, ImportArgs, ImportFormat};

use crate::config::{parse_bind, parse_expose};
use crate::exit::Exit;
use crate::logging;
pub use crate::logging::LogFormat;
use crate::plan::{Bind, Expose};
use exit_codes::EXIT_CODES;

mod backup;
mod child;
mod doctor;
mod exit_codes;
mod init;
mod secrets;
mod service;
mod setup;
mod transfer;

/// What a server logs without a word.
const LOG: &str = "info";

/// What other commands log without a word: their answer is what counts.
const QUIET_LOG: &str = "warn";

const SERVE_AFTER: &str = "\
THE LOCAL VAULT:
  Without a configuration, secrets are kept in a local vault: a file encrypted with age,
  and beside it the file with its key, both readable by your account only (mode 0600).
  The key protects copies of the data file alone: a backup, a synchronised folder, a disk
  image that does not have the key file too.
  It does not protect from anyone who can read your account's files: programs that run as
  you, and the administrator, can read both.

EXAMPLES:
  secretbridge serve
      A local vault on http://127.0.0.1:8085; prints where its token is and a curl line to try.
  secretbridge serve --config secretbridge.toml
      The vaults, secrets and routes of a file.
  secretbridge serve --expose-vault Team --expose-vault Mine:rw
      Vaults that you registered in PowerShell: Team for reading, Mine for writing too.
  secretbridge serve --listen unix:/run/user/1000/secretbridge.sock
      On a Unix socket that your account alone can open.
";

const CHECK_AFTER: &str = "\
EXAMPLES:
  secretbridge check --config secretbridge.toml
      Tells every mistake with its line, or nothing.
  secretbridge check --config secretbridge.toml --json
      The same as JSON, for an editor or a pipeline.
";

const PREPARE_AFTER: &str = "\
A part of each worker is C#, compiled by your own pwsh. The first start does it by itself, in
about a second, and keeps it for the next ones in your cache folder: $XDG_CACHE_HOME/secretbridge
or ~/.cache/secretbridge (Windows: %LOCALAPPDATA%\\secretbridge). After an update of pwsh or of
this program it is compiled once more.

EXAMPLES:
  secretbridge prepare
      Compiles it now, if that has not been done yet, and tells where it is.
  XDG_CACHE_HOME=/var/cache/app secretbridge prepare
      The same in the image of a service, as the user that it will run as.
";

const RUN_AFTER: &str = "\
EXAMPLES:
  secretbridge run server.ps1 -VaultName Real -SubscriptionId 0000
      Serves a script; what follows its name are the script's parameters.
  secretbridge run server.ps1 -VaultName Real -Password @password.txt
      A parameter from a file that only you can read; on the command line others could see it.
  secretbridge run --check --format toml server.ps1
      Prints what the script would serve, as a configuration file.
";

/// Keeps PowerShell's SecretManagement vaults open behind a fast and safe front.
#[derive(Debug, Parser)]
#[command(name = "secretbridge", version, long_version = setup::LONG_VERSION, subcommand_required = true, arg_required_else_help = true)]
#[command(after_long_help = EXIT_CODES)]
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
    /// Look at everything a server needs, and tell what is wrong and what mends it.
    Doctor(DoctorArgs),
    /// Compile the worker ahead of the first start.
    Prepare(PrepareArgs),
    /// Serve a PowerShell script written for Pode's Secrets feature.
    Run(RunArgs),
    /// Look after the audit trail.
    #[command(subcommand)]
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
    /// Show how a running server is.
    Status(StatusArgs),
    /// The values that a running server keeps.
    Cache(CacheArgs),
    /// Run a program with secrets in its environment or in files.
    Exec(ExecArgs),
    /// Fill the references in a file.
    Inject(InjectArgs),
    /// Print secrets as variables.
    Export(ExportArgs),
    /// Copy secrets from one vault to another.
    Copy(CopyArgs),
    /// Write the secrets of vaults into one encrypted archive.
    Backup(BackupArgs),
    /// Write the secrets of an archive back into vaults.
    Restore(RestoreArgs),
    /// Write the secrets of a .env, JSON, CSV, Bitwarden or KeePass file into a vault.
    Import(ImportArgs),
    /// Print what a shell needs to complete this program's command line.
    Completions(CompletionsArgs),
    /// Print a manual page, or write all of them into a folder.
    Man(ManArgs),
    /// The PowerShell module SecretBridge.
    Module(ModuleArgs),
    /// Make a bearer token, or the hash to keep of one.
    #[command(subcommand)]
    Token(TokenArgs),
    /// Have the system run this program: a service of Windows, systemd or launchd.
    #[command(subcommand)]
    Service(ServiceArgs),
}

impl Command {
    /// Whether it serves until it is stopped.
    fn is_server(&self) -> bool {
        matches!(self, Command::Serve(_) | Command::Run(_))
    }
}

/// What `token` does.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum TokenArgs {
    /// Make a token of 32 random bytes, and print it with its hash.
    New {
        /// Write the token to this new file (mode 0600), and print its hash alone.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Print the hash of a token, for `hash` in [[tokens]]. Without a file it is read from standard input.
    Hash {
        /// The file with the token.
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

/// Who may call, beside the token.
#[derive(Debug, Clone, PartialEq, Eq, Default, Args)]
#[command(next_help_heading = "Callers")]
pub struct AccessArgs {
    /// Take calls by this name too, such as a proxy's: NAME, NAME:PORT or *.DOMAIN. May be repeated.
    #[arg(long, value_name = "NAME")]
    pub allow_host: Vec<String>,
    /// Take requests of web pages of this origin, e.g. https://app.example. May be repeated.
    #[arg(long, value_name = "ORIGIN")]
    pub allow_origin: Vec<String>,
    /// Requests a second of one caller; more are answered 429.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate_per_caller: Option<u32>,
    /// Requests a second from one address; more are answered 429.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate_per_address: Option<u32>,
    /// Requests of one caller at the same time; more are answered 429.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub concurrent_per_caller: Option<u32>,
    /// Requests from one address at the same time; more are answered 429.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub concurrent_per_address: Option<u32>,
}

/// Arguments of `serve`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Args)]
#[command(after_long_help = concat_serve())]
pub struct ServeArgs {
    /// The configuration file; the variable SECRETBRIDGE_CONFIG says the same. Without it: ./secretbridge.toml, then
    /// yours, then the system's. Where there is none, a local vault is served.
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Listen here in place of where the file says: `127.0.0.1:8085`, `[::1]:0`, `*:8080`, `unix:/path` or, on Windows, `pipe:NAME`. May be repeated.
    #[arg(long, value_name = "ADDR", value_parser = parse_bind)]
    pub listen: Vec<Bind>,
    /// Serve a vault that you registered in PowerShell, for reading, or with :rw for writing too. May be repeated.
    #[arg(long, value_name = "NAME[:rw]", value_parser = expose)]
    pub expose_vault: Vec<Expose>,
    /// Do not look for vaults that you registered in PowerShell.
    #[arg(long, conflicts_with = "expose_vault")]
    pub no_auto_import: bool,
    /// Register the vaults in your own SecretManagement registry too, so that other shells see them while the
    /// server runs. They are taken out again when it stops, or at the next start if it crashed.
    #[arg(long)]
    pub register_for_user: bool,
    /// The file with the bearer token that callers must show (mode 0600).
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// How many pwsh workers to keep, in place of the pool's min and max.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: Option<u16>,
    /// The folder of the local vault; no configuration is looked for.
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pub local_vault: Option<PathBuf>,
    /// Do not listen on the socket where the command line finds a server of yours.
    #[arg(long)]
    pub no_socket: bool,
    /// Where the audit trail goes.
    #[command(flatten)]
    pub audit: AuditArgs,
    /// Who may call, beside the token.
    #[command(flatten)]
    pub access: AccessArgs,
}

/// Where the audit trail goes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Args)]
#[command(next_help_heading = "Audit options")]
pub struct AuditArgs {
    /// Append the audit trail to this file (mode 0600) in place of standard error.
    #[arg(long, value_name = "FILE")]
    pub audit_file: Option<PathBuf>,
    /// Give each line of the audit trail a digest of itself and the line before.
    #[arg(long)]
    pub audit_chain: bool,
}

/// What to do with an audit trail.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum AuditCommand {
    /// Check the chain of an audit trail and tell what was changed, put in or taken out.
    Verify(VerifyArgs),
}

/// Arguments of `audit verify`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct VerifyArgs {
    /// The trail's files, in the order in which they were written.
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
}

impl AuditArgs {
    /// What the command line says goes before what a file says.
    pub fn apply(&self, settings: &mut audit::AuditSettings) {
        if let Some(file) = &self.audit_file {
            settings.to = audit::Destination::File(file.clone());
        }
        settings.chain |= self.audit_chain;
    }
}

/// Arguments of `check`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_long_help = concat_check())]
pub struct CheckArgs {
    /// The configuration file; the variable SECRETBRIDGE_CONFIG says the same. Without it: ./secretbridge.toml, then
    /// yours, then the system's.
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Look at the file alone, and not at what it names.
    #[arg(long, conflicts_with = "deep")]
    pub file_only: bool,
    /// Start a worker too, register the vaults there and unlock them. No secret is read.
    #[arg(long)]
    pub deep: bool,
    /// Print the mistakes, and what was found, as a JSON document to standard output.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `prepare`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_long_help = concat_prepare())]
pub struct PrepareArgs {
    /// Print the outcome as a JSON document to standard output.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `run`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_long_help = concat_run())]
pub struct RunArgs {
    /// Print what the script would serve, secrets redacted, and serve nothing.
    #[arg(long)]
    pub check: bool,
    /// How --check prints it.
    #[arg(long, value_enum, default_value_t = PlanFormat::Text, requires = "check")]
    pub format: PlanFormat,
    /// Answer every route of the script in PowerShell, also those that could do without.
    #[arg(long)]
    pub no_lift: bool,
    /// Register the vaults in your own SecretManagement registry too, so that other shells see them while the
    /// server runs. They are taken out again when it stops, or at the next start if it crashed.
    #[arg(long)]
    pub register_for_user: bool,
    /// Ask callers of the script's routes for the bearer token in this file (mode 0600), or for one of the
    /// [[tokens]] in this .toml file, each with the routes that it may use. May be repeated.
    #[arg(long, value_name = "FILE")]
    pub token_file: Vec<PathBuf>,
    /// Tell how the server is (/livez, /readyz, /health, /metrics) on a listener of its own, away from the
    /// script's routes: `127.0.0.1:8086`, `unix:/path` or, on Windows, `pipe:NAME`. It is there from the first moment. May be repeated.
    #[arg(long, value_name = "ADDR", value_parser = parse_bind)]
    pub admin_listen: Vec<Bind>,
    /// The file with the token for that listener (mode 0600). Without one a token is made and kept in the data folder.
    #[arg(long, value_name = "FILE", requires = "admin_listen")]
    pub admin_token_file: Option<PathBuf>,
    /// Listen on the loopback interface only, whatever the script says.
    #[arg(long)]
    pub loopback: bool,
    /// Where the audit trail goes.
    #[command(flatten)]
    pub audit: AuditArgs,
    /// Who may call, beside the token.
    #[command(flatten)]
    pub access: AccessArgs,
    /// The script.
    #[arg(value_name = "SCRIPT")]
    pub script: PathBuf,
    /// The script's own parameters, e.g. `-VaultName Real`. What stands here can be seen in the list of processes:
    /// give a password as `-Name @FILE` (mode 0600; `@@` for a value that begins with @), or have the script read
    /// it from its environment.
    #[arg(value_name = "PARAMETERS", trailing_var_arg = true, allow_hyphen_values = true)]
    pub parameters: Vec<OsString>,
}

/// How a plan is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum PlanFormat {
    /// For people.
    #[default]
    Text,
    /// A JSON document.
    Json,
    /// A configuration file.
    Toml,
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
    Cli::try_parse_from(arguments)
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

fn expose(text: &str) -> Result<Expose, String> {
    parse_expose(text).ok_or_else(|| "names no vault; write NAME or NAME:rw".to_owned())
}

fn log_filter(text: &str) -> Result<String, logging::LogError> {
    match text.trim() {
        "" => Ok(String::new()),
        filter => logging::parse_filter(filter).map(|_| filter.to_owned()),
    }
}

fn concat_serve() -> String {
    format!("{SERVE_AFTER}\n{EXIT_CODES}")
}

fn concat_check() -> String {
    format!("{CHECK_AFTER}\n{EXIT_CODES}")
}

fn concat_prepare() -> String {
    format!("{PREPARE_AFTER}\n{EXIT_CODES}")
}

fn concat_run() -> String {
    format!("{RUN_AFTER}\n{EXIT_CODES}")
}

#[cfg(test)]
mod tests;
