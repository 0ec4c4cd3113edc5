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

/// The script that completes this program's command line.
pub(super) fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "secretbridge", &mut script);
    script
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
