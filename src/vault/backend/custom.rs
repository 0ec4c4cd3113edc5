//! Custom vaults: script blocks, which only script mode calls, in the worker that asks. What is here keeps everybody
//! else away from them.

use super::Backend;
use crate::plan::Vault;
use crate::secret::fold;
use crate::store::{Discipline, Store};
use crate::vault::verb::Verb;

/// See the module.
pub(super) struct CustomBackend;

impl Backend for CustomBackend {
    fn store(&self, vault: &Vault) -> Store {
        Store::new(format!("custom:{}", fold(&vault.name)), Discipline::Serial)
    }

    fn refusal(&self, _verb: &Verb) -> Option<String> {
        Some("it is made of script blocks, and only a script block can call them".to_owned())
    }
}
