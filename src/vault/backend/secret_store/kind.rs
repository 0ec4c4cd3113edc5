//! What the rest of the program asks about SecretStore.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::place::{FILES, folder};
use super::{SecretStoreBackend, settings};
use crate::plan::{Extension, SECRET_STORE, Vault, VaultKind};
use crate::vault::backend::Backend;
use crate::vault::backend::kind::{Kind, ScriptRefusal, VaultWay, is_of_module};
use crate::vault::backend::settings::ModuleSettings;

/// See the module.
pub(in crate::vault::backend) struct SecretStoreKind;

impl Kind for SecretStoreKind {
    fn has(&self, kind: &VaultKind) -> bool {
        is_of_module(kind, SECRET_STORE)
    }

    fn open(&self, _vault: &Vault) -> Arc<dyn Backend> {
        Arc::new(SecretStoreBackend::of_user())
    }

    fn title(&self) -> &'static str {
        settings::SETTINGS.title
    }

    fn module(&self) -> Option<&'static str> {
        Some(SECRET_STORE)
    }

    fn settings(&self) -> Option<&'static ModuleSettings> {
        Some(&settings::SETTINGS)
    }

    fn is_usual(&self) -> bool {
        true
    }

    fn folder_of_user(&self) -> Option<PathBuf> {
        Some(folder())
    }

    /// Asking the module for a store that is not there would make one.
    fn way(&self, vault: &Vault) -> VaultWay {
        let folder = folder();
        if FILES.iter().any(|file| folder.join(file).exists()) {
            return VaultWay::Worker;
        }
        let name = &vault.name;
        VaultWay::None(format!("'{name}': there is no SecretStore yet; the first start makes it"))
    }

    fn by_script(&self, mut extension: Extension, _base: Option<&Path>) -> Result<VaultKind, ScriptRefusal> {
        match settings::complete(&mut extension) {
            Ok(()) => Ok(extension.into()),
            Err(message) => Err(ScriptRefusal { id: "SecretStoreUnlock", message }),
        }
    }

    fn for_file(&self, extension: &mut Extension) {
        settings::without_defaults(extension);
    }
}
