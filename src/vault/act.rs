//! A verb being done in a worker, whoever holds the worker: a task of the pool, or a script.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::ledger::Ledger;
use super::session::{Session, Trouble};
use super::set_up::ready;
use super::{Entry, Outcome, Touched, Verb};
use crate::error::BridgeError;
use crate::pool::{Permit, Rest, Task, Verdict};
use crate::protocol::GetReply;
use crate::worker::{BoxFuture, Worker};

/// How long a fresh worker may take to look whether a value must be restored, and to restore it.
const RESTORE_LIMIT: Duration = Duration::from_secs(20);

/// How often a restore is tried.
const RESTORE_TRIES: u32 = 5;

/// Whether a verb has begun to write. Shared with the caller, who may stop waiting.
#[derive(Clone, Default)]
pub struct Began(Arc<AtomicBool>);

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
    pub touched: Touched,
    /// Where writes are noted that were done.
    pub ledger: Arc<Ledger>,
}

/// What an act came to, and what it may have destroyed.
pub struct Done {
    /// The outcome.
    pub outcome: Result<Outcome, Trouble>,
    before: Option<GetReply>,
}

/// Looks whether a write that was cut off destroyed the old value, and restores it.
struct Restore {
    entry: Arc<Entry>,
    key: String,
    before: GetReply,
    touched: Touched,
    tries: u32,
}

impl Began {
    /// Whether the write has begun.
    pub fn is_writing(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Notes that it has.
    pub fn note(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Act {
    /// Does it. The worker may be broken after.
    pub async fn run(&self, worker: &mut Worker) -> Done {
        let mut before = None;
        let outcome = match ready(worker, &self.entry, self.deadline).await {
            Ok(()) => self.perform(worker, &mut before).await,
            Err(error) => Err(error.into()),
        };
        Done { outcome, before }
    }

    /// What a fresh worker has to do first, after this one broke. It needs the lane that this act held.
    pub fn rest(&self, worker: &Worker, done: &mut Done) -> Option<Box<dyn Task>> {
        if worker.broken().is_none() || done.outcome.is_ok() || !self.began.is_writing() {
            return None;
        }
        let (Verb::Set { key, .. }, Some(before)) = (&self.verb, done.before.take()) else { return None };
        let (entry, touched) = (self.entry.clone(), self.touched.clone());
        Some(Box::new(Restore { entry, key: key.clone(), before, touched, tries: 0 }))
    }

    /// Ends it, while the lane is still held: notes a write that was done, tells of the key that may have
    /// changed, and gives the outcome in the caller's terms.
    pub fn settle(&self, done: Done) -> Result<Outcome, BridgeError> {
        let key = self.verb.key();
        if let (true, Some(key)) = (self.verb.writes(), key) {
            if done.outcome.is_ok() {
                self.entry.store.note_repaired(key);
                self.ledger.note(&self.entry, &self.verb);
            }
            (self.touched)(&self.entry.store.id, key);
        }
        if self.verb.writes() && Instant::now() > self.deadline {
            tracing::warn!(vault = %self.entry.plan.name, ok = done.outcome.is_ok(), "a write ended after its deadline");
        }
        let writing = self.began.is_writing();
        done.outcome.map_err(|trouble| trouble.into_error(&self.entry, key, writing))
    }

    async fn perform(&self, worker: &mut Worker, before: &mut Option<GetReply>) -> Result<Outcome, Trouble> {
        let mut session = Session { worker, entry: &self.entry, until: self.deadline, grace: self.grace };
        match &self.verb {
            Verb::Get { key, detail } => session.get(key, *detail).await.map(Outcome::Value),
            Verb::List => session.list().await.map(Outcome::List),
            Verb::Unlock => session.unlock().await.map(|_| Outcome::Done),
            Verb::UnlockWith { password } => {
                // What an earlier password met says nothing of this one.
                self.entry.store.forget_lockout();
                session.unlock_with(Some(password.clone())).await.map(|_| Outcome::Done)
            }
            Verb::Set { key, value, metadata, member } => {
                *before = session.before_write(key).await?;
                let merged = match member {
                    Some(member) => Some(session.merged(key, member, value, before.as_ref()).await?),
                    None => None,
                };
                let value = merged.as_ref().unwrap_or(value);
                self.began.note();
                let set = session.set(key, value, metadata.as_ref(), before.as_ref()).await;
                self.mend(&mut session, key, before.as_ref(), set).await
            }
            Verb::PutBack { key, value, metadata } => {
                if session.before_write(key).await?.is_some() {
                    return Ok(Outcome::Done);
                }
                self.began.note();
                session.set(key, value, metadata.as_ref(), None).await.map(|()| Outcome::Done)
            }
            Verb::Remove { key } => {
                session.before_write(key).await?;
                self.began.note();
                session.remove(key).await.map(|()| Outcome::Done)
            }
        }
    }

    /// An error of a write may have come between its delete and its add: the old value is put back.
    async fn mend(
        &self,
        session: &mut Session<'_>,
        key: &str,
        before: Option<&GetReply>,
        set: Result<(), Trouble>,
    ) -> Result<Outcome, Trouble> {
        if let (Err(Trouble::Fault(_)), Some(before)) = (&set, before) {
            match session.restore(key, before).await {
                Ok(true) => {
                    tracing::warn!(vault = %self.entry.plan.name, key, "a write failed half-way; the old value is back")
                }
                Ok(false) => {}
                Err(trouble) => {
                    let error = trouble.into_error(&self.entry, Some(key), false);
                    tracing::error!(vault = %self.entry.plan.name, key, "a write failed half-way and the old value could not be put back yet: {error}");
                }
            }
        }
        set.map(|()| Outcome::Done)
    }
}

impl Restore {
    async fn look(&self, worker: &mut Worker) -> Result<bool, Trouble> {
        let until = Instant::now() + RESTORE_LIMIT;
        ready(worker, &self.entry, until).await?;
        let mut session = Session { worker, entry: &self.entry, until, grace: Duration::ZERO };
        session.restore(&self.key, &self.before).await
    }
}

impl Task for Restore {
    fn run<'a>(
        mut self: Box<Self>,
        worker: &'a mut Worker,
        permit: Option<Permit>,
    ) -> BoxFuture<'a, Verdict> {
        Box::pin(async move {
            let outcome = self.look(worker).await;
            let (vault, key) = (self.entry.plan.name.as_str(), self.key.as_str());
            (self.touched)(&self.entry.store.id, key);
            match outcome {
                Ok(true) => tracing::warn!(vault, key, "a write was cut off; the old value is back"),
                Ok(false) => tracing::info!(vault, key, "a write was cut off; the key is there"),
                Err(trouble) => {
                    let error = trouble.into_error(&self.entry, Some(key), false);
                    tracing::error!(
                        vault,
                        key,
                        "a write was cut off and could not be looked at yet: {error}"
                    );
                    self.tries += 1;
                    if self.tries < RESTORE_TRIES {
                        return Verdict::Replace(Some(Rest { task: self, permit }));
                    }
                }
            }
            Verdict::Keep
        })
    }

    fn is_dead(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verb_that_writes_is_known_to_its_caller() {
        let began = Began::default();
        let caller = began.clone();
        began.note();
        assert!(caller.is_writing());
    }
}
