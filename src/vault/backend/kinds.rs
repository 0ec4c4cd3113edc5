//! Which kinds of vaults there are. This table is all that has to be told of a new one.

use std::path::{Path, PathBuf};

use super::azure::AzureKind;
use super::custom::CustomKind;
use super::kind::{Kind, ScriptRefusal, VaultFiles, VaultWay};
use super::local::LocalKind;
use super::module::ModuleKind;
use super::secret_store::SecretStoreKind;
use super::settings::ModuleSettings;
use crate::plan::{Extension, Vault, VaultKind};

/// All kinds. The last one has every extension module that no other has.
static KINDS: [&dyn Kind; 5] = [&LocalKind, &CustomKind, &SecretStoreKind, &AzureKind, &ModuleKind];

/// The kind of a vault.
pub fn of(vault: &Vault) -> &'static dyn Kind {
    find(|kind| kind.has(&vault.kind))
}

/// The configuration that the parameters of a vault of this module are; `None` where they are VaultParameters.
pub fn settings_of(extension: &Extension) -> Option<&'static ModuleSettings> {
    of_module(extension).settings()
}

/// What a script means by a vault of this module. `base`: what its paths are relative to.
pub fn by_script(extension: Extension, base: Option<&Path>) -> Result<VaultKind, ScriptRefusal> {
    of_module(&extension).by_script(extension, base)
}

/// The files that this program keeps a vault in, where it does.
pub fn files_of(vault: &Vault) -> Option<VaultFiles> {
    of(vault).files(vault)
}

/// Whether only a worker can call the vault.
pub fn needs_worker(vault: &Vault) -> bool {
    !matches!(of(vault).way(vault), VaultWay::Files(_))
}

/// The modules that are looked for also where no vault of the plan needs them.
pub fn usual_modules() -> impl Iterator<Item = &'static str> {
    KINDS.iter().filter(|kind| kind.is_usual()).filter_map(|kind| kind.module())
}

/// The folders that modules keep the user's vaults in, with what people call the module.
pub fn folders_of_user() -> impl Iterator<Item = (&'static str, PathBuf)> {
    KINDS.iter().filter_map(|kind| Some((kind.title(), kind.folder_of_user()?)))
}

fn of_module(extension: &Extension) -> &'static dyn Kind {
    let name = extension.module_name();
    find(|kind| kind.module().is_some_and(|module| module.eq_ignore_ascii_case(name)))
}

fn find(is_it: impl Fn(&dyn Kind) -> bool) -> &'static dyn Kind {
    KINDS.into_iter().find(|kind| is_it(*kind)).unwrap_or(&ModuleKind)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::plan::{AZ_KEY_VAULT, BlockKind, Custom, SECRET_STORE, SecretSource};
    use crate::store::Discipline;
    use crate::vault::store::Store;

    fn extension(name: &str, module: &str) -> Vault {
        Vault::new(name, Extension::new(name, module))
    }

    fn store(vault: &Vault) -> Arc<Store> {
        of(vault).open(vault).store().clone()
    }

    #[test]
    fn two_names_of_secret_store_are_one_store() {
        let (a, b) = (extension("a", SECRET_STORE), extension("b", "/x/Microsoft.PowerShell.SecretStore"));
        assert_eq!(store(&a).id, store(&b).id);
        assert_ne!(store(&extension("a", "My.Vault")).id, store(&extension("b", "My.Vault")).id);
    }

    /// A script may take a vault out and add one of the same name over another folder.
    #[test]
    fn a_folder_is_one_store_whatever_the_vaults_over_it_are_called() {
        let local = |name: &str, folder: &str| Vault::new(name, VaultKind::local(Some(folder.into()), None));
        assert_eq!(store(&local("a", "/x")).id, store(&local("b", "/x")).id);
        assert_ne!(store(&local("a", "/x")).id, store(&local("a", "/y")).id);
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

    #[test]
    fn the_embedded_vault_alone_needs_no_worker() {
        assert!(!needs_worker(&Vault::new("v", VaultKind::local(None, None))));
        for kind in [VaultKind::from(Custom::default()), Extension::new("v", AZ_KEY_VAULT).into()] {
            assert!(needs_worker(&Vault::new("v", kind)));
        }
    }

    /// What is refused for one kind is not for another: a table of kinds cannot be mixed up unnoticed.
    #[test]
    fn each_kind_has_its_own_rules() {
        let vaults = [SECRET_STORE, AZ_KEY_VAULT, "Other.Vault"].map(|module| extension("v", module));
        let kinds = vaults.each_ref().map(|vault| of(vault).open(vault));
        assert_eq!(kinds.each_ref().map(|kind| kind.overwrites_in_steps()), [true, false, false]);
        assert_eq!(kinds.each_ref().map(|kind| kind.has_secret_parameters()), [false, false, true]);
        assert_eq!(kinds.each_ref().map(|kind| kind.tells_types()), [true, false, false]);
        let settings = [SECRET_STORE, AZ_KEY_VAULT, "Other.Vault"]
            .map(|module| settings_of(&Extension::new("v", module)).is_some());
        assert_eq!(settings, [true, false, false]);
    }

    /// The last kind takes what is left; a module named by its path is known by its name.
    #[test]
    fn every_vault_has_the_kind_that_it_is_of() {
        for (vault, title, line) in [
            (Vault::new("v", VaultKind::local(None, None)), "local vault", "the embedded vault"),
            (Vault::new("v", Custom::default()), "vault", "script blocks"),
            (
                extension("v", "/x/microsoft.powershell.secretstore"),
                "SecretStore",
                "/x/microsoft.powershell.secretstore as v",
            ),
            (extension("v", AZ_KEY_VAULT), "Azure Key Vault", "Az.KeyVault as v"),
            (extension("v", "SecretBridge.Local"), "vault", "SecretBridge.Local as v"),
        ] {
            assert_eq!((of(&vault).title(), of(&vault).line(&vault).as_str()), (title, line));
        }
        assert_eq!(usual_modules().collect::<Vec<_>>(), [SECRET_STORE]);
        let folder = Path::new("/of/a/user");
        crate::vault::backend::secret_store::use_folder(folder);
        assert_eq!(folders_of_user().collect::<Vec<_>>(), [("SecretStore", folder.to_owned())]);
    }

    #[test]
    fn a_script_names_the_embedded_vault_by_its_folder_and_by_nothing_else() {
        let base = Path::new("/scripts");
        let said = |parameters: serde_json::Value, unlock: Option<SecretSource>| {
            let mut extension = Extension::new("v", "secretbridge.local");
            extension.parameters.0 = parameters.as_object().cloned().unwrap_or_default();
            extension.unlock = unlock;
            by_script(extension, Some(base))
        };
        for (parameters, folder) in [
            (json!({}), None),
            (json!({ "Folder": "mine" }), Some(base.join("mine"))),
            (json!({ "path": "/elsewhere" }), Some("/elsewhere".into())),
        ] {
            assert_eq!(said(parameters, None), Ok(VaultKind::local(folder, None)));
        }
        for parameters in [json!({ "Folder": 7 }), json!({ "Folder": "mine", "Key": "k" })] {
            assert_eq!(said(parameters, None).unwrap_err().id, "SecretVault");
        }
        let unlock = Some(SecretSource::Value("p".into()));
        assert_eq!(said(json!({}), unlock).unwrap_err().id, "LocalVaultUnlock");
    }

    /// Names and no values: what a parameter holds may be secret.
    #[test]
    fn a_vault_is_shown_with_the_names_of_its_parameters() {
        let mut mine = Extension::new("registered", "My.Vault");
        mine.parameters.0.insert("Token".into(), "canary".into());
        mine.unlock = Some(SecretSource::Value("canary".into()));
        let custom = Custom { blocks: [(BlockKind::Read, 1)].into(), ..Custom::default() };
        for (vault, members) in [
            (
                Vault::new("v", VaultKind::local(Some("/here".into()), None)),
                json!({ "type": "local", "folder": "/here" }),
            ),
            (
                Vault::new("v", custom),
                json!({ "type": "custom", "blocks": ["read"], "parameters": [], "unlocks": false }),
            ),
            (
                Vault::new("v", mine),
                json!({
                    "type": "secretmanagement", "module": "My.Vault", "vault_name": "registered", "imported": false,
                    "parameters": ["Token"], "unlocks": true, "unlock_at_start": true, "unlock_interval_seconds": 0,
                }),
            ),
        ] {
            assert_eq!(serde_json::Value::Object(of(&vault).shown(&vault)), members);
        }
    }

    #[test]
    fn each_kind_says_its_module_its_files_and_how_often_it_may_be_asked() {
        let local = Vault::new("v", VaultKind::local(Some("/here".into()), Some("/key".into())));
        let half_a_minute = Some(std::time::Duration::from_secs(30));
        for (vault, module, folder, probes) in [
            (local, Some("SecretBridge.Local"), Some("/here"), half_a_minute),
            (Vault::new("v", Custom::default()), None, None, None),
            (extension("v", SECRET_STORE), Some(SECRET_STORE), None, half_a_minute),
            (extension("v", AZ_KEY_VAULT), Some(AZ_KEY_VAULT), None, None),
            (extension("v", "My.Vault"), None, None, None),
        ] {
            assert_eq!(of(&vault).module(), module);
            let files = files_of(&vault);
            assert_eq!(files.as_ref().and_then(|files| files.folder.as_deref()), folder.map(Path::new));
            assert_eq!(files.and_then(|files| files.key).is_some(), folder.is_some());
            assert_eq!(of(&vault).open(&vault).probes(), probes);
        }
    }

    #[test]
    fn a_file_that_is_made_of_a_script_leaves_out_what_a_script_need_not_say_either() {
        let mut said = Extension::new("v", SECRET_STORE);
        said.unlock = Some(SecretSource::Value("p".into()));
        let Ok(VaultKind::Extension(mut extension)) = by_script(said, None) else { panic!("it is one") };
        assert_eq!(extension.parameters.0.len(), 3);
        of(&Vault::new("v", extension.clone())).for_file(&mut extension);
        assert_eq!(extension.parameters.0.len(), 0);
    }
}
