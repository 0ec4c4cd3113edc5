//! Values: from the cache, or from the vault by one load for all who wait.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::Bridge;
use crate::cache::{Found, Freshness, Hit, Join, Loaded, Ticket, Wanted};
use crate::error::BridgeError;
use crate::plan::{Keep, Mount};
use crate::secret::{SecretValue, fold};
use crate::vault::{Entry, Outcome, Verb};

/// Which value a caller is content with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reading {
    /// One from the cache, within its time.
    #[default]
    Kept,
    /// One that the vault gives after the caller has asked. It renews the cache.
    New,
}

/// A value, and how old it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<V = SecretValue> {
    /// The value.
    pub value: V,
    /// Its age, where it comes from the cache; `None` where the vault was asked.
    pub freshness: Option<Freshness>,
}

/// One look for a value.
pub(super) struct Look<'a> {
    pub entry: &'a Arc<Entry>,
    pub key: &'a str,
    /// With the exact type.
    pub detail: bool,
    pub keep: Keep,
    pub reading: Reading,
    pub deadline: Instant,
}

impl Look<'_> {
    fn wanted(&self) -> Wanted<'_> {
        let kept = !self.keep.ttl.is_zero() && self.reading == Reading::Kept;
        let join = if self.reading == Reading::New { Join::Never } else { Join::Any };
        Wanted { store: &self.entry.store.id, name: self.key, detail: self.detail, kept, join }
    }
}

impl Bridge {
    /// A value. A caller whose load fails gets a stale one where the plan allows it.
    pub(super) async fn load(&self, look: &Look<'_>) -> Result<Answer<Arc<SecretValue>>, BridgeError> {
        match self.load_fresh(look).await {
            Err(error) if error.may_be_stale() && !look.keep.max_stale.is_zero() => {
                let kept = self.0.cache.stale(look.wanted(), Instant::now());
                kept.map(Answer::from).ok_or(error)
            }
            outcome => outcome,
        }
    }

    /// Begins to read the mounts that the plan wants in the cache before anybody asks. One that fails is named in the log.
    pub(super) fn prefetch(&self) {
        for mount in self.0.mounts.all().into_iter().filter(|mount| mount.prefetch) {
            let bridge = self.clone();
            tokio::spawn(async move {
                let deadline = Instant::now() + bridge.0.plan.limits.deadline;
                if let Err(error) = bridge.read(&mount.name, deadline).await {
                    tracing::warn!(secret = mount.name, "it could not be read ahead: {error}");
                }
            });
        }
    }

    /// A secret was changed elsewhere: what is kept of it is dropped, and read anew at once. Tells whether it was kept
    /// or is mounted; what is neither costs no call.
    pub fn renew(&self, vault: &str, key: &str) -> Result<bool, BridgeError> {
        let entry = self.0.vaults.get(vault)?;
        let folded = fold(key);
        let is_it = |name: &str| fold(name) == folded;
        let kept = self.0.cache.names(&entry.store.id).into_iter().find(|name| is_it(name));
        let ours = |mount: &Mount| fold(&mount.vault) == fold(&entry.plan.name) && is_it(&mount.key);
        let mount = self.0.mounts.all().into_iter().find(|mount| ours(mount));
        if kept.is_none() && mount.is_none() {
            return Ok(false);
        }
        self.0.cache.touched(&entry.store.id, key);
        let bridge = self.clone();
        tokio::spawn(async move {
            let deadline = Instant::now() + bridge.0.plan.limits.deadline;
            let name = kept.or_else(|| mount.as_ref().map(|mount| mount.key.clone())).unwrap_or_default();
            let outcome = match mount {
                Some(mount) => bridge.read(&mount.name, deadline).await,
                None => bridge.get(&entry.plan.name, &name, deadline).await,
            };
            if let Err(error) = outcome {
                tracing::warn!(
                    vault = entry.plan.name,
                    key = name,
                    "it changed and could not be read anew: {error}"
                );
            }
        });
        Ok(true)
    }

    /// The friendly names of the vaults over this vault of Azure.
    pub fn over_azure(&self, name: &str) -> Vec<String> {
        let is_it = |entry: &Arc<Entry>| {
            let extension = entry.plan.extension()?;
            let said =
                extension.parameters.0.iter().find(|(key, _)| key.eq_ignore_ascii_case("AZKVaultName"))?;
            Some(said.1.as_str()?.eq_ignore_ascii_case(name))
        };
        let all = self.0.vaults.all();
        all.iter().filter(|entry| is_it(entry) == Some(true)).map(|entry| entry.plan.name.clone()).collect()
    }

    async fn load_fresh(&self, look: &Look<'_>) -> Result<Answer<Arc<SecretValue>>, BridgeError> {
        loop {
            let mut outcome = match self.0.cache.find(look.wanted(), Instant::now()) {
                Found::Fresh(hit) => {
                    if hit.refresh
                        && let Some(ticket) = self.0.cache.ahead(look.wanted(), Instant::now())
                    {
                        self.take_off(look, ticket);
                    }
                    return Ok(hit.into());
                }
                Found::Absent => return Err(look.not_found()),
                Found::Loading(outcome) => outcome,
                Found::Miss(ticket) => {
                    let outcome = ticket.subscribe();
                    self.take_off(look, ticket);
                    outcome
                }
            };
            match loaded(&mut outcome, look.deadline).await? {
                // The load had an earlier deadline than this caller.
                Some(Err(BridgeError::Deadline { .. })) if Instant::now() < look.deadline => {}
                Some(loaded) => return loaded.map(|value| Answer { value, freshness: None }),
                // The load was given up.
                None => tokio::task::yield_now().await,
            }
        }
    }

    /// Begins a load in a task of its own, so that a caller who hangs up does not end it for the others.
    fn take_off(&self, look: &Look<'_>, ticket: Ticket) {
        let (bridge, entry, keep) = (self.clone(), look.entry.clone(), look.keep);
        let verb = Verb::Get { key: look.key.to_owned(), detail: look.detail };
        let deadline = look.deadline;
        tokio::spawn(async move {
            let outcome = bridge.0.vaults.perform(&entry, verb, deadline).await;
            let loaded = outcome.and_then(|outcome| match outcome {
                Outcome::Value(reply) => Ok(Arc::new(reply.value)),
                Outcome::List(_) | Outcome::Done => {
                    Err(BridgeError::Worker { reason: "no value came".into(), outcome_unknown: false })
                }
            });
            bridge.0.cache.finish(ticket, loaded, &keep, Instant::now());
        });
    }
}

impl Look<'_> {
    fn not_found(&self) -> BridgeError {
        BridgeError::NotFound { vault: self.entry.plan.name.clone(), key: self.key.to_owned() }
    }
}

impl From<Hit> for Answer<Arc<SecretValue>> {
    fn from(hit: Hit) -> Self {
        Answer { value: hit.value, freshness: Some(hit.freshness) }
    }
}

/// The outcome of a load; `None` if it was given up.
async fn loaded(
    outcome: &mut watch::Receiver<Option<Loaded>>,
    deadline: Instant,
) -> Result<Option<Loaded>, BridgeError> {
    match timeout_at(deadline, outcome.wait_for(Option::is_some)).await {
        Ok(loaded) => Ok(loaded.ok().and_then(|loaded| loaded.clone())),
        Err(_) => Err(BridgeError::Deadline { outcome_unknown: false }),
    }
}
