//! Looks at a store's files for changes by others: what they changed is not served from the cache, what they erased is
//! named or written again, and what failed writes of ours have destroyed is put back.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::pool::Pool;
use crate::pool::lanes::{Lane, LaneMode};
use crate::store::{FOREIGN_STEPS, Store};
use crate::vault::ledger::{Acknowledged, Debt};
use crate::vault::vaults::Vaults;
use crate::vault::verb::{Outcome, Repair, Verb};

/// What is watched, and for whom.
pub struct Watch<'a> {
    /// The vaults over the stores.
    pub vaults: &'a Vaults,
    /// Where lanes are taken.
    pub pool: &'a Pool,
    /// The bridge stops.
    pub stopping: &'a CancellationToken,
}

impl Watch<'_> {
    /// Looks at one store, now.
    pub async fn look_at(&self, store: &Arc<Store>) {
        if !store.has_files() {
            return;
        }
        self.put_back(store).await;
        if !store.looks_changed() {
            return;
        }
        // Looked at again while nobody of ours writes.
        let lane = Lane { store: store.id.clone(), mode: LaneMode::Shared };
        let permit = tokio::select! {
            permit = self.pool.lane(lane) => permit,
            () = self.stopping.cancelled() => return,
        };
        store.foreign_change();
        if !store.take_uninspected() {
            return;
        }
        self.vaults.changes().changed_by_others(&store.id);
        drop(permit);
        if self.vaults.ledger().has(&store.id) || !store.vanished().is_empty() {
            self.look_for_damage(store).await;
        }
    }

    /// Puts back what failed writes of ours have destroyed and could not restore at once.
    async fn put_back(&self, store: &Arc<Store>) {
        for line in self.vaults.ledger().owed(&store.id) {
            let Debt { vault, key, .. } = line;
            let Ok(entry) = self.vaults.get(&vault) else { continue };
            let verb = Verb::Repair(Repair::Settle { key: key.clone() });
            let deadline = Instant::now() + self.vaults.limits().deadline;
            match self.vaults.perform(&entry, verb, deadline).await {
                Ok(_) => tracing::warn!(vault, key, "the old value of a write that failed half-way is back"),
                Err(error) => tracing::debug!(vault, key, "it could not be put back yet: {error}"),
            }
        }
    }

    /// Names the keys that we had written and that a foreign writer erased; writes them again where the plan
    /// says so.
    async fn look_for_damage(&self, store: &Arc<Store>) {
        let Some(entry) = self.vaults.all().into_iter().find(|entry| entry.store.id == store.id) else {
            return;
        };
        let deadline = || Instant::now() + self.vaults.limits().deadline;
        let mark = self.vaults.ledger().mark();
        let mut names = HashSet::new();
        // Twice, because an overwrite of theirs is a delete and an add, and a list may come between the two.
        for _ in 0..2 {
            match self.vaults.perform(&entry, Verb::List, deadline()).await {
                Ok(Outcome::List(secrets)) => names.extend(secrets.into_iter().map(|secret| secret.name)),
                Ok(_) => return,
                Err(error) => {
                    // A worker that died, or a store that is locked: what was erased must still be named later.
                    if store.inspect_again() {
                        tracing::error!(store = %store.id, "the changed store could not be looked through yet: {error}");
                    }
                    return;
                }
            }
            store.note_present(names.iter().map(String::as_str));
            if !self.vaults.ledger().misses(&store.id, mark, &names) {
                return;
            }
            sleep(FOREIGN_STEPS).await;
        }
        let vanished = self.vaults.ledger().vanished(&store.id, mark, &names);
        for line in vanished {
            let Acknowledged { vault, key, value, .. } = line.clone();
            if store.note_vanished(&key) {
                tracing::error!(
                    vault,
                    key,
                    "a secret that was written here has been erased by another process"
                );
            }
            let (Some((value, metadata)), Ok(entry)) = (value, self.vaults.get(&vault)) else { continue };
            // Not a plain write: a client may have written the key anew meanwhile.
            let verb = Verb::Repair(Repair::PutBack { key: key.clone(), value, metadata });
            match self.vaults.perform(&entry, verb, deadline()).await {
                Ok(_) => tracing::warn!(vault, key, "the erased secret was written again"),
                Err(error) => {
                    self.vaults.ledger().keep(&store.id, line);
                    if store.inspect_again() {
                        tracing::error!(
                            vault,
                            key,
                            "the erased secret could not be written again yet: {error}"
                        );
                    }
                }
            }
        }
    }
}
