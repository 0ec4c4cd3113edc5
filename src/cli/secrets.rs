//! Arguments of the commands that read and write secrets.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::config::{self, parse_duration};
use crate::protocol::MetadataValue;
use crate::reach::name::SecretName;

/// How names are written; every command that takes one shows it.
const NAMES: &str = "\
NAMES:
  vault/key                          a key of a vault; what follows the first slash is the key
  name                               a mounted secret, or a key of the default vault
  secretbridge://vault/key#/member   the same as a reference; parts in percent encoding";

const GET_AFTER: &str = "\
EXAMPLES:
  secretbridge get team/db-password
  secretbridge get secretbridge://team/login#/password
  secretbridge get team/login --property password --no-newline | pbcopy      (Windows: clip)
  secretbridge get team/certificate --output certificate.pfx

The text of a secret is printed, bytes as they are, tables and credentials as JSON.";

const SET_AFTER: &str = "\
EXAMPLES:
  secretbridge set team/db-password                       asks for the value, hidden
  openssl rand -hex 32 | secretbridge set team/api-key    one newline at the end is dropped
  secretbridge set team/certificate --type bytes --file certificate.pfx
  secretbridge set team/login --type credential --user sa --metadata Owner=dba

The value is never an argument: other users could see it in the list of processes.";

/// Where a command reaches secrets: a running server or, without one, the vaults themselves.
#[derive(Debug, Clone, PartialEq, Eq, Default, Args)]
#[command(next_help_heading = "Where the secrets are")]
pub struct Connect {
    /// A server: `http://127.0.0.1:8085`, `https://host:8443`, `unix:/path` or, on Windows, `pipe:NAME`; the variable SECRETBRIDGE_ADDR says
    /// the same. Without it, a server of yours is found by its socket.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// The file with the server's bearer token (mode 0600); the variable SECRETBRIDGE_TOKEN_FILE says the same.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// A PEM file with the authority that signed the server's certificate, in place of the system's; the variable
    /// SECRETBRIDGE_CA_FILE says the same.
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Use the vaults of this configuration file. A running server is used only where this file names its socket. The
    /// variable SECRETBRIDGE_CONFIG says the same. Without it: ./secretbridge.toml, then yours, then the system's.
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Open the vaults without asking a server. Do not use it beside a server that writes to them.
    #[arg(long, conflicts_with = "url")]
    pub direct: bool,
    /// Use the local vault in this folder. No configuration is looked for.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["url", "config"])]
    pub local_vault: Option<PathBuf>,
    /// How long to wait for an answer.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    pub timeout: Duration,
}

// What the command line says goes before what a variable says.
impl Connect {
    /// The server's address, if one is named.
    pub fn url(&self) -> Option<String> {
        let elsewhere = self.direct || self.local_vault.is_some() || self.config.is_some();
        let variable = || variable("SECRETBRIDGE_ADDR").filter(|_| !elsewhere)?.into_string().ok();
        self.url.clone().filter(|url| !url.is_empty()).or_else(variable)
    }

    /// The token's file, if one is named.
    pub fn token_file(&self) -> Option<PathBuf> {
        named(self.token_file.as_deref(), "SECRETBRIDGE_TOKEN_FILE")
    }

    /// The authority's file, if one is named.
    pub fn ca_file(&self) -> Option<PathBuf> {
        named(self.ca_file.as_deref(), "SECRETBRIDGE_CA_FILE")
    }

    /// The configuration's file, if one is named.
    pub fn config(&self) -> Option<PathBuf> {
        match (&self.config, &self.local_vault) {
            (None, Some(_)) => None,
            (option, _) => config::named(option.as_deref()).map(|place| place.path),
        }
    }
}

fn named(option: Option<&Path>, name: &str) -> Option<PathBuf> {
    let option = option.filter(|path| !path.as_os_str().is_empty()).map(Path::to_owned);
    option.or_else(|| variable(name).map(PathBuf::from))
}

/// A variable that is set but empty is as one that is not set.
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Arguments of `get`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_long_help = format!("{NAMES}\n\n{GET_AFTER}\n\n{}", super::exit_codes::EXIT_CODES))]
pub struct GetArgs {
    /// The secret: vault/key, a mount, or secretbridge://vault/key#/member.
    #[arg(value_name = "SECRET")]
    pub name: SecretName,
    /// Read one member of a table, or `UserName` or `Password` of a credential.
    #[arg(long, short, value_name = "MEMBER")]
    pub property: Option<String>,
    /// Print a JSON object with the secret's name, type and value.
    #[arg(long)]
    pub json: bool,
    /// Write the value to this file (mode 0600), exactly as it is. No newline is added.
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Print no newline after the text.
    #[arg(long, short)]
    pub no_newline: bool,
    /// Where the secrets are.
    #[command(flatten)]
    pub connect: Connect,
}

/// Arguments of `set`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_long_help = format!("{NAMES}\n\n{SET_AFTER}\n\n{}", super::exit_codes::EXIT_CODES))]
pub struct SetArgs {
    /// The secret: vault/key, a mount, or secretbridge://vault/key#/member.
    #[arg(value_name = "SECRET")]
    pub name: SecretName,
    /// Read the value from this file, exactly as it is. `-` reads standard input, and keeps a newline at its end.
    #[arg(long, short, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The type. A hashtable is read from a JSON object. A credential is read from one with UserName and Password,
    /// or takes its user from --user.
    #[arg(long, short, value_enum, ignore_case = true, default_value_t = ValueType::String)]
    pub r#type: ValueType,
    /// The user name of a credential; the value is then its password.
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Write one member of a table, and leave the others as they are.
    #[arg(long, short, value_name = "MEMBER")]
    pub property: Option<String>,
    /// Metadata: `name=text`, or `name:=5` for a whole number. May be repeated. It replaces what is there; without
    /// this option, what is there stays.
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = meta)]
    pub metadata: Vec<Meta>,
    /// Write the metadata, and leave the value as it is.
    #[arg(long, requires = "metadata", conflicts_with_all = ["file", "user", "property", "type"])]
    pub only_metadata: bool,
    /// Where the secrets are.
    #[command(flatten)]
    pub connect: Connect,
}

/// One entry of metadata.
#[derive(Debug, Clone, PartialEq)]
pub struct Meta {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: MetadataValue,
}

impl Eq for Meta {}

/// The type of a value to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ValueType {
    /// A string.
    #[default]
    String,
    /// A SecureString.
    #[value(alias = "secure-string")]
    Securestring,
    /// A byte array.
    #[value(alias = "bytearray", alias = "byte-array")]
    Bytes,
    /// A Hashtable.
    #[value(alias = "table")]
    Hashtable,
    /// A PSCredential.
    #[value(alias = "pscredential")]
    Credential,
}

/// Arguments of `list`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_long_help = format!("\
EXAMPLES:
  secretbridge list                 all secrets of all vaults
  secretbridge list team            those of one vault
  secretbridge list 'team/db-*'     those whose names are like that; * and ? stand for any text and any character

On a terminal it is a table, elsewhere a line for each secret: its name, a tab, its type.

{}", super::exit_codes::EXIT_CODES))]
pub struct ListArgs {
    /// A vault, or a vault and a pattern. Without it, every vault.
    #[arg(value_name = "VAULT[/PATTERN]")]
    pub of: Option<String>,
    /// Print a JSON array.
    #[arg(long)]
    pub json: bool,
    /// Where the secrets are.
    #[command(flatten)]
    pub connect: Connect,
}

/// Arguments of `info`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_long_help = format!("{NAMES}\n\nEXAMPLES:\n  secretbridge info team/db-password\n\n{}", super::exit_codes::EXIT_CODES))]
pub struct InfoArgs {
    /// The secret: vault/key, a mount, or secretbridge://vault/key#/member.
    #[arg(value_name = "SECRET")]
    pub name: SecretName,
    /// Print a JSON object.
    #[arg(long)]
    pub json: bool,
    /// Where the secrets are.
    #[command(flatten)]
    pub connect: Connect,
}

/// Arguments of `rm`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_long_help = format!("{NAMES}\n\nEXAMPLES:\n  secretbridge rm team/db-password team/old\n\n{}", super::exit_codes::EXIT_CODES))]
pub struct RmArgs {
    /// The secrets: vault/key each, a mount, or secretbridge://vault/key.
    #[arg(required = true, value_name = "SECRET")]
    pub names: Vec<SecretName>,
    /// Do not fail where a secret is not there.
    #[arg(long, short)]
    pub force: bool,
    /// Where the secrets are.
    #[command(flatten)]
    pub connect: Connect,
}

/// Arguments of `vaults`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_long_help = format!("EXAMPLES:\n  secretbridge vaults --json\n\n{}", super::exit_codes::EXIT_CODES))]
pub struct VaultsArgs {
    /// Print a JSON array.
    #[arg(long)]
    pub json: bool,
    /// Where the secrets are.
    #[command(flatten)]
    pub connect: Connect,
}

/// Arguments of `unlock`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_long_help = format!("\
EXAMPLES:
  secretbridge unlock store                          asks for the password, hidden
  secretbridge unlock store --password-file pw.txt   one newline at the end is dropped
  secretbridge unlock store --configured             with the password that the server has

{}", super::exit_codes::EXIT_CODES))]
pub struct UnlockArgs {
    /// The vault.
    pub vault: String,
    /// Read the password from this file (mode 0600).
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Use the password of the server's configuration.
    #[arg(long, conflicts_with = "password_file")]
    pub configured: bool,
    /// Where the secrets are.
    #[command(flatten)]
    pub connect: Connect,
}

/// Arguments of `lock`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_long_help = format!("EXAMPLES:\n  secretbridge lock store\n\n{}", super::exit_codes::EXIT_CODES))]
pub struct LockArgs {
    /// The vault.
    pub vault: String,
    /// Where the secrets are.
    #[command(flatten)]
    pub connect: Connect,
}

/// Arguments of `status`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_long_help = format!("EXAMPLES:\n  secretbridge status --json\n\n{}", super::exit_codes::EXIT_CODES))]
pub struct StatusArgs {
    /// Print the server's whole answer as JSON.
    #[arg(long)]
    pub json: bool,
    /// Where the secrets are.
    #[command(flatten)]
    pub connect: Connect,
}

/// Arguments of `cache`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct CacheArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: CacheVerb,
}

/// What to do with the values that a server keeps.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum CacheVerb {
    /// Forget the values, so that the next read asks the vault.
    #[command(after_long_help = format!("EXAMPLES:\n  secretbridge cache clear\n\n{}", super::exit_codes::EXIT_CODES))]
    Clear {
        /// Where the secrets are.
        #[command(flatten)]
        connect: Connect,
    },
}

fn time(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Ok(time) if !time.is_zero() => Ok(time),
        Ok(_) => Err("must be more than zero".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn meta(text: &str) -> Result<Meta, String> {
    let (name, value) = text.split_once('=').ok_or("write name=value")?;
    let (name, value) = match name.strip_suffix(':') {
        None => (name, MetadataValue::String(value.to_owned())),
        Some(name) => {
            let number = value.parse().map_err(|_| "write a whole number after :=")?;
            (name, MetadataValue::Int(number))
        }
    };
    if name.is_empty() {
        return Err("the name is missing".to_owned());
    }
    Ok(Meta { name: name.to_owned(), value })
}
