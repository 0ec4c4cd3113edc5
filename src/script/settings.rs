//! What `Start-PodeServer` and `server.psd1` say of the server as a whole.

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use serde::Deserialize;

use super::page::PageSettings;
use super::value::Portable;
use crate::plan::Limits;

/// The `server` ask.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Server {
    /// Workers; below one is one.
    pub threads: i64,
    /// `Show` or `Hide`; wins over the settings.
    pub status_page_exceptions: Option<String>,
    /// The root folder.
    pub root: Option<String>,
    /// The script's path.
    pub script: Option<String>,
    /// Say nothing at the start.
    pub quiet: bool,
    /// What `Get-PodeConfig` gives.
    pub config: Option<Portable>,
    /// `Web.ErrorPages`.
    pub error_pages: PageSettings,
    /// `Server.AutoImport.SecretVaults`.
    pub auto_import: AutoImport,
    /// `Server.Request`.
    pub request: Request,
}

/// Whether the user's own vaults can be used.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct AutoImport {
    /// They can.
    pub enable: bool,
    /// Only those that `Export-PodeSecretVault` names.
    pub export_only: bool,
}

/// Limits of requests.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Request {
    /// Seconds; 0 is the program's own.
    pub timeout: u64,
    /// Bytes; 0 is the program's own.
    pub body_size: usize,
}

impl Default for AutoImport {
    fn default() -> AutoImport {
        AutoImport { enable: true, export_only: false }
    }
}

/// The settings, once told.
#[derive(Default)]
pub struct Settings(RwLock<Option<Server>>);

impl Settings {
    /// Notes them.
    pub fn set(&self, server: Server) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(server);
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
        self.read(|server| {
            let mut pages = server.error_pages.clone();
            match server.status_page_exceptions.as_deref() {
                Some(word) if word.eq_ignore_ascii_case("show") => pages.show_exceptions = true,
                Some(word) if word.eq_ignore_ascii_case("hide") => pages.show_exceptions = false,
                _ => {}
            }
            pages
        })
        .unwrap_or_default()
    }

    /// Whether the user's own vaults can be used.
    pub fn auto_import(&self) -> AutoImport {
        self.read(|server| server.auto_import.clone()).unwrap_or_default()
    }

    /// The limits, with those of the script.
    pub fn limits(&self, mut limits: Limits) -> Limits {
        let request = self.read(|server| server.request.clone()).unwrap_or_default();
        if request.timeout > 0 {
            limits.deadline = Duration::from_secs(request.timeout);
        }
        if request.body_size > 0 {
            limits.max_body = request.body_size;
        }
        limits
    }

    fn read<T>(&self, read: impl FnOnce(&Server) -> T) -> Option<T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(read)
    }
}
