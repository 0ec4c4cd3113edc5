//! What goes on beside the requests: changes of stores by others, and values whose time is over.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::values::Values;
use crate::error::BridgeError;
use crate::pool::lanes::Lane;
use crate::pool::{Pool, TaskPermit};
use crate::store::StoreId;
use crate::vault::backend::AllVaults;
use crate::vault::condition::VaultState;
use crate::vault::{Chore, Outcome, Vaults, Verb};
use crate::worker::BoxFuture;

/// How often the files of stores are looked at.
const TICK: Duration = Duration::from_secs(1);

/// How long a locked vault is left alone at least before it is tried without a request.
const KNOCK: Duration = Duration::from_secs(5);

/// Looks at the stores' files, and lets the cache forget what is over, until the bridge stops or its last handle goes.
pub(super) async fn watch_stores(values: Values, deadline: Duration, stopping: CancellationToken) {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            _ = tick.tick() => {}
        }
        values.expire();
        let vaults = values.vaults();
        probe_idle(vaults, deadline);
        let Some(pool) = vaults.pool() else { continue };
        knock_at_locked(vaults, deadline).await;
        let all = Watched { vaults, pool, stopping: &stopping };
        for backend in vaults.stores() {
            backend.watch(&all).await;
        }
    }
}

/// What the watch of a store may ask of the others.
struct Watched<'a> {
    vaults: &'a Vaults,
    pool: &'a Pool,
    stopping: &'a CancellationToken,
}

impl AllVaults for Watched<'_> {
    fn perform<'a>(&'a self, vault: &'a str, verb: Verb) -> BoxFuture<'a, Result<Outcome, BridgeError>> {
        Box::pin(async move {
            let entry = self.vaults.get(vault)?;
            self.vaults.perform(&entry, verb, Instant::now() + self.vaults.limits().deadline).await
        })
    }

    fn chore<'a>(&'a self, vault: &'a str, chore: Arc<dyn Chore>) -> BoxFuture<'a, Result<(), BridgeError>> {
        Box::pin(async move {
            let entry = self.vaults.get(vault)?;
            self.vaults.do_chore(&entry, chore, Instant::now() + self.vaults.limits().deadline).await
        })
    }

    fn over(&self, store: &StoreId) -> Option<String> {
        let over = self.vaults.all().into_iter().find(|entry| entry.store.id == *store);
        over.map(|entry| entry.plan.name.clone())
    }

    fn lane(&self, lane: Lane) -> BoxFuture<'_, Option<TaskPermit>> {
        Box::pin(async move {
            tokio::select! {
                permit = self.pool.lane(lane) => Some(permit),
                () = self.stopping.cancelled() => None,
            }
        })
    }

    fn changed_by_others(&self, store: &StoreId) {
        self.vaults.changes().changed_by_others(store);
    }
}

/// Asks vaults that nobody has called for a while how they are; not while requests wait for a worker.
fn probe_idle(vaults: &Arc<Vaults>, limit: Duration) {
    let now = Instant::now();
    if vaults.pool().is_some_and(|pool| pool.waiting() > 0) {
        return;
    }
    for entry in vaults.all().iter().filter(|entry| entry.is_probe_due(now)) {
        entry.condition.begin_look(now);
        let (vaults, entry, deadline) = (vaults.clone(), entry.clone(), now + limit);
        // It runs beside the watch, so that a vault that hangs does not stop the watch.
        tokio::spawn(async move {
            if let Err(error) = vaults.perform(&entry, Verb::Probe, deadline).await {
                tracing::debug!(vault = entry.plan.name, "asked how it is: {error}");
            }
        });
    }
}

/// Tries to unlock what its last call found locked, when its back-off is over: without it a vault that nobody reads any
/// more, because `/ready` says no, would stay locked after its password was put right.
async fn knock_at_locked(vaults: &Vaults, limit: Duration) {
    for entry in vaults.all() {
        let now = Instant::now();
        let is_due = entry.condition.state() == VaultState::Locked
            && entry.may_unlock()
            && entry.condition.idle(now) >= KNOCK
            && entry.store.lockout(now).is_none();
        if is_due {
            let deadline = now + limit;
            if let Err(error) = vaults.perform(&entry, Verb::Unlock, deadline).await {
                tracing::debug!(vault = entry.plan.name, "it stays locked: {error}");
            }
        }
    }
}
