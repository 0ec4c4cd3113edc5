//! pwsh: where it is, and the private folder that holds the worker's scripts.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::platform::{self, FileAccess, FileOwner, OtherUser};

mod cache;
pub mod compiled;
mod engine;

/// The worker's files, embedded.
const FILES: &[(&str, &str)] = &[
    ("worker.ps1", include_str!("pwsh/worker.ps1")),
    ("SecretBridge.Worker.psm1", include_str!("pwsh/SecretBridge.Worker.psm1")),
    ("vaults.ps1", include_str!("pwsh/vaults.ps1")),
    ("store.ps1", include_str!("pwsh/store.ps1")),
    ("inspect.ps1", include_str!("pwsh/inspect.ps1")),
    ("compile.ps1", include_str!("pwsh/compile.ps1")),
    // Made by scripts/help.ps1; Get-Help looks for it beside the assembly.
    ("SecretBridge.dll-Help.xml", include_str!("pwsh/SecretBridge.dll-Help.xml")),
    ("BridgeException.cs", include_str!("pwsh/BridgeException.cs")),
    ("Causes.cs", include_str!("pwsh/Causes.cs")),
    ("Channel.cs", include_str!("pwsh/Channel.cs")),
    ("Cmdlets.cs", include_str!("pwsh/Cmdlets.cs")),
    ("EngineLog.cs", include_str!("pwsh/EngineLog.cs")),
    ("Platform.cs", include_str!("pwsh/Platform.cs")),
    ("Faults.cs", include_str!("pwsh/Faults.cs")),
    ("Fields.cs", include_str!("pwsh/Fields.cs")),
    ("HostExit.cs", include_str!("pwsh/HostExit.cs")),
    ("Log.cs", include_str!("pwsh/Log.cs")),
    ("Metadata.cs", include_str!("pwsh/Metadata.cs")),
    ("Own.cs", include_str!("pwsh/Own.cs")),
    ("OwnRegistry.cs", include_str!("pwsh/OwnRegistry.cs")),
    ("Parameters.cs", include_str!("pwsh/Parameters.cs")),
    ("PlainJson.cs", include_str!("pwsh/PlainJson.cs")),
    ("Portable.cs", include_str!("pwsh/Portable.cs")),
    ("Redaction.cs", include_str!("pwsh/Redaction.cs")),
    ("ScriptFaults.cs", include_str!("pwsh/ScriptFaults.cs")),
    ("ServiceAnswer.cs", include_str!("pwsh/ServiceAnswer.cs")),
    ("SecureText.cs", include_str!("pwsh/SecureText.cs")),
    ("Values.cs", include_str!("pwsh/Values.cs")),
    ("VaultCalls.cs", include_str!("pwsh/VaultCalls.cs")),
    ("Vaults.cs", include_str!("pwsh/Vaults.cs")),
    ("Wire.cs", include_str!("pwsh/Wire.cs")),
    ("Worker.cs", include_str!("pwsh/Worker.cs")),
    ("Pode/BadBody.cs", include_str!("pwsh/Pode/BadBody.cs")),
    ("Pode/Blocks.cs", include_str!("pwsh/Pode/Blocks.cs")),
    ("Pode/Body.cs", include_str!("pwsh/Pode/Body.cs")),
    ("Pode/CookieCommands.cs", include_str!("pwsh/Pode/CookieCommands.cs")),
    ("Pode/Cookies.cs", include_str!("pwsh/Pode/Cookies.cs")),
    ("Pode/Check.ps1", include_str!("pwsh/Pode/Check.ps1")),
    ("Pode/Core.ps1", include_str!("pwsh/Pode/Core.ps1")),
    ("Pode/CustomBlock.cs", include_str!("pwsh/Pode/CustomBlock.cs")),
    ("Pode/FormText.cs", include_str!("pwsh/Pode/FormText.cs")),
    ("Pode/Headers.cs", include_str!("pwsh/Pode/Headers.cs")),
    ("Pode/Host.ps1", include_str!("pwsh/Pode/Host.ps1")),
    ("Pode/Lift.ps1", include_str!("pwsh/Pode/Lift.ps1")),
    ("Pode/LockCommands.cs", include_str!("pwsh/Pode/LockCommands.cs")),
    ("Pode/Locks.cs", include_str!("pwsh/Pode/Locks.cs")),
    ("Pode/Logging.ps1", include_str!("pwsh/Pode/Logging.ps1")),
    ("Pode/Markup.cs", include_str!("pwsh/Pode/Markup.cs")),
    ("Pode/MarkupResponses.cs", include_str!("pwsh/Pode/MarkupResponses.cs")),
    ("Pode/Multipart.cs", include_str!("pwsh/Pode/Multipart.cs")),
    ("Pode/Pode.psd1", include_str!("pwsh/Pode/Pode.psd1")),
    ("Pode/Pode.psm1", include_str!("pwsh/Pode/Pode.psm1")),
    ("Pode/PodeCommand.cs", include_str!("pwsh/Pode/PodeCommand.cs")),
    ("Pode/ReadOnly.ps1", include_str!("pwsh/Pode/ReadOnly.ps1")),
    ("Pode/Response.cs", include_str!("pwsh/Pode/Response.cs")),
    ("Pode/ResponseHeaders.cs", include_str!("pwsh/Pode/ResponseHeaders.cs")),
    ("Pode/ResponseJson.cs", include_str!("pwsh/Pode/ResponseJson.cs")),
    ("Pode/Responses.ps1", include_str!("pwsh/Pode/Responses.ps1")),
    ("Pode/Route.cs", include_str!("pwsh/Pode/Route.cs")),
    ("Pode/Routes.ps1", include_str!("pwsh/Pode/Routes.ps1")),
    ("Pode/Scope.ps1", include_str!("pwsh/Pode/Scope.ps1")),
    ("Pode/SecretAccess.cs", include_str!("pwsh/Pode/SecretAccess.cs")),
    ("Pode/SecretCommands.cs", include_str!("pwsh/Pode/SecretCommands.cs")),
    ("Pode/SecretValues.cs", include_str!("pwsh/Pode/SecretValues.cs")),
    ("Pode/Secrets.ps1", include_str!("pwsh/Pode/Secrets.ps1")),
    ("Pode/Server.ps1", include_str!("pwsh/Pode/Server.ps1")),
    ("Pode/Shared.cs", include_str!("pwsh/Pode/Shared.cs")),
    ("Pode/Shared.ps1", include_str!("pwsh/Pode/Shared.ps1")),
    ("Pode/SharedKinds.cs", include_str!("pwsh/Pode/SharedKinds.cs")),
    ("Pode/SharedMerge.cs", include_str!("pwsh/Pode/SharedMerge.cs")),
    ("Pode/SharedReader.cs", include_str!("pwsh/Pode/SharedReader.cs")),
    ("Pode/SharedText.cs", include_str!("pwsh/Pode/SharedText.cs")),
    ("Pode/State.ps1", include_str!("pwsh/Pode/State.ps1")),
    ("Pode/StateCommands.cs", include_str!("pwsh/Pode/StateCommands.cs")),
    ("Pode/StateFileCommands.cs", include_str!("pwsh/Pode/StateFileCommands.cs")),
    ("Pode/Status.cs", include_str!("pwsh/Pode/Status.cs")),
    ("Pode/Unsupported.ps1", include_str!("pwsh/Pode/Unsupported.ps1")),
    ("Pode/Vaults.ps1", include_str!("pwsh/Pode/Vaults.ps1")),
    ("Pode/WebEvent.cs", include_str!("pwsh/Pode/WebEvent.cs")),
    ("Pode/WriteResponses.cs", include_str!("pwsh/Pode/WriteResponses.cs")),
];

/// Folder names of this program begin so; the pid and the start of the owner follow.
const PREFIX: &str = "run-";

/// Why there is no pwsh to use.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum PwshError {
    /// None on PATH.
    #[error(
        "no pwsh was found: --pwsh and SECRETBRIDGE_PWSH are not given and PATH has none \
         (hint: install PowerShell 7.4 or later, https://aka.ms/powershell, or name it with --pwsh PATH)"
    )]
    NotFound,
    /// The one named is no program.
    #[error("{path} (from {source_of}) is no program that can be run: {reason}")]
    NotUsable {
        /// As given.
        path: PathBuf,
        /// Who named it.
        source_of: &'static str,
        /// Why not.
        reason: String,
    },
}

/// Finds pwsh: the command line's, the plan's, `SECRETBRIDGE_PWSH`, then PATH. One that is named and
/// cannot be run is an error, not a reason to look further.
pub fn find(argument: Option<&Path>, plan: Option<&Path>) -> Result<PathBuf, PwshError> {
    let variable = std::env::var_os("SECRETBRIDGE_PWSH").filter(|value| !value.is_empty()).map(PathBuf::from);
    let named = argument
        .map(|path| (path.to_path_buf(), "--pwsh"))
        .or_else(|| plan.map(|path| (path.to_path_buf(), "the configuration")))
        .or_else(|| variable.map(|path| (path, "SECRETBRIDGE_PWSH")));
    match named {
        Some((path, source_of)) => which::which(&path).map_err(|error| PwshError::NotUsable {
            path,
            source_of,
            reason: error.to_string(),
        }),
        None => which::which("pwsh").map_err(|_| PwshError::NotFound),
    }
}

/// The private folder of one running server: mode 0700, removed on drop. Holds the worker's scripts and
/// the workers' registries, which contain VaultParameters in plain text; so it is in memory where the
/// system has such a place.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Whose workers use it, if they are another user's.
    user: Option<OtherUser>,
}

impl Folder {
    /// Makes the folder, and sweeps those of owners that are gone.
    pub fn create() -> io::Result<Folder> {
        Folder::create_for(None)
    }

    /// As [`Folder::create`], for workers of another user: see [`Folder::let_in`].
    pub fn create_for(user: Option<&OtherUser>) -> io::Result<Folder> {
        let place = match user {
            Some(_) => platform::runtime_folder_for_others(),
            None => platform::runtime_folder(),
        };
        Folder::create_in(&place, user).map_err(|error| {
            let hint = "set XDG_RUNTIME_DIR or TMPDIR, on Windows TEMP, to a folder that can be written";
            io::Error::new(error.kind(), format!("{}: {error} (hint: {hint})", place.display()))
        })
    }

    /// A private folder below this one, with nothing in it.
    pub fn bare(place: &Path) -> io::Result<Folder> {
        Folder::bare_in(place, None)
    }

    fn bare_in(place: &Path, user: Option<&OtherUser>) -> io::Result<Folder> {
        let base = base_in(place, user)?;
        sweep(&base);
        let owner = std::process::id();
        let name = format!("{PREFIX}{owner}-{}-", platform::started(owner).unwrap_or(0));
        // The random tail tells two servers of one process apart.
        let mut builder = tempfile::Builder::new();
        let made = builder.prefix(&name).make_in(&base, platform::create_private_folder)?;
        let path = made.into_temp_path().keep().map_err(|kept| kept.error)?;
        Ok(Folder { path, user: user.cloned() })
    }

    fn create_in(place: &Path, user: Option<&OtherUser>) -> io::Result<Folder> {
        let folder = Folder::bare_in(place, user)?;
        fs::create_dir_all(folder.path.join("Pode"))?;
        for (name, text) in FILES {
            fs::write(folder.path.join(name), text)?;
        }
        Ok(folder)
    }

    /// Lets the other user whose workers use it read what is in it by now. It stays ours to change.
    pub fn let_in(&self) -> io::Result<()> {
        let Some(user) = &self.user else { return Ok(()) };
        let folders = [self.path.parent().unwrap_or(&self.path), &self.path, &self.path.join("Pode")];
        folders.into_iter().try_for_each(|folder| user.let_in(folder))?;
        let assembly = Some(self.assembly()).filter(|assembly| assembly.exists());
        let files = FILES.iter().map(|(name, _)| self.path.join(name)).chain(assembly);
        files.into_iter().try_for_each(|file| user.let_in(&file))
    }

    /// The script that a worker runs.
    pub fn worker_script(&self) -> PathBuf {
        self.path.join(FILES[0].0)
    }

    /// What tells of the engine and its modules.
    pub fn inspect_script(&self) -> PathBuf {
        self.path.join("inspect.ps1")
    }

    /// The script that has pwsh compile the sources.
    pub fn compile_script(&self) -> PathBuf {
        self.path.join("compile.ps1")
    }

    /// The compiled part of the worker.
    pub fn assembly(&self) -> PathBuf {
        self.path.join("SecretBridge.dll")
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A fresh folder for a worker's registry.
    pub fn new_registry(&self, number: u64) -> io::Result<PathBuf> {
        let path = self.path.join(format!("registry-{number}"));
        platform::create_private_folder(&path)?;
        self.user.iter().try_for_each(|user| user.give(&path))?;
        Ok(path)
    }

    /// Removes a worker's registry. What cannot be removed goes with the whole folder.
    pub fn remove_registry(&self, path: &Path) {
        let _ = fs::remove_dir_all(path);
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Workers may end while this runs and write a last time; the next start sweeps what is left.
        if fs::remove_dir_all(&self.path).is_err() {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Removes the folders in `base` whose owner is gone.
fn sweep(base: &Path) {
    let Ok(entries) = fs::read_dir(base) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(owner) = name.to_str().and_then(owner) else { continue };
        if platform::started(owner.0) != Some(owner.1) {
            tracing::debug!(folder = %entry.path().display(), "sweeping the folder of a dead server");
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn owner(name: &str) -> Option<(u32, u64)> {
    let mut parts = name.strip_prefix(PREFIX)?.split('-');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Whether it is a folder of ours that nobody else may write to nor, but for a user of our workers, look into.
fn is_ours_alone(path: &Path, user: Option<&OtherUser>) -> bool {
    let is_folder = fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
    let closed = |access: FileAccess| {
        access.owner == FileOwner::Us && !access.others_write && (user.is_some() || !access.others_read)
    };
    is_folder && platform::access_at(path).is_ok_and(closed)
}

/// The folder of all servers of this user: the one of the usual name, unless that is not ours alone. Somebody
/// else may have made it first, in a folder that all may write to, and must not keep us from starting. Workers
/// of another user have a folder apart.
fn base_in(folder: &Path, user: Option<&OtherUser>) -> io::Result<PathBuf> {
    let of_others = user.map(|user| format!("{}-for-", user.name())).unwrap_or_default();
    let name = format!("secretbridge-{of_others}{}", platform::user_tag());
    let usual = folder.join(&name);
    match platform::create_private_folder(&usual) {
        Ok(()) => return Ok(usual),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    if is_ours_alone(&usual, user) {
        return Ok(usual);
    }
    tracing::warn!("{} is not this user's alone; another folder beside it is used", usual.display());
    let begins_so = |path: &PathBuf| {
        let own = path.file_name().and_then(|name| name.to_str());
        own.is_some_and(|own| own.strip_prefix(&name).is_some_and(|rest| rest.starts_with('-')))
    };
    // One that an earlier start made for the same reason.
    let beside = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
    if let Some(earlier) = beside.filter(begins_so).find(|path| is_ours_alone(path, user)) {
        return Ok(earlier);
    }
    let mut builder = tempfile::Builder::new();
    let made = builder.prefix(&format!("{name}-")).make_in(folder, platform::create_private_folder)?;
    made.into_temp_path().keep().map_err(|kept| kept.error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::testing;

    #[test]
    fn folders_of_dead_owners_are_swept_and_those_of_the_living_kept() {
        let base = tempfile::tempdir().unwrap();
        let ours = base_in(base.path(), None).unwrap();
        // No system here gives a process so high an id.
        let dead = ours.join(format!("{PREFIX}{}-1-x", u32::MAX - 1));
        fs::create_dir(&dead).unwrap();
        fs::create_dir(ours.join("of-somebody-else")).unwrap();
        let first = Folder::create_in(base.path(), None).unwrap();
        let second = Folder::create_in(base.path(), None).unwrap();
        assert!(!dead.exists());
        assert!(ours.join("of-somebody-else").exists());
        assert!(first.worker_script().exists() && second.worker_script().exists());
        let gone = first.path().to_path_buf();
        drop(first);
        assert!(!gone.exists());
    }

    #[test]
    fn the_folder_is_the_users_alone() {
        let base = tempfile::tempdir().unwrap();
        let folder = Folder::create_in(base.path(), None).unwrap();
        for path in [folder.path(), folder.path().parent().unwrap()] {
            assert_eq!(testing::mode(path), 0o700);
        }
    }

    #[test]
    fn a_folder_that_somebody_made_first_keeps_nobody_from_starting_and_is_left_as_it_is() {
        let base = tempfile::tempdir().unwrap();
        let usual = base_in(base.path(), None).unwrap();
        let elsewhere = base.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        let attacks: [&dyn Fn(); 3] = [
            &|| {
                fs::create_dir(&usual).unwrap();
                testing::set_mode(&usual, 0o777);
            },
            // Who may not make a link cannot attack with one.
            &|| testing::link(&elsewhere, &usual).unwrap_or_else(|_| fs::write(&usual, "").unwrap()),
            &|| {
                fs::create_dir(&usual).unwrap();
                testing::give_away(&usual);
                testing::set_mode(&usual, 0o707);
            },
        ];
        let mut places = Vec::new();
        for attack in attacks {
            let _ = fs::remove_file(&usual).or_else(|_| fs::remove_dir(&usual));
            attack();
            let folder = Folder::create_in(base.path(), None).unwrap();
            assert!(
                !folder.path().starts_with(&usual) && is_ours_alone(folder.path().parent().unwrap(), None)
            );
            assert_eq!(fs::read_dir(&usual).map_or(0, Iterator::count), 0, "nothing was written there");
            places.push(folder.path().parent().unwrap().to_path_buf());
        }
        places.dedup();
        assert_eq!(places.len(), 1, "the next start finds the same place");
    }

    #[test]
    fn a_named_program_that_cannot_be_run_is_an_error() {
        let error = find(Some(Path::new("/nowhere/pwsh")), None).unwrap_err();
        assert!(error.to_string().contains("--pwsh"), "{error}");
    }

    #[test]
    fn every_file_beside_the_worker_script_is_embedded() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/pwsh");
        for (part, place) in [("", ""), ("Pode", "Pode/")] {
            let files = fs::read_dir(root.join(part)).unwrap().flatten().filter(|entry| {
                entry.path().is_file() && entry.path().extension().is_some_and(|kind| kind != "rs")
            });
            for file in files {
                let name = format!("{place}{}", file.file_name().to_string_lossy());
                assert!(FILES.iter().any(|(embedded, _)| name == *embedded), "{name}");
            }
        }
    }

    #[test]
    fn the_scripts_never_name_the_variable_that_drains_the_channel() {
        for (name, text) in FILES {
            let text = text.to_ascii_lowercase();
            let mut rest = text.split("$input").skip(1);
            assert!(rest.all(|after| after.starts_with(|c: char| c.is_alphanumeric() || c == '_')), "{name}");
        }
    }
}
