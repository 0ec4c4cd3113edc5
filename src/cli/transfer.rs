//! Arguments of the commands that move many secrets: `copy` and `import`; `restore` puts secrets as `copy` does.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::secrets::Connect;

/// Arguments of `copy`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_long_help = format!("\
EXAMPLES:
  secretbridge copy team backup --dry-run
  secretbridge copy 'team/db-*' backup --overwrite

Each secret is read back after it was written, its type and metadata too. What is there already and the same is
left alone, so that a copy that was cut off is completed by the same command. Each line tells what was done:
copied, same, or differs (and was left alone, for want of --overwrite).

{}", super::exit_codes::EXIT_CODES))]
pub struct CopyArgs {
    /// The vault to copy from, or a vault and a pattern.
    #[arg(value_name = "FROM[/PATTERN]")]
    pub from: String,
    /// The vault to copy to.
    #[arg(value_name = "TO")]
    pub to: String,
    /// How secrets are put.
    #[command(flatten)]
    pub putting: PutArgs,
    /// Where the secrets are.
    #[command(flatten)]
    pub connect: Connect,
}

/// How `copy` and `restore` put secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct PutArgs {
    /// Tell what would be done, and write nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Write over secrets that differ.
    #[arg(long)]
    pub overwrite: bool,
    /// Leave metadata out, for a vault that keeps none.
    #[arg(long)]
    pub no_metadata: bool,
}

/// Arguments of `import`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_long_help = format!("\
EXAMPLES:
  secretbridge import .env local
  secretbridge import logins.csv local --format csv
  secretbridge import bitwarden.json local --format bitwarden --dry-run
  secretbridge import keepass.xml local --format keepass

A .env file and a JSON object give a string for each name, a nested object a hashtable. A CSV file has a \
heading with `name` and `value`, or with `name`, `username` and `password`. Logins of Bitwarden and KeePass \
become credentials, with what else they hold as metadata.

{}", super::exit_codes::EXIT_CODES))]
pub struct ImportArgs {
    /// The file; - is standard input.
    pub file: PathBuf,
    /// The vault to write to.
    pub vault: String,
    /// What the file is. Without it the file's name tells.
    #[arg(long, value_enum)]
    pub format: Option<ImportFormat>,
    /// Tell what would be written, and write nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Write over secrets that are there.
    #[arg(long)]
    pub overwrite: bool,
    /// Where the secrets are.
    #[command(flatten)]
    pub connect: Connect,
}

/// What an imported file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ImportFormat {
    /// Lines NAME=value.
    Env,
    /// An object of names and values.
    Json,
    /// A table with a heading.
    Csv,
    /// Bitwarden's unencrypted JSON export.
    Bitwarden,
    /// KeePass's XML export.
    Keepass,
}
