//! What the rest of the program asks about a kind of vaults, beside its calls: how a file or a script names it, what
//! it is called for people, where its files are.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::Backend;
use super::settings::ModuleSettings;
use crate::plan::{Extension, Vault, VaultKind};
use crate::secret::is_same_name;

/// A kind of vaults. What is written here is what holds for an extension module of which nothing is known.
pub trait Kind: Sync {
    /// Whether a vault is of this kind.
    fn has(&self, kind: &VaultKind) -> bool;

    /// What serves the store of a vault of this kind. Nothing is called yet.
    fn open(&self, vault: &Vault) -> Arc<dyn Backend>;

    /// What people call it.
    fn title(&self) -> &'static str {
        "vault"
    }

    /// The module by which a script names it, where that is always the same.
    fn module(&self) -> Option<&'static str> {
        None
    }

    /// The configuration that the parameters of its vaults are; `None` where they are VaultParameters.
    fn settings(&self) -> Option<&'static ModuleSettings> {
        None
    }

    /// Whether its module is looked for also where no vault of the plan needs it.
    fn is_usual(&self) -> bool {
        false
    }

    /// The folder that its module keeps all vaults of the user in.
    fn folder_of_user(&self) -> Option<PathBuf> {
        None
    }

    /// The files that this program keeps a vault of this kind in.
    fn files(&self, _vault: &Vault) -> Option<VaultFiles> {
        None
    }

    /// How the doctor gets to a vault of this kind.
    fn way(&self, _vault: &Vault) -> VaultWay {
        VaultWay::Worker
    }

    /// Whether this is the name in Azure of the vault behind it. Other modules over Azure take the same parameter as
    /// Az.KeyVault.
    fn is_called(&self, vault: &Vault, name: &str) -> bool {
        name_in_azure(vault).is_some_and(|named| is_same_name(named, name))
    }

    /// A vault in a line for people.
    fn line(&self, vault: &Vault) -> String {
        vault.extension().map_or_else(String::new, |extension| {
            let own = if extension.imported { ", registered by the user" } else { "" };
            format!("{} as {}{own}", extension.module, extension.registered)
        })
    }

    /// A vault for programs, with the names of its parameters and without their values.
    fn shown(&self, vault: &Vault) -> Map<String, Value> {
        let Some(extension) = vault.extension() else { return Map::new() };
        let parameters: Vec<&String> = extension.parameters.0.keys().collect();
        fields(json!({
            "type": "secretmanagement", "module": extension.module, "vault_name": extension.registered,
            "imported": extension.imported, "parameters": parameters, "unlocks": extension.unlock.is_some(),
            "unlock_at_start": extension.unlock_at_start, "unlock_interval_seconds": extension.unlock_interval.as_secs(),
        }))
    }

    /// What a script means by a vault of its module, after the rules that Pode has for that. `base`: what its
    /// paths are relative to.
    fn by_script(&self, extension: Extension, _base: Option<&Path>) -> Result<VaultKind, ScriptRefusal> {
        Ok(extension.into())
    }

    /// Takes out of a script's vault what [`Kind::by_script`] has put in and a file need not say.
    fn for_file(&self, _extension: &mut Extension) {}
}

/// The vault's name in Azure, if the plan says it.
pub(super) fn name_in_azure(vault: &Vault) -> Option<&str> {
    let named = vault.extension()?.parameters.0.iter().find(|(name, _)| is_same_name(name, "AZKVaultName"));
    named?.1.as_str()
}

/// Files that this program keeps a vault in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultFiles {
    /// Their folder; none where no home folder is known.
    pub folder: Option<PathBuf>,
    /// The key, where it is not in the folder.
    pub key: Option<PathBuf>,
    /// Their names in the folder.
    pub names: &'static [&'static str],
}

/// How the doctor gets to a vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VaultWay {
    /// This program reads these files.
    Files(VaultFiles),
    /// A worker calls it.
    Worker,
    /// It is as it should be, and cannot be called now. This says why.
    None(String),
}

/// Why a script may not have such a vault, in Pode's words where it has some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptRefusal {
    /// The error's id.
    pub id: &'static str,
    /// What the script is told.
    pub message: String,
}

/// Whether a vault is one of this module.
pub(super) fn is_of_module(kind: &VaultKind, module: &str) -> bool {
    matches!(kind, VaultKind::Extension(extension) if extension.module_name().eq_ignore_ascii_case(module))
}

/// The members of a JSON object.
pub(super) fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}
