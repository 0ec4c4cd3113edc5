//! Arguments of `doctor`.

use clap::Args;

use super::secrets::Connect;

/// Arguments of `doctor`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_long_help = format!("\
Nothing is changed: a vault is reached by listing it, a store is not configured, a file that is missing is \
not made. Each line is ok, a warning or a problem; below a warning or a problem stands what mends it.

EXAMPLES:
  secretbridge doctor
  secretbridge doctor --config secretbridge.toml --json
  secretbridge doctor --as-service
      What is different for the user that the service runs as.

EXIT CODES:
   0  no problem; there may be warnings
   1  at least one problem
  64  the command line is wrong"))]
pub struct DoctorArgs {
    /// Print a JSON document.
    #[arg(long)]
    pub json: bool,
    /// Tell what differs for the user that a service runs as.
    #[arg(long, value_name = "USER", num_args = 0..=1, default_missing_value = "secretbridge", require_equals = true)]
    pub as_service: Option<String>,
    /// Do not open vaults of modules, which starts a worker for each.
    #[arg(long)]
    pub no_vaults: bool,
    /// Where the secrets are.
    #[command(flatten)]
    pub connect: Connect,
}
