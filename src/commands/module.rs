//! `module install` and `module uninstall`: the PowerShell module, and completions for shells.

mod profile;

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap_complete::Shell;
use serde_json::json;

use super::outcome::CommandOutcome;
use super::{output, setup};
use crate::cli::{ModuleArgs, ModulePlace, ModuleVerb};
use crate::exit::Exit;
use crate::platform;
use crate::platform::shells::{self, InstallScope};
use crate::reach::Failure;

/// The module's name, and that of its folder.
const NAME: &str = "SecretBridge";

/// The module's version, which names its folder.
const VERSION: &str = "0.1.0";

/// What makes a manifest ours.
const GUID: &str = "5b0a7f0e-6d0c-4f5a-9a5e-6f2f3c1d7b42";

/// The module's file that completes this program's command line in PowerShell.
const COMPLETION: &str = "secretbridge.completion.ps1";

/// The module's files, by their path in it.
const MODULE: [(&str, &str); 6] = [
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
    (
        "SecretBridge.Extension/Platform.cs",
        include_str!("../../scripts/module/SecretBridge/SecretBridge.Extension/Platform.cs"),
    ),
    (
        "SecretBridge.Extension/SocketDoor.cs",
        include_str!("../../scripts/module/SecretBridge/SecretBridge.Extension/SocketDoor.cs"),
    ),
];

/// What was done to something.
struct ModuleChange {
    /// `installed`, `updated`, `unchanged` or `removed`.
    did: &'static str,
    what: String,
    path: PathBuf,
}

pub(super) fn module(arguments: &ModuleArgs) -> CommandOutcome {
    let (place, done) = match &arguments.verb {
        ModuleVerb::Install { place, no_completions } => (place, install(place, *no_completions)?),
        ModuleVerb::Uninstall { place } => (place, uninstall(place)?),
    };
    if place.json {
        let told = |one: &ModuleChange| json!({ "did": one.did, "what": one.what, "path": one.path });
        output::json(&json!({ "done": done.iter().map(told).collect::<Vec<_>>() }))?;
        return Ok(Exit::Ok);
    }
    let line = |one: &ModuleChange| format!("{}\t{}\t{}\n", one.did, one.what, one.path.display());
    output::print(done.iter().map(line).collect::<String>().as_bytes())?;
    if done.is_empty() {
        let _ = writeln!(io::stderr(), "nothing is installed there");
    }
    Ok(Exit::Ok)
}

// === places ===

fn scope(place: &ModulePlace) -> InstallScope {
    if place.system { InstallScope::System } else { InstallScope::User }
}

/// The folder of modules.
fn modules(place: &ModulePlace) -> Result<PathBuf, Failure> {
    let known = place.path.clone().or_else(|| shells::modules(scope(place)));
    known.ok_or_else(|| Failure::failed("no home folder is known").hint("name the folder with --path"))
}

/// The files of completions, with the shell that reads each. None where the module alone was asked for.
fn completions(place: &ModulePlace) -> Vec<(&'static str, PathBuf)> {
    if place.path.is_some() { Vec::new() } else { shells::completions("secretbridge", scope(place)) }
}

/// The profile that reads the module's completions: there is one for a user, and one for each pwsh that is installed.
fn profile_of(place: &ModulePlace) -> Option<PathBuf> {
    if place.path.is_some() || place.system { None } else { shells::profile() }
}

// === install ===

fn install(place: &ModulePlace, no_completions: bool) -> Result<Vec<ModuleChange>, Failure> {
    let folder = modules(place)?.join(NAME).join(VERSION);
    let folder = std::path::absolute(&folder).unwrap_or(folder);
    let script = folder.join(COMPLETION);
    let mut changes = Vec::new();
    for (name, text) in MODULE {
        changes.push(write(place, &folder.join(name), text.as_bytes())?);
    }
    if !no_completions {
        changes.push(write(place, &script, &setup::script(Shell::PowerShell))?);
    }
    let mut done =
        vec![ModuleChange { did: worst(&changes), what: "module".to_owned(), path: folder.clone() }];
    if no_completions {
        return Ok(done);
    }
    for (shell, path) in completions(place) {
        let Ok(name) = shell.parse::<Shell>() else { continue };
        let did = write(place, &path, &setup::script(name))?;
        done.push(ModuleChange { did, what: format!("completions for {shell}"), path });
    }
    if let Some(path) = profile_of(place) {
        let did = match read(&path)? {
            None => write(place, &path, profile::with("", &script).as_bytes())?,
            Some(text) => write(place, &path, profile::with(&text, &script).as_bytes())?,
        };
        done.push(ModuleChange { did, what: "profile for completions in PowerShell".to_owned(), path });
    }
    hints(place, &script);
    Ok(done)
}

/// What all of a folder's files tell of the folder.
fn worst(changes: &[&'static str]) -> &'static str {
    let any = |word: &str| changes.contains(&word);
    match () {
        () if changes.iter().all(|did| *did == "installed") => "installed",
        () if any("updated") || any("installed") => "updated",
        () => "unchanged",
    }
}

/// What a person has to do by hand.
fn hints(place: &ModulePlace, script: &Path) {
    let hint = |text: String| drop(writeln!(io::stderr(), "{text}"));
    if place.system {
        hint(format!(
            "for completions in PowerShell add this line to $PROFILE.AllUsersAllHosts: . '{}'",
            script.display()
        ));
    }
    let zsh = platform::home().map(|home| home.join(".zshrc"));
    let text = zsh.and_then(|file| fs::read_to_string(file).ok());
    if place.path.is_none() && !place.system && text.is_some_and(|text| !text.contains(".zfunc")) {
        hint("for completions in zsh add this line to ~/.zshrc before compinit: fpath+=~/.zfunc".to_owned());
    }
}

// === uninstall ===

fn uninstall(place: &ModulePlace) -> Result<Vec<ModuleChange>, Failure> {
    let mut done = Vec::new();
    let modules = modules(place)?.join(NAME);
    // Of every version: an update of this program leaves the module of the one before.
    for entry in fs::read_dir(&modules).into_iter().flatten().flatten() {
        let folder = entry.path();
        if fs::read_to_string(folder.join("SecretBridge.psd1")).is_ok_and(|text| text.contains(GUID)) {
            fs::remove_dir_all(&folder).map_err(|error| cannot(place, "remove", &folder, &error))?;
            done.push(ModuleChange { did: "removed", what: "module".to_owned(), path: folder });
        }
    }
    // Only where nothing else is in it.
    let _ = fs::remove_dir(&modules);
    for (shell, path) in completions(place) {
        match fs::remove_file(&path) {
            Ok(()) => {
                done.push(ModuleChange { did: "removed", what: format!("completions for {shell}"), path })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(cannot(place, "remove", &path, &error)),
        }
    }
    if let Some(path) = profile_of(place)
        && let Some(text) = read(&path)?
    {
        let without = profile::without(&text);
        if without != text {
            match without.trim().is_empty() {
                true => fs::remove_file(&path).map_err(|error| cannot(place, "remove", &path, &error))?,
                false => drop(write(place, &path, without.as_bytes())?),
            }
            done.push(ModuleChange { did: "removed", what: "lines of the profile".to_owned(), path });
        }
    }
    Ok(done)
}

// === files ===

/// Writes a file, unless it is as it should be. Tells what was done.
fn write(place: &ModulePlace, path: &Path, content: &[u8]) -> Result<&'static str, Failure> {
    let there = fs::read(path).ok();
    if there.as_deref() == Some(content) {
        return Ok("unchanged");
    }
    let folder = path.parent().unwrap_or(path);
    make_folder(place, folder).map_err(|error| cannot(place, "make", folder, &error))?;
    output::replace(path, path, platform::readable_by_others(), content)
        .map_err(|error| cannot(place, "write", path, &error))?;
    Ok(if there.is_some() { "updated" } else { "installed" })
}

/// Makes a folder and those above it. What is for all users is open to them, whatever the umask says.
fn make_folder(place: &ModulePlace, folder: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = folder.ancestors().take_while(|folder| !folder.exists()).collect();
    fs::create_dir_all(folder)?;
    let ours = missing.into_iter().filter(|folder| place.system && !folder.as_os_str().is_empty());
    ours.into_iter().try_for_each(platform::open_folder_to_others)
}

/// The text of a profile, if there is one.
fn read(path: &Path) -> Result<Option<String>, Failure> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::failed(format!("cannot read {}: {error}", path.display()))),
    };
    String::from_utf8(bytes).map(Some).map_err(|_| {
        Failure::failed(format!("{} is not UTF-8 text, and was left alone", path.display()))
            .hint("--no-completions leaves the profile out")
    })
}

fn cannot(place: &ModulePlace, verb: &str, path: &Path, error: &io::Error) -> Failure {
    let failure = Failure::failed(format!("cannot {verb} {}: {error}", path.display()));
    match error.kind() {
        io::ErrorKind::PermissionDenied if place.system => {
            failure.hint("run it as an administrator, or leave --system out")
        }
        _ => failure,
    }
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
        assert!(MODULE[0].1.contains(GUID));
    }
}
