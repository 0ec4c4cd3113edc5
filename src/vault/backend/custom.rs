//! Custom vaults: script blocks, which only script mode calls, in the worker that asks. What is here keeps everybody
//! else away from them.

use std::sync::Arc;

use super::Backend;
use crate::plan::Vault;
use crate::secret::fold;
use crate::store::Discipline;
use crate::vault::store::Store;
use crate::vault::verb::Verb;

/// See the module.
pub(super) struct CustomBackend(Arc<Store>);

impl CustomBackend {
    pub(super) fn new(vault: &Vault) -> CustomBackend {
        CustomBackend(Arc::new(Store::new(format!("custom:{}", fold(&vault.name)), Discipline::Serial)))
    }
}

impl Backend for CustomBackend {
    fn store(&self) -> &Arc<Store> {
        &self.0
    }

    fn refusal(&self, _verb: &Verb) -> Option<String> {
        Some("it is made of script blocks, and only a script block can call them".to_owned())
    }
}
