//! One slot of the pool: launch, pull, run, replace.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::lanes::Crew;
use super::shared::{PoolShared, RETIRED, WorkerStatus};
use super::state::{SlotEvent, SlotState};
use super::task::{Task, TaskPermit, WorkerVerdict};
use crate::platform;
use crate::worker::{Broken, LaunchError, Worker};

/// How often an idle worker's age and memory are looked at.
const LOOK: Duration = Duration::from_secs(10);

/// How often the memory of a worker that is never idle is looked at: a look is as many system calls as a short call's own.
const LOOK_AT_MEMORY: Duration = Duration::from_secs(1);

/// A worker beyond `min` that had nothing to do for so long ends.
const SPARE: Duration = Duration::from_secs(300);

/// How long a worker that is no longer needed may take to end by itself.
const LEAVE: Duration = Duration::from_secs(5);

/// Starts a slot for a crew.
pub(super) fn spawn(shared: &Arc<PoolShared>, crew: Crew) {
    let index = {
        let mut status = shared.status.lock().unwrap_or_else(PoisonError::into_inner);
        // Reuse the place of a slot that has ended, so that the list does not grow.
        let ended = status.iter().position(|status| status.state == SlotState::Stopped.word());
        let slot = ended.unwrap_or(status.len());
        let fresh = WorkerStatus {
            slot,
            state: SlotState::new().word(),
            pid: None,
            calls: 0,
            writes: 0,
            memory: None,
        };
        match status.get_mut(slot) {
            Some(place) => *place = fresh,
            None => status.push(fresh),
        }
        slot
    };
    let slot = Slot {
        shared: shared.clone(),
        crew,
        index,
        worker: None,
        successor: None,
        no_successor_before: None,
        looked: MemoryLook::default(),
        done_before: 0,
    };
    let mut slots = shared.slots.lock().unwrap_or_else(PoisonError::into_inner);
    while slots.try_join_next().is_some() {}
    slots.spawn(slot.run());
}

struct Slot {
    shared: Arc<PoolShared>,
    crew: Crew,
    index: usize,
    worker: Option<Worker>,
    /// The worker that takes over from one that has served its time.
    successor: Option<JoinHandle<Result<Worker, LaunchError>>>,
    /// After a successor that did not come up, or one that was worn from the start.
    no_successor_before: Option<Instant>,
    /// The last look at the worker's memory.
    looked: MemoryLook,
    /// Tasks that the whole pool had done when this slot last failed.
    done_before: u64,
}

impl Slot {
    /// Runs until the pool stops; gives its worker back if it is well.
    async fn run(mut self) -> Option<Worker> {
        let halt = self.shared.halt.clone();
        let mut state = SlotState::new();
        let mut task = None;
        while state != SlotState::Stopped {
            // A worker that is not up, and that nothing waits for, need not come up to stop.
            let needless = matches!(state, SlotState::Starting { .. } | SlotState::BackingOff { .. });
            let shared = self.shared.clone();
            let crew = self.crew.clone();
            let event = tokio::select! { biased;
                () = halt.cancelled() => SlotEvent::Stop,
                () = shared.lanes.finished(&crew), if needless => SlotEvent::Stop,
                event = self.step(state, &mut task) => event,
            };
            let now = Instant::now();
            let next = match event {
                SlotEvent::Failed | SlotEvent::Broke => {
                    state.after(event, now).sooner(self.others_work(), now)
                }
                event => state.after(event, now),
            };
            self.note(state, next, event);
            state = next;
        }
        self.shared.forget(&self.crew);
        let worker = self.worker.take()?;
        if !self.shared.lanes.is_closed() {
            // This worker is one too many. The last calls to vaults are made only when the pool stops.
            worker.shut_down(Instant::now() + LEAVE).await;
            return None;
        }
        // A pool that was halted makes no last calls to its vaults.
        Some(worker).filter(|_| !halt.is_cancelled())
    }

    /// Whether any worker has done a task since this slot failed last: then pwsh and the vaults are well.
    fn others_work(&mut self) -> bool {
        let done = self.shared.done.load(Ordering::Relaxed);
        std::mem::replace(&mut self.done_before, done) != done
    }

    async fn step(
        &mut self,
        state: SlotState,
        task: &mut Option<(Box<dyn Task>, Option<TaskPermit>)>,
    ) -> SlotEvent {
        match state {
            SlotState::Starting { attempt } => self.start(attempt).await,
            SlotState::Ready { proven, .. } => self.wait(proven, task).await,
            SlotState::Busy => match task.take() {
                Some((task, permit)) => self.work(task, permit).await,
                None => SlotEvent::Done,
            },
            SlotState::BackingOff { until, .. } => {
                sleep_until(until).await;
                SlotEvent::Elapsed
            }
            SlotState::Stopped => SlotEvent::Stop,
        }
    }

    async fn start(&mut self, attempt: u32) -> SlotEvent {
        (self.worker, self.looked) = (None, MemoryLook::default());
        match launch(self.shared.clone(), self.crew.clone()).await {
            Ok(worker) => {
                self.no_successor_before = worn_at_once(&self.shared.sizes, &worker, &mut self.looked);
                self.worker = Some(worker);
                SlotEvent::Up
            }
            Err(error) => {
                tracing::error!(slot = self.index, attempt, "a worker did not come up: {error}");
                self.shared.progress.send_modify(|progress| progress.failure = Some((error, attempt + 1)));
                SlotEvent::Failed
            }
        }
    }

    /// Waits for a task, for the worker to break, or for its time to be over.
    async fn wait(
        &mut self,
        proven: bool,
        task: &mut Option<(Box<dyn Task>, Option<TaskPermit>)>,
    ) -> SlotEvent {
        // To replace a worker that has done nothing yet would not help.
        if proven && self.leave_alone().await {
            return SlotEvent::Broke;
        }
        self.consider_successor();
        let Some(worker) = &mut self.worker else { return SlotEvent::Broke };
        let _idle = IdleMark::new(&self.shared, &self.crew);
        let pulled = self.shared.lanes.pull(worker.number(), &self.crew, |task| task.is_dead());
        let spare_since = Instant::now();
        // After the last call soon: what it took may not have been looked at.
        let mut pause = LOOK_AT_MEMORY;
        tokio::pin!(pulled);
        loop {
            tokio::select! { biased;
                broken = worker.idle() => {
                    tracing::warn!(slot = self.index, worker = worker.number(), "an idle worker broke: {broken}");
                    self.shared.restarts.add(broken.cause());
                    return SlotEvent::Broke;
                }
                taken = successor(&mut self.successor) => {
                    self.successor = None;
                    match taken {
                        Some(fresh) => {
                            self.looked = MemoryLook::default();
                            self.no_successor_before = worn_at_once(&self.shared.sizes, &fresh, &mut self.looked);
                            let old = std::mem::replace(worker, fresh);
                            tokio::spawn(old.shut_down(Instant::now() + LEAVE));
                        }
                        None => self.no_successor_before = Some(Instant::now() + SPARE),
                    }
                    return SlotEvent::Done;
                }
                pulled = &mut pulled => match pulled {
                    Some(next) => {
                        *task = Some(next);
                        return SlotEvent::Took;
                    }
                    None => return SlotEvent::Stop,
                },
                () = sleep(pause) => {
                    pause = LOOK;
                    if self.shared.is_spare(&self.crew) && spare_since.elapsed() >= SPARE {
                        return SlotEvent::Stop;
                    }
                    let may_try = self.no_successor_before.is_none_or(|until| Instant::now() >= until);
                    if self.successor.is_none() && may_try && worn(&self.shared.sizes, worker, &mut self.looked).is_some() {
                        return SlotEvent::Done;
                    }
                }
            }
        }
    }

    async fn work(&mut self, task: Box<dyn Task>, permit: Option<TaskPermit>) -> SlotEvent {
        let Some(worker) = &mut self.worker else { return SlotEvent::Broke };
        let verdict = task.run(worker, permit).await;
        let broken = worker.broken().or_else(|| worker.is_noisy().then_some(Broken::Noise));
        if let Some(broken) = &broken {
            tracing::warn!(
                slot = self.index,
                worker = worker.number(),
                pid = worker.pid(),
                "a worker broke: {broken}"
            );
        }
        match verdict {
            WorkerVerdict::Keep if broken.is_none() => {
                self.shared.done.fetch_add(1, Ordering::Relaxed);
                SlotEvent::Done
            }
            WorkerVerdict::Keep | WorkerVerdict::Replace => {
                self.worker = None;
                self.shared.restarts.add(broken.map_or(RETIRED, |broken| broken.cause()));
                SlotEvent::Broke
            }
        }
    }

    /// Ends a worker that has a store to itself, and has served its time: its store must never have two, so
    /// the next one starts when it is gone. Tells whether it did.
    async fn leave_alone(&mut self) -> bool {
        if self.crew == Crew::Shared || !self.may_be_replaced() {
            return false;
        }
        match self.worker.take_if(|worker| worn(&self.shared.sizes, worker, &mut self.looked).is_some()) {
            Some(worker) => {
                worker.shut_down(Instant::now() + LEAVE).await;
                true
            }
            None => false,
        }
    }

    /// Launches the successor of a worker that has served its time; the old one goes on meanwhile.
    fn consider_successor(&mut self) {
        if self.successor.is_none()
            && self.crew == Crew::Shared
            && self.may_be_replaced()
            && self
                .worker
                .as_ref()
                .is_some_and(|worker| worn(&self.shared.sizes, worker, &mut self.looked).is_some())
        {
            self.successor = Some(tokio::spawn(launch(self.shared.clone(), self.crew.clone())));
        }
    }

    fn may_be_replaced(&self) -> bool {
        self.no_successor_before.is_none_or(|until| Instant::now() >= until)
    }

    fn note(&self, before: SlotState, now: SlotState, event: SlotEvent) {
        let is_up = |state: SlotState| matches!(state, SlotState::Ready { .. } | SlotState::Busy);
        if is_up(before) != is_up(now) {
            let own = self.crew != Crew::Shared;
            self.shared.progress.send_modify(|progress| {
                let count = if own { &mut progress.own_up } else { &mut progress.up };
                if is_up(now) {
                    *count += 1;
                    progress.failure = None;
                } else {
                    *count -= 1;
                }
            });
        }
        if event == SlotEvent::Broke || event == SlotEvent::Failed {
            tracing::debug!(slot = self.index, state = now.word(), "worker state");
        }
        let mut all = self.shared.status.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(status) = all.get_mut(self.index) {
            status.state = now.word();
            status.pid = self.worker.as_ref().and_then(Worker::pid);
            status.calls = self.worker.as_ref().map_or(0, Worker::calls);
            status.writes = self.worker.as_ref().map_or(0, Worker::writes);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(successor) = self.successor.take() {
            successor.abort();
        }
    }
}

impl PoolShared {
    fn is_spare(&self, crew: &Crew) -> bool {
        *crew == Crew::Shared && self.size.load(Ordering::Relaxed) > self.min.load(Ordering::Relaxed)
    }

    fn forget(&self, crew: &Crew) {
        if *crew == Crew::Shared {
            self.size.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Counts a slot as idle while it waits.
struct IdleMark<'a>(Option<&'a std::sync::atomic::AtomicUsize>);

impl<'a> IdleMark<'a> {
    fn new(shared: &'a Arc<PoolShared>, crew: &Crew) -> IdleMark<'a> {
        let counter = (*crew == Crew::Shared).then_some(&shared.idle);
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        IdleMark(counter)
    }
}

impl Drop for IdleMark<'_> {
    fn drop(&mut self) {
        if let Some(counter) = self.0 {
            counter.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

async fn launch(shared: Arc<PoolShared>, crew: Crew) -> Result<Worker, LaunchError> {
    let until = Instant::now() + shared.sizes.start_limit;
    let number = shared.numbers.fetch_add(1, Ordering::Relaxed) + 1;
    let mut worker = Worker::start(&*shared.launcher, number, until).await?;
    shared.set_up.prepare(&mut worker, &crew, &shared.lanes, until).await?;
    Ok(worker)
}

/// The successor once it is up; waits for ever where there is none. `None` if it did not come up.
async fn successor(launch: &mut Option<JoinHandle<Result<Worker, LaunchError>>>) -> Option<Worker> {
    match launch {
        Some(handle) => handle.await.ok().and_then(Result::ok),
        None => std::future::pending().await,
    }
}

/// The last look at a worker's memory: when, and whether it was too large.
#[derive(Default)]
struct MemoryLook(Option<(Instant, bool)>);

impl MemoryLook {
    /// Whether it is too large, as the last look says if it was made a moment ago. Several ask about one look.
    fn is_large(&mut self, look: impl FnOnce() -> bool) -> bool {
        match self.0 {
            Some((at, large)) if at.elapsed() < LOOK_AT_MEMORY => large,
            _ => {
                let large = look();
                self.0 = Some((Instant::now(), large));
                large
            }
        }
    }
}

/// The limit that the worker is beyond, by its name in the configuration: it is time for another.
fn worn(sizes: &crate::plan::PoolLimits, worker: &Worker, looked: &mut MemoryLook) -> Option<&'static str> {
    if worker.calls() >= sizes.max_calls {
        return Some("pool.max_calls");
    }
    if worker.born().elapsed() >= sizes.max_age {
        return Some("pool.max_age");
    }
    let memory = || worker.pid().and_then(platform::resident_memory);
    looked.is_large(|| memory().is_some_and(|memory| memory > sizes.max_memory)).then_some("pool.max_memory")
}

/// Until when a fresh worker stays that is beyond a limit before its first task: the next one would be no better, and
/// workers would be started without end.
fn worn_at_once(
    sizes: &crate::plan::PoolLimits,
    worker: &Worker,
    looked: &mut MemoryLook,
) -> Option<Instant> {
    let limit = worn(sizes, worker, looked)?;
    tracing::warn!(
        worker = worker.number(),
        "a fresh worker is beyond {limit} before its first task: it is not replaced for {} minutes; raise {limit}",
        SPARE.as_secs() / 60
    );
    Some(Instant::now() + SPARE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An idle worker is looked at, and then the slot asks again before it acts.
    #[tokio::test(start_paused = true)]
    async fn a_worker_that_was_found_too_large_is_too_large_for_all_who_ask_at_that_moment() {
        let mut looked = MemoryLook::default();
        assert!(looked.is_large(|| true) && looked.is_large(|| unreachable!("a look is dear")));
        sleep(LOOK_AT_MEMORY).await;
        assert!(!looked.is_large(|| false) && !looked.is_large(|| unreachable!("a look is dear")));
    }
}
