//! Arguments of the commands that put this program in place.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use clap_complete::Shell;

/// What `--version` tells; `-V` tells the number alone.
pub(super) const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\nbuilt for ",
    env!("SECRETBRIDGE_TARGET"),
    " (",
    env!("SECRETBRIDGE_PROFILE"),
    ")\nbuilt by ",
    env!("SECRETBRIDGE_RUSTC"),
    "\nsource ",
    env!("SECRETBRIDGE_COMMIT")
);

/// Arguments of `completions`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_long_help = format!("\
EXAMPLES:
  secretbridge completions bash > ~/.local/share/bash-completion/completions/secretbridge
  secretbridge completions zsh > ~/.zfunc/_secretbridge
  secretbridge completions fish > ~/.config/fish/completions/secretbridge.fish
  secretbridge completions powershell | Out-String | Invoke-Expression     in your $PROFILE

{}", super::exit_codes::EXIT_CODES))]
pub struct CompletionsArgs {
    /// The shell.
    pub shell: Shell,
}

/// Arguments of `man`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_long_help = format!("\
EXAMPLES:
  secretbridge man | man -l -
  secretbridge man --output ~/.local/share/man/man1     one page for each command

{}", super::exit_codes::EXIT_CODES))]
pub struct ManArgs {
    /// The folder to write all pages into.
    #[arg(long, short, value_name = "DIR")]
    pub output: Option<PathBuf>,
}

/// Arguments of `module`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ModuleArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: ModuleVerb,
}

/// What to do with the PowerShell module.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum ModuleVerb {
    /// Put the module where PowerShell finds it.
    #[command(after_long_help = format!("EXAMPLES:\n  secretbridge module install\n\n{}", super::exit_codes::EXIT_CODES))]
    Install {
        /// The folder of modules, in place of the user's own.
        #[arg(long, value_name = "DIR")]
        path: Option<PathBuf>,
    },
}
