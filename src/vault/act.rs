//! A verb being done in a worker that a task of the pool holds, or a script.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::began::Began;
use super::change::{Change, Present};
use super::entry::Entry;
use super::job::{Chore, ChoreStep, Job};
use super::restore::{Ending, Restore};
use super::set_up::ready;
use super::turn::{Trouble, Turn, is_not_found};
use super::verb::{Outcome, Verb};
use crate::cache::Changes;
use crate::error::BridgeError;
use crate::mount::merge;
use crate::pool::{Task, TaskPermit};
use crate::protocol::{GetReply, Metadata};
use crate::secret::{SecretValue, Text};
use crate::worker::Worker;

/// One job on one vault. Whoever runs it holds the store's lane.
pub struct Act {
    pub(super) entry: Arc<Entry>,
    pub(super) job: Job,
    pub(super) deadline: Instant,
    /// Extra time for a write that has begun.
    pub(super) grace: Duration,
    /// Set when the write begins.
    pub(super) began: Began,
    /// Told of the key, whatever a write came to.
    pub(super) changes: Changes,
}

/// What an act came to, and what it may have destroyed.
pub struct Done {
    /// The outcome.
    pub outcome: Result<Outcome, Trouble>,
    /// What a write that has begun changes.
    change: Option<Change>,
}

/// A write that is about to begin.
struct PlannedWrite<'a> {
    key: &'a str,
    before: Present,
    step: WriteStep<'a>,
    change: Change,
}

/// What is called to write.
enum WriteStep<'a> {
    /// This value, and with it this metadata, or what is there.
    Set(Arc<SecretValue>, Option<&'a Metadata>),
    /// This metadata, and the value as it is.
    SetInfo(SecretValue, &'a Metadata),
    Remove,
}

impl Done {
    /// No write has begun.
    fn without_change(outcome: Result<Outcome, Trouble>) -> Done {
        Done { outcome, change: None }
    }
}

impl Act {
    /// Does it. The worker may be broken after.
    pub async fn run(&self, worker: &mut Worker) -> Done {
        let done = match self.prepare(worker).await {
            Ok(()) => self.perform(worker).await,
            Err(trouble) => Done::without_change(Err(trouble)),
        };
        if let Err(Trouble::Fault(fault) | Trouble::Unknown(fault)) = &done.outcome {
            self.entry.condition.heed(fault, Instant::now());
        }
        done
    }

    async fn prepare(&self, worker: &mut Worker) -> Result<(), Trouble> {
        // Since the task was let in, the vault may have asked its callers to wait.
        if let Some(retry_after) = self.entry.condition.left_alone(Instant::now()) {
            return Err(Trouble::Throttled { retry_after });
        }
        Ok(ready(worker, &self.entry, self.deadline).await?)
    }

    /// The recovery task to park with the lane, after this worker broke inside a write.
    fn rest(&self, worker: &Worker, done: &Done) -> Option<Box<dyn Task>> {
        if worker.broken().is_none() || done.outcome.is_ok() {
            return None;
        }
        let change = done.change.clone().filter(Change::may_be_half_done)?;
        if !self.entry.backend.overwrites_in_steps() {
            return None;
        }
        let key = self.job.key()?.to_owned();
        let (entry, changes) = (self.entry.clone(), self.changes.clone());
        Some(Box::new(Restore { entry, key, change, changes, tries: 0 }))
    }

    /// Notes a write that was done and tells of the key that may have changed: the outcome in the caller's terms, and
    /// what is still to be done before others may use the lane.
    pub fn settle(
        &self,
        worker: &Worker,
        done: Done,
        permit: Option<TaskPermit>,
    ) -> (Result<Outcome, BridgeError>, Ending) {
        let rest = self.rest(worker, &done);
        let wrote = self.began.is_writing();
        let outcome = self.note(done);
        (outcome, Ending { entry: self.entry.clone(), permit, rest, wrote })
    }

    fn note(&self, done: Done) -> Result<Outcome, BridgeError> {
        let key = self.job.key();
        if let (true, Some(key)) = (self.job.writes(), key) {
            let began = done.change.is_some();
            let after = done.change.and_then(|change| change.after);
            match (&self.job, &done.outcome) {
                (Job::Verb(verb), Ok(_)) => self.entry.backend.done(&self.entry, verb, after),
                (Job::Chore(chore), Ok(_)) => chore.done(&self.entry),
                // Possibly removed as asked; do not report it vanished.
                (Job::Verb(Verb::Remove { .. }), Err(Trouble::Broken(_))) if began => {
                    self.entry.backend.may_be_removed(key);
                }
                _ => {}
            }
            self.changes.wrote(&self.entry.store.id, key);
        }
        if self.job.writes() && Instant::now() > self.deadline {
            tracing::warn!(vault = %self.entry.plan.name, ok = done.outcome.is_ok(), "a write ended after its deadline");
        }
        let writing = self.began.is_writing();
        done.outcome.map_err(|trouble| trouble.into_error(&self.entry, key, writing))
    }

    async fn perform(&self, worker: &mut Worker) -> Done {
        let mut turn = Turn { worker, vault: &self.entry, until: self.deadline, grace: self.grace };
        let verb = match &self.job {
            Job::Chore(chore) => return self.chore(&mut turn, &**chore).await,
            Job::Verb(verb) => verb,
        };
        let outcome = match verb {
            Verb::Set { .. } | Verb::SetInfo { .. } | Verb::Remove { .. } => {
                return self.write(&mut turn, verb).await;
            }
            Verb::Get { key, detail } => self.get(&mut turn, key, *detail).await.map(Outcome::Value),
            Verb::List => self.list(&mut turn).await,
            Verb::Probe => self.probe(&mut turn).await,
            Verb::Unlock => self.unlock(&mut turn, self.entry.password()).await,
            Verb::UnlockWith { password } => {
                // The lock-out was for an earlier password.
                self.entry.store.forget_lockout();
                self.unlock(&mut turn, Some(password.clone())).await
            }
        };
        Done::without_change(outcome)
    }

    async fn unlock(&self, turn: &mut Turn<'_>, password: Option<Text>) -> Result<Outcome, Trouble> {
        self.entry.calls()?.unlock(turn, password).await.map(|_| Outcome::Done)
    }

    async fn list(&self, turn: &mut Turn<'_>) -> Result<Outcome, Trouble> {
        self.entry.calls()?.list(turn).await.map(Outcome::List)
    }

    async fn probe(&self, turn: &mut Turn<'_>) -> Result<Outcome, Trouble> {
        self.entry.calls()?.probe(turn).await.map(|()| Outcome::Done)
    }

    async fn chore(&self, turn: &mut Turn<'_>, chore: &dyn Chore) -> Done {
        let key = chore.key();
        match chore.step(turn).await {
            Err(trouble) => Done::without_change(Err(trouble)),
            Ok(None) => Done::without_change(Ok(Outcome::Done)),
            Ok(Some(ChoreStep::Recover(change))) => {
                Done::without_change(self.recover(turn, key, &change).await)
            }
            Ok(Some(ChoreStep::Write { before, value, metadata })) => {
                let change = Change::new(&before, Some((value.clone(), metadata.clone())));
                let step = WriteStep::Set(value, metadata.as_ref());
                self.carry_out(turn, PlannedWrite { key, before, step, change }).await
            }
        }
    }

    async fn recover(&self, turn: &mut Turn<'_>, key: &str, change: &Change) -> Result<Outcome, Trouble> {
        self.begin()?;
        self.recovered(turn, key, change).await.map(|_| Outcome::Done)
    }

    async fn recovered(&self, turn: &mut Turn<'_>, key: &str, change: &Change) -> Result<bool, Trouble> {
        self.entry.calls()?.recover(turn, key, change).await
    }

    async fn get(&self, turn: &mut Turn<'_>, key: &str, detail: bool) -> Result<GetReply, Trouble> {
        let got = self.entry.calls()?.get(turn, key, detail).await;
        let now = match &got {
            Ok(reply) => Some(&reply.value),
            Err(Trouble::Fault(fault)) if is_not_found(fault) => None,
            Err(_) => return got,
        };
        // It is not there, or not whole, because we could not put it right yet.
        if self.entry.backend.owes(key).is_some_and(|change| !change.is_whole(now)) {
            return Err(Trouble::Owed);
        }
        got
    }

    async fn write(&self, turn: &mut Turn<'_>, verb: &Verb) -> Done {
        match self.plan_write(turn, verb).await {
            Ok(Some(write)) => self.carry_out(turn, write).await,
            Ok(None) => Done::without_change(Ok(Outcome::Done)),
            Err(trouble) => Done::without_change(Err(trouble)),
        }
    }

    async fn carry_out(&self, turn: &mut Turn<'_>, write: PlannedWrite<'_>) -> Done {
        let PlannedWrite { key, before, step, change } = write;
        let outcome = match self.begin() {
            Err(trouble) => Err(trouble),
            Ok(()) => {
                let written = self.take(turn, key, &step, &before).await;
                self.mend(turn, key, &change, &written).await;
                written
            }
        };
        Done { outcome: outcome.map(|()| Outcome::Done), change: Some(change) }
    }

    async fn take(
        &self,
        turn: &mut Turn<'_>,
        key: &str,
        step: &WriteStep<'_>,
        before: &Present,
    ) -> Result<(), Trouble> {
        let calls = self.entry.calls()?;
        match step {
            WriteStep::Set(value, metadata) => calls.set(turn, key, value, *metadata, before).await,
            WriteStep::SetInfo(value, metadata) => calls.set_info(turn, key, value, metadata, before).await,
            WriteStep::Remove => calls.remove(turn, key, before).await,
        }
    }

    /// What is to be written, by what is there now; nothing where it is so already.
    async fn plan_write<'v>(
        &self,
        turn: &mut Turn<'_>,
        verb: &'v Verb,
    ) -> Result<Option<PlannedWrite<'v>>, Trouble> {
        let Some(key) = verb.key() else { return Ok(None) };
        let before = self.entry.calls()?.before_write(turn, key).await?;
        let is_owed = self.entry.backend.owes(key).is_some();
        let (step, after) = match verb {
            // The other members are still to be put back, so they cannot be merged.
            Verb::Set { member: Some(_), .. } if is_owed => return Err(Trouble::Owed),
            Verb::Set { value, metadata, member, .. } => {
                let value = match member {
                    Some(member) => Arc::new(self.merged(turn, key, member, value, &before).await?),
                    None => value.clone(),
                };
                let known = metadata.clone().or(before.metadata().cloned());
                (WriteStep::Set(value.clone(), metadata.as_ref()), Some((value, known)))
            }
            Verb::SetInfo { metadata, .. } => {
                // The value is written again as it is.
                let value = match before.reply() {
                    Some(now) => now.value.clone(),
                    None => self.entry.calls()?.get(turn, key, true).await?.value,
                };
                let after = (Arc::new(value.clone()), Some(metadata.clone()));
                (WriteStep::SetInfo(value, metadata), Some(after))
            }
            // The key was still to be put back. Removing it means that it no longer is.
            Verb::Remove { .. } if is_owed && matches!(before, Present::Missing) => return Ok(None),
            Verb::Remove { .. } => (WriteStep::Remove, None),
            _ => return Ok(None),
        };
        let change = Change::new(&before, after);
        Ok(Some(PlannedWrite { key, before, step, change }))
    }

    /// The whole value that an update of one member makes, from the value now.
    async fn merged(
        &self,
        turn: &mut Turn<'_>,
        key: &str,
        member: &str,
        value: &SecretValue,
        before: &Present,
    ) -> Result<SecretValue, Trouble> {
        let made = |now: Option<&SecretValue>| merge(now, member, value.clone());
        match before {
            Present::There(before) => return Ok(made(Some(&before.value))),
            Present::Missing => return Ok(made(None)),
            Present::Unknown | Present::Unread(_) => {}
        }
        match self.entry.calls()?.get(turn, key, false).await {
            Ok(now) => Ok(made(Some(&now.value))),
            Err(Trouble::Fault(fault)) if is_not_found(&fault) => Ok(made(None)),
            Err(trouble) => Err(trouble),
        }
    }

    /// The last moment at which nothing is written yet.
    fn begin(&self) -> Result<(), Trouble> {
        if self.began.note() { Ok(()) } else { Err(Trouble::GivenUp) }
    }

    /// An error of a write may have come between its steps: the old value is put back.
    async fn mend(&self, turn: &mut Turn<'_>, key: &str, change: &Change, written: &Result<(), Trouble>) {
        let backend = &self.entry.backend;
        let may_be_half_done = backend.overwrites_in_steps() && change.may_be_half_done();
        if !may_be_half_done || !matches!(written, Err(Trouble::Fault(_))) {
            return;
        }
        let vault = self.entry.plan.name.as_str();
        match self.recovered(turn, key, change).await {
            Ok(true) => tracing::warn!(vault, key, "a write failed half-way; the old value is back"),
            // Where the worker broke, the next worker looks at what is left.
            Ok(false) | Err(Trouble::Broken(_)) => {}
            Err(trouble) => {
                let error = trouble.into_error(&self.entry, Some(key), false);
                tracing::error!(
                    vault,
                    key,
                    "a write failed half-way and the old value could not be put back yet: {error}"
                );
                backend.owe(&self.entry, key, change);
            }
        }
    }
}

#[cfg(test)]
impl Act {
    /// A verb on a vault without a pool.
    pub(super) fn bare(entry: Entry, verb: Verb, deadline: Instant) -> Act {
        let changes = Changes::to(Arc::new(crate::cache::Cache::new(crate::plan::CacheLimits::default())));
        let (entry, job) = (Arc::new(entry), Job::Verb(verb));
        Act { entry, job, deadline, grace: Duration::ZERO, began: Began::default(), changes }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::change::Before;
    use super::*;
    use crate::store::Discipline;
    use crate::vault::backend::{Backend, ServedBy};
    use crate::vault::store::Store;
    use crate::worker::Broken;

    /// Notes the keys that may be removed.
    struct Removals {
        store: Arc<Store>,
        keys: Mutex<Vec<String>>,
    }

    impl Backend for Removals {
        fn store(&self) -> &Arc<Store> {
            &self.store
        }

        fn served_by(&self) -> ServedBy<'_> {
            ServedBy::Script
        }

        fn may_be_removed(&self, key: &str) {
            self.keys.lock().unwrap().push(key.to_owned());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_may_be_removed_only_if_the_removal_had_begun_when_the_worker_ended() {
        let begun = Change { before: Before::Nothing, after: None };
        for (change, keys) in [(None, Vec::new()), (Some(begun), vec!["k".to_owned()])] {
            let store = Arc::new(Store::new("s", Discipline::Serial));
            let backend = Arc::new(Removals { store, keys: Mutex::default() });
            let verb = Verb::Remove { key: "k".into() };
            let act = Act::bare(Entry::over(backend.clone(), "p"), verb, Instant::now());
            act.note(Done { outcome: Err(Trouble::Broken(Broken::Closed)), change }).unwrap_err();
            assert_eq!(*backend.keys.lock().unwrap(), keys);
        }
    }

    #[test]
    fn debug_of_a_verb_its_outcome_and_its_change_shows_no_value() {
        let canary = "canary-5f2d";
        let (key, value) = ("k".to_owned(), Arc::new(SecretValue::SecureString(canary.into())));
        let reply = GetReply { value: (*value).clone(), metadata: Metadata::new() };
        let change = Change { before: Before::Value(reply.clone()), after: Some((value.clone(), None)) };
        let verbs = [
            Verb::Set { key, value, metadata: None, member: None },
            Verb::UnlockWith { password: canary.into() },
        ];
        let store = Store::in_files("s", Discipline::Readers, vec!["/nowhere".into()]);
        store.learn(&canary.into());
        let shown = format!("{verbs:?} {change:?} {:?} {store:?}", Outcome::Value(reply));
        assert!(!shown.contains(canary) && shown.contains("password: Mutex { data: Some("), "{shown}");
    }
}
