//! The one way to a value: from the cache, or from its vault by one load for all who wait.
//!
//! A load is made by what has a worker ([`Loads`]): the pool's queue, for callers without one, or a script in its own
//! worker. All else is the same for both: what is kept, who may wait for whose load, what is served stale.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::cache::{Cache, CacheUsage, Freshness, Hit, Join, LoadResult, Lookup, Ticket, WantedValue};
use crate::error::BridgeError;
use crate::plan::Keep;
use crate::secret::SecretValue;
use crate::store::StoreId;
use crate::vault::{Entry, Outcome, Vaults, Verb};

/// Which value a caller is content with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Reading {
    /// One from the cache, within its time.
    #[default]
    Kept,
    /// One that the vault gives after the caller has asked. It renews the cache.
    New,
}

/// A value, and how old it is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer<V = SecretValue> {
    /// The value.
    pub value: V,
    /// Its age, and whether it comes from the cache.
    pub freshness: Freshness,
}

/// The vaults, and what is kept of them. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Values {
    cache: Arc<Cache>,
    vaults: Arc<Vaults>,
}

/// One look for a value.
pub(crate) struct Look<'a> {
    pub entry: &'a Arc<Entry>,
    pub key: &'a str,
    /// The name under which it is kept: the key, and whatever else the value depends on.
    pub name: &'a str,
    /// With the exact type.
    pub detail: bool,
    pub keep: Keep,
    pub reading: Reading,
    pub deadline: Instant,
}

/// Who makes a load.
pub(crate) trait Loads: Send {
    /// Whose loads it may wait for.
    fn join(&self, entry: &Entry) -> Join;

    /// Whether an error of another's load says nothing about a load of its own.
    fn is_anothers(&self, error: &BridgeError) -> bool;

    /// Loads, and tells all who wait through the ticket.
    fn load(&mut self, look: &Look<'_>, ticket: Ticket) -> impl Future<Output = Loading> + Send;
}

/// How a load is.
pub(crate) enum Loading {
    /// It has ended.
    Ended(LoadResult),
    /// It is under way elsewhere.
    UnderWay(watch::Receiver<Option<LoadResult>>),
}

/// For callers without a worker: each load is a task of its own, so that a caller who hangs up does not end it for the
/// others.
struct Queue<'a>(&'a Values);

impl Values {
    pub(super) fn new(cache: Arc<Cache>, vaults: Arc<Vaults>) -> Values {
        Values { cache, vaults }
    }

    /// What is kept, for tests.
    #[cfg(test)]
    pub(super) fn cache(&self) -> &Cache {
        &self.cache
    }

    pub(super) fn vaults(&self) -> &Arc<Vaults> {
        &self.vaults
    }

    /// A value, loaded through the queue where it is not kept.
    pub(super) async fn read(&self, look: &Look<'_>) -> Result<Answer<Arc<SecretValue>>, BridgeError> {
        self.read_by(look, &mut Queue(self)).await
    }

    /// A value. A caller whose load fails gets a stale one where the plan allows it.
    pub(crate) async fn read_by(
        &self,
        look: &Look<'_>,
        by: &mut impl Loads,
    ) -> Result<Answer<Arc<SecretValue>>, BridgeError> {
        match self.read_fresh(look, by).await {
            Err(error) if error.may_be_stale() && !look.keep.max_stale.is_zero() => {
                let kept = self.cache.stale(look.wanted(by.join(look.entry)), Instant::now());
                kept.map(held).ok_or(error)
            }
            outcome => outcome,
        }
    }

    async fn read_fresh(
        &self,
        look: &Look<'_>,
        by: &mut impl Loads,
    ) -> Result<Answer<Arc<SecretValue>>, BridgeError> {
        loop {
            let wanted = look.wanted(by.join(look.entry));
            let (mut under_way, begun) = match self.cache.find(wanted, Instant::now()) {
                Lookup::Fresh(hit) => {
                    if hit.refresh
                        && let Some(ticket) = self.cache.ahead(wanted, Instant::now())
                    {
                        self.take_off(look, ticket);
                    }
                    return Ok(held(hit));
                }
                Lookup::Absent => return Err(look.not_found()),
                Lookup::Loading(under_way, begun) => (under_way, begun),
                Lookup::Miss(ticket) => {
                    let begun = ticket.begun();
                    match by.load(look, ticket).await {
                        Loading::Ended(result) => return result.map(|value| look.loaded(value, begun)),
                        Loading::UnderWay(under_way) => (under_way, begun),
                    }
                }
            };
            match ended(&mut under_way, look.deadline).await? {
                Some(Err(error)) if by.is_anothers(&error) && Instant::now() < look.deadline => {}
                Some(result) => return result.map(|value| look.loaded(value, begun)),
                // The caller who loaded it has given up.
                None => tokio::task::yield_now().await,
            }
        }
    }

    /// Begins a load in a task of its own.
    fn take_off(&self, look: &Look<'_>, ticket: Ticket) {
        let (values, entry, keep) = (self.clone(), look.entry.clone(), look.keep);
        let verb = Verb::Get { key: look.key.to_owned(), detail: look.detail };
        let deadline = look.deadline;
        tokio::spawn(async move {
            let outcome = values.vaults.perform(&entry, verb, deadline).await;
            values.finish(ticket, outcome.and_then(value_of), &keep);
        });
    }

    /// Ends a load: keeps what it gave, and tells all who wait.
    pub(crate) fn finish(&self, ticket: Ticket, result: LoadResult, keep: &Keep) {
        self.cache.finish(ticket, result, keep, Instant::now());
    }

    /// A value that is kept within its time, of a vault that may be there no more.
    pub(crate) fn kept(&self, store: &StoreId, name: &str) -> Option<Arc<SecretValue>> {
        let wanted = WantedValue { store, name, detail: false, kept: true, join: Join::Never };
        match self.cache.find(wanted, Instant::now()) {
            Lookup::Fresh(hit) => Some(hit.value),
            Lookup::Absent | Lookup::Loading(..) | Lookup::Miss(_) => None,
        }
    }

    /// The names of a store's kept values.
    pub(super) fn names(&self, store: &StoreId) -> Vec<String> {
        self.cache.names(store)
    }

    /// Drops values whose time is over.
    pub(super) fn expire(&self) {
        self.cache.expire(Instant::now());
    }

    /// Counts and sizes.
    pub(super) fn usage(&self) -> CacheUsage {
        self.cache.usage()
    }
}

/// The value that a read gave.
pub(crate) fn value_of(outcome: Outcome) -> LoadResult {
    match outcome {
        Outcome::Value(reply) => Ok(Arc::new(reply.value)),
        Outcome::List(_) | Outcome::Done => {
            Err(BridgeError::Worker { reason: "no value came".into(), outcome_unknown: false })
        }
    }
}

impl Loads for Queue<'_> {
    fn join(&self, _entry: &Entry) -> Join {
        Join::Any
    }

    fn is_anothers(&self, error: &BridgeError) -> bool {
        // The load had an earlier deadline than this caller.
        matches!(error, BridgeError::Deadline { .. })
    }

    async fn load(&mut self, look: &Look<'_>, ticket: Ticket) -> Loading {
        let under_way = ticket.subscribe();
        self.0.take_off(look, ticket);
        Loading::UnderWay(under_way)
    }
}

impl Look<'_> {
    fn wanted(&self, join: Join) -> WantedValue<'_> {
        // Who wants a value that is read from now on cannot use a load that began before.
        let join = if self.reading == Reading::New { Join::Never } else { join };
        let kept = self.reading == Reading::Kept && !self.keep.ttl.is_zero();
        WantedValue { store: &self.entry.store.id, name: self.name, detail: self.detail, kept, join }
    }

    /// What a load gave that began then.
    fn loaded(&self, value: Arc<SecretValue>, begun: Instant) -> Answer<Arc<SecretValue>> {
        let freshness = Freshness { age: begun.elapsed(), bound: self.keep.ttl, kept: false };
        Answer { value, freshness }
    }

    fn not_found(&self) -> BridgeError {
        BridgeError::NotFound { vault: self.entry.plan.name.clone(), key: self.key.to_owned() }
    }
}

/// What the cache holds, as an answer.
fn held(hit: Hit) -> Answer<Arc<SecretValue>> {
    Answer { value: hit.value, freshness: hit.freshness }
}

/// What a load came to; `None` if it was given up.
async fn ended(
    under_way: &mut watch::Receiver<Option<LoadResult>>,
    deadline: Instant,
) -> Result<Option<LoadResult>, BridgeError> {
    match timeout_at(deadline, under_way.wait_for(Option::is_some)).await {
        Ok(ended) => Ok(ended.ok().and_then(|result| result.clone())),
        Err(_) => Err(BridgeError::Deadline { outcome_unknown: false }),
    }
}
