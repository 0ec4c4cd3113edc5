//! Arguments of `service`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What to do with the service.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum ServiceArgs {
    /// Install this program as a service, and start it.
    Install(InstallArgs),
    /// Stop the service and remove it. Configuration, tokens, vaults and logs stay.
    Uninstall(UninstallArgs),
    /// Tell whether the service is installed and running.
    Status(ServiceStatusArgs),
}

/// Which service.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Which {
    /// The service's name.
    #[arg(long, value_name = "NAME", default_value = "secretbridge")]
    pub name: String,
    /// A service of yours alone, which runs as you: systemd's or launchd's, not on Windows.
    #[arg(long)]
    pub user: bool,
}

/// Arguments of `service install`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_long_help = format!("\
WHAT IT IS:
  Windows: a service of its own process, with delayed automatic start, restarted after a failure. It runs as
    the virtual account NT SERVICE\\NAME, or as --account says: a group managed service account, LocalSystem.
    Its token and its audit trail are in %ProgramData%\\NAME, for the system, the administrators and that account.
    Warnings and errors are in the Event Log (Application, source NAME).
  Linux: a systemd unit, for the machine (account secretbridge) or with --user for you.
  macOS: a launchd job, with --user for you, or for the machine with --account.

EXAMPLES:
  secretbridge service install --dry-run
      Shows all that it would do, and does nothing.
  secretbridge service install --config /etc/secretbridge/secretbridge.toml
      Serves a configuration from now on, and at each start of the machine.
  secretbridge service install --account 'CONTOSO\\vaults$' --config C:\\ProgramData\\vaults.toml
      The same on Windows, as a group managed service account.
  secretbridge service install --user -- serve --expose-vault Team
      Serves a vault of yours, as you.
  secretbridge service install --name web -- run /srv/web/server.ps1 -VaultName Real
      Serves a Pode script.

{}", super::exit_codes::EXIT_CODES))]
pub struct InstallArgs {
    /// Which service.
    #[command(flatten)]
    pub which: Which,
    /// Serve this configuration file.
    #[arg(long, short, value_name = "FILE", conflicts_with = "command")]
    pub config: Option<PathBuf>,
    /// Run as this account, which needs no password.
    #[arg(long, value_name = "ACCOUNT")]
    pub account: Option<String>,
    /// Do not start it now.
    #[arg(long)]
    pub no_start: bool,
    /// Show what would be done, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// What the service runs: `serve` or `run` and its arguments, after `--`. [default: serve]
    #[arg(value_name = "COMMAND", last = true)]
    pub command: Vec<OsString>,
}

/// Arguments of `service uninstall`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_long_help = format!("EXAMPLES:\n  secretbridge service uninstall\n\n{}", super::exit_codes::EXIT_CODES))]
pub struct UninstallArgs {
    /// Which service.
    #[command(flatten)]
    pub which: Which,
    /// Show what would be done, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// Arguments of `service status`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_long_help = format!("\
EXAMPLES:
  secretbridge service status
      Exit code 0 if it runs, 68 if it is installed and does not run, 66 if it is not installed.

{}", super::exit_codes::EXIT_CODES))]
pub struct ServiceStatusArgs {
    /// Which service.
    #[command(flatten)]
    pub which: Which,
    /// Print it as a JSON document.
    #[arg(long)]
    pub json: bool,
}
