//! Which vaults there are. The table is made before the workers, which are set up from it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::backend::{Backend, kinds};
use super::entry::{Entry, Means};
use crate::error::BridgeError;
use crate::plan::{InitScript, PlanError, Vault};
use crate::secret::fold;
use crate::store::StoreId;

/// The vaults by their friendly names, which are compared without case, and the stores behind them.
pub struct VaultTable {
    entries: RwLock<HashMap<String, Arc<Entry>>>,
    stores: Mutex<HashMap<StoreId, Arc<dyn Backend>>>,
    numbers: AtomicU64,
    login: Arc<[InitScript]>,
}

impl VaultTable {
    /// No vaults yet. `login`: the scripts that log every worker in.
    pub fn new(login: &[InitScript]) -> VaultTable {
        VaultTable {
            entries: RwLock::default(),
            stores: Mutex::default(),
            numbers: AtomicU64::new(1),
            login: login.into(),
        }
    }

    /// Adds a vault, unless its name is taken.
    pub fn add(&self, plan: Vault, means: Means) -> Result<Arc<Entry>, PlanError> {
        let backend = kinds::of(&plan).open(&plan);
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        // A store that is known already keeps what is known of it.
        let backend = stores.entry(backend.store().id.clone()).or_insert(backend).clone();
        drop(stores);
        let folded = fold(&plan.name);
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let entry = Arc::new(Entry::new(number, plan, backend, means, self.login.clone()));
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        match entries.entry(folded) {
            std::collections::hash_map::Entry::Occupied(_) => {
                Err(PlanError::TwoVaults(entry.plan.name.clone()))
            }
            std::collections::hash_map::Entry::Vacant(place) => Ok(place.insert(entry).clone()),
        }
    }

    /// Takes a vault out.
    pub fn forget(&self, name: &str) -> Option<Arc<Entry>> {
        self.entries.write().unwrap_or_else(PoisonError::into_inner).remove(&fold(name))
    }

    /// The vault of that friendly name.
    pub fn get(&self, name: &str) -> Result<Arc<Entry>, BridgeError> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.get(&fold(name)).cloned().ok_or_else(|| BridgeError::UnknownVault { name: name.to_owned() })
    }

    /// All of them, by name.
    pub fn all(&self) -> Vec<Arc<Entry>> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = entries.values().cloned().collect();
        all.sort_by(|a, b| a.plan.name.cmp(&b.plan.name));
        all
    }

    /// What serves the stores behind them.
    pub fn stores(&self) -> Vec<Arc<dyn Backend>> {
        self.stores.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}
