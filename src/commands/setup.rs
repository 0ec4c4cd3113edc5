//! `completions`, `man` and `module install`: what puts this program in place.

use std::path::{Path, PathBuf};

use clap::CommandFactory as _;

use super::outcome::CommandOutcome;
use super::output;
use crate::cli::{Cli, CompletionsArgs, ManArgs, ModuleArgs, ModuleVerb};
use crate::exit::Exit;
use crate::platform;
use crate::reach::Failure;

/// The module's version, which names its folder.
const VERSION: &str = "0.1.0";

/// The module's files, by their path in it.
const MODULE: [(&str, &str); 4] = [
    ("SecretBridge.psd1", include_str!("../../scripts/module/SecretBridge/SecretBridge.psd1")),
    ("SecretBridge.psm1", include_str!("../../scripts/module/SecretBridge/SecretBridge.psm1")),
    (
        "SecretBridge.Extension/SecretBridge.Extension.psd1",
        include_str!("../../scripts/module/SecretBridge/SecretBridge.Extension/SecretBridge.Extension.psd1"),
    ),
    (
        "SecretBridge.Extension/SecretBridge.Extension.psm1",
        include_str!("../../scripts/module/SecretBridge/SecretBridge.Extension/SecretBridge.Extension.psm1"),
    ),
];

pub(super) fn completions(arguments: &CompletionsArgs) -> CommandOutcome {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "secretbridge", &mut script);
    output::print(&script).map(|()| Exit::Ok)
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

pub(super) fn module(arguments: &ModuleArgs) -> CommandOutcome {
    let ModuleVerb::Install { path } = &arguments.verb;
    let modules = match path {
        Some(path) => path.clone(),
        None => platform::user_modules()
            .ok_or_else(|| Failure::failed("no home folder is known").hint("name the folder with --path"))?,
    };
    let folder = modules.join("SecretBridge").join(VERSION);
    write(&folder)
        .map_err(|(path, error)| Failure::failed(format!("cannot write {}: {error}", path.display())))?;
    output::print(format!("{}\n", folder.display()).as_bytes()).map(|()| Exit::Ok)
}

fn write(folder: &Path) -> Result<(), (PathBuf, std::io::Error)> {
    for (name, text) in MODULE {
        let path = folder.join(name);
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent).map_err(|error| (parent.to_owned(), error))?;
        std::fs::write(&path, text).map_err(|error| (path, error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_says_the_version_of_its_folder() {
        for (name, text) in MODULE.iter().filter(|(name, _)| name.ends_with(".psd1")) {
            let line = text.lines().find(|line| line.contains("ModuleVersion")).unwrap();
            assert!(line.contains(&format!("'{VERSION}'")), "{name}: {line}");
        }
    }
}
