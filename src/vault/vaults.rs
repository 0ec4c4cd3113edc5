//! The vaults of a bridge, and the verbs on them.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::act::Act;
use super::backend::{Backend, ServedBy};
use super::began::Began;
use super::entry::{Entry, Means};
use super::job::{Chore, Job};
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

/// What is to be done about a write in which a worker ended.
#[derive(Debug, PartialEq, Eq)]
enum AfterDeath {
    /// It is done.
    Done,
    /// It was not done, and nothing of it can still happen.
    Again,
    /// Nobody can tell what it came to.
    Unknown,
}

/// `is_done`: what a read tells, `None` where it could not be read. `may_repeat`: nothing that its worker had begun can
/// still happen, and it was not repeated yet.
fn after_death(is_done: Option<bool>, may_repeat: bool) -> AfterDeath {
    match is_done {
        Some(true) => AfterDeath::Done,
        Some(false) if may_repeat => AfterDeath::Again,
        Some(false) | None => AfterDeath::Unknown,
    }
}

/// Who makes the calls of a verb. What goes before and after them is the same for all.
pub trait Performs: Send {
    /// The last moment at which nothing is asked of the vault. An error says nothing about the vault.
    fn begin(&self, verb: &Verb) -> Result<(), BridgeError>;

    /// Does a verb that was let in.
    fn perform(
        &mut self,
        entry: &Arc<Entry>,
        verb: Verb,
        deadline: Instant,
    ) -> impl Future<Output = Result<Outcome, BridgeError>> + Send;
}

/// For callers without a worker.
struct ByThePool<'a>(&'a Vaults);

impl Performs for ByThePool<'_> {
    fn begin(&self, _verb: &Verb) -> Result<(), BridgeError> {
        Ok(())
    }

    async fn perform(
        &mut self,
        entry: &Arc<Entry>,
        verb: Verb,
        deadline: Instant,
    ) -> Result<Outcome, BridgeError> {
        self.0.perform_admitted(entry, verb, deadline).await
    }
}

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

    /// Does a verb, by `deadline`. A read whose worker ended is tried once more; so is a write that had not begun. Of a
    /// write that had begun, a read tells whether it was done. One that was not is done once more, if nothing that its
    /// worker had begun can still happen.
    pub async fn perform(
        &self,
        entry: &Arc<Entry>,
        verb: Verb,
        deadline: Instant,
    ) -> Result<Outcome, BridgeError> {
        self.perform_by(entry, verb, deadline, &mut ByThePool(self)).await
    }

    /// As [`Vaults::perform`], by whoever has a worker.
    pub async fn perform_by(
        &self,
        entry: &Arc<Entry>,
        verb: Verb,
        deadline: Instant,
        by: &mut impl Performs,
    ) -> Result<Outcome, BridgeError> {
        rules::check(entry, &verb)?;
        let call = entry.admit(verb.action())?;
        by.begin(&verb)?;
        call.ended(by.perform(entry, verb, deadline).await)
    }

    /// Does what a backend has to do for itself, by `deadline`. If it had not begun when its worker ended, it is tried
    /// once more.
    pub async fn do_chore(
        &self,
        entry: &Arc<Entry>,
        chore: Arc<dyn Chore>,
        deadline: Instant,
    ) -> Result<(), BridgeError> {
        rules::admits(entry, true)?;
        let job = Job::Chore(chore);
        let call = entry.admit(job.action())?;
        let mut outcome = self.in_worker(entry, &job, deadline).await;
        if let Err(BridgeError::Worker { outcome_unknown: false, .. }) = outcome {
            outcome = self.in_worker(entry, &job, deadline).await;
        }
        call.ended(outcome).map(drop)
    }

    /// Does a verb that was let in, in this process or through the queue.
    pub async fn perform_admitted(
        &self,
        entry: &Arc<Entry>,
        verb: Verb,
        deadline: Instant,
    ) -> Result<Outcome, BridgeError> {
        if let ServedBy::ThisProcess(here) = entry.backend.served_by() {
            return here.perform(entry, verb, &self.changes).await;
        }
        let job = Job::Verb(verb.clone());
        match self.in_worker(entry, &job, deadline).await {
            Err(BridgeError::Worker { outcome_unknown: false, .. }) => {
                self.in_worker(entry, &job, deadline).await
            }
            Err(error @ BridgeError::Worker { .. }) => self.after_death(entry, &verb, deadline, error).await,
            outcome => outcome,
        }
    }

    /// After a worker has ended inside a write.
    async fn after_death(
        &self,
        entry: &Arc<Entry>,
        verb: &Verb,
        deadline: Instant,
        mut error: BridgeError,
    ) -> Result<Outcome, BridgeError> {
        // What the broken worker left is put right before this is read.
        for may_repeat in [entry.backend.ends_with_its_worker(), false] {
            match after_death(self.shows(entry, verb, deadline).await, may_repeat) {
                AfterDeath::Done => {
                    let (vault, key) = (&entry.plan.name, verb.key());
                    tracing::info!(vault, key, "a worker ended inside a write, which a read finds done");
                    return Ok(Outcome::Done);
                }
                AfterDeath::Unknown => break,
                AfterDeath::Again => match self.in_worker(entry, &Job::Verb(verb.clone()), deadline).await {
                    Err(again @ BridgeError::Worker { outcome_unknown: true, .. }) => error = again,
                    outcome => return outcome,
                },
            }
        }
        Err(error)
    }

    /// Whether a read finds what a write was to leave; nothing where it cannot be read in time.
    async fn shows(&self, entry: &Arc<Entry>, verb: &Verb, deadline: Instant) -> Option<bool> {
        let get = Job::Verb(Verb::Get { key: verb.key()?.to_owned(), detail: false });
        let now = match self.in_worker(entry, &get, deadline).await {
            Ok(Outcome::Value(now)) => Some(now.value),
            Err(BridgeError::NotFound { .. }) => None,
            _ => return None,
        };
        verb.is_done_by(now.as_ref())
    }

    /// The limits of requests.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Takes over from the vaults of another bridge of this process, which has ended. Its writes since this one started
    /// are no other program's, and what it could not put right is left to this one.
    pub fn take_over(&self, old: &Vaults) {
        let theirs = old.stores();
        for backend in self.stores() {
            let same = theirs.iter().find(|old| old.store().id == backend.store().id);
            backend.take_over(same.map(|old| &**old));
        }
    }

    /// A verb for a caller that holds a worker, and the verb's lane.
    pub fn act(&self, entry: &Arc<Entry>, verb: Verb, deadline: Instant, began: Began) -> Act {
        self.act_of(entry, Job::Verb(verb), deadline, began)
    }

    fn act_of(&self, entry: &Arc<Entry>, job: Job, deadline: Instant, began: Began) -> Act {
        let (grace, changes) = (self.limits.write_grace, self.changes.clone());
        Act { entry: entry.clone(), job, deadline, grace, began, changes }
    }

    async fn in_worker(
        &self,
        entry: &Arc<Entry>,
        job: &Job,
        deadline: Instant,
    ) -> Result<Outcome, BridgeError> {
        let pool = self.workers()?;
        let crew = lane::crew(entry);
        if let Crew::Own(store) = &crew {
            pool.add_own_worker(store.clone());
        }
        let (reply, answer) = oneshot::channel();
        let began = Began::default();
        let act = self.act_of(entry, job.clone(), deadline, began.clone());
        let task = VaultTask { act, crew: crew.clone(), fresh_worker: false, reply };
        pool.submit(Box::new(task), crew, lane::of(&entry.store, job.writes()))
            .map_err(BridgeError::not_queued)?;
        let answered = timeout_at(deadline, answer).await;
        if let Ok(Ok(outcome)) = answered {
            return outcome;
        }
        let outcome_unknown = began.give_up();
        if let (true, Some(key)) = (outcome_unknown, job.key()) {
            self.changes.wrote(&entry.store.id, key);
        }
        Err(match answered {
            // The task was dropped: its worker ended with it, or the pool stopped.
            Ok(_) => BridgeError::Worker { reason: "the task was dropped".into(), outcome_unknown },
            Err(_) => BridgeError::Deadline { outcome_unknown },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Cache;
    use crate::plan::{CacheLimits, Extension};
    use crate::protocol::Fault;
    use crate::vault::condition::VaultState;

    /// What a double was asked, and what it says.
    #[derive(Default)]
    struct Asked {
        not_begun: bool,
        performed: u32,
    }

    impl Performs for Asked {
        fn begin(&self, _verb: &Verb) -> Result<(), BridgeError> {
            if self.not_begun { Err(BridgeError::Deadline { outcome_unknown: false }) } else { Ok(()) }
        }

        async fn perform(
            &mut self,
            _entry: &Arc<Entry>,
            verb: Verb,
            _deadline: Instant,
        ) -> Result<Outcome, BridgeError> {
            self.performed += 1;
            let fault = Box::new(Fault { id: "Broken".into(), ..Fault::default() });
            match verb {
                Verb::List => Err(BridgeError::Vault { vault: "v".into(), fault, outcome_unknown: false }),
                _ => Ok(Outcome::Done),
            }
        }
    }

    #[tokio::test]
    async fn whoever_has_the_worker_the_rules_go_before_a_verb_and_what_it_came_to_is_noted() {
        let vaults = Vaults::new(
            Arc::new(VaultTable::new(&[])),
            None,
            Limits::default(),
            Changes::to(Arc::new(Cache::new(CacheLimits::default()))),
        );
        let plan = Vault { read_only: true, ..Vault::new("v", Extension::new("v", "My.Vault")) };
        let entry = vaults.add(plan, Means::default()).unwrap();
        let mut by = Asked::default();
        let perform = async |verb: Verb, by: &mut Asked| {
            vaults.perform_by(&entry, verb, Instant::now(), by).await.map(drop)
        };
        let remove = Verb::Remove { key: "k".into() };
        assert!(matches!(perform(remove, &mut by).await, Err(BridgeError::ReadOnly { .. })));
        assert_eq!((by.performed, entry.condition.state()), (0, VaultState::Unknown));
        by.not_begun = true;
        perform(Verb::Probe, &mut by).await.unwrap_err();
        assert_eq!((by.performed, entry.condition.state()), (0, VaultState::Unknown), "it says nothing");
        by.not_begun = false;
        perform(Verb::List, &mut by).await.unwrap_err();
        assert_eq!((by.performed, entry.condition.state()), (1, VaultState::Failing));
        let throttled = Fault { status: Some(429), retry_after: Some(60), ..Fault::default() };
        entry.condition.heed(&throttled, Instant::now());
        assert!(matches!(perform(Verb::Unlock, &mut by).await, Err(BridgeError::Throttled { .. })));
        assert_eq!(by.performed, 1);
    }

    #[test]
    fn a_write_in_which_a_worker_ended_is_repeated_only_where_it_was_surely_not_done() {
        for (is_done, expected) in [
            (Some(true), [AfterDeath::Done, AfterDeath::Done]),
            (Some(false), [AfterDeath::Again, AfterDeath::Unknown]),
            (None, [AfterDeath::Unknown, AfterDeath::Unknown]),
        ] {
            assert_eq!(
                [true, false].map(|may_repeat| after_death(is_done, may_repeat)),
                expected,
                "{is_done:?}"
            );
        }
    }
}
