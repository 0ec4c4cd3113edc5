//! A route's block as a task of the pool.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::Core;
use super::asks::Asking;
use super::protocol::Invoke;
use super::protocol::call::{Response, RouteCall, RouteReply};
use super::seen::SeenAccesses;
use crate::error::BridgeError;
use crate::pool::lanes::Crew;
use crate::pool::{Task, TaskPermit, WorkerVerdict};
use crate::protocol::{Fault, Op};
use crate::vault::Began;
use crate::worker::{BoxFuture, Broken, CallError, Worker};

/// Why a block gave no answer.
#[derive(Debug)]
pub enum Unanswered {
    /// It could not run.
    Fault(Box<Fault>),
    /// The queue is full, the deadline passed, the worker died.
    Bridge(BridgeError),
}

struct RouteTask {
    core: Arc<Core>,
    op: Op,
    deadline: Instant,
    began: Began,
    seen: SeenAccesses,
    reply: oneshot::Sender<Result<Response, Unanswered>>,
}

/// Runs a route's block in a worker.
pub async fn invoke(
    core: &Arc<Core>,
    call: RouteCall<'_>,
    deadline: Instant,
    seen: &SeenAccesses,
) -> Result<Response, Unanswered> {
    let pool = core.bridge.vaults().workers().map_err(Unanswered::Bridge)?;
    let not_encoded = || {
        Unanswered::Bridge(BridgeError::Worker {
            reason: "the call does not encode".into(),
            outcome_unknown: false,
        })
    };
    let op = Invoke::Route(call).op().ok_or_else(not_encoded)?;
    let (reply, answer) = oneshot::channel();
    let began = Began::default();
    let task =
        RouteTask { core: core.clone(), op, deadline, began: began.clone(), seen: seen.clone(), reply };
    pool.submit(Box::new(task), Crew::Shared, None)
        .map_err(|refusal| Unanswered::Bridge(BridgeError::not_queued(refusal)))?;
    match timeout_at(deadline, answer).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => {
            let reason = "the task was dropped".to_owned();
            Err(Unanswered::Bridge(BridgeError::Worker { reason, outcome_unknown: began.is_writing() }))
        }
        Err(_) => Err(Unanswered::Bridge(BridgeError::Deadline { outcome_unknown: began.give_up() })),
    }
}

impl RouteTask {
    async fn call(&self, worker: &mut Worker, asking: &mut Asking) -> Result<Response, CallError> {
        self.core.session.load(worker, self.deadline).await?;
        let reply: RouteReply = worker.call_asking(self.op.clone(), self.deadline, Some(asking)).await?;
        Ok(reply.response)
    }
}

impl Task for RouteTask {
    fn run<'a>(
        self: Box<Self>,
        worker: &'a mut Worker,
        _permit: Option<TaskPermit>,
    ) -> BoxFuture<'a, WorkerVerdict> {
        Box::pin(async move {
            let mut asking =
                Asking::with_caller(self.core.clone(), self.deadline, self.began.clone(), self.seen.clone());
            let outcome = self.call(worker, &mut asking).await;
            let verdict = match worker.broken() {
                Some(_) => WorkerVerdict::Replace,
                None => WorkerVerdict::Keep,
            };
            let outcome_unknown = self.began.is_writing();
            let outcome = outcome.map_err(|error| match error {
                CallError::Fault(fault) => Unanswered::Fault(fault),
                CallError::Broken(Broken::TimedOut) => {
                    Unanswered::Bridge(BridgeError::Deadline { outcome_unknown })
                }
                CallError::Broken(broken) => {
                    Unanswered::Bridge(BridgeError::Worker { reason: broken.to_string(), outcome_unknown })
                }
            });
            // Its locks are released before its caller goes on.
            drop(asking);
            let _ = self.reply.send(outcome);
            verdict
        })
    }

    fn is_dead(&self) -> bool {
        self.reply.is_closed() || Instant::now() >= self.deadline
    }
}
