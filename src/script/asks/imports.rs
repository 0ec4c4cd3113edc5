//! The user's own vaults: those of the registry, and those that the script itself registered with
//! SecretManagement.

use std::sync::Arc;

use super::{AskFailure, AskOutcome, Asking};
use crate::bridge::Bridge;
use crate::plan::Vault;
use crate::registry;
use crate::script::core::Core;
use crate::script::protocol::AskReply;
use crate::script::protocol::ask::Names;
use crate::script::settings::ImportScope;
use crate::secret::fold;
use crate::vault::{Entry, Means};

impl Asking {
    /// Brings vaults of the user's in that are not imported by themselves.
    pub(super) fn vault_export(&self, names: &Names) -> AskOutcome {
        if self.core.settings.auto_import() == ImportScope::Exported {
            let wanted: Vec<String> = names.names.iter().map(|name| fold(name)).collect();
            self.import(|vault| wanted.contains(&fold(&vault.name)))?;
        }
        Ok(AskReply::done())
    }

    /// Does to the user's own vaults what `server.psd1` says, once it is known. Until then the script's first
    /// lines could use them all.
    pub(super) fn auto_import(&self) -> Result<(), AskFailure> {
        if self.core.settings.auto_import() == ImportScope::All {
            return self.import(|_| true);
        }
        let bridge = self.bridge()?;
        for entry in bridge.vaults().all().iter().filter(|entry| is_imported(entry)) {
            bridge.vaults().forget(&entry.plan.name);
        }
        Ok(())
    }

    fn import(&self, wanted: impl Fn(&Vault) -> bool) -> Result<(), AskFailure> {
        let bridge = self.bridge()?;
        let vaults = bridge.vaults();
        for vault in self.core.settings.registered().into_iter().filter(&wanted) {
            // What the script itself registers goes before what was there. What is the same stays as it is: the
            // script may have unlocked it.
            if let Ok(present) = vaults.get(&vault.name)
                && is_imported(&present)
                && !is_same(&present.plan, &vault)
            {
                vaults.forget(&vault.name);
            }
            let _ = vaults.add(vault, Means::default());
        }
        import_registry(&self.core, &bridge, wanted);
        Ok(())
    }
}

/// Where SecretManagement looks when no vault is named: the default (its name folded), then the others by
/// name. Without one the first that was registered is the default.
pub(in crate::script) fn search_order<'a>(
    all: &'a [Arc<Entry>],
    default: Option<&str>,
) -> Vec<&'a Arc<Entry>> {
    let name = |entry: &Entry| entry.plan.extension().map(|extension| fold(&extension.registered));
    let mut found: Vec<_> = all.iter().filter(|entry| name(entry).is_some()).collect();
    found.sort_by_key(|entry| name(entry));
    let named = found.iter().position(|entry| name(entry).as_deref() == default);
    let oldest = || found.iter().enumerate().min_by_key(|(_, entry)| entry.number).map(|(place, _)| place);
    if let Some(place) = named.or_else(oldest) {
        let default = found.remove(place);
        found.insert(0, default);
    }
    found
}

/// Brings in vaults of the user's registry. A name that is taken stays as it is.
pub(in crate::script) fn import_registry(core: &Core, bridge: &Bridge, wanted: impl Fn(&Vault) -> bool) {
    if core.options.no_import {
        return;
    }
    let found = registry::look();
    if let Some(problem) = &found.problem {
        tracing::warn!(file = %found.path.display(), "the user's vault registry could not be read: {problem}");
    }
    core.settings.set_default_vault(found.default);
    for vault in found.vaults.into_iter().filter(wanted) {
        let _ = bridge.vaults().add(vault, Means::default());
    }
}

fn is_same(a: &Vault, b: &Vault) -> bool {
    let told = |vault: &Vault| {
        vault.extension().map(|extension| (fold(extension.module_name()), extension.parameters.clone()))
    };
    told(a) == told(b)
}

/// Whether it is one of them.
pub(super) fn is_imported(entry: &Entry) -> bool {
    entry.plan.extension().is_some_and(|extension| extension.imported)
}
