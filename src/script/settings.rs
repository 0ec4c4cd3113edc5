//! What `Start-PodeServer` and `server.psd1` say of the server as a whole.

use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use super::page::PageSettings;
use super::protocol::ask::{RegisteredVault, ServerAsk};
use super::protocol::call::Needs;
use crate::plan::{Limits, Vault};
use crate::registry;
use crate::secret::fold;

/// Which of the user's own vaults a script can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportScope {
    /// None.
    Off,
    /// Those that `Export-PodeSecretVault` names.
    Exported,
    /// All.
    All,
}

/// The settings, once told.
#[derive(Default)]
pub struct ScriptSettings {
    server: RwLock<Option<ServerAsk>>,
    default_vault: Mutex<Option<String>>,
    needs: Mutex<Needs>,
}

impl ScriptSettings {
    /// Notes them.
    pub fn set(&self, server: ServerAsk) {
        *self.server.write().unwrap_or_else(PoisonError::into_inner) = Some(server);
    }

    /// What the script takes from where it runs; known after a check.
    pub fn set_needs(&self, needs: Needs) {
        *self.needs.lock().unwrap_or_else(PoisonError::into_inner) = needs;
    }

    /// As [`ScriptSettings::set_needs`] has it.
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
    pub fn auto_import(&self) -> ImportScope {
        let config = self.read(|server| server.settings.clone()).unwrap_or_default();
        if config.auto_import == Some(false) || config.auto_import_secret_management == Some(false) {
            ImportScope::Off
        } else if config.export_only == Some(true) {
            ImportScope::Exported
        } else {
            ImportScope::All
        }
    }

    /// The vaults that the script registered with SecretManagement itself. They count as the user's own.
    pub fn registered(&self) -> Vec<Vault> {
        let registered = self.read(|server| server.registered.clone()).unwrap_or_default();
        let vault = |one: RegisteredVault| registry::imported(one.name, one.module, one.path, one.parameters);
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

    fn read<T>(&self, read: impl FnOnce(&ServerAsk) -> T) -> Option<T> {
        self.server.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(config: serde_json::Value) -> ScriptSettings {
        let settings = ScriptSettings::default();
        let server = serde_json::json!({ "threads": 0, "settings": config });
        settings.set(serde_json::from_value(server).unwrap());
        settings
    }

    #[test]
    fn vaults_are_imported_unless_the_configuration_says_otherwise() {
        assert_eq!(ScriptSettings::default().auto_import(), ImportScope::All);
        for (config, expected) in [
            (serde_json::json!({}), ImportScope::All),
            (serde_json::json!({ "auto_import": true }), ImportScope::All),
            (serde_json::json!({ "auto_import": false }), ImportScope::Off),
            (serde_json::json!({ "auto_import_secret_management": false }), ImportScope::Off),
            (serde_json::json!({ "export_only": true }), ImportScope::Exported),
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
}
