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
    /// Write the pages of all commands into this folder.
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
    /// Put the module, and completions for your shells, where they are found.
    #[command(after_long_help = format!("{INSTALL_AFTER}\n\n{}", super::exit_codes::EXIT_CODES))]
    Install {
        /// Where.
        #[command(flatten)]
        place: ModulePlace,
        /// Install the module alone.
        #[arg(long)]
        no_completions: bool,
    },
    /// Take out what `module install` has put in place.
    #[command(after_long_help = format!("EXAMPLES:\n  secretbridge module uninstall\n\n{}", super::exit_codes::EXIT_CODES))]
    Uninstall {
        /// From where.
        #[command(flatten)]
        place: ModulePlace,
    },
}

/// Where the module is, and how what was done is told.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ModulePlace {
    /// For all users of this machine, in place of you alone. Needs an administrator.
    #[arg(long)]
    pub system: bool,
    /// The module alone, in this folder of modules. No shell is set up.
    #[arg(long, value_name = "DIR", conflicts_with = "system")]
    pub path: Option<PathBuf>,
    /// Print what was done as a JSON document.
    #[arg(long)]
    pub json: bool,
}

const INSTALL_AFTER: &str = "\
The module goes where PowerShell 7 looks for modules. Completions go to the folders of bash, zsh and fish; \
those of PowerShell are a file of the module, which three marked lines in your profile \
($PROFILE.CurrentUserAllHosts) read. A second run changes only what is not as it should be. Each line tells \
what was done: installed, updated or unchanged.

EXAMPLES:
  secretbridge module install
  sudo secretbridge module install --system
  secretbridge module install --path ./modules
      The module alone, e.g. for an image or for the Gallery.";
