//! What is done in a worker, and how a fresh one is set up.

use tokio::time::Instant;

use super::lanes::{self, Crew, Lanes};
use crate::worker::{BoxFuture, LaunchError, Worker};

/// Something to do in a worker.
pub trait Task: Send {
    /// Does it. The verdict says whether the worker may go on; a broken worker never does.
    fn run<'a>(
        self: Box<Self>,
        worker: &'a mut Worker,
        permit: Option<TaskPermit>,
    ) -> BoxFuture<'a, WorkerVerdict>;
    /// Whether nobody waits for it any more, so that it may be dropped unbegun.
    fn is_dead(&self) -> bool;
}

/// A lane held for a task.
pub type TaskPermit = lanes::LanePermit<Box<dyn Task>>;

/// What becomes of a worker after a task.
pub enum WorkerVerdict {
    /// It goes on.
    Keep,
    /// It is killed, and a fresh one takes its place.
    Replace,
}

/// Sets a fresh worker up: init scripts, vaults.
pub trait SetUp: Send + Sync + 'static {
    /// Prepares a worker for its crew. Lanes that it needs are taken from `lanes`.
    fn prepare<'a>(
        &'a self,
        worker: &'a mut Worker,
        crew: &'a Crew,
        lanes: &'a Lanes<Box<dyn Task>>,
        until: Instant,
    ) -> BoxFuture<'a, Result<(), LaunchError>>;
}
