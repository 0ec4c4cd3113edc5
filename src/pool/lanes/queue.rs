//! What waits, and what is held of the lanes: who may take what. It waits for nothing and tells nobody; [`super::Lanes`]
//! does.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::lane::{Crew, Lane, LaneMode, QueueRefusal};
use crate::store::StoreId;

/// How long a worker may take from leaving a lane to waiting for its next task.
pub(super) const WAY_BACK: Duration = Duration::from_millis(5);

/// The queue of [`super::Lanes`], with the lanes as they are held.
pub(super) struct TaskQueue<T> {
    entries: VecDeque<Queued<T>>,
    parked: Vec<Parked<T>>,
    held: HashMap<StoreId, HeldLane>,
    /// Who was alone in a lane last, and until when it is expected back: its copy of the store is the newest.
    last: HashMap<StoreId, (u64, Instant)>,
    /// Workers that wait for a task.
    idle: HashMap<u64, Crew>,
    next_ticket: u64,
    closed: bool,
    capacity: usize,
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

#[derive(Debug, Default)]
struct HeldLane {
    shared: usize,
    exclusive: bool,
    parked: bool,
}

/// What a worker that asks for a task is to do.
pub(super) enum Next<T> {
    /// This task, in the lane that is held for it now.
    Task(T, Option<Lane>),
    /// Wait until something changes, or until this moment at the latest.
    Wait(Option<Instant>),
    /// No more comes.
    Finished,
}

/// What a look through the queue makes of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sight {
    /// Its lane admits it.
    Open,
    /// Not for who looks; later ones of its lane may be.
    PassedOver,
    /// Its lane does not admit it, and it goes before later ones of its lane.
    Blocks,
}

impl<T> TaskQueue<T> {
    /// One in which at most `capacity` tasks wait for a worker.
    pub(super) fn new(capacity: usize) -> TaskQueue<T> {
        TaskQueue {
            entries: VecDeque::new(),
            parked: Vec::new(),
            held: HashMap::new(),
            last: HashMap::new(),
            idle: HashMap::new(),
            next_ticket: 0,
            closed: false,
            capacity,
        }
    }

    // === what comes in, and what goes out untaken ===

    /// Puts a task at the end. The dead make room first.
    pub(super) fn push(
        &mut self,
        task: T,
        crew: Crew,
        lane: Option<Lane>,
        is_dead: impl Fn(&T) -> bool,
    ) -> Result<(), QueueRefusal> {
        if self.closed {
            return Err(QueueRefusal::Closed);
        }
        if self.waiting() >= self.capacity {
            self.drop_dead(is_dead);
        }
        if self.waiting() >= self.capacity {
            return Err(QueueRefusal::Full);
        }
        self.entries.push_back(Queued { lane, wants: Wants::Worker { task, crew } });
        Ok(())
    }

    /// A place in the queue for a caller that wants a lane alone.
    pub(super) fn push_caller(&mut self, lane: Lane, starting: bool) -> u64 {
        self.next_ticket += 1;
        let ticket = self.next_ticket;
        self.entries.push_back(Queued { lane: Some(lane), wants: Wants::Lane { ticket, starting } });
        ticket
    }

    /// Takes a caller's place back, unless it has its lane. Whether there was one.
    pub(super) fn give_up(&mut self, of: u64) -> bool {
        self.retain(|entry| !matches!(entry.wants, Wants::Lane { ticket, .. } if ticket == of))
    }

    /// Drops the tasks whose callers have gone. Whether there were any, since others may have waited behind them.
    pub(super) fn drop_dead(&mut self, is_dead: impl Fn(&T) -> bool) -> bool {
        let (dead, parked) = self.parked.drain(..).partition::<Vec<_>, _>(|parked| is_dead(&parked.task));
        self.parked = parked;
        for Parked { store, .. } in &dead {
            let is_parked = self.parked.iter().any(|parked| parked.store == *store);
            if let Some(held) = self.held.get_mut(store) {
                held.parked = is_parked;
            }
            self.forget_if_free(store);
        }
        let had_waiting =
            self.retain(|entry| !matches!(&entry.wants, Wants::Worker { task, .. } if is_dead(task)));
        !dead.is_empty() || had_waiting
    }

    /// Takes out all tasks. The lanes of those that were parked stay closed, because no task comes after them.
    pub(super) fn clear(&mut self) -> Vec<T> {
        let (gone, kept) = self
            .entries
            .drain(..)
            .partition::<VecDeque<_>, _>(|entry| matches!(entry.wants, Wants::Worker { .. }));
        self.entries = kept;
        let waited = gone.into_iter().filter_map(|entry| match entry.wants {
            Wants::Worker { task, .. } => Some(task),
            Wants::Lane { .. } => None,
        });
        waited.chain(std::mem::take(&mut self.parked).into_iter().map(|parked| parked.task)).collect()
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether nobody waits for anything.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    #[cfg(test)]
    pub(super) fn holds_no_lane(&self) -> bool {
        self.held.is_empty()
    }

    /// How many tasks wait for a worker.
    pub(super) fn waiting(&self) -> usize {
        let waits = |entry: &&Queued<T>| matches!(entry.wants, Wants::Worker { .. });
        self.entries.iter().filter(waits).count() + self.parked.len()
    }

    /// Whether no more comes for this crew.
    pub(super) fn is_finished(&self, crew: &Crew) -> bool {
        self.closed
            && !self.entries.iter().any(|entry| entry.is_for(crew))
            && !self.parked.iter().any(|parked| parked.crew == *crew)
    }

    /// Whether any was taken out.
    fn retain(&mut self, stays: impl Fn(&Queued<T>) -> bool) -> bool {
        let before = self.entries.len();
        self.entries.retain(stays);
        self.entries.len() != before
    }

    // === who is served ===

    /// What a worker of this crew does next; until it has a task it counts as one that waits. What is parked goes first.
    pub(super) fn next(&mut self, worker: u64, crew: &Crew) -> Next<T> {
        self.idle.insert(worker, crew.clone());
        if let Some(Parked { store, task, .. }) = self.take_parked(crew) {
            return Next::Task(task, Some(Lane { store, mode: LaneMode::Exclusive }));
        }
        let mut again = None;
        let mine = |queue: &TaskQueue<T>, entry: &Queued<T>| {
            if !entry.is_for(crew) {
                return false;
            }
            let left = queue.left_to_another(worker, crew, entry.lane.as_ref());
            again = left.or(again);
            left.is_none()
        };
        match self.take(false, mine) {
            Some(Queued { lane, wants: Wants::Worker { task, .. } }) => Next::Task(task, lane),
            _ if self.is_finished(crew) => Next::Finished,
            _ => Next::Wait(again),
        }
    }

    /// Whether it is this caller's turn; the lane is held for it then.
    pub(super) fn admit(&mut self, of: u64) -> bool {
        let mine = |_: &TaskQueue<T>, entry: &Queued<T>| matches!(entry.wants, Wants::Lane { ticket, .. } if ticket == of);
        self.take(true, mine).is_some()
    }

    /// The worker no longer waits.
    pub(super) fn busy(&mut self, worker: u64) {
        self.idle.remove(&worker);
    }

    /// Takes the first entry that `mine` names and whose lane admits it, and holds the lane for it.
    fn take(
        &mut self,
        has_worker: bool,
        mine: impl FnMut(&TaskQueue<T>, &Queued<T>) -> bool,
    ) -> Option<Queued<T>> {
        let first = self.first(has_worker, mine)?;
        let entry = self.entries.remove(first)?;
        if let Some(lane) = &entry.lane {
            self.held.entry(lane.store.clone()).or_default().hold(lane.mode);
        }
        Some(entry)
    }

    fn first(
        &self,
        has_worker: bool,
        mut mine: impl FnMut(&TaskQueue<T>, &Queued<T>) -> bool,
    ) -> Option<usize> {
        let mut blocked: HashSet<&StoreId> = HashSet::new();
        for (index, entry) in self.entries.iter().enumerate() {
            let sight = self.sight(entry, has_worker, &blocked);
            if sight == Sight::Open && mine(self, entry) {
                return Some(index);
            }
            // An exclusive task that somebody else may take now goes before later ones of its lane.
            let goes_before = sight == Sight::Blocks || (sight == Sight::Open && entry.is_exclusive());
            if let (true, Some(lane)) = (goes_before, &entry.lane) {
                blocked.insert(&lane.store);
            }
        }
        None
    }

    /// What an entry is to one who looks. Who has a worker passes tasks that wait for one over, because they may wait for
    /// this very one.
    fn sight(&self, entry: &Queued<T>, has_worker: bool, blocked: &HashSet<&StoreId>) -> Sight {
        let starting = match &entry.wants {
            Wants::Worker { crew, .. } if has_worker => {
                // Not where an idle worker takes it as soon as its lane is free, or readers that come and go would
                // keep it out for ever.
                let is_next = entry.is_exclusive() && self.idle.values().any(|idle| idle == crew);
                return if is_next { Sight::Blocks } else { Sight::PassedOver };
            }
            Wants::Worker { .. } => false,
            Wants::Lane { starting, .. } => *starting,
        };
        let Some(lane) = &entry.lane else { return Sight::Open };
        let held = self.held.get(&lane.store);
        let goes_first = starting && held.is_some_and(|held| held.parked);
        let admits = held.is_none_or(|held| held.admits(lane.mode, starting));
        if admits && (goes_first || !blocked.contains(&lane.store)) { Sight::Open } else { Sight::Blocks }
    }

    /// When to look again, if the last one that was alone in the lane gets first refusal: it waits too, or is on its way
    /// back. Whoever stops waiting tells the others earlier.
    fn left_to_another(&self, worker: u64, crew: &Crew, lane: Option<&Lane>) -> Option<Instant> {
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
        let is_free = |store| held.get(store).is_none_or(|held| held.shared == 0 && !held.exclusive);
        let index = self.parked.iter().position(|parked| parked.crew == *crew && is_free(&parked.store))?;
        let parked = self.parked.remove(index);
        let more = self.parked.iter().any(|other| other.store == parked.store);
        let held = self.held.entry(parked.store.clone()).or_default();
        (held.parked, held.exclusive) = (more, true);
        Some(parked)
    }

    // === lanes that are given back ===

    /// The lane is free for others; a worker that was alone in it is expected back soon.
    pub(super) fn give_back(&mut self, lane: &Lane, worker: Option<u64>) {
        if let Some(held) = self.held.get_mut(&lane.store) {
            held.let_go(lane.mode);
            self.forget_if_free(&lane.store);
        }
        if let (LaneMode::Exclusive, Some(worker)) = (lane.mode, worker) {
            self.last.insert(lane.store.clone(), (worker, Instant::now() + WAY_BACK));
        }
    }

    fn forget_if_free(&mut self, store: &StoreId) {
        if self.held.get(store).is_some_and(HeldLane::is_free) {
            self.held.remove(store);
        }
    }

    /// The lane is left to this task, and closed to all but workers that are starting until one has done it.
    pub(super) fn park(&mut self, lane: &Lane, task: T, crew: Crew) {
        let held = self.held.entry(lane.store.clone()).or_default();
        held.let_go(lane.mode);
        held.parked = true;
        self.parked.push(Parked { store: lane.store.clone(), task, crew });
    }
}

impl<T> Queued<T> {
    fn is_for(&self, crew: &Crew) -> bool {
        matches!(&self.wants, Wants::Worker { crew: of, .. } if of == crew)
    }

    fn is_exclusive(&self) -> bool {
        matches!(&self.lane, Some(Lane { mode: LaneMode::Exclusive, .. }))
    }
}

impl HeldLane {
    /// Whether one more may come in beside those who are there.
    fn admits(&self, mode: LaneMode, starting: bool) -> bool {
        let is_free = match mode {
            LaneMode::Shared => !self.exclusive,
            LaneMode::Exclusive => !self.exclusive && self.shared == 0,
        };
        is_free && (!self.parked || starting)
    }

    fn hold(&mut self, mode: LaneMode) {
        match mode {
            LaneMode::Shared => self.shared += 1,
            LaneMode::Exclusive => self.exclusive = true,
        }
    }

    fn let_go(&mut self, mode: LaneMode) {
        match mode {
            LaneMode::Shared => self.shared -= 1,
            LaneMode::Exclusive => self.exclusive = false,
        }
    }

    fn is_free(&self) -> bool {
        self.shared == 0 && !self.exclusive && !self.parked
    }
}

#[cfg(test)]
mod tests;
