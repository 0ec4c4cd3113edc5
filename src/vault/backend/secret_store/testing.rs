//! What tests of other modules see of a SecretStore.

use std::any::Any;
use std::collections::HashSet;

use super::SecretStoreBackend;
use super::ledger::Acknowledged;
use super::state::KnownStore;
use crate::vault::backend::Backend;

fn of(backend: &dyn Backend) -> &SecretStoreBackend {
    let any: &dyn Any = backend;
    any.downcast_ref().expect("a SecretStore")
}

/// What is known of it.
pub fn known(backend: &dyn Backend) -> &KnownStore {
    &of(backend).store
}

/// What was written and would be missed, were the store empty. Asked once.
pub fn missed(backend: &dyn Backend) -> Vec<Acknowledged> {
    let ledger = &of(backend).ledger;
    ledger.vanished(ledger.mark(), &HashSet::new())
}
