//! The vaults of a bridge, and the verbs on them.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::act::Act;
use super::backend::{self, Backend};
use super::began::Began;
use super::entry::{Entry, Means};
use super::lane;
use super::rules;
use super::table::VaultTable;
use super::task::VaultTask;
use super::verb::{Outcome, Verb};
use crate::cache::Changes;
use crate::error::BridgeError;
use crate::plan::{Limits, PlanError, Vault};
use crate::pool::Pool;
use crate::pool::lanes::Crew;

/// The vaults of a bridge, with what serves them.
pub struct Vaults {
    table: Arc<VaultTable>,
    /// None where no vault of the plan needs a worker.
    pool: Option<Pool>,
    limits: Limits,
    changes: Changes,
}

impl Vaults {
    /// The vaults of the table. `changes` hears of each key that a write changed or may have changed, before the
    /// write is acknowledged.
    pub fn new(table: Arc<VaultTable>, pool: Option<Pool>, limits: Limits, changes: Changes) -> Vaults {
        Vaults { table, pool, limits, changes }
    }

    /// The pool, where there is one.
    pub fn pool(&self) -> Option<&Pool> {
        self.pool.as_ref()
    }

    /// The pool, for what cannot do without.
    pub fn workers(&self) -> Result<&Pool, BridgeError> {
        self.pool().ok_or(BridgeError::NotReady { reason: "no worker pool runs".into() })
    }

    /// Where changes of secrets are told that no verb has made.
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// Adds a vault, unless its name is taken.
    pub fn add(&self, plan: Vault, means: Means) -> Result<Arc<Entry>, PlanError> {
        self.table.add(plan, means)
    }

    /// Takes a vault out.
    pub fn forget(&self, name: &str) -> Option<Arc<Entry>> {
        self.table.forget(name)
    }

    /// The vault of that friendly name.
    pub fn get(&self, name: &str) -> Result<Arc<Entry>, BridgeError> {
        self.table.get(name)
    }

    /// All of them, by name.
    pub fn all(&self) -> Vec<Arc<Entry>> {
        self.table.all()
    }

    /// What serves the stores behind them.
    pub fn stores(&self) -> Vec<Arc<dyn Backend>> {
        self.table.stores()
    }

    /// Does a verb, by `deadline`. A read whose worker died is tried once more; so is a write that had not
    /// begun. What became of one that had is read, and in a SecretStore, where nothing of a dead worker can
    /// still come to pass, one that was not done is done once more.
    pub async fn perform(
        &self,
        entry: &Arc<Entry>,
        verb: Verb,
        deadline: Instant,
    ) -> Result<Outcome, BridgeError> {
        rules::check(entry, &verb)?;
        entry.condition.admit(&entry.plan.name, Instant::now())?;
        let (action, begun) = (verb.action(), Instant::now());
        let outcome = self.perform_unnoted(entry, verb, deadline).await;
        entry.noted(action, outcome, begun)
    }

    async fn perform_unnoted(
        &self,
        entry: &Arc<Entry>,
        verb: Verb,
        deadline: Instant,
    ) -> Result<Outcome, BridgeError> {
        if let Some(local) = &entry.local {
            return backend::local::perform(entry, local.clone(), verb, self.changes.clone()).await;
        }
        match self.in_worker(entry, &verb, deadline).await {
            Err(BridgeError::Worker { outcome_unknown: false, .. }) => {
                self.in_worker(entry, &verb, deadline).await
            }
            Err(error @ BridgeError::Worker { .. }) => self.after_death(entry, &verb, deadline, error).await,
            outcome => outcome,
        }
    }

    /// After the death of a worker inside a write.
    async fn after_death(
        &self,
        entry: &Arc<Entry>,
        verb: &Verb,
        deadline: Instant,
        mut error: BridgeError,
    ) -> Result<Outcome, BridgeError> {
        // What the broken worker left is put right before this is read.
        let mut done = self.shows(entry, verb, deadline).await;
        if done == Some(false) && entry.backend.ends_with_its_worker() {
            match self.in_worker(entry, verb, deadline).await {
                Err(again @ BridgeError::Worker { outcome_unknown: true, .. }) => error = again,
                outcome => return outcome,
            }
            done = self.shows(entry, verb, deadline).await;
        }
        if done != Some(true) {
            return Err(error);
        }
        let key = verb.key();
        tracing::info!(
            vault = entry.plan.name,
            key,
            "a worker ended inside a write, which a read finds done"
        );
        Ok(Outcome::Done)
    }

    /// Whether a read finds what a write was to leave; nothing where it cannot be read in time.
    async fn shows(&self, entry: &Arc<Entry>, verb: &Verb, deadline: Instant) -> Option<bool> {
        let get = Verb::Get { key: verb.key()?.to_owned(), detail: false };
        let now = match self.in_worker(entry, &get, deadline).await {
            Ok(Outcome::Value(now)) => Some(now.value),
            Err(BridgeError::NotFound { .. }) => None,
            _ => return None,
        };
        match verb {
            // It is not read back whether metadata was written too.
            Verb::Set { metadata: Some(_), .. } => Some(false),
            Verb::Set { value, member: None, .. } => Some(now.is_some_and(|now| now.looks_like(value))),
            Verb::Set { value, member: Some(member), .. } => {
                let there = now.as_ref().and_then(|now| now.member(member));
                Some(there.is_some_and(|now| now.looks_like(value)))
            }
            Verb::Remove { .. } => Some(now.is_none()),
            _ => None,
        }
    }

    /// The limits of requests.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Takes over from the vaults of another bridge of this process, which has ended: what it wrote since this one
    /// started is nobody else's, and what it could not put right is this one's to put right.
    pub fn take_over(&self, old: &Vaults) {
        let theirs = old.stores();
        for backend in self.stores() {
            let same = theirs.iter().find(|old| old.store().id == backend.store().id);
            backend.take_over(same.map(|old| &**old));
        }
    }

    /// A verb for a caller that holds a worker, and the verb's lane.
    pub fn act(&self, entry: &Arc<Entry>, verb: Verb, deadline: Instant, began: Began) -> Act {
        let (grace, changes) = (self.limits.write_grace, self.changes.clone());
        Act { entry: entry.clone(), verb, deadline, grace, began, changes }
    }

    async fn in_worker(
        &self,
        entry: &Arc<Entry>,
        verb: &Verb,
        deadline: Instant,
    ) -> Result<Outcome, BridgeError> {
        let pool = self.workers()?;
        let crew = lane::crew(entry);
        if let Crew::Own(store) = &crew {
            pool.add_own_worker(store.clone());
        }
        let (reply, answer) = oneshot::channel();
        let began = Began::default();
        let act = self.act(entry, verb.clone(), deadline, began.clone());
        let task = VaultTask { act, crew: crew.clone(), fresh_worker: false, reply };
        pool.submit(Box::new(task), crew, lane::of(&entry.store, verb))?;
        let answered = timeout_at(deadline, answer).await;
        if let Ok(Ok(outcome)) = answered {
            return outcome;
        }
        let outcome_unknown = began.give_up();
        if let (true, Some(key)) = (outcome_unknown, verb.key()) {
            self.changes.wrote(&entry.store.id, key);
        }
        Err(match answered {
            // The task was dropped: its worker died with it, or the pool stopped.
            Ok(_) => BridgeError::Worker { reason: "the task was dropped".into(), outcome_unknown },
            Err(_) => BridgeError::Deadline { outcome_unknown },
        })
    }
}
