//! What is to be served: listeners, vaults, mounted secrets, routes and limits.
//!
//! A [`Plan`] is data. It comes from a TOML file ([`crate::config`]), from the command line, from a PowerShell script or
//! from the library's builder, and is checked where it is made; everything after relies on it.

use std::fmt;
use std::path::PathBuf;

use crate::secret::fold;

pub mod callers;
pub mod credentials;
mod limits;
mod names;
mod serving;
mod vaults;

pub use limits::{BodyLimits, Limits, PoolLimits};
pub use names::{PlanError, Twin, same_names};
pub use serving::{Access, Action, Bind, DEFAULT_ADDRESS, Listener, Route, Template, Tls};
pub(crate) use vaults::BlockKind;
pub use vaults::{
    AZ_KEY_VAULT, CacheLimits, Custom, Extension, Keep, Mount, Projection, SECRET_STORE, SecretSource, Vault,
    VaultKind,
};

/// Everything that a server needs to know. [`Builder::plan`](crate::Builder::plan) makes one, which is checked; what a
/// server has beside vaults and mounts is written in a configuration file.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Plan {
    /// Where to listen; never empty in a plan that serves.
    pub(crate) listeners: Vec<Listener>,
    /// Who may call native routes.
    pub(crate) access: Access,
    /// Callers beside, and what each may do.
    pub(crate) callers: callers::Callers,
    /// Vaults by friendly name.
    pub vaults: Vec<Vault>,
    /// Mounted secrets.
    pub mounts: Vec<Mount>,
    /// Routes of the plan. The fixed ones (`/health`, `/secrets/…`) are not among them.
    pub(crate) routes: Vec<Route>,
    /// Scripts that run in every worker before its vaults are registered.
    pub(crate) init: Vec<InitScript>,
    /// Where pwsh is and which modules it sees.
    pub(crate) pwsh: Pwsh,
    /// Size and limits of the worker pool.
    pub(crate) pool: PoolLimits,
    /// Limits of requests.
    pub(crate) limits: Limits,
    /// Size of the cache.
    pub(crate) cache: CacheLimits,
    /// The socket that systemd loads credentials from.
    pub(crate) credentials: Option<credentials::UnitCredentials>,
    /// Where the audit trail goes.
    pub(crate) audit: crate::audit::AuditSettings,
    /// Whether to look up the vaults that the user registered.
    pub(crate) auto_import: AutoImport,
    /// Where its vaults are registered.
    pub(crate) registry: Registry,
}

/// Where SecretManagement vaults are registered while they are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Registry {
    /// In registries of the workers' own, which nobody else sees.
    #[default]
    Private,
    /// In the user's own registry too, so that other shells see them.
    User,
}

/// A script that runs in every worker before vaults are registered. `Debug` does not show its text.
#[derive(Clone, PartialEq, Eq)]
pub enum InitScript {
    /// PowerShell source, e.g. `Connect-AzAccount -Identity`.
    Text(String),
    /// A `.ps1` file, dot-sourced.
    File(PathBuf),
}

/// Where pwsh is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pwsh {
    /// The program; `--pwsh` wins over it, `SECRETBRIDGE_PWSH` and PATH come after.
    pub path: Option<PathBuf>,
    /// Folders put before PSModulePath.
    pub module_path: Vec<PathBuf>,
    /// The other user that workers run as, and whose vaults are served then.
    pub user: Option<String>,
    /// That user's home, in place of the one in the system's database of users.
    pub home: Option<PathBuf>,
}

/// Whether to look up the vaults that the user registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutoImport {
    /// Look at the user's registry at start.
    pub enabled: bool,
    /// Which of them to serve.
    pub expose: Vec<Expose>,
}

/// An imported vault to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expose {
    /// Its registered name.
    pub vault: String,
    /// Writes and removals too.
    pub writable: bool,
}

/// The name of the embedded vault that there is without a configuration.
pub(crate) const LOCAL_VAULT: &str = "local";

impl Plan {
    /// The plan without a configuration: the embedded vault in this folder, and nothing else.
    pub(crate) fn of_local_vault(folder: PathBuf) -> Plan {
        Plan {
            vaults: vec![Vault::new(LOCAL_VAULT, VaultKind::local(Some(folder), None))],
            ..Plan::default()
        }
    }

    /// The vault of that friendly name.
    #[must_use]
    pub fn vault(&self, name: &str) -> Option<&Vault> {
        let folded = fold(name);
        self.vaults.iter().find(|vault| fold(&vault.name) == folded)
    }

    /// Environment variables that hold secrets; workers do not get them.
    #[must_use]
    pub fn secret_variables(&self) -> Vec<String> {
        let mut names = Vec::new();
        if let Access::TokenEnv(name) = &self.access {
            names.push(name.clone());
        }
        for vault in &self.vaults {
            if let Some(SecretSource::Env(name)) = vault.unlock() {
                names.push(name.clone());
            }
        }
        names
    }
}

impl fmt::Debug for InitScript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InitScript::Text(_) => f.write_str("Text(…)"),
            InitScript::File(path) => write!(f, "File({})", path.display()),
        }
    }
}

impl Default for AutoImport {
    fn default() -> AutoImport {
        AutoImport { enabled: true, expose: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_path_is_known_by_its_last_part() {
        for module in [
            SECRET_STORE,
            "/opt/modules/Microsoft.PowerShell.SecretStore",
            "/opt/modules/Microsoft.PowerShell.SecretStore/",
            "C:\\m\\microsoft.powershell.secretstore\\Microsoft.PowerShell.SecretStore.psd1",
        ] {
            let extension = Extension::new("v", module);
            assert!(extension.module_name().eq_ignore_ascii_case(SECRET_STORE), "{module}");
        }
        assert_eq!(Extension::new("v", "My.SecretStore").module_name(), "My.SecretStore");
    }
}
