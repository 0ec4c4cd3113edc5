//! A verb as a task of the pool.

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::act::Act;
use super::turn::Trouble;
use super::verb::Outcome;
use crate::error::BridgeError;
use crate::pool::lanes::Crew;
use crate::pool::{Task, TaskPermit, WorkerVerdict};
use crate::worker::{BoxFuture, Worker};

/// One verb, with the caller that waits for it.
pub(super) struct VaultTask {
    pub(super) act: Act,
    /// Who may do it.
    pub(super) crew: Crew,
    /// It was handed on to a fresh worker already.
    pub(super) fresh_worker: bool,
    pub(super) reply: oneshot::Sender<Result<Outcome, BridgeError>>,
}

impl Task for VaultTask {
    fn run<'a>(
        mut self: Box<Self>,
        worker: &'a mut Worker,
        permit: Option<TaskPermit>,
    ) -> BoxFuture<'a, WorkerVerdict> {
        Box::pin(async move {
            let done = self.act.run(worker).await;
            let permit = match permit {
                Some(permit) if matches!(done.outcome, Err(Trouble::OldCopy)) && !self.fresh_worker => {
                    self.fresh_worker = true;
                    let crew = self.crew.clone();
                    permit.park(self, crew);
                    return WorkerVerdict::Replace;
                }
                permit => permit,
            };
            // One that answered after its time is slow: its place is taken by one that is not.
            let slow = Instant::now() > self.act.deadline;
            let VaultTask { act, reply, .. } = *self;
            let (outcome, ending) = act.settle(worker, done, permit);
            let _ = reply.send(outcome);
            ending.finish(worker).await;
            if worker.broken().is_some() || slow { WorkerVerdict::Replace } else { WorkerVerdict::Keep }
        })
    }

    fn is_dead(&self) -> bool {
        self.reply.is_closed() || Instant::now() >= self.act.deadline
    }
}
