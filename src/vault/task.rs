//! A verb as a task of the pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::ledger::Ledger;
use super::session::{Session, Trouble};
use super::{Entry, Outcome, Touched, Verb};
use crate::error::BridgeError;
use crate::pool::{Permit, Rest, Task, Verdict};
use crate::protocol::GetReply;
use crate::worker::{BoxFuture, Worker};

/// How long a fresh worker may take to look whether a value must be restored, and to restore it.
const RESTORE_LIMIT: Duration = Duration::from_secs(20);

/// How often a restore is tried.
const RESTORE_TRIES: u32 = 5;

/// Whether a task has begun to write. Shared with the caller, who may stop waiting.
#[derive(Clone, Default)]
pub(super) struct Began(Arc<AtomicBool>);

/// One verb, with the caller that waits for it.
pub(super) struct VaultTask {
    pub(super) entry: Arc<Entry>,
    pub(super) verb: Verb,
    pub(super) deadline: Instant,
    pub(super) grace: Duration,
    pub(super) began: Began,
    pub(super) touched: Touched,
    pub(super) ledger: Arc<Ledger>,
    /// It was handed on to a fresh worker already.
    pub(super) fresh_worker: bool,
    pub(super) reply: oneshot::Sender<Result<Outcome, BridgeError>>,
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
    pub(super) fn is_writing(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn note(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Task for VaultTask {
    fn run<'a>(
        mut self: Box<Self>,
        worker: &'a mut Worker,
        permit: Option<Permit>,
    ) -> BoxFuture<'a, Verdict> {
        Box::pin(async move {
            let mut before = None;
            let outcome = self.perform(worker, &mut before).await;
            if let Err(Trouble::OldCopy) = &outcome
                && !self.fresh_worker
            {
                self.fresh_worker = true;
                return Verdict::Replace(Some(Rest { task: self, permit }));
            }
            if outcome.is_ok() {
                self.note_done();
            }
            let late = Instant::now() > self.deadline;
            let verdict = self.verdict(worker, &outcome, before, permit, late);
            let key = self.verb.key();
            if let (true, Some(key)) = (self.verb.writes(), key) {
                (self.touched)(&self.entry.store.id, key);
            }
            if late && self.verb.writes() {
                tracing::warn!(vault = %self.entry.plan.name, ok = outcome.is_ok(), "a write ended after its deadline");
            }
            let writing = self.began.is_writing();
            let _ = self.reply.send(outcome.map_err(|trouble| trouble.into_error(&self.entry, key, writing)));
            verdict
        })
    }

    fn is_dead(&self) -> bool {
        self.reply.is_closed() || Instant::now() >= self.deadline
    }
}

impl VaultTask {
    async fn perform(&self, worker: &mut Worker, before: &mut Option<GetReply>) -> Result<Outcome, Trouble> {
        let mut session = Session { worker, entry: &self.entry, until: self.deadline, grace: self.grace };
        match &self.verb {
            Verb::Get { key, detail } => session.get(key, *detail).await.map(Outcome::Value),
            Verb::List => session.list().await.map(Outcome::List),
            Verb::Unlock => session.unlock().await.map(|_| Outcome::Done),
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

    /// Notes what was done, while the lane is still held.
    fn note_done(&self) {
        if let (true, Some(key)) = (self.verb.writes(), self.verb.key()) {
            self.entry.store.note_repaired(key);
            self.ledger.note(&self.entry, &self.verb);
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
                    tracing::error!(vault = %self.entry.plan.name, key, ?trouble, "a write failed half-way and the old value could not be put back yet");
                }
            }
        }
        set.map(|()| Outcome::Done)
    }

    fn verdict(
        &self,
        worker: &Worker,
        outcome: &Result<Outcome, Trouble>,
        before: Option<GetReply>,
        permit: Option<Permit>,
        late: bool,
    ) -> Verdict {
        if worker.broken().is_none() {
            // It answered, but after its time: its place is taken by one that is not slow.
            return if late { Verdict::Replace(None) } else { Verdict::Keep };
        }
        let rest = match (&self.verb, before) {
            (Verb::Set { key, .. }, Some(before)) if outcome.is_err() && self.began.is_writing() => {
                let (entry, touched) = (self.entry.clone(), self.touched.clone());
                Some(Box::new(Restore { entry, key: key.clone(), before, touched, tries: 0 }))
            }
            _ => None,
        };
        Verdict::Replace(rest.map(|task| Rest { task: task as Box<dyn Task>, permit }))
    }
}

impl Task for Restore {
    fn run<'a>(
        mut self: Box<Self>,
        worker: &'a mut Worker,
        permit: Option<Permit>,
    ) -> BoxFuture<'a, Verdict> {
        Box::pin(async move {
            let (vault, key) = (self.entry.plan.name.as_str(), self.key.as_str());
            let until = Instant::now() + RESTORE_LIMIT;
            let mut session = Session { worker, entry: &self.entry, until, grace: Duration::ZERO };
            let outcome = session.restore(key, &self.before).await;
            (self.touched)(&self.entry.store.id, key);
            match outcome {
                Ok(true) => tracing::warn!(vault, key, "a write was cut off; the old value is back"),
                Ok(false) => tracing::info!(vault, key, "a write was cut off; the key is there"),
                Err(trouble) => {
                    tracing::error!(
                        vault,
                        key,
                        ?trouble,
                        "a write was cut off and could not be looked at yet"
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
    fn a_task_that_writes_is_known_to_its_caller() {
        let began = Began::default();
        let caller = began.clone();
        began.note();
        assert!(caller.is_writing());
    }
}
