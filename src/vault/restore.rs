//! The end of a write that broke: its worker is gone and what it left half done is put right before others may use the
//! lane.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::change::Change;
use super::entry::Entry;
use super::lane;
use super::set_up::ready;
use super::turn::{Trouble, Turn};
use crate::cache::Changes;
use crate::pool::{Task, TaskPermit, WorkerVerdict};
use crate::worker::{BoxFuture, Worker};

/// How long a fresh worker may take to look whether a value must be restored, and to restore it.
const RESTORE_LIMIT: Duration = Duration::from_secs(20);

/// How often a restore is tried before others may use the store again.
const RESTORE_TRIES: u32 = 5;

/// How long a worker that is killed inside a write may take to be gone.
const DEATH: Duration = Duration::from_secs(5);

/// The end of an act's use of its lane, after its caller has been told.
#[must_use = "a lane is free only when what broke in it is gone"]
pub struct Ending {
    pub(super) entry: Arc<Entry>,
    pub(super) permit: Option<TaskPermit>,
    /// What goes before whatever else wants the lane.
    pub(super) rest: Option<Box<dyn Task>>,
    /// A write has begun.
    pub(super) wrote: bool,
}

/// Looks whether a write that was cut off left neither the old nor the new value, and restores the old.
pub(super) struct Restore {
    pub(super) entry: Arc<Entry>,
    pub(super) key: String,
    pub(super) change: Change,
    pub(super) changes: Changes,
    pub(super) tries: u32,
}

impl Ending {
    /// Ends the use of the lane. A worker that broke inside a write is gone before the lane is free, so that nothing it
    /// had begun meets the next writer; what it left half done goes before whatever else wants the lane.
    pub async fn finish(self, worker: &mut Worker) {
        let Some(permit) = self.permit else { return };
        if worker.broken().is_some() {
            worker.end(Instant::now() + DEATH).await;
            if self.wrote {
                self.entry.backend.left_by_a_dead_writer();
            }
        }
        if let Some(rest) = self.rest {
            permit.park(rest, lane::crew(&self.entry));
        }
    }
}

impl Restore {
    async fn look(&self, worker: &mut Worker) -> Result<bool, Trouble> {
        let until = Instant::now() + RESTORE_LIMIT;
        ready(worker, &self.entry, until).await?;
        let mut turn = Turn { worker, vault: &self.entry, until, grace: Duration::ZERO };
        self.entry.calls()?.recover(&mut turn, &self.key, &self.change).await
    }
}

impl Task for Restore {
    fn run<'a>(
        mut self: Box<Self>,
        worker: &'a mut Worker,
        permit: Option<TaskPermit>,
    ) -> BoxFuture<'a, WorkerVerdict> {
        Box::pin(async move {
            let looked = self.look(worker).await;
            let (vault, key) = (self.entry.plan.name.as_str(), self.key.as_str());
            self.changes.wrote(&self.entry.store.id, key);
            let trouble = match looked {
                Ok(put_back) => {
                    report(vault, key, put_back);
                    return WorkerVerdict::Keep;
                }
                Err(trouble) => trouble,
            };
            let error = trouble.into_error(&self.entry, Some(key), false);
            tracing::error!(vault, key, "a write was cut off and could not be looked at yet: {error}");
            if worker.broken().is_some() {
                worker.end(Instant::now() + DEATH).await;
            }
            self.tries += 1;
            match permit {
                Some(permit) if may_try_again(self.tries) => {
                    let crew = lane::crew(&self.entry);
                    permit.park(self, crew);
                }
                _ => self.entry.backend.owe(&self.entry, &self.key, &self.change),
            }
            WorkerVerdict::Replace
        })
    }

    fn is_dead(&self) -> bool {
        false
    }
}

/// What a look found, for the log.
fn report(vault: &str, key: &str, put_back: bool) {
    if put_back {
        tracing::warn!(vault, key, "a write was cut off; the old value is back");
    } else {
        tracing::info!(vault, key, "a write was cut off; the key is there");
    }
}

/// Whether the lane stays closed for one more look. After the last, others may use the store, and the ledger tries again
/// now and then.
fn may_try_again(tries: u32) -> bool {
    tries < RESTORE_TRIES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_tried_five_times() {
        assert_eq!([1, 4, 5, 6].map(may_try_again), [true, true, false, false]);
    }
}
