//! Custom vaults: script blocks, which only script mode calls, in the worker that asks. What is here keeps everybody
//! else away from them.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::kind::{Kind, VaultWay, fields};
use super::{Backend, ServedBy};
use crate::plan::{BlockKind, Vault, VaultKind};
use crate::secret::fold;
use crate::store::Discipline;
use crate::vault::store::Store;
use crate::vault::verb::Verb;

/// See the module.
pub(super) struct CustomKind;

/// Serves one.
struct CustomBackend(Arc<Store>);

impl Kind for CustomKind {
    fn has(&self, kind: &VaultKind) -> bool {
        matches!(kind, VaultKind::Custom(_))
    }

    fn open(&self, vault: &Vault) -> Arc<dyn Backend> {
        Arc::new(CustomBackend::new(vault))
    }

    fn way(&self, vault: &Vault) -> VaultWay {
        VaultWay::None(format!("'{}' is a script's own", vault.name))
    }

    fn line(&self, _vault: &Vault) -> String {
        "script blocks".to_owned()
    }

    fn shown(&self, vault: &Vault) -> Map<String, Value> {
        let Some(custom) = vault.custom() else { return Map::new() };
        let (blocks, parameters): (Vec<&BlockKind>, Vec<&String>) =
            (custom.blocks.keys().collect(), custom.parameters.0.keys().collect());
        fields(
            json!({ "type": "custom", "blocks": blocks, "parameters": parameters, "unlocks": custom.unlock.is_some() }),
        )
    }
}

impl CustomBackend {
    fn new(vault: &Vault) -> CustomBackend {
        CustomBackend(Arc::new(Store::new(format!("custom:{}", fold(&vault.name)), Discipline::Serial)))
    }
}

impl Backend for CustomBackend {
    fn store(&self) -> &Arc<Store> {
        &self.0
    }

    fn served_by(&self) -> ServedBy<'_> {
        ServedBy::Script
    }

    fn refusal(&self, _verb: &Verb) -> Option<String> {
        Some("it is made of script blocks, and only a script block can call them".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use crate::plan::{Custom, Vault, VaultKind};
    use crate::vault::{Entry, Verb, rules};

    #[test]
    fn a_vault_of_script_blocks_is_called_by_nobody_else() {
        let entry = Entry::bare(Vault::new("v", VaultKind::Custom(Custom::default())));
        for verb in [Verb::Get { key: "k".into(), detail: false }, Verb::List, Verb::Unlock] {
            let refused = rules::check(&entry, &verb).unwrap_err().to_string();
            assert!(refused.contains("only a script block can call them"), "{refused}");
        }
    }
}
