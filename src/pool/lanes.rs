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

use std::cell::Cell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::store::StoreId;

/// How long a worker may take from leaving a lane to waiting for its next task.
const WAY_BACK: Duration = Duration::from_millis(5);

/// How a task uses its lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaneMode {
    /// Together with other shared ones.
    Shared,
    /// Alone.
    Exclusive,
}

/// The lane a task needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// Of which store.
    pub store: StoreId,
    /// How.
    pub mode: LaneMode,
}

/// Which workers may take a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Crew {
    /// Any worker of the pool.
    Shared,
    /// The one worker that a store has to itself.
    Own(StoreId),
}

/// Why a task was not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueRefusal {
    /// As many wait as may.
    Full,
    /// No more work is taken.
    Closed,
}

/// A queue of tasks of type `T`, with its lanes. Cheap to clone.
pub struct Lanes<T> {
    shared: Arc<SharedLanes<T>>,
}

struct SharedLanes<T> {
    state: Mutex<LanesState<T>>,
    changed: Notify,
    capacity: usize,
}

struct LanesState<T> {
    entries: VecDeque<Queued<T>>,
    parked: Vec<Parked<T>>,
    held: HashMap<StoreId, HeldLane>,
    /// Who was alone in a lane last, and until when it is expected back: its copy of the store is the newest.
    last: HashMap<StoreId, (u64, Instant)>,
    /// Workers that wait for a task.
    idle: HashMap<u64, Crew>,
    next_ticket: u64,
    closed: bool,
}

struct Queued<T> {
    lane: Option<Lane>,
    wants: Wants<T>,
}

enum Wants<T> {
    /// A worker and the lane.
    Worker { task: T, crew: Crew },
    /// The lane alone, for a caller that has a worker, or is starting one.
    Lane { ticket: u64, starting: bool },
}

/// A task that has its lane already, and goes before all others.
struct Parked<T> {
    store: StoreId,
    task: T,
    crew: Crew,
}

#[derive(Default)]
struct HeldLane {
    shared: usize,
    exclusive: bool,
    parked: bool,
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
        let state = LanesState {
            entries: VecDeque::new(),
            parked: Vec::new(),
            held: HashMap::new(),
            last: HashMap::new(),
            idle: HashMap::new(),
            next_ticket: 0,
            closed: false,
        };
        Lanes { shared: Arc::new(SharedLanes { state: Mutex::new(state), changed: Notify::new(), capacity }) }
    }

    /// Puts a task at the end. `is_dead` tells tasks whose caller has gone, which make room first.
    pub fn push(
        &self,
        task: T,
        crew: Crew,
        lane: Option<Lane>,
        is_dead: impl Fn(&T) -> bool,
    ) -> Result<(), QueueRefusal> {
        let mut state = self.shared.state();
        if state.closed {
            return Err(QueueRefusal::Closed);
        }
        if state.waiting() >= self.shared.capacity {
            state
                .entries
                .retain(|entry| !matches!(&entry.wants, Wants::Worker { task, .. } if is_dead(task)));
            if state.waiting() >= self.shared.capacity {
                return Err(QueueRefusal::Full);
            }
        }
        state.entries.push_back(Queued { lane, wants: Wants::Worker { task, crew } });
        drop(state);
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
            let again = Cell::new(None);
            {
                let mut state = self.shared.state();
                state.idle.insert(worker, crew.clone());
                let before = state.entries.len();
                state
                    .entries
                    .retain(|entry| !matches!(&entry.wants, Wants::Worker { task, .. } if is_dead(task)));
                if state.entries.len() != before {
                    // Others may have waited behind them.
                    self.shared.changed.notify_waiters();
                }
                while let Some(Parked { store, task, .. }) = state.take_parked(crew) {
                    let lane = Lane { store, mode: LaneMode::Exclusive };
                    if is_dead(&task) {
                        state.give_back(&lane);
                        self.shared.changed.notify_waiters();
                        continue;
                    }
                    return Some((task, Some(LanePermit::new(lane, &self.shared, Some(worker)))));
                }
                let mine = |state: &LanesState<T>, entry: &Queued<T>| {
                    if !matches!(&entry.wants, Wants::Worker { crew: of, .. } if of == crew) {
                        return false;
                    }
                    let left = state.is_left(worker, crew, entry.lane.as_ref());
                    again.set(left.or(again.get()));
                    left.is_none()
                };
                if let Some(Queued { lane, wants: Wants::Worker { task, .. } }) = state.take(false, mine) {
                    return Some((task, lane.map(|lane| LanePermit::new(lane, &self.shared, Some(worker)))));
                }
                if state.is_finished(crew) {
                    return None;
                }
            }
            match again.get() {
                Some(again) => drop(timeout_at(again, changed).await),
                None => changed.await,
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
        let ticket = {
            let mut state = self.shared.state();
            state.next_ticket += 1;
            let ticket = state.next_ticket;
            state
                .entries
                .push_back(Queued { lane: Some(lane.clone()), wants: Wants::Lane { ticket, starting } });
            ticket
        };
        let waiting = Waiting { shared: &self.shared, ticket };
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let mine = |_: &LanesState<T>, entry: &Queued<T>| matches!(entry.wants, Wants::Lane { ticket, .. } if ticket == waiting.ticket);
            if self.shared.state().take(true, mine).is_some() {
                return LanePermit::new(lane, &self.shared, None);
            }
            changed.await;
        }
    }

    /// Takes no more tasks; those that wait are still served.
    pub fn close(&self) {
        self.shared.state().closed = true;
        self.shared.changed.notify_waiters();
    }

    /// Whether no more tasks are taken.
    pub fn is_closed(&self) -> bool {
        self.shared.state().closed
    }

    /// Drops the tasks that wait.
    pub fn clear(&self) {
        let dropped: (VecDeque<Queued<T>>, Vec<Parked<T>>) = {
            let mut state = self.shared.state();
            let (gone, kept) =
                state.entries.drain(..).partition(|entry| matches!(entry.wants, Wants::Worker { .. }));
            state.entries = kept;
            // Their lanes stay closed, because no task comes after them.
            (gone, std::mem::take(&mut state.parked))
        };
        drop(dropped);
        self.shared.changed.notify_waiters();
    }

    /// Resolves once the queue is closed and holds nothing for the crew. Cancel safe.
    pub async fn finished(&self, crew: &Crew) {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.shared.state().is_finished(crew) {
                return;
            }
            changed.await;
        }
    }

    /// How many tasks wait for a worker.
    pub fn waiting(&self) -> usize {
        self.shared.state().waiting()
    }
}

impl<T> Clone for Lanes<T> {
    fn clone(&self) -> Lanes<T> {
        Lanes { shared: self.shared.clone() }
    }
}

impl<T> SharedLanes<T> {
    fn state(&self) -> MutexGuard<'_, LanesState<T>> {
        // Nothing in here panics half-way; a poisoned lock holds whole data.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> LanesState<T> {
    /// Takes the first entry that `mine` names and whose lane admits it, and holds the lane for it. With
    /// `has_worker`, tasks that wait for a worker are passed over: they may be waiting for this very one.
    fn take(
        &mut self,
        has_worker: bool,
        mine: impl Fn(&LanesState<T>, &Queued<T>) -> bool,
    ) -> Option<Queued<T>> {
        let mut blocked: HashSet<&StoreId> = HashSet::new();
        let mut found = None;
        for (index, entry) in self.entries.iter().enumerate() {
            if let (true, Wants::Worker { crew, .. }) = (has_worker, &entry.wants) {
                // Passed over, since it may wait for this very worker; but not where an idle one will take it as
                // soon as its lane is free, or readers that come and go would keep it out for ever.
                if let Some(Lane { store, mode: LaneMode::Exclusive }) = &entry.lane
                    && self.idle.values().any(|idle| idle == crew)
                {
                    blocked.insert(store);
                }
                continue;
            }
            if let Some(lane) = &entry.lane {
                let held = self.held.get(&lane.store);
                let is_parked = held.is_some_and(|held| held.parked);
                let starting = matches!(entry.wants, Wants::Lane { starting: true, .. });
                let admits = (!blocked.contains(&lane.store) || (is_parked && starting))
                    && held.is_none_or(|held| match lane.mode {
                        LaneMode::Shared => !held.exclusive && (!is_parked || starting),
                        LaneMode::Exclusive => {
                            !held.exclusive && held.shared == 0 && (!is_parked || starting)
                        }
                    });
                if !admits {
                    blocked.insert(&lane.store);
                    continue;
                }
            }
            if mine(self, entry) {
                found = Some(index);
                break;
            }
            // An exclusive task that somebody else may take now goes before later ones of its lane.
            if let Some(Lane { store, mode: LaneMode::Exclusive }) = &entry.lane {
                blocked.insert(store);
            }
        }
        let entry = self.entries.remove(found?)?;
        if let Some(lane) = &entry.lane {
            let held = self.held.entry(lane.store.clone()).or_default();
            match lane.mode {
                LaneMode::Shared => held.shared += 1,
                LaneMode::Exclusive => held.exclusive = true,
            }
        }
        Some(entry)
    }

    /// When to retry, if the last exclusive holder of the lane gets first refusal: it waits too, or is on its way
    /// back. Whoever stops waiting tells the others earlier.
    fn is_left(&self, worker: u64, crew: &Crew, lane: Option<&Lane>) -> Option<Instant> {
        let Some(Lane { store, mode: LaneMode::Exclusive }) = lane else { return None };
        let (last, back_by) = *self.last.get(store).filter(|(last, _)| *last != worker)?;
        let now = Instant::now();
        if self.idle.get(&last) == Some(crew) {
            return Some(now + WAY_BACK);
        }
        (now < back_by).then_some(back_by)
    }

    /// Takes what is parked for this crew, once nobody else is in its lane, which is held alone from then.
    fn take_parked(&mut self, crew: &Crew) -> Option<Parked<T>> {
        let held = &self.held;
        let is_free =
            |store| held.get(store).is_none_or(|held: &HeldLane| held.shared == 0 && !held.exclusive);
        let index = self.parked.iter().position(|parked| parked.crew == *crew && is_free(&parked.store))?;
        let parked = self.parked.remove(index);
        let more = self.parked.iter().any(|other| other.store == parked.store);
        let held = self.held.entry(parked.store.clone()).or_default();
        (held.parked, held.exclusive) = (more, true);
        Some(parked)
    }

    fn give_back(&mut self, lane: &Lane) {
        let Some(held) = self.held.get_mut(&lane.store) else { return };
        match lane.mode {
            LaneMode::Shared => held.shared -= 1,
            LaneMode::Exclusive => held.exclusive = false,
        }
        if held.shared == 0 && !held.exclusive && !held.parked {
            self.held.remove(&lane.store);
        }
    }

    /// Whether no more comes for this crew.
    fn is_finished(&self, crew: &Crew) -> bool {
        let waits = |entry: &Queued<T>| matches!(&entry.wants, Wants::Worker { crew: of, .. } if of == crew);
        self.closed
            && !self.entries.iter().any(waits)
            && !self.parked.iter().any(|parked| parked.crew == *crew)
    }

    fn waiting(&self) -> usize {
        let waits = |entry: &&Queued<T>| matches!(entry.wants, Wants::Worker { .. });
        self.entries.iter().filter(waits).count() + self.parked.len()
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
        let mut state = self.shared.state();
        let held = state.held.entry(self.lane.store.clone()).or_default();
        match self.lane.mode {
            LaneMode::Shared => held.shared -= 1,
            LaneMode::Exclusive => held.exclusive = false,
        }
        held.parked = true;
        state.parked.push(Parked { store: self.lane.store.clone(), task, crew });
        drop(state);
        self.shared.changed.notify_waiters();
    }
}

impl<T> Drop for LanePermit<T> {
    fn drop(&mut self) {
        if self.parked {
            return;
        }
        let mut state = self.shared.state();
        state.give_back(&self.lane);
        if let (LaneMode::Exclusive, Some(worker)) = (self.lane.mode, self.worker) {
            state.last.insert(self.lane.store.clone(), (worker, Instant::now() + WAY_BACK));
        }
        drop(state);
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
        let mut state = self.shared.state();
        state.idle.remove(&self.worker);
        // Whoever waits for the end of a closed queue must also be told of its last task.
        let is_news = !state.entries.is_empty() || state.closed;
        drop(state);
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
        let mut state = self.shared.state();
        let before = state.entries.len();
        state
            .entries
            .retain(|entry| !matches!(entry.wants, Wants::Lane { ticket, .. } if ticket == self.ticket));
        let changed = state.entries.len() != before;
        drop(state);
        if changed {
            self.shared.changed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests;
