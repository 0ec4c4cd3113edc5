//! What goes on beside the requests: foreign changes of stores, and values whose time is over.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::Inner;
use crate::pool::Pool;
use crate::pool::lanes::{Lane, Mode};
use crate::store::{FOREIGN_STEPS, Store};
use crate::vault::condition::State;
use crate::vault::ledger::{Acknowledged, Debt};
use crate::vault::{Outcome, Verb};

/// How often the files of stores are looked at for foreign changes.
const WATCH: Duration = Duration::from_secs(1);

/// How long a locked vault is left alone at least before it is tried without a request.
const KNOCK: Duration = Duration::from_secs(5);

/// Looks at the stores' files for changes by others, and lets the cache forget what is over.
pub(super) async fn watch_stores(bridge: std::sync::Weak<Inner>, stopping: CancellationToken) {
    let mut tick = interval(WATCH);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            _ = tick.tick() => {}
        }
        let Some(inner) = bridge.upgrade() else { return };
        inner.cache.expire(Instant::now());
        let Some(pool) = inner.vaults.pool() else { continue };
        knock_at_locked(&inner).await;
        for store in inner.vaults.stores() {
            look_at(&inner, pool, &store).await;
        }
    }
}

/// Tries to unlock what its last call found locked, when its back-off is over: without it a vault that nobody reads any
/// more, because `/ready` says no, would stay locked after its password was put right.
async fn knock_at_locked(inner: &Inner) {
    for entry in inner.vaults.all() {
        let now = Instant::now();
        let is_due = entry.condition.state() == State::Locked
            && entry.may_unlock()
            && entry.condition.idle(now).is_some_and(|idle| idle >= KNOCK)
            && entry.store.lockout(now).is_none();
        if is_due {
            let deadline = now + inner.plan.limits.deadline;
            if let Err(error) = inner.vaults.perform(&entry, Verb::Unlock, deadline).await {
                tracing::debug!(vault = entry.plan.name, "it stays locked: {error}");
            }
        }
    }
}

async fn look_at(inner: &Inner, pool: &Pool, store: &Arc<Store>) {
    if !store.has_files() {
        return;
    }
    put_back(inner, store).await;
    if !store.looks_changed() {
        return;
    }
    // Looked at again while nobody of ours writes.
    let lane = Lane { store: store.id.clone(), mode: Mode::Shared };
    let permit = tokio::select! {
        permit = pool.lane(lane) => permit,
        () = inner.stopping.cancelled() => return,
    };
    store.foreign_change();
    if !store.take_uninspected() {
        return;
    }
    inner.cache.touched_all(&store.id);
    drop(permit);
    if inner.vaults.ledger().has(&store.id) || !store.vanished().is_empty() {
        look_for_damage(inner, store).await;
    }
}

/// Puts back what failed writes of ours have destroyed and could not restore at once.
async fn put_back(inner: &Inner, store: &Arc<Store>) {
    for line in inner.vaults.ledger().owed(&store.id) {
        let Debt { vault, key, .. } = line;
        let Ok(entry) = inner.vaults.get(&vault) else { continue };
        let verb = Verb::Settle { key: key.clone() };
        let deadline = Instant::now() + inner.plan.limits.deadline;
        match inner.vaults.perform(&entry, verb, deadline).await {
            Ok(_) => tracing::warn!(vault, key, "the old value of a write that failed half-way is back"),
            Err(error) => tracing::debug!(vault, key, "it could not be put back yet: {error}"),
        }
    }
}

/// Names the keys that we had written and that a foreign writer erased; writes them again where the plan
/// says so.
async fn look_for_damage(inner: &Inner, store: &Arc<Store>) {
    let Some(entry) = inner.vaults.all().into_iter().find(|entry| entry.store.id == store.id) else { return };
    let deadline = || Instant::now() + inner.plan.limits.deadline;
    let mark = inner.vaults.ledger().mark();
    let mut names = HashSet::new();
    // Twice, because an overwrite of theirs is a delete and an add, and a list may come between the two.
    for _ in 0..2 {
        match inner.vaults.perform(&entry, Verb::List, deadline()).await {
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
        if !inner.vaults.ledger().misses(&store.id, mark, &names) {
            return;
        }
        sleep(FOREIGN_STEPS).await;
    }
    let vanished = inner.vaults.ledger().vanished(&store.id, mark, &names);
    for line in vanished {
        let Acknowledged { vault, key, value, .. } = line.clone();
        if store.note_vanished(&key) {
            tracing::error!(vault, key, "a secret that was written here has been erased by another process");
        }
        let (Some((value, metadata)), Ok(entry)) = (value, inner.vaults.get(&vault)) else { continue };
        // Not a plain write: a client may have written the key anew meanwhile.
        let verb = Verb::PutBack { key: key.clone(), value, metadata };
        match inner.vaults.perform(&entry, verb, deadline()).await {
            Ok(_) => tracing::warn!(vault, key, "the erased secret was written again"),
            Err(error) => {
                inner.vaults.ledger().keep(&store.id, line);
                if store.inspect_again() {
                    tracing::error!(vault, key, "the erased secret could not be written again yet: {error}");
                }
            }
        }
    }
}
