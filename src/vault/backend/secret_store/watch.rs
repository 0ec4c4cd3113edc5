//! Looks at a store's files for changes by others: what they changed is not served from the cache, what they erased is
//! named or written again, and what failed writes of ours have destroyed is put back.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::time::sleep;

use super::chores::{Repay, WriteAgain};
use super::ledger::{Acknowledged, Debt, Ledger, Mark};
use super::state::{FOREIGN_STEPS, KnownStore};
use crate::error::BridgeError;
use crate::pool::lanes::{Lane, LaneMode};
use crate::vault::backend::AllVaults;
use crate::vault::verb::{Outcome, Verb};

/// What is watched, and who does what is to be done about it.
pub(super) struct Watch<'a> {
    pub(super) store: &'a Arc<KnownStore>,
    pub(super) ledger: &'a Arc<Ledger>,
    pub(super) vaults: &'a dyn AllVaults,
}

impl Watch<'_> {
    /// Looks at the store, now.
    pub(super) async fn look(&self) {
        let store = self.store;
        self.repay().await;
        if !store.looks_changed() {
            return;
        }
        // Looked at again while nobody of ours writes.
        let lane = Lane { store: store.id.clone(), mode: LaneMode::Shared };
        let Some(permit) = self.vaults.lane(lane).await else { return };
        store.foreign_change();
        if !store.take_uninspected() {
            return;
        }
        self.vaults.changed_by_others(&store.id);
        drop(permit);
        if self.ledger.has_any() || !store.vanished().is_empty() {
            self.look_for_damage().await;
        }
    }

    /// Puts back what failed writes of ours have destroyed and could not restore at once.
    async fn repay(&self) {
        for line in self.ledger.owed() {
            let Debt { vault, key, .. } = line;
            let (store, ledger) = (self.store.clone(), self.ledger.clone());
            let repay = Repay { store, ledger, key: key.clone() };
            match self.vaults.chore(&vault, Arc::new(repay)).await {
                Ok(()) => tracing::warn!(vault, key, "the old value of a write that failed half-way is back"),
                Err(BridgeError::UnknownVault { .. }) => {}
                Err(error) => tracing::debug!(vault, key, "it could not be put back yet: {error}"),
            }
        }
    }

    /// Names the keys that we had written and that a foreign writer erased; writes them again where the plan
    /// says so.
    async fn look_for_damage(&self) {
        let mark = self.ledger.mark();
        let Some(names) = self.names_after(mark).await else { return };
        for line in self.ledger.vanished(mark, &names) {
            let Acknowledged { vault, key, .. } = &line;
            if self.store.note_vanished(key) {
                tracing::error!(
                    vault,
                    key,
                    "a secret that was written here has been erased by another process"
                );
            }
            self.write_again(line).await;
        }
    }

    /// The names that the store has, by a list begun after the mark; `None` where nothing that we wrote is missing, or
    /// where it cannot be told.
    async fn names_after(&self, mark: Mark) -> Option<HashSet<String>> {
        let (store, mut names) = (self.store, HashSet::new());
        let vault = self.vaults.over(&store.id)?;
        // Twice, because an overwrite of theirs is a delete and an add, and a list may come between the two.
        for _ in 0..2 {
            match self.vaults.perform(&vault, Verb::List).await {
                Ok(Outcome::List(secrets)) => names.extend(secrets.into_iter().map(|secret| secret.name)),
                Ok(_) => return None,
                Err(error) => {
                    // A worker crashed, or the store is locked: what was erased must still be named later.
                    if store.inspect_again() {
                        tracing::error!(store = %store.id, "the changed store could not be looked through yet: {error}");
                    }
                    return None;
                }
            }
            store.note_present(names.iter().map(String::as_str));
            if !self.ledger.misses(mark, &names) {
                return None;
            }
            sleep(FOREIGN_STEPS).await;
        }
        Some(names)
    }

    /// Writes a secret again that somebody else has erased, where the plan says so.
    async fn write_again(&self, line: Acknowledged) {
        let Acknowledged { vault, key, value, .. } = line.clone();
        let Some(value) = value else { return };
        let (store, ledger) = (self.store.clone(), self.ledger.clone());
        let again = WriteAgain { store, ledger, line: line.clone(), value };
        match self.vaults.chore(&vault, Arc::new(again)).await {
            Ok(()) => tracing::warn!(vault, key, "the erased secret was written again"),
            Err(BridgeError::UnknownVault { .. }) => {}
            Err(error) => {
                self.ledger.keep(line);
                if self.store.inspect_again() {
                    tracing::error!(vault, key, "the erased secret could not be written again yet: {error}");
                }
            }
        }
    }
}
