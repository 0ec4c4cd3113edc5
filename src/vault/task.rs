//! A verb as a task of the pool.

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Outcome;
use super::act::Act;
use super::session::Trouble;
use crate::error::BridgeError;
use crate::pool::{Permit, Rest, Task, Verdict};
use crate::worker::{BoxFuture, Worker};

/// One verb, with the caller that waits for it.
pub(super) struct VaultTask {
    pub(super) act: Act,
    /// It was handed on to a fresh worker already.
    pub(super) fresh_worker: bool,
    pub(super) reply: oneshot::Sender<Result<Outcome, BridgeError>>,
}

impl Task for VaultTask {
    fn run<'a>(
        mut self: Box<Self>,
        worker: &'a mut Worker,
        permit: Option<Permit>,
    ) -> BoxFuture<'a, Verdict> {
        Box::pin(async move {
            let mut done = self.act.run(worker).await;
            if let Err(Trouble::OldCopy) = &done.outcome
                && !self.fresh_worker
            {
                self.fresh_worker = true;
                return Verdict::Replace(Some(Rest { task: self, permit }));
            }
            // One that answered after its time is slow: its place is taken by one that is not.
            let slow = Instant::now() > self.act.deadline;
            let rest = self.act.rest(worker, &mut done);
            let outcome = self.act.settle(done);
            let verdict = if worker.broken().is_some() || slow {
                Verdict::Replace(rest.map(|task| Rest { task, permit }))
            } else {
                drop(permit);
                Verdict::Keep
            };
            let _ = self.reply.send(outcome);
            verdict
        })
    }

    fn is_dead(&self) -> bool {
        self.reply.is_closed() || Instant::now() >= self.act.deadline
    }
}
