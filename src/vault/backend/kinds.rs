//! Which kinds of vaults there are.

use std::sync::Arc;

use super::Backend;
use super::azure::{self, AzureBackend};
use super::custom::CustomBackend;
use super::local::LocalBackend;
use super::module::ModuleBackend;
use super::secret_store::{self, SecretStoreBackend};
use super::settings::ModuleSettings;
use crate::plan::{Extension, Vault, VaultKind};

/// An extension module with rules of its own.
struct KnownModule {
    /// Its bare name.
    name: &'static str,
    /// The configuration that its parameters are; `None` where they are VaultParameters.
    settings: Option<&'static ModuleSettings>,
    /// Serves the store of a vault of it.
    open: fn(&Extension) -> Arc<dyn Backend>,
}

/// Those that are known. Every other is a [`ModuleBackend`].
static MODULES: [KnownModule; 2] = [
    KnownModule {
        name: secret_store::MODULE,
        settings: Some(&secret_store::SETTINGS),
        open: |_| Arc::new(SecretStoreBackend::of_user()),
    },
    KnownModule {
        name: azure::MODULE,
        settings: None,
        open: |extension| Arc::new(AzureBackend::new(extension)),
    },
];

/// What serves the store of a vault, by the vault's kind. Nothing is called yet.
pub fn open(vault: &Vault) -> Arc<dyn Backend> {
    match &vault.kind {
        VaultKind::Extension(extension) => match known(extension) {
            Some(module) => (module.open)(extension),
            None => Arc::new(ModuleBackend::new(extension)),
        },
        VaultKind::Local { .. } => Arc::new(LocalBackend::new(vault)),
        VaultKind::Custom(_) => Arc::new(CustomBackend::new(vault)),
    }
}

/// The configuration that the parameters of a vault of this module are; `None` where they are VaultParameters.
pub fn settings_of(extension: &Extension) -> Option<&'static ModuleSettings> {
    known(extension)?.settings
}

fn known(extension: &Extension) -> Option<&'static KnownModule> {
    let name = extension.module_name();
    MODULES.iter().find(|module| module.name.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{AZ_KEY_VAULT, SECRET_STORE};
    use crate::store::Discipline;
    use crate::vault::store::Store;

    fn extension(name: &str, module: &str) -> Vault {
        Vault::new(name, VaultKind::Extension(Extension::new(name, module)))
    }

    fn store(vault: &Vault) -> Arc<Store> {
        open(vault).store().clone()
    }

    #[test]
    fn two_names_of_secret_store_are_one_store() {
        let (a, b) = (extension("a", SECRET_STORE), extension("b", "/x/Microsoft.PowerShell.SecretStore"));
        assert_eq!(store(&a).id, store(&b).id);
        assert_ne!(store(&extension("a", "My.Vault")).id, store(&extension("b", "My.Vault")).id);
    }

    #[test]
    fn azure_vaults_are_parallel_and_known_by_their_real_name() {
        let mut vaults = [extension("a", AZ_KEY_VAULT), extension("b", AZ_KEY_VAULT)];
        for (vault, name) in vaults.iter_mut().zip(["Real", "REAL"]) {
            let VaultKind::Extension(extension) = &mut vault.kind else { unreachable!() };
            extension.parameters.0.insert("AZKVaultName".into(), name.into());
        }
        let stores = vaults.each_ref().map(store);
        assert_eq!(stores[0].id, stores[1].id);
        assert_eq!(stores[0].discipline, Discipline::Parallel);
        assert_eq!(store(&extension("c", "My.Vault")).discipline, Discipline::Serial);
    }

    /// What is refused for one kind is not for another: a table of kinds cannot be mixed up unnoticed.
    #[test]
    fn each_kind_has_its_own_rules() {
        let kinds = [SECRET_STORE, AZ_KEY_VAULT, "Other.Vault"].map(|module| open(&extension("v", module)));
        assert_eq!(kinds.each_ref().map(|kind| kind.overwrites_in_steps()), [true, false, false]);
        assert_eq!(kinds.each_ref().map(|kind| kind.has_secret_parameters()), [false, false, true]);
        assert_eq!(kinds.each_ref().map(|kind| kind.tells_types()), [true, false, false]);
        let settings = [SECRET_STORE, AZ_KEY_VAULT, "Other.Vault"]
            .map(|module| settings_of(&Extension::new("v", module)).is_some());
        assert_eq!(settings, [true, false, false]);
    }
}
