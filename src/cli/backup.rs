//! Arguments of `backup` and `restore`.

use std::path::PathBuf;

use clap::Args;

use super::secrets::Connect;
use super::transfer::PutArgs;

/// Arguments of `backup`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_long_help = format!("\
EXAMPLES:
  secretbridge backup all.age
      Every vault of the server or the configuration; asks for a passphrase.
  secretbridge backup team.age team 'mine/db-*' --recipient age1…
  secretbridge backup all.age --passphrase-file passphrase

The archive is an age file (https://age-encryption.org); what is in it are lines of JSON, one for each \
secret with its vault, name, type, value and metadata. It appears whole, with mode 0600, or not at all: a \
vault that cannot be read leaves none. Keep the passphrase or the identity away from it.

{}", super::exit_codes::EXIT_CODES))]
pub struct BackupArgs {
    /// The archive to write.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The vaults, or a vault and a pattern. Without any, every vault.
    #[arg(value_name = "VAULT[/PATTERN]")]
    pub vaults: Vec<String>,
    /// Encrypt to this age recipient (age1…), who has the identity. May be repeated.
    #[arg(long, short, value_name = "RECIPIENT", conflicts_with = "passphrase_file")]
    pub recipient: Vec<String>,
    /// The file with the passphrase (mode 0600); without it, and without a recipient, it is asked for.
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// Write over an archive that is there.
    #[arg(long)]
    pub force: bool,
    /// Where the secrets are.
    #[command(flatten)]
    pub connect: Connect,
}

/// Arguments of `restore`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_long_help = format!("\
EXAMPLES:
  secretbridge restore all.age --dry-run
  secretbridge restore all.age 'team/db-*' --identity key.txt
  secretbridge restore team.age --to elsewhere --overwrite

The archive is read to its end before anything is written: one that is torn or changed is refused. Each \
secret is read back after it was written, its type and metadata too. What is there already and the same is \
left alone, so that a restore that was cut off is completed by the same command. Each line tells what was \
done: restored, same, or differs (and was left alone, for want of --overwrite).

{}", super::exit_codes::EXIT_CODES))]
pub struct RestoreArgs {
    /// The archive.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Of its secrets only those of this vault, or of a vault and a pattern. May be repeated.
    #[arg(value_name = "VAULT[/PATTERN]")]
    pub only: Vec<String>,
    /// Write all of them to this vault, in place of the one that each came from.
    #[arg(long, value_name = "VAULT")]
    pub to: Option<String>,
    /// The file with the age identity (mode 0600). May be repeated.
    #[arg(long, short, value_name = "FILE", conflicts_with = "passphrase_file")]
    pub identity: Vec<PathBuf>,
    /// The file with the passphrase (mode 0600); without it, and without an identity, it is asked for.
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// How secrets are put.
    #[command(flatten)]
    pub putting: PutArgs,
    /// Where the secrets are.
    #[command(flatten)]
    pub connect: Connect,
}
