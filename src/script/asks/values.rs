//! Values: from the cache, or from the vault, in the asking worker.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::asked::Asked;
use super::words::words_of;
use super::{AskFailure, Asking};
use crate::bridge::{Loading, Loads, Look, Reading};
use crate::cache::{Join, LoadResult, Ticket};
use crate::error::BridgeError;
use crate::plan::{Keep, Mount};
use crate::script::value::Portable;
use crate::secret::SecretValue;
use crate::vault::Began;
use crate::vault::set_up::ready;
use crate::vault::turn::Trouble;
use crate::vault::{Entry, Outcome, Performs, Vaults, Verb, lane};
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
    ) -> Result<Arc<SecretValue>, AskFailure> {
        // Pode asks the vault again if the secret was missing.
        let keep = Keep { negative_ttl: Duration::ZERO, ..keep };
        let (name, reading, deadline) = (cached_name(key, arguments), Reading::Kept, self.deadline);
        let look = Look { entry, key, name: &name, detail: false, keep, reading, deadline };
        let values = self.core.bridge.values().clone();
        let answer = values.read_by(&look, &mut OwnWorker { asking: self, worker, arguments }).await;
        answer.map(|answer| answer.value).map_err(|error| words_of(error, entry, &get(key)))
    }

    /// A value, from the vault.
    pub(in crate::script) async fn value_now(
        &mut self,
        worker: &mut Worker,
        entry: &Arc<Entry>,
        key: &str,
        arguments: &[Portable],
    ) -> Result<Arc<SecretValue>, AskFailure> {
        let loaded = self.loaded(worker, entry, key, arguments).await;
        loaded.map_err(|error| words_of(error, entry, &get(key)))
    }

    async fn loaded(
        &mut self,
        worker: &mut Worker,
        entry: &Arc<Entry>,
        key: &str,
        arguments: &[Portable],
    ) -> LoadResult {
        if self.core.options.check {
            return Ok(Arc::new(SecretValue::string(UNREAD)));
        }
        Asked::of(entry).read(self, worker, key, arguments).await
    }

    /// Does a verb, with its error in the module's words.
    pub(super) async fn said(
        &mut self,
        worker: &mut Worker,
        entry: &Arc<Entry>,
        verb: Verb,
    ) -> Result<Outcome, AskFailure> {
        let outcome = self.verb(worker, entry, verb.clone()).await;
        outcome.map_err(|error| words_of(error, entry, &verb))
    }

    /// Does a verb in this worker, where it may.
    pub(super) async fn verb(
        &mut self,
        worker: &mut Worker,
        entry: &Arc<Entry>,
        verb: Verb,
    ) -> Result<Outcome, BridgeError> {
        let (vaults, deadline) = (self.core.bridge.vaults().clone(), self.deadline);
        let mut by = OwnCalls { began: &self.began, vaults: &vaults, worker };
        vaults.perform_by(entry, verb, deadline, &mut by).await
    }

    /// A value that is still kept, of a vault that was taken out.
    pub(super) fn left_over(&self, mount: &Mount, arguments: &[Portable]) -> Option<Arc<SecretValue>> {
        let (store, ttl) = self.core.arguments.left_over(&mount.vault)?;
        if mount.cache_ttl.unwrap_or(ttl).is_zero() {
            return None;
        }
        let name = cached_name(&mount.key, arguments);
        self.core.bridge.values().kept(&store, &name)
    }
}

/// A script that makes the calls of a verb in its own worker, in the store's lane.
struct OwnCalls<'a> {
    began: &'a Began,
    vaults: &'a Vaults,
    worker: &'a mut Worker,
}

impl Performs for OwnCalls<'_> {
    /// What a script writes counts as begun as soon as it asks for it; not after its caller has given up.
    fn begin(&self, verb: &Verb) -> Result<(), BridgeError> {
        if !verb.writes() || self.began.note() {
            return Ok(());
        }
        Err(BridgeError::Deadline { outcome_unknown: false })
    }

    /// A store that one worker has to itself is asked there; that worker runs no scripts, so it never waits for this one.
    async fn perform(
        &mut self,
        entry: &Arc<Entry>,
        verb: Verb,
        deadline: Instant,
    ) -> Result<Outcome, BridgeError> {
        if entry.takes_any_worker()
            && let Some(outcome) = self.perform_here(entry, &verb, deadline).await?
        {
            return Ok(outcome);
        }
        self.vaults.perform_admitted(entry, verb, deadline).await
    }
}

impl OwnCalls<'_> {
    /// Does it in this worker; nothing where only the worker that has the store to itself can.
    async fn perform_here(
        &mut self,
        entry: &Arc<Entry>,
        verb: &Verb,
        deadline: Instant,
    ) -> Result<Option<Outcome>, BridgeError> {
        let pool = self.vaults.workers()?;
        // What a script does before a vault's first use may need lanes itself, so it goes first.
        if let Err(error) = ready(self.worker, entry, deadline).await {
            return Err(Trouble::from(error).into_error(entry, verb.key(), false));
        }
        let permit = match lane::of(&entry.store, verb.writes()) {
            Some(lane) => {
                let waited = timeout_at(deadline, pool.lane(lane)).await;
                Some(waited.map_err(|_| BridgeError::Deadline { outcome_unknown: false })?)
            }
            None => None,
        };
        let act = self.vaults.act(entry, verb.clone(), deadline, Began::default());
        let done = act.run(self.worker).await;
        if let Err(Trouble::OldCopy) = done.outcome {
            return Ok(None);
        }
        let (outcome, ending) = act.settle(self.worker, done, permit);
        ending.finish(self.worker).await;
        outcome.map(Some)
    }
}

/// A script that loads in its own worker.
struct OwnWorker<'a> {
    asking: &'a mut Asking,
    worker: &'a mut Worker,
    arguments: &'a [Portable],
}

impl Loads for OwnWorker<'_> {
    fn join(&self, entry: &Entry) -> Join {
        // A custom vault's load may wait for what this call holds, so it is never joined.
        if entry.is_scripts_own() { Join::Never } else { Join::InWorker }
    }

    fn is_anothers(&self, _error: &BridgeError) -> bool {
        // The other caller's deadline or worker failed, which says nothing about this call.
        true
    }

    async fn load(&mut self, look: &Look<'_>, ticket: Ticket) -> Loading {
        let result = self.asking.loaded(self.worker, look.entry, look.key, self.arguments).await;
        // Otherwise the callers who wait look again.
        if self.worker.broken().is_none() {
            self.asking.core.bridge.values().finish(ticket, result.clone(), &look.keep);
        }
        Loading::Ended(result)
    }
}

fn get(key: &str) -> Verb {
    Verb::Get { key: key.to_owned(), detail: false }
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
