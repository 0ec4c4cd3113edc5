//! What we wrote and had acknowledged, so that a foreign writer's damage can be named.
//!
//! A process with an old copy of a SecretStore erases what it has not read. Nobody can prevent that; after
//! a foreign change the store's names are compared with this ledger. Values are kept only for vaults
//! whose plan says `repair = true`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Entry, Verb};
use crate::protocol::Metadata;
use crate::secret::{SecretValue, fold};
use crate::store::StoreId;

/// A key that we wrote.
#[derive(Debug, Clone)]
pub struct Acknowledged {
    /// The vault it was written through.
    pub vault: String,
    /// The key.
    pub key: String,
    /// What to write again, where the plan says so.
    pub value: Option<(Arc<SecretValue>, Option<Metadata>)>,
}

/// Keys written and acknowledged, by store.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<HashMap<StoreId, HashMap<String, Acknowledged>>>);

impl Ledger {
    /// Notes an acknowledged verb.
    pub fn note(&self, entry: &Entry, verb: &Verb) {
        if !entry.store.has_files() {
            return;
        }
        match verb {
            Verb::Set { key, value, metadata, member } => {
                // A member alone is not the whole value, so it cannot be written again.
                let keep = entry.plan.repair && member.is_none();
                let value = keep.then(|| (value.clone(), metadata.clone()));
                let line = Acknowledged { vault: entry.plan.name.clone(), key: key.clone(), value };
                self.lines().entry(entry.store.id.clone()).or_default().insert(fold(key), line);
            }
            Verb::Remove { key } => {
                if let Some(lines) = self.lines().get_mut(&entry.store.id) {
                    lines.remove(&fold(key));
                }
            }
            Verb::Get { .. } | Verb::List | Verb::Unlock => {}
        }
    }

    /// Whether anything was written to the store.
    pub fn has(&self, store: &StoreId) -> bool {
        self.lines().get(store).is_some_and(|lines| !lines.is_empty())
    }

    /// Takes out, and gives, what was written and is not among `names`.
    pub fn vanished<'a>(&self, store: &StoreId, names: impl Iterator<Item = &'a str>) -> Vec<Acknowledged> {
        let names: std::collections::HashSet<String> = names.map(fold).collect();
        let mut all = self.lines();
        let Some(lines) = all.get_mut(store) else { return Vec::new() };
        let gone: Vec<String> = lines.keys().filter(|key| !names.contains(*key)).cloned().collect();
        let mut vanished: Vec<_> = gone.iter().filter_map(|key| lines.remove(key)).collect();
        vanished.sort_by(|a, b| a.key.cmp(&b.key));
        vanished
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<StoreId, HashMap<String, Acknowledged>>> {
        // Nothing in here panics half-way; a poisoned lock holds whole data.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
