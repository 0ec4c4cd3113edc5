//! A verb being done in a worker that a task of the pool holds, or a script.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::began::Began;
use super::change::{Change, Present};
use super::entry::Entry;
use super::ledger::Ledger;
use super::restore::{Ending, Restore};
use super::set_up::ready;
use super::turn::{Trouble, Turn, is_not_found};
use super::verb::{Outcome, Repair, Verb};
use crate::cache::Changes;
use crate::error::BridgeError;
use crate::pool::{Task, TaskPermit};
use crate::protocol::{GetReply, Metadata};
use crate::secret::SecretValue;
use crate::worker::Worker;

/// One verb on one vault. Whoever runs it holds the store's lane.
pub struct Act {
    /// The vault.
    pub entry: Arc<Entry>,
    /// What to do.
    pub verb: Verb,
    /// The deadline.
    pub deadline: Instant,
    /// Extra time for a write that has begun.
    pub grace: Duration,
    /// Set when the write begins.
    pub began: Began,
    /// Told of the key, whatever a write came to.
    pub changes: Changes,
    /// Where writes are noted that were done.
    pub ledger: Arc<Ledger>,
}

/// What an act came to, and what it may have destroyed.
pub struct Done {
    /// The outcome.
    pub outcome: Result<Outcome, Trouble>,
    /// What a write that has begun changes.
    change: Option<Change>,
}

/// What a set writes.
struct New<'a> {
    value: &'a Arc<SecretValue>,
    metadata: Option<&'a Metadata>,
    member: Option<&'a str>,
}

impl Act {
    /// Does it. The worker may be broken after.
    pub async fn run(&self, worker: &mut Worker) -> Done {
        let mut change = None;
        let outcome = self.prepared(worker, &mut change).await;
        if let Err(Trouble::Fault(fault) | Trouble::Unknown(fault)) = &outcome {
            self.entry.condition.heed(fault, Instant::now());
        }
        Done { outcome, change }
    }

    async fn prepared(&self, worker: &mut Worker, change: &mut Option<Change>) -> Result<Outcome, Trouble> {
        // Since the task was let in, the vault may have asked its callers to wait.
        if let Some(retry_after) = self.entry.condition.left_alone(Instant::now()) {
            return Err(Trouble::Throttled { retry_after });
        }
        ready(worker, &self.entry, self.deadline).await?;
        self.perform(worker, change).await
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
        let key = self.verb.key()?.to_owned();
        let (entry, changes, ledger) = (self.entry.clone(), self.changes.clone(), self.ledger.clone());
        Some(Box::new(Restore { entry, key, change, changes, ledger, tries: 0 }))
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
        (outcome, Ending { store: self.entry.store.clone(), permit, rest, wrote })
    }

    fn note(&self, done: Done) -> Result<Outcome, BridgeError> {
        let key = self.verb.key();
        if let (true, Some(key)) = (self.verb.writes(), key) {
            let began = done.change.is_some();
            let after = done.change.and_then(|change| change.after);
            if done.outcome.is_ok() {
                self.entry.store.note_repaired(key);
                self.ledger.note(&self.entry, &self.verb, after);
            } else if began
                && matches!((&self.verb, &done.outcome), (Verb::Remove { .. }, Err(Trouble::Broken(_))))
            {
                // Possibly removed as asked; do not report it vanished.
                self.ledger.forget(&self.entry, key);
            }
            self.changes.wrote(&self.entry.store.id, key);
        }
        if self.verb.writes() && Instant::now() > self.deadline {
            tracing::warn!(vault = %self.entry.plan.name, ok = done.outcome.is_ok(), "a write ended after its deadline");
        }
        let writing = self.began.is_writing();
        done.outcome.map_err(|trouble| trouble.into_error(&self.entry, key, writing))
    }

    async fn perform(&self, worker: &mut Worker, change: &mut Option<Change>) -> Result<Outcome, Trouble> {
        let mut turn = Turn { worker, entry: &self.entry, until: self.deadline, grace: self.grace };
        let done = |()| Outcome::Done;
        match &self.verb {
            Verb::Get { key, detail } => self.get(&mut turn, key, *detail).await.map(Outcome::Value),
            Verb::List => self.entry.backend.list(&mut turn).await.map(Outcome::List),
            Verb::Probe => turn.probe().await.map(done),
            Verb::Unlock => turn.unlock().await.map(|_| Outcome::Done),
            Verb::UnlockWith { password } => {
                // The lock-out was for an earlier password.
                self.entry.store.forget_lockout();
                turn.unlock_with(Some(password.clone())).await.map(|_| Outcome::Done)
            }
            Verb::Set { key, value, metadata, member } => {
                let new = New { value, metadata: metadata.as_ref(), member: member.as_deref() };
                self.set(&mut turn, key, new, change).await.map(done)
            }
            Verb::SetInfo { key, metadata } => {
                self.set_info(&mut turn, key, metadata, change).await.map(done)
            }
            Verb::Remove { key } => self.remove(&mut turn, key, change).await.map(done),
            Verb::Repair(repair) => self.repair(&mut turn, repair, change).await.map(done),
        }
    }

    async fn get(&self, turn: &mut Turn<'_>, key: &str, detail: bool) -> Result<GetReply, Trouble> {
        let got = turn.get(key, detail).await;
        let now = match &got {
            Ok(reply) => Some(&reply.value),
            Err(Trouble::Fault(fault)) if is_not_found(fault) => None,
            Err(_) => return got,
        };
        // It is not there, or not whole, because we could not put it right yet.
        if self.ledger.owes(&self.entry, key).is_some_and(|change| !change.is_whole(now)) {
            return Err(Trouble::Owed);
        }
        got
    }

    async fn set(
        &self,
        turn: &mut Turn<'_>,
        key: &str,
        new: New<'_>,
        change: &mut Option<Change>,
    ) -> Result<(), Trouble> {
        let before = turn.before_write(key).await?;
        if new.member.is_some() && self.ledger.owes(&self.entry, key).is_some() {
            // The other members are still to be put back, so they cannot be merged.
            return Err(Trouble::Owed);
        }
        let value = match new.member {
            Some(member) => Arc::new(turn.merged(key, member, new.value, &before).await?),
            None => new.value.clone(),
        };
        let known = new.metadata.cloned().or(before.metadata().cloned());
        let change = change.insert(Change::new(&before, Some((value.clone(), known))));
        self.begin()?;
        let set = turn.set(key, &value, new.metadata, &before).await;
        self.mend(turn, key, change, set).await
    }

    /// The value is written again as it is.
    async fn set_info(
        &self,
        turn: &mut Turn<'_>,
        key: &str,
        metadata: &Metadata,
        change: &mut Option<Change>,
    ) -> Result<(), Trouble> {
        let before = turn.before_write(key).await?;
        let value = match before.reply() {
            Some(now) => now.value.clone(),
            None => turn.get(key, true).await?.value,
        };
        let after = Some((Arc::new(value.clone()), Some(metadata.clone())));
        let change = change.insert(Change::new(&before, after));
        self.begin()?;
        let set = turn.set_info(key, &value, metadata, &before).await;
        self.mend(turn, key, change, set).await
    }

    async fn remove(
        &self,
        turn: &mut Turn<'_>,
        key: &str,
        change: &mut Option<Change>,
    ) -> Result<(), Trouble> {
        let before = turn.before_write(key).await?;
        if matches!(before, Present::Missing) && self.ledger.owes(&self.entry, key).is_some() {
            // The key was still to be put back. Removing it means that it no longer is.
            return Ok(());
        }
        let change = change.insert(Change::new(&before, None));
        self.begin()?;
        let removed = turn.remove(key, &before).await;
        self.mend(turn, key, change, removed).await
    }

    async fn repair(
        &self,
        turn: &mut Turn<'_>,
        repair: &Repair,
        change: &mut Option<Change>,
    ) -> Result<(), Trouble> {
        match repair {
            Repair::PutBack { key, value, metadata } => {
                let before = turn.before_write(key).await?;
                if before.is_there() {
                    return Ok(());
                }
                let change = change.insert(Change::new(&before, Some((value.clone(), metadata.clone()))));
                self.begin()?;
                let set = turn.set(key, value, metadata.as_ref(), &before).await;
                self.mend(turn, key, change, set).await
            }
            Repair::Settle { key } => {
                // A client may have written the key anew, or removed it.
                let Some(change) = self.ledger.owes(&self.entry, key) else { return Ok(()) };
                self.begin()?;
                self.entry.backend.recover(turn, key, &change).await.map(drop)
            }
        }
    }

    /// The last moment at which nothing is written yet.
    fn begin(&self) -> Result<(), Trouble> {
        if self.began.note() { Ok(()) } else { Err(Trouble::GivenUp) }
    }

    /// An error of a write may have come between its steps: the old value is put back.
    async fn mend(
        &self,
        turn: &mut Turn<'_>,
        key: &str,
        change: &Change,
        set: Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        let may_be_half_done = self.entry.backend.overwrites_in_steps() && change.may_be_half_done();
        if may_be_half_done && matches!(set, Err(Trouble::Fault(_))) {
            match self.entry.backend.recover(turn, key, change).await {
                Ok(true) => {
                    tracing::warn!(vault = %self.entry.plan.name, key, "a write failed half-way; the old value is back")
                }
                Ok(false) => {}
                // The next worker looks at what is left.
                Err(Trouble::Broken(_)) => {}
                Err(trouble) => {
                    let error = trouble.into_error(&self.entry, Some(key), false);
                    tracing::error!(vault = %self.entry.plan.name, key, "a write failed half-way and the old value could not be put back yet: {error}");
                    self.ledger.owe(&self.entry, key, change);
                }
            }
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::super::change::Before;
    use super::*;
    use crate::store::{Discipline, Store};

    #[test]
    fn debug_of_a_verb_its_outcome_and_its_change_shows_no_value() {
        let canary = "canary-5f2d";
        let (key, value) = ("k".to_owned(), Arc::new(SecretValue::SecureString(canary.into())));
        let reply = GetReply { value: (*value).clone(), metadata: Metadata::new() };
        let change = Change { before: Before::Value(reply.clone()), after: Some((value.clone(), None)) };
        let verbs = [
            Verb::Set { key: key.clone(), value: value.clone(), metadata: None, member: None },
            Verb::Repair(Repair::PutBack { key, value, metadata: None }),
            Verb::UnlockWith { password: canary.into() },
        ];
        let store = Store::with_files("s", Discipline::Readers, vec!["/nowhere".into()]);
        store.learn(&canary.into());
        let shown = format!("{verbs:?} {change:?} {:?} {store:?}", Outcome::Value(reply));
        assert!(!shown.contains(canary) && shown.contains("password: Some"), "{shown}");
    }
}
