//! Values: from the cache, or from the vault, in the asking worker.

use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::words::words_of;
use super::{Asking, Failure, fault_of, refusal};
use crate::cache::{Found, Join, Wanted};
use crate::error::BridgeError;
use crate::plan::{Keep, Mount};
use crate::script::custom;
use crate::script::protocol::call::CustomCall;
use crate::script::value::Portable;
use crate::secret::SecretValue;
use crate::store::Authentication;
use crate::vault::act::Began;
use crate::vault::turn::Trouble;
use crate::vault::{Entry, Outcome, Vaults, Verb, rules};
use crate::worker::Worker;

/// What a look at the plan gives for a value.
const UNREAD: &str = "<secret>";

impl Asking {
    /// A value, from the cache if it is kept there.
    pub(super) async fn value(
        &mut self,
        worker: &mut Worker,
        entry: &Arc<Entry>,
        key: &str,
        keep: Keep,
        arguments: &[Portable],
    ) -> Result<Arc<SecretValue>, Failure> {
        let is_custom = custom::of(entry).is_some();
        let name = cached_name(key, arguments);
        // A custom vault's load may wait for what this call holds, so it is never joined.
        let join = if is_custom { Join::Never } else { Join::InWorker };
        loop {
            let bridge = self.bridge()?;
            let wanted = Wanted {
                store: &entry.store.id,
                name: &name,
                detail: false,
                kept: !keep.ttl.is_zero(),
                join,
            };
            let mut outcome = match bridge.cache().find(wanted, Instant::now()) {
                Found::Fresh(hit) => return Ok(hit.value),
                Found::Absent => {
                    let (vault, key) = (entry.plan.name.clone(), key.to_owned());
                    let get = Verb::Get { key: key.clone(), detail: false };
                    return Err(words_of(BridgeError::NotFound { vault, key }, entry, &get));
                }
                Found::Loading(outcome) => outcome,
                Found::Miss(ticket) => {
                    let loaded = self.value_now(worker, entry, key, arguments).await;
                    if worker.broken().is_none() {
                        let shared = loaded.clone().map_err(|fault| BridgeError::Vault {
                            vault: entry.plan.name.clone(),
                            fault,
                            outcome_unknown: false,
                        });
                        bridge.cache().finish(ticket, shared, &keep, Instant::now());
                    }
                    if loaded.is_err()
                        && !keep.max_stale.is_zero()
                        && let Some(hit) = bridge.cache().stale(wanted, Instant::now())
                    {
                        return Ok(hit.value);
                    }
                    return loaded;
                }
            };
            let waited = timeout_at(self.deadline, outcome.wait_for(Option::is_some)).await;
            let late = |_| fault_of(BridgeError::Deadline { outcome_unknown: false });
            let loaded = waited.map_err(late)?.ok().and_then(|loaded| loaded.clone());
            match loaded {
                Some(Ok(value)) => return Ok(value),
                // Another's deadline, or worker, is not ours.
                Some(Err(_)) => return self.value_now(worker, entry, key, arguments).await,
                // The load was given up.
                None => tokio::task::yield_now().await,
            }
        }
    }

    /// A value, from the vault.
    pub(in crate::script) async fn value_now(
        &mut self,
        worker: &mut Worker,
        entry: &Arc<Entry>,
        key: &str,
        arguments: &[Portable],
    ) -> Result<Arc<SecretValue>, Failure> {
        if self.core.options.check {
            return Ok(Arc::new(SecretValue::string(UNREAD)));
        }
        if custom::of(entry).is_some() {
            let call = CustomCall { kind: "read", key: Some(key), arguments, ..CustomCall::default() };
            let value = self.custom(worker, entry, call).await?.value.unwrap_or_else(Portable::null);
            let secret = value.to_secret();
            return secret
                .map(Arc::new)
                .ok_or_else(|| refusal("SecretValue", "a script block is no secret's value"));
        }
        match self.said(worker, entry, Verb::Get { key: key.to_owned(), detail: false }).await? {
            Outcome::Value(reply) => Ok(Arc::new(reply.value)),
            Outcome::List(_) | Outcome::Done => Err(refusal("WorkerFailed", "no value came")),
        }
    }

    /// Does a verb, with its error in the module's words.
    pub(super) async fn said(
        &mut self,
        worker: &mut Worker,
        entry: &Arc<Entry>,
        verb: Verb,
    ) -> Result<Outcome, Failure> {
        let outcome = self.verb(worker, entry, verb.clone()).await;
        outcome.map_err(|error| words_of(error, entry, &verb))
    }

    /// Does a verb in this worker, in the store's lane. A store that one worker has to itself is asked there;
    /// that worker runs no scripts, so it never waits for this one.
    pub(super) async fn verb(
        &mut self,
        worker: &mut Worker,
        entry: &Arc<Entry>,
        verb: Verb,
    ) -> Result<Outcome, BridgeError> {
        rules::check(entry, &verb)?;
        entry.condition.admit(&entry.plan.name, Instant::now())?;
        let not_ready = || BridgeError::NotReady { reason: "no worker pool runs".into() };
        let bridge = self.core.bridge().cloned().ok_or_else(not_ready)?;
        let vaults = bridge.vaults();
        self.begin(&verb)?;
        if entry.local.is_some() || entry.store.authentication() == Authentication::None {
            return vaults.perform(entry, verb, self.deadline).await;
        }
        let pool = vaults.pool().ok_or_else(not_ready)?;
        // What a script does before a vault's first use may need lanes itself, so it goes first.
        if let Err(error) = crate::vault::set_up::ready(worker, entry, self.deadline).await {
            return Err(Trouble::from(error).into_error(entry, verb.key(), false));
        }
        let permit = match Vaults::lane(&entry.store, &verb) {
            Some(lane) => {
                let waited = timeout_at(self.deadline, pool.lane(lane)).await;
                Some(waited.map_err(|_| BridgeError::Deadline { outcome_unknown: false })?)
            }
            None => None,
        };
        let (action, begun) = (verb.action(), Instant::now());
        let act = vaults.act(entry, verb, self.deadline, Began::default());
        let done = act.run(worker).await;
        if let Err(Trouble::OldCopy) = done.outcome {
            drop(permit);
            return vaults.perform(entry, act.verb, self.deadline).await;
        }
        let mut outcome = Err(BridgeError::Deadline { outcome_unknown: true });
        act.settle(worker, done, permit, |told| outcome = told).await;
        entry.noted(action, outcome, begun)
    }

    /// What a script writes counts as begun as soon as it asks for it; not after its caller has given up.
    fn begin(&self, verb: &Verb) -> Result<(), BridgeError> {
        if !verb.writes() || self.began.note() {
            return Ok(());
        }
        Err(BridgeError::Deadline { outcome_unknown: false })
    }

    /// A value that is still kept, of a vault that was taken out.
    pub(super) fn left_over(&self, mount: &Mount, arguments: &[Portable]) -> Option<Arc<SecretValue>> {
        let (store, ttl) = self.core.arguments.left_over(&mount.vault)?;
        if mount.cache_ttl.unwrap_or(ttl).is_zero() {
            return None;
        }
        let name = cached_name(&mount.key, arguments);
        let wanted = Wanted { store: &store, name: &name, detail: false, kept: true, join: Join::Never };
        match self.core.bridge()?.cache().find(wanted, Instant::now()) {
            Found::Fresh(hit) => Some(hit.value),
            Found::Absent | Found::Loading(_) | Found::Miss(_) => None,
        }
    }
}

/// The key of a value in the cache: a mount's arguments may change what its vault gives.
fn cached_name(key: &str, arguments: &[Portable]) -> String {
    arguments.iter().fold(key.to_owned(), |name, argument| name + "\0" + argument.text())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arguments_are_part_of_a_cached_name() {
        let argument: Portable = serde_json::from_value(json!({ "t": "int", "v": 1 })).unwrap();
        assert_ne!(cached_name("k", &[]), cached_name("k", std::slice::from_ref(&argument)));
        assert_eq!(cached_name("k", &[]), "k");
    }
}
