//! Arguments of the small commands around a server: `check`, `prepare`, `token`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

const CHECK_AFTER: &str = "\
EXAMPLES:
  secretbridge check --config secretbridge.toml
      Tells every mistake with its line, or nothing.
  secretbridge check --config secretbridge.toml --json
      The same as JSON, for an editor or a pipeline.
";

const PREPARE_AFTER: &str = "\
A part of each worker is C#, compiled by your own pwsh. The first start does it by itself, in about a \
second, and keeps it for the next ones in your cache folder: $XDG_CACHE_HOME/secretbridge or \
~/.cache/secretbridge (Windows: %LOCALAPPDATA%\\secretbridge). After an update of pwsh or of this program it \
is compiled once more.

EXAMPLES:
  secretbridge prepare
      Compiles it now, if that has not been done yet, and tells where it is.
  XDG_CACHE_HOME=/var/cache/app secretbridge prepare
      The same in the image of a service, as the user that it will run as.
";

/// Arguments of `check`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_long_help = format!("{CHECK_AFTER}\n{}", super::exit_codes::EXIT_CODES))]
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
#[command(after_long_help = format!("{PREPARE_AFTER}\n{}", super::exit_codes::EXIT_CODES))]
pub struct PrepareArgs {
    /// Print the outcome as a JSON document to standard output.
    #[arg(long)]
    pub json: bool,
}

const TOKEN_NEW_AFTER: &str = "\
EXAMPLES:
  secretbridge token new --file web.token
      The token goes to the program that calls, the hash to [[tokens]] of the server's configuration.
  secretbridge token new
      Prints both. Do not do that where somebody keeps what a terminal shows.";

const TOKEN_HASH_AFTER: &str = "\
EXAMPLES:
  secretbridge token hash web.token
  secretbridge token hash < web.token";

/// What `token` does.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum TokenArgs {
    /// Make a token of 32 random bytes, and print it with its hash.
    #[command(after_long_help = format!("{TOKEN_NEW_AFTER}\n\n{}", super::exit_codes::EXIT_CODES))]
    New {
        /// Write the token to this new file (mode 0600), and print its hash alone.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Print the hash of a token, for `hash` in [[tokens]]. Without a file it is read from standard input.
    #[command(after_long_help = format!("{TOKEN_HASH_AFTER}\n\n{}", super::exit_codes::EXIT_CODES))]
    Hash {
        /// The file with the token.
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
}
