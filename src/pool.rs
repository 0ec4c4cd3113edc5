//! Persistent workers behind a bounded queue.
//!
//! # Theory of operation
//!
//! [`Pool`] is a handle. Each worker lives in a slot, a task of the runtime that goes through these states:
//!
//! ```text
//! starting ─► ready ─► busy ─► ready … ─► stopped
//!    ▲          │        │
//!    └─ backing off ◄────┴─ broken, noisy or late
//! ```
//!
//! - What comes next is decided by [`state`], a function of the state and of what happened, tested as a table. The
//!   slot only sees and acts.
//! - Work waits in one bounded queue ([`lanes`]). A slot pulls a task together with the lane that the task needs, in
//!   one step: nothing holds a lane while it waits for a worker, so no circle of waits can form.
//! - A lane is a read-write lock of one store. A task that is alone in it goes to the worker that was alone there
//!   last, whose copy of the store is the newest.
//! - A task says what becomes of its worker ([`WorkerVerdict`]). A worker that broke, wrote to the channel what is no
//!   protocol, or answered late is killed with its process group and a fresh one takes its place. A slot owns its
//!   worker: dropping the slot kills it.
//! - A worker that broke inside a write parks its lane with a task that repairs what the write left ([`lanes::LanePermit::park`]).
//!   The next worker does that first; nobody else has the lane before.
//! - A store that a worker cannot refresh has a worker of its own ([`lanes::Crew::Own`]), and never two.
//! - A worker that has served its time (calls, age, memory) is replaced by one that is up before the old one leaves.
//!
//! A worker holds nothing that is not in the plan or in a vault; any of them may crash at any moment.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::metrics::Tally;
use crate::plan;
use crate::worker::{BoxFuture, Broken, LaunchError, Launcher, Worker};
use lanes::{Crew, Lane, Lanes, QueueRefusal};

pub mod lanes;
mod shared;
mod slot;
pub mod state;
mod task;

use shared::PoolShared;
pub use shared::{Progress, RETIRED, WorkerStatus};
pub use task::{SetUp, Task, TaskPermit, WorkerVerdict};

/// How much longer than one worker the start of all may take.
const START_GRACE: Duration = Duration::from_secs(1);

/// At most so much of the time for a stop, and at most half of it, is kept for the last calls to vaults and the workers' end.
const GOODBYE: Duration = Duration::from_secs(3);

/// Workers behind a queue. Cheap to clone.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<PoolShared>,
}

impl Pool {
    /// Starts `min` workers, in parallel. Returns at once; [`Pool::ready`] waits.
    pub fn start(launcher: Arc<dyn Launcher>, set_up: Arc<dyn SetUp>, sizes: plan::PoolLimits) -> Pool {
        let pool = Pool {
            shared: Arc::new(PoolShared {
                lanes: Lanes::new(sizes.queue),
                launcher,
                set_up,
                slots: Mutex::new(JoinSet::new()),
                size: AtomicUsize::new(0),
                idle: AtomicUsize::new(0),
                numbers: AtomicU64::new(0),
                restarts: Tally::default(),
                done: AtomicU64::new(0),
                status: Mutex::new(Vec::new()),
                own_crews: Mutex::new(Vec::new()),
                progress: watch::Sender::new(Progress::default()),
                halt: CancellationToken::new(),
                min: AtomicUsize::new(sizes.min),
                max: AtomicUsize::new(sizes.max),
                sizes,
            }),
        };
        for _ in 0..pool.shared.sizes.min {
            pool.add_slot(pool.shared.sizes.min);
        }
        pool
    }

    /// Progress of the start, to show and to wait for.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.shared.progress.subscribe()
    }

    /// Waits until `min` workers are up, and each that has a store to itself. Fails at the first failure that no retry mends, at the third of
    /// any other kind, or when the start limit has passed.
    pub async fn ready(&self) -> Result<(), LaunchError> {
        let mut progress = self.progress();
        // The worker's own timeout fires first, with a better message.
        let until = Instant::now() + self.shared.sizes.start_limit + START_GRACE;
        loop {
            let now = progress.borrow_and_update().clone();
            let own = self.shared.own_crews.lock().unwrap_or_else(PoisonError::into_inner).len();
            if now.up >= self.shared.min.load(Ordering::Relaxed) && now.own_up >= own {
                return Ok(());
            }
            if let Some((error, attempts)) = now.failure
                && state::is_hopeless(&error, attempts)
            {
                return Err(error);
            }
            match timeout_at(until, progress.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(LaunchError::Spawn("the pool has stopped".into())),
                Err(_) => {
                    let failure = progress.borrow().failure.clone();
                    return Err(failure.map_or(Broken::TimedOut.into(), |(error, _)| error));
                }
            }
        }
    }

    /// Queues a task.
    pub fn submit(&self, task: Box<dyn Task>, crew: Crew, lane: Option<Lane>) -> Result<(), QueueRefusal> {
        let shared_crew = crew == Crew::Shared;
        self.shared.lanes.push(task, crew, lane, |task| task.is_dead())?;
        if shared_crew && self.waiting() > self.shared.idle.load(Ordering::Relaxed) {
            self.add_slot(self.shared.max.load(Ordering::Relaxed));
        }
        Ok(())
    }

    /// Starts more workers, until there are `workers`. [`Pool::ready`] waits for them.
    pub fn grow(&self, workers: usize) {
        self.shared.max.fetch_max(workers, Ordering::Relaxed);
        self.shared.min.fetch_max(workers, Ordering::Relaxed);
        while self.add_slot(workers) {}
    }

    /// Starts a worker that does not belong to the pool, and sets nothing up in it.
    pub async fn launch_bare(&self, until: Instant) -> Result<Worker, LaunchError> {
        let number = self.shared.numbers.fetch_add(1, Ordering::Relaxed) + 1;
        Worker::start(&*self.shared.launcher, number, until).await
    }

    /// The lanes, for a caller that has a worker.
    pub fn lanes(&self) -> &Lanes<Box<dyn Task>> {
        &self.shared.lanes
    }

    /// Waits for a lane, for a caller that runs in a worker.
    pub async fn lane(&self, lane: Lane) -> TaskPermit {
        self.shared.lanes.acquire(lane).await
    }

    /// Makes sure that a store has a worker of its own.
    pub fn add_own_worker(&self, store: crate::store::StoreId) {
        let crew = Crew::Own(store);
        let mut crews = self.shared.own_crews.lock().unwrap_or_else(PoisonError::into_inner);
        if !crews.contains(&crew) {
            crews.push(crew.clone());
            slot::spawn(&self.shared, crew);
        }
    }

    /// Tasks that wait.
    pub fn waiting(&self) -> usize {
        self.shared.lanes.waiting()
    }

    /// Workers whose place another took before their time was over, by what they broke of or [`RETIRED`].
    pub fn restarts(&self) -> std::collections::BTreeMap<&'static str, u64> {
        self.shared.restarts.all()
    }

    /// The workers, by slot.
    pub fn workers(&self) -> Vec<WorkerStatus> {
        let mut all = self.shared.status.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for status in &mut all {
            status.memory = status.pid.and_then(crate::platform::resident_memory);
        }
        all
    }

    /// Takes no more tasks, waits until those taken are done, has one worker do `farewell` (the last calls to vaults), and ends all, by
    /// `until`. Half of the time, three seconds at most, is kept for the last two: what is not done by then is
    /// killed. So are workers that have not ended at the end, or in three seconds.
    pub async fn stop(
        &self,
        until: Instant,
        farewell: impl for<'a> FnOnce(&'a mut Worker, Instant) -> BoxFuture<'a, ()>,
    ) {
        self.shared.lanes.close();
        let mut slots =
            std::mem::take(&mut *self.shared.slots.lock().unwrap_or_else(PoisonError::into_inner));
        let mut workers = Vec::new();
        let goodbye = GOODBYE.min(until.saturating_duration_since(Instant::now()) / 2);
        while let Ok(Some(ended)) = timeout_at(until - goodbye, slots.join_next()).await {
            workers.extend(ended.ok().flatten());
        }
        self.shared.halt.cancel();
        self.shared.lanes.clear();
        slots.shutdown().await;
        if let Some(worker) = workers.iter_mut().find(|worker| worker.broken().is_none()) {
            farewell(worker, until).await;
        }
        let until = until.min(Instant::now() + GOODBYE);
        let ends = workers.into_iter().map(|worker| worker.shut_down(until));
        let mut ends: JoinSet<()> = ends.collect();
        while ends.join_next().await.is_some() {}
    }

    /// Kills all workers at once.
    pub fn halt(&self) {
        self.shared.lanes.close();
        self.shared.halt.cancel();
    }

    /// Adds a slot, if there are fewer than `limit`.
    fn add_slot(&self, limit: usize) -> bool {
        let one_more = |size| (size < limit).then_some(size + 1);
        let added = self.shared.size.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok();
        if added {
            slot::spawn(&self.shared, Crew::Shared);
        }
        added
    }
}

#[cfg(test)]
mod tests;
