//! Arguments of `init` and `schema`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Arguments of `init`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Args)]
#[command(after_long_help = format!("\
On a terminal a few questions are asked, unless an option says what the vault is. What is written passes \
`secretbridge check`. Beside it goes secretbridge.schema.json, which the first line of the file names, so \
that an editor that knows TOML completes and checks keys.

EXAMPLES:
  secretbridge init
      Asks, and writes ./secretbridge.toml.
  secretbridge init --user --yes
      A local vault, in the file of your user that every command finds.
  secretbridge init --vault azure --parameter AZKVaultName=team --parameter SubscriptionId=0000
  secretbridge init --vault secretstore --unlock-file store.password
  secretbridge init --vault registered --expose-vault Team --expose-vault Mine:rw

{}", super::exit_codes::EXIT_CODES))]
pub struct InitArgs {
    /// The file to write. [default: ./secretbridge.toml]
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Write the file of this user.
    #[arg(long, conflicts_with_all = ["file", "system"])]
    pub user: bool,
    /// Write the file of the system.
    #[arg(long, conflicts_with = "file")]
    pub system: bool,
    /// Write over a file that is there.
    #[arg(long)]
    pub force: bool,
    /// Ask nothing. Where no option says otherwise: a local vault, on 127.0.0.1:8085.
    #[arg(long, short)]
    pub yes: bool,
    /// What the vault is.
    #[arg(long, value_enum, value_name = "KIND")]
    pub vault: Option<InitVault>,
    /// The module of `--vault module`: its name or its path.
    #[arg(long, value_name = "MODULE")]
    pub module: Option<String>,
    /// The vault's friendly name.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// One of the vault's VaultParameters. May be repeated. Give no password here: other users can see it.
    #[arg(long, value_name = "NAME=VALUE", value_parser = parameter)]
    pub parameter: Vec<(String, String)>,
    /// The file with the vault's password (mode 0600).
    #[arg(long, value_name = "FILE", conflicts_with = "unlock_env")]
    pub unlock_file: Option<String>,
    /// The environment variable with the vault's password.
    #[arg(long, value_name = "NAME")]
    pub unlock_env: Option<String>,
    /// Serve a vault that you registered in PowerShell: for reading, or with :rw for writing too. May be repeated.
    #[arg(long, value_name = "NAME[:rw]")]
    pub expose_vault: Vec<String>,
    /// Where to listen. [default: 127.0.0.1:8085]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
}

impl InitArgs {
    /// Whether options alone say what to write.
    pub fn says_what(&self) -> bool {
        self.yes || self.vault.is_some() || self.module.is_some() || !self.expose_vault.is_empty()
    }
}

/// What a vault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum InitVault {
    /// An encrypted file; needs no PowerShell.
    Local,
    /// Microsoft.PowerShell.SecretStore.
    Secretstore,
    /// Azure Key Vault, by Az.KeyVault.
    Azure,
    /// Another SecretManagement extension module.
    Module,
    /// Those that are registered in PowerShell.
    Registered,
}

/// Arguments of `schema`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_long_help = format!("\
EXAMPLES:
  secretbridge schema > secretbridge.schema.json

An editor is told of it by the first line of a configuration: #:schema ./secretbridge.schema.json

{}", super::exit_codes::EXIT_CODES))]
pub struct SchemaArgs {}

fn parameter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}
