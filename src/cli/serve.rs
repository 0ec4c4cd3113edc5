//! Arguments of `serve` and of `run`, which share some.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::audit;
use crate::config::{parse_bind, parse_expose};
use crate::plan::{Bind, Expose};

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

const RUN_AFTER: &str = "\
EXAMPLES:
  secretbridge run server.ps1 -VaultName Real -SubscriptionId 0000
      Serves a script; what follows its name are the script's parameters.
  secretbridge run server.ps1 -VaultName Real -Password @password.txt
      A parameter from a file that only you can read; on the command line others could see it.
  secretbridge run --check --format toml server.ps1
      Prints what the script would serve, as a configuration file.
";

/// Arguments of `serve`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Args)]
#[command(after_long_help = format!("{SERVE_AFTER}\n{}", super::exit_codes::EXIT_CODES))]
pub struct ServeArgs {
    /// The configuration file; the variable SECRETBRIDGE_CONFIG says the same. Without it: ./secretbridge.toml, then
    /// yours, then the system's. Where there is none, a local vault is served.
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Listen here in place of where the file says: `127.0.0.1:8085`, `[::1]:0`, `*:8080`, `unix:/path` or, on Windows, `pipe:NAME`. May be repeated.
    #[arg(long, value_name = "ADDR", value_parser = parse_bind)]
    pub listen: Vec<Bind>,
    /// Serve a vault that you registered in PowerShell: for reading, or with :rw for writing too. May be repeated.
    #[arg(long, value_name = "NAME[:rw]", value_parser = expose)]
    pub expose_vault: Vec<Expose>,
    /// Do not look for vaults that you registered in PowerShell.
    #[arg(long, conflicts_with = "expose_vault")]
    pub no_auto_import: bool,
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
    /// What every server has.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// Arguments of `run`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_long_help = format!("{RUN_AFTER}\n{}", super::exit_codes::EXIT_CODES))]
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
    /// What every server has.
    #[command(flatten)]
    pub server: ServerArgs,
    /// The script.
    #[arg(value_name = "SCRIPT")]
    pub script: PathBuf,
    /// The script's own parameters, e.g. `-VaultName Real`. What stands here can be seen in the list of processes:
    /// give a password as `-Name @FILE` (mode 0600; `@@` for a value that begins with @), or have the script read
    /// it from its environment.
    #[arg(value_name = "PARAMETERS", trailing_var_arg = true, allow_hyphen_values = true)]
    pub parameters: Vec<OsString>,
}

/// Arguments of `serve` and `run` alike.
#[derive(Debug, Clone, PartialEq, Eq, Default, Args)]
pub struct ServerArgs {
    /// Register the vaults in your own SecretManagement registry too, so that other shells see them while the
    /// server runs. They are taken out again when it stops, or at the next start if it crashed.
    #[arg(long)]
    pub register_for_user: bool,
    /// Who the workers run as.
    #[command(flatten)]
    pub as_user: WorkerArgs,
    /// Where the audit trail goes.
    #[command(flatten)]
    pub audit: AuditArgs,
    /// Who may call, beside the token.
    #[command(flatten)]
    pub access: AccessArgs,
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

/// Who may call, beside the token.
#[derive(Debug, Clone, PartialEq, Eq, Default, Args)]
#[command(next_help_heading = "Callers")]
pub struct AccessArgs {
    /// Accept requests for this host name too, such as a proxy's: NAME, NAME:PORT or *.DOMAIN. May be repeated.
    #[arg(long, value_name = "NAME")]
    pub allow_host: Vec<String>,
    /// Accept requests from web pages of this origin, e.g. https://app.example. May be repeated.
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

/// Who the workers run as.
#[derive(Debug, Clone, PartialEq, Eq, Default, Args)]
pub struct WorkerArgs {
    /// Run the workers as this user, and serve that user's vaults. On Linux, and only root may.
    #[arg(long, value_name = "USER", conflicts_with = "register_for_user")]
    pub worker_user: Option<String>,
    /// The home of that user, in place of the one that the system knows.
    #[arg(long, value_name = "DIR", requires = "worker_user")]
    pub worker_home: Option<PathBuf>,
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

impl AuditArgs {
    /// What the command line says goes before what a file says.
    pub fn apply(&self, settings: &mut audit::AuditSettings) {
        if let Some(file) = &self.audit_file {
            settings.to = audit::Destination::File(file.clone());
        }
        settings.chain |= self.audit_chain;
    }
}

fn expose(text: &str) -> Result<Expose, String> {
    parse_expose(text).ok_or_else(|| "names no vault; write NAME or NAME:rw".to_owned())
}
