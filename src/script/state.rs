//! `$state:` and the arguments of mounts: tables that every worker sees.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::value::Portable;
use crate::mount::Mounts;
use crate::plan::{Mount, PlanError};
use crate::secret::fold;
use crate::store::StoreId;
use crate::vault::Entry;

/// Pode's state: values by name, compared without case.
#[derive(Default)]
pub struct PodeState(Mutex<HashMap<String, StateItem>>);

struct StateItem {
    name: String,
    value: Portable,
    scope: Vec<String>,
}

impl PodeState {
    /// The value of that name, and its scopes.
    pub fn get(&self, name: &str) -> Option<(Portable, Vec<String>)> {
        self.items().get(&fold(name)).map(|item| (item.value.clone(), item.scope.clone()))
    }

    /// Sets a value.
    pub fn set(&self, name: &str, value: Portable, scope: Vec<String>) {
        self.items().insert(fold(name), StateItem { name: name.to_owned(), value, scope });
    }

    /// How many names have this shared object.
    pub fn holders(&self, id: u64) -> usize {
        self.items().values().filter(|item| item.value.shared() == Some(id)).count()
    }

    /// Takes a value out.
    pub fn remove(&self, name: &str) -> Option<Portable> {
        self.items().remove(&fold(name)).map(|item| item.value)
    }

    /// The names, of any of these scopes if there are any.
    pub fn names(&self, scope: &[String]) -> Vec<String> {
        let items = self.items();
        let wanted: Vec<String> = scope.iter().map(|scope| fold(scope)).collect();
        let is_wanted = |item: &&StateItem| {
            wanted.is_empty() || item.scope.iter().any(|scope| wanted.contains(&fold(scope)))
        };
        let mut names: Vec<String> = items.values().filter(is_wanted).map(|item| item.name.clone()).collect();
        names.sort();
        names
    }

    fn items(&self) -> MutexGuard<'_, HashMap<String, StateItem>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What mounts of custom vaults hand to the vault's blocks. One lock over both tables: who sees a mount
/// sees its arguments.
#[derive(Default)]
pub struct MountArguments {
    table: Mutex<HashMap<String, Vec<Portable>>>,
    /// Stores and times to live of vaults that were taken out: what is kept of them is still shown.
    left_over: Mutex<HashMap<String, (StoreId, Duration)>>,
}

impl MountArguments {
    /// Mounts, unless the name is taken.
    pub fn add(&self, mounts: &Mounts, mount: Mount, arguments: Vec<Portable>) -> Result<(), PlanError> {
        let mut table = self.table();
        let name = fold(&mount.name);
        mounts.add(mount)?;
        table.insert(name, arguments);
        Ok(())
    }

    /// Unmounts.
    pub fn remove(&self, mounts: &Mounts, name: &str) {
        let mut table = self.table();
        mounts.remove(name);
        table.remove(&fold(name));
    }

    /// The arguments of a mount.
    pub fn get(&self, name: &str) -> Vec<Portable> {
        self.table().get(&fold(name)).cloned().unwrap_or_default()
    }

    /// A vault was taken out.
    pub fn keep(&self, entry: &Entry) {
        let kept = (entry.store.id.clone(), entry.plan.keep.ttl);
        let mut left_over = self.left_over.lock().unwrap_or_else(PoisonError::into_inner);
        left_over.insert(fold(&entry.plan.name), kept);
    }

    /// The store of a vault that was taken out, and its values' time to live.
    pub fn left_over(&self, vault: &str) -> Option<(StoreId, Duration)> {
        self.left_over.lock().unwrap_or_else(PoisonError::into_inner).get(&fold(vault)).cloned()
    }

    fn table(&self) -> MutexGuard<'_, HashMap<String, Vec<Portable>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Portable {
        serde_json::from_value(serde_json::json!({ "t": "string", "v": text })).unwrap()
    }

    #[test]
    fn names_have_no_case_and_the_last_value_and_scope_count() {
        let state = PodeState::default();
        state.set("Count", value("1"), vec!["a".into()]);
        state.set("COUNT", value("3"), vec!["B".into()]);
        assert_eq!(state.names(&["b".into()]), ["COUNT"]);
        assert!(state.names(&["a".into()]).is_empty());
        assert_eq!(state.remove("count"), Some(value("3")));
        assert_eq!(state.get("count"), None);
        for name in ["one", "two"] {
            state.set(name, Portable::of_shared(7), Vec::new());
        }
        assert_eq!((state.holders(7), state.holders(8)), (2, 0));
    }
}
