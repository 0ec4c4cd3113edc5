//! Where shells look for what is installed for them: PowerShell's modules and profile, and the folders of completions.

use std::path::PathBuf;

/// Whom something is installed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstallScope {
    /// This user.
    User,
    /// All users of the machine.
    System,
}

/// Where PowerShell 7 looks for modules. Nothing where no home is known.
pub fn modules(scope: InstallScope) -> Option<PathBuf> {
    match scope {
        InstallScope::User => places::user_powershell().map(|folder| folder.join("Modules")),
        InstallScope::System => places::system_modules(),
    }
}

/// The profile that every PowerShell 7 of this user reads (`$PROFILE.CurrentUserAllHosts`).
pub fn profile() -> Option<PathBuf> {
    places::profile_folder().map(|folder| folder.join("profile.ps1"))
}

/// The file of completions for a command in bash, zsh and fish, each by the shell's name. Empty where the
/// system has no such shells, or no home is known.
pub fn completions(command: &str, scope: InstallScope) -> Vec<(&'static str, PathBuf)> {
    places::completions(command, scope)
}

#[cfg(unix)]
mod places {
    use std::path::{Path, PathBuf};

    use super::InstallScope;
    use crate::platform::{home, variable};

    /// PowerShell follows the XDG rules on macOS too.
    fn of_user(name: &str, below_home: &str) -> Option<PathBuf> {
        let absolute = |path: &PathBuf| path.is_absolute();
        let home = || home().filter(absolute).map(|home| home.join(below_home));
        variable(name).filter(absolute).or_else(home)
    }

    pub(super) fn user_powershell() -> Option<PathBuf> {
        of_user("XDG_DATA_HOME", ".local/share").map(|folder| folder.join("powershell"))
    }

    pub(super) fn system_modules() -> Option<PathBuf> {
        Some("/usr/local/share/powershell/Modules".into())
    }

    pub(super) fn profile_folder() -> Option<PathBuf> {
        of_user("XDG_CONFIG_HOME", ".config").map(|folder| folder.join("powershell"))
    }

    pub(super) fn completions(command: &str, scope: InstallScope) -> Vec<(&'static str, PathBuf)> {
        let share = Path::new("/usr/local/share");
        let places = match scope {
            InstallScope::System => [
                Some(share.join("bash-completion/completions")),
                Some(share.join("zsh/site-functions")),
                Some(share.join("fish/vendor_completions.d")),
            ],
            InstallScope::User => [
                of_user("XDG_DATA_HOME", ".local/share").map(|data| data.join("bash-completion/completions")),
                // zsh has no folder for a user's own; this is the one that most people name in their .zshrc.
                home().filter(|home| home.is_absolute()).map(|home| home.join(".zfunc")),
                of_user("XDG_CONFIG_HOME", ".config").map(|config| config.join("fish/completions")),
            ],
        };
        let names = [
            ("bash", command.to_owned()),
            ("zsh", format!("_{command}")),
            ("fish", format!("{command}.fish")),
        ];
        let file = |((shell, name), folder): ((&'static str, String), Option<PathBuf>)| {
            folder.map(|folder| (shell, folder.join(name)))
        };
        names.into_iter().zip(places).filter_map(file).collect()
    }
}

#[cfg(windows)]
mod places {
    use std::path::PathBuf;

    use super::InstallScope;
    use crate::platform::{system, variable};

    pub(super) fn user_powershell() -> Option<PathBuf> {
        system::user_modules()?.parent().map(Into::into)
    }

    pub(super) fn system_modules() -> Option<PathBuf> {
        let programs = variable("ProgramFiles").unwrap_or_else(|| r"C:\Program Files".into());
        Some(programs.join("PowerShell").join("Modules"))
    }

    pub(super) fn profile_folder() -> Option<PathBuf> {
        user_powershell()
    }

    pub(super) fn completions(_command: &str, _scope: InstallScope) -> Vec<(&'static str, PathBuf)> {
        Vec::new()
    }
}
