//! The queue that workers pull from, with a lane for each store.
//!
//! A task waits here until a worker asks for one *and* its lane admits it; both are then taken in one
//! step. So nothing ever holds a lane while it waits for a worker, and a worker that already runs a
//! script only waits for a lane: no circle can form between the two.
//!
//! Order: first come, first served within a lane; a task whose lane is busy does not hold up tasks of
//! other lanes.
//!
//! A writer whose worker died may leave its lane *parked* ([`LanePermit::park`]): closed to everybody until a
//! worker has put in order what the write left half done. Workers that are just starting are let in, since
//! one of them may be the one that does it.

mod lane;
mod queue;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::timeout_at;

pub use self::lane::{Crew, Lane, LaneMode, QueueRefusal};
use self::queue::{Next, TaskQueue};

/// A queue of tasks of type `T`, with its lanes. Cheap to clone.
pub struct Lanes<T> {
    shared: Arc<SharedLanes<T>>,
}

struct SharedLanes<T> {
    queue: Mutex<TaskQueue<T>>,
    changed: Notify,
}

/// A lane, held until dropped.
pub struct LanePermit<T> {
    lane: Lane,
    shared: Arc<SharedLanes<T>>,
    /// The worker that pulled it.
    worker: Option<u64>,
    parked: bool,
}

impl<T> Lanes<T> {
    /// A queue in which at most `capacity` tasks wait.
    pub fn new(capacity: usize) -> Lanes<T> {
        Lanes {
            shared: Arc::new(SharedLanes {
                queue: Mutex::new(TaskQueue::new(capacity)),
                changed: Notify::new(),
            }),
        }
    }

    /// Puts a task at the end. `is_dead` tells tasks whose caller has gone, which make room first.
    pub fn push(
        &self,
        task: T,
        crew: Crew,
        lane: Option<Lane>,
        is_dead: impl Fn(&T) -> bool,
    ) -> Result<(), QueueRefusal> {
        self.shared.queue().push(task, crew, lane, is_dead)?;
        self.shared.changed.notify_waiters();
        Ok(())
    }

    /// The next task for a worker of this crew, with its lane; what is parked goes first. Skips and drops
    /// the dead. `None` once the queue is closed and holds nothing for the crew. Cancel safe.
    ///
    /// A task that wants its lane for itself is left to the worker that was alone in it last, if that one waits
    /// too or has only just left the lane: it need not read the store again.
    pub async fn pull(
        &self,
        worker: u64,
        crew: &Crew,
        is_dead: impl Fn(&T) -> bool,
    ) -> Option<(T, Option<LanePermit<T>>)> {
        let _idle = IdleWorker { shared: &self.shared, worker };
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let (others_may_go, next) = {
                let mut queue = self.shared.queue();
                (queue.drop_dead(&is_dead), queue.next(worker, crew))
            };
            if others_may_go {
                self.shared.changed.notify_waiters();
            }
            match next {
                Next::Task(task, lane) => {
                    return Some((task, lane.map(|lane| LanePermit::new(lane, &self.shared, Some(worker)))));
                }
                Next::Finished => return None,
                Next::Wait(Some(again)) => drop(timeout_at(again, changed).await),
                Next::Wait(None) => changed.await,
            }
        }
    }

    /// Waits for a lane in turn, for a caller that has a worker already. Cancel safe.
    pub async fn acquire(&self, lane: Lane) -> LanePermit<T> {
        self.wait_for(lane, false).await
    }

    /// As [`Lanes::acquire`], for a caller that sets a fresh worker up: it is let into a parked lane too.
    pub async fn acquire_at_start(&self, lane: Lane) -> LanePermit<T> {
        self.wait_for(lane, true).await
    }

    async fn wait_for(&self, lane: Lane, starting: bool) -> LanePermit<T> {
        let ticket = self.shared.queue().push_caller(lane.clone(), starting);
        let waiting = Waiting { shared: &self.shared, ticket };
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.shared.queue().admit(waiting.ticket) {
                return LanePermit::new(lane, &self.shared, None);
            }
            changed.await;
        }
    }

    /// Takes no more tasks; those that wait are still served.
    pub fn close(&self) {
        self.shared.queue().close();
        self.shared.changed.notify_waiters();
    }

    /// Whether no more tasks are taken.
    pub fn is_closed(&self) -> bool {
        self.shared.queue().is_closed()
    }

    /// Drops the tasks that wait.
    pub fn clear(&self) {
        let dropped = self.shared.queue().clear();
        drop(dropped);
        self.shared.changed.notify_waiters();
    }

    /// Resolves once the queue is closed and holds nothing for the crew. Cancel safe.
    pub async fn finished(&self, crew: &Crew) {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.shared.queue().is_finished(crew) {
                return;
            }
            changed.await;
        }
    }

    /// How many tasks wait for a worker.
    pub fn waiting(&self) -> usize {
        self.shared.queue().waiting()
    }
}

impl<T> Clone for Lanes<T> {
    fn clone(&self) -> Lanes<T> {
        Lanes { shared: self.shared.clone() }
    }
}

impl<T> SharedLanes<T> {
    fn queue(&self) -> MutexGuard<'_, TaskQueue<T>> {
        // Nothing in here panics half-way; a poisoned lock holds whole data.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> LanePermit<T> {
    fn new(lane: Lane, shared: &Arc<SharedLanes<T>>, worker: Option<u64>) -> LanePermit<T> {
        LanePermit { lane, shared: shared.clone(), worker, parked: false }
    }

    /// Leaves the lane to a task: the next worker of the crew does it before all else, alone in the lane.
    /// Until then the lane is closed to everybody but workers that are starting.
    pub fn park(mut self, task: T, crew: Crew) {
        self.parked = true;
        self.shared.queue().park(&self.lane, task, crew);
        self.shared.changed.notify_waiters();
    }
}

impl<T> Drop for LanePermit<T> {
    fn drop(&mut self) {
        if self.parked {
            return;
        }
        self.shared.queue().give_back(&self.lane, self.worker);
        self.shared.changed.notify_waiters();
    }
}

/// A worker that waits; others look again when it no longer does.
struct IdleWorker<'a, T> {
    shared: &'a SharedLanes<T>,
    worker: u64,
}

impl<T> Drop for IdleWorker<'_, T> {
    fn drop(&mut self) {
        // Whoever waits for the end of a closed queue must also be told of its last task.
        let is_news = {
            let mut queue = self.shared.queue();
            queue.busy(self.worker);
            !queue.is_empty() || queue.is_closed()
        };
        if is_news {
            self.shared.changed.notify_waiters();
        }
    }
}

/// Takes the place in the queue back when its owner goes.
struct Waiting<'a, T> {
    shared: &'a SharedLanes<T>,
    ticket: u64,
}

impl<T> Drop for Waiting<'_, T> {
    fn drop(&mut self) {
        let waited = self.shared.queue().give_up(self.ticket);
        if waited {
            self.shared.changed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests;
