//! What `Start-PodeServer` and `server.psd1` say of the server as a whole.

use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::page::PageSettings;
use super::value::Portable;
use crate::plan::{Limits, Vault};
use crate::protocol::Parameters;
use crate::registry;
use crate::secret::fold;

/// The `server` ask.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Server {
    /// Workers; below one is one.
    pub threads: i64,
    /// Error pages show what exceptions say.
    pub status_page_exceptions: bool,
    /// The root folder.
    pub root: Option<String>,
    /// Say nothing at the start.
    pub quiet: bool,
    /// What `Get-PodeConfig` gives.
    pub config: Option<Portable>,
    /// What of `server.psd1` is the core's to honour.
    pub settings: Config,
    /// Vaults that the script registered with SecretManagement before it started the server.
    pub registered: Vec<Registered>,
}

/// A vault that a script registered with SecretManagement itself.
#[derive(Debug, Clone, Deserialize)]
pub struct Registered {
    /// Its name.
    pub name: String,
    /// Its module.
    pub module: String,
    /// Where the module is.
    #[serde(default)]
    pub path: Option<String>,
    /// VaultParameters.
    #[serde(default)]
    pub parameters: Parameters,
}

/// The core's part of `server.psd1`. Each field is there only if it is set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Config {
    /// `Server.AutoImport.SecretVaults.Enable`
    pub auto_import: Option<bool>,
    /// `Server.AutoImport.SecretVaults.SecretManagement.Enable`
    pub auto_import_secret_management: Option<bool>,
    /// `Server.AutoImport.SecretVaults.ExportOnly`
    pub export_only: Option<bool>,
    /// `Server.Request.Timeout`, in seconds.
    pub request_timeout: Option<i64>,
    /// `Server.Request.BodySize`, in bytes.
    pub body_size: Option<i64>,
    /// `Web.ErrorPages.StrictContentTyping`
    pub strict_content_typing: Option<bool>,
    /// `Web.ErrorPages.Default`
    pub error_content_type: Option<String>,
    /// `Web.ErrorPages.Routes`
    pub error_routes: Vec<(String, String)>,
}

/// Which of the user's own vaults a script can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AutoImport {
    /// None.
    Off,
    /// Those that `Export-PodeSecretVault` names.
    Exported,
    /// All.
    All,
}

/// What a script takes from where it runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Needs {
    /// Environment variables that it reads.
    pub environment: Vec<NeededVariable>,
    /// Files that it has read while it declared.
    pub files: Vec<String>,
}

/// An environment variable that a script reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeededVariable {
    /// Its name.
    pub name: String,
    /// It is set here and now.
    pub set: bool,
}

/// The settings, once told.
#[derive(Default)]
pub struct Settings {
    server: RwLock<Option<Server>>,
    default_vault: Mutex<Option<String>>,
    needs: Mutex<Needs>,
}

impl Settings {
    /// Notes them.
    pub fn set(&self, server: Server) {
        *self.server.write().unwrap_or_else(PoisonError::into_inner) = Some(server);
    }

    /// What the script takes from where it runs; known after a check.
    pub fn set_needs(&self, needs: Needs) {
        *self.needs.lock().unwrap_or_else(PoisonError::into_inner) = needs;
    }

    /// As [`Settings::set_needs`] has it.
    pub fn needs(&self) -> Needs {
        self.needs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether `Start-PodeServer` was called.
    pub fn is_told(&self) -> bool {
        self.read(|_| ()).is_some()
    }

    /// Whether nothing is to be said at the start.
    pub fn is_quiet(&self) -> bool {
        self.read(|server| server.quiet).unwrap_or(false)
    }

    /// How many workers there are to be.
    pub fn threads(&self) -> usize {
        self.read(|server| usize::try_from(server.threads).unwrap_or(0)).unwrap_or(0).max(1)
    }

    /// How pages are shown.
    pub fn pages(&self) -> PageSettings {
        self.read(|server| PageSettings {
            show_exceptions: server.status_page_exceptions,
            strict: server.settings.strict_content_typing.unwrap_or(false),
            default: server.settings.error_content_type.clone(),
            routes: server.settings.error_routes.clone(),
        })
        .unwrap_or_default()
    }

    /// Which of the user's own vaults can be used. All, where nobody says otherwise, also without a
    /// `server.psd1`.
    pub fn auto_import(&self) -> AutoImport {
        let config = self.read(|server| server.settings.clone()).unwrap_or_default();
        if config.auto_import == Some(false) || config.auto_import_secret_management == Some(false) {
            AutoImport::Off
        } else if config.export_only == Some(true) {
            AutoImport::Exported
        } else {
            AutoImport::All
        }
    }

    /// The vaults that the script registered with SecretManagement itself. They count as the user's own.
    pub fn registered(&self) -> Vec<Vault> {
        let registered = self.read(|server| server.registered.clone()).unwrap_or_default();
        let vault = |one: Registered| registry::imported(one.name, one.module, one.path, one.parameters);
        registered.into_iter().map(vault).collect()
    }

    /// Notes which vault of the user's is the default one.
    pub fn set_default_vault(&self, name: Option<String>) {
        *self.default_vault.lock().unwrap_or_else(PoisonError::into_inner) = name.map(|name| fold(&name));
    }

    /// The user's default vault, its name folded.
    pub fn default_vault(&self) -> Option<String> {
        self.default_vault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The limits, with those of the script.
    pub fn limits(&self, mut limits: Limits) -> Limits {
        let config = self.read(|server| server.settings.clone()).unwrap_or_default();
        let positive =
            |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok()).filter(|n| *n > 0);
        if let Some(seconds) = positive(config.request_timeout) {
            limits.deadline = Duration::from_secs(seconds);
        }
        if let Some(bytes) = positive(config.body_size).and_then(|bytes| usize::try_from(bytes).ok()) {
            limits.max_body = bytes;
        }
        limits
    }

    fn read<T>(&self, read: impl FnOnce(&Server) -> T) -> Option<T> {
        self.server.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(config: serde_json::Value) -> Settings {
        let settings = Settings::default();
        let server = serde_json::json!({ "threads": 0, "settings": config });
        settings.set(serde_json::from_value(server).unwrap());
        settings
    }

    #[test]
    fn vaults_are_imported_unless_the_configuration_says_otherwise() {
        assert_eq!(Settings::default().auto_import(), AutoImport::All);
        for (config, expected) in [
            (serde_json::json!({}), AutoImport::All),
            (serde_json::json!({ "auto_import": true }), AutoImport::All),
            (serde_json::json!({ "auto_import": false }), AutoImport::Off),
            (serde_json::json!({ "auto_import_secret_management": false }), AutoImport::Off),
            (serde_json::json!({ "export_only": true }), AutoImport::Exported),
        ] {
            assert_eq!(settings(config).auto_import(), expected);
        }
    }

    #[test]
    fn limits_of_the_script_win_where_they_are_numbers_above_zero() {
        let set = settings(serde_json::json!({ "request_timeout": 5, "body_size": 0 }));
        let limits = set.limits(Limits::default());
        assert_eq!((limits.deadline, limits.max_body), (Duration::from_secs(5), Limits::default().max_body));
        assert_eq!(set.threads(), 1);
    }

    #[test]
    fn debug_shows_neither_the_configuration_nor_vault_parameters() {
        let server: Server = serde_json::from_value(serde_json::json!({
            "config": { "t": "string", "v": "canary" },
            "registered": [{ "name": "v", "module": "m", "parameters": { "ApiKey": "canary" } }],
        }))
        .unwrap();
        let shown = format!("{server:?}");
        assert!(shown.contains("ApiKey") && !shown.contains("canary"), "{shown}");
    }
}
