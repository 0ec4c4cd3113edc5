//! `completions` and `man`: what shells and readers of manual pages need of this program.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::outcome::CommandOutcome;
use super::output;
use crate::cli::{Cli, CompletionsArgs, ManArgs};
use crate::exit::Exit;
use crate::reach::Failure;

pub(super) fn completions(arguments: &CompletionsArgs) -> CommandOutcome {
    output::print(&script(arguments.shell)).map(|()| Exit::Ok)
}

/// The script that completes this program's command line: its words stand in it, and names it asks the program for.
pub(super) fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut shown_commands(), "secretbridge", &mut script);
    let script = String::from_utf8_lossy(&script);
    let asks_first =
        |line: &str, functions: &str, ask: &str| script.replacen(line, &format!("{functions}{line}{ask}"), 1);
    let script = match shell {
        Shell::Bash => asks_first(FUNCTION, NAMES_BASH, "    _secretbridge_names \"$@\" && return 0\n"),
        Shell::Zsh => asks_first(FUNCTION, NAMES_ZSH, "    _secretbridge_names && return 0\n"),
        Shell::PowerShell => asks_first(PARAMETERS, "", NAMES_POWERSHELL),
        Shell::Fish => format!("{script}{NAMES_FISH}"),
        _ => script.into_owned(),
    };
    script.into_bytes()
}

/// What begins the function that bash and zsh call.
const FUNCTION: &str = "_secretbridge() {\n";

/// What begins the block that PowerShell calls.
const PARAMETERS: &str = "    param($wordToComplete, $commandAst, $cursorPosition)\n";

const NAMES_BASH: &str = include_str!("setup/names.sh");
const NAMES_ZSH: &str = include_str!("setup/names.zsh");
const NAMES_FISH: &str = include_str!("setup/names.fish");
const NAMES_POWERSHELL: &str = include_str!("setup/names.ps1");

/// Without the command that only these scripts call.
fn shown_commands() -> clap::Command {
    let all = Cli::command();
    let commands: Vec<_> = all.get_subcommands().filter(|command| !command.is_hide_set()).cloned().collect();
    let arguments: Vec<_> = all.get_arguments().cloned().collect();
    clap::Command::new("secretbridge")
        .version(env!("CARGO_PKG_VERSION"))
        .args(arguments)
        .subcommands(commands)
}

pub(super) fn man(arguments: &ManArgs) -> CommandOutcome {
    let command = Cli::command();
    let Some(folder) = &arguments.output else {
        let mut page = Vec::new();
        let drawn = clap_mangen::Man::new(command).render(&mut page);
        drawn.map_err(|error| Failure::failed(error.to_string()))?;
        return output::print(&page).map(|()| Exit::Ok);
    };
    let failed =
        |error: std::io::Error| Failure::failed(format!("cannot write to {}: {error}", folder.display()));
    std::fs::create_dir_all(folder).map_err(failed)?;
    clap_mangen::generate_to(command, folder).map_err(failed)?;
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_script_asks_the_program_for_names_and_offers_no_command_that_is_not_for_people() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell] {
            let script = String::from_utf8(script(shell)).unwrap();
            assert_eq!(script.matches("complete-names").count(), 1, "{shell}");
            let calls = match shell {
                Shell::Bash => "_secretbridge() {\n    _secretbridge_names \"$@\" && return 0\n",
                Shell::Zsh => "_secretbridge() {\n    _secretbridge_names && return 0\n",
                Shell::PowerShell => "$cursorPosition)\n\n    # Vaults and keys",
                _ => "-a '(__fish_secretbridge_names)'",
            };
            assert!(script.contains(calls), "{shell}");
        }
    }
}
