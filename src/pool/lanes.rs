//! The queue that workers pull from, with a lane for each store.
//!
//! A task waits here until a worker asks for one *and* its lane admits it; both are then taken in one
//! step. So nothing ever holds a lane while it waits for a worker, and a worker that already runs a
//! script only waits for a lane: no circle can form between the two.
//!
//! Order: first come, first served within a lane; a task whose lane is busy does not hold up tasks of
//! other lanes.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::store::StoreId;

/// How a task uses its lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
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
    pub mode: Mode,
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
pub enum Refusal {
    /// As many wait as may.
    Full,
    /// No more work is taken.
    Closed,
}

/// A queue of tasks of type `T`, with its lanes. Cheap to clone.
pub struct Lanes<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Notify,
    capacity: usize,
}

struct State<T> {
    entries: VecDeque<Entry<T>>,
    held: HashMap<StoreId, Held>,
    next_ticket: u64,
    closed: bool,
}

struct Entry<T> {
    lane: Option<Lane>,
    wants: Wants<T>,
}

enum Wants<T> {
    /// A worker and the lane.
    Worker { task: T, crew: Crew },
    /// The lane alone, for a caller that has a worker.
    Lane { ticket: u64 },
}

#[derive(Default)]
struct Held {
    shared: usize,
    exclusive: bool,
}

/// A lane, held until dropped.
pub struct Permit<T> {
    lane: Lane,
    shared: Arc<Shared<T>>,
}

impl<T> Lanes<T> {
    /// A queue in which at most `capacity` tasks wait.
    pub fn new(capacity: usize) -> Lanes<T> {
        let state = State { entries: VecDeque::new(), held: HashMap::new(), next_ticket: 0, closed: false };
        Lanes { shared: Arc::new(Shared { state: Mutex::new(state), changed: Notify::new(), capacity }) }
    }

    /// Puts a task at the end. `is_dead` tells tasks whose caller has gone, which make room first.
    pub fn push(
        &self,
        task: T,
        crew: Crew,
        lane: Option<Lane>,
        is_dead: impl Fn(&T) -> bool,
    ) -> Result<(), Refusal> {
        let mut state = self.shared.state();
        if state.closed {
            return Err(Refusal::Closed);
        }
        if state.waiting() >= self.shared.capacity {
            state
                .entries
                .retain(|entry| !matches!(&entry.wants, Wants::Worker { task, .. } if is_dead(task)));
            if state.waiting() >= self.shared.capacity {
                return Err(Refusal::Full);
            }
        }
        state.entries.push_back(Entry { lane, wants: Wants::Worker { task, crew } });
        drop(state);
        self.shared.changed.notify_waiters();
        Ok(())
    }

    /// The next task for a worker of this crew, with its lane. Skips and drops the dead. `None` once the
    /// queue is closed and holds nothing for the crew. Cancel safe.
    pub async fn pull(&self, crew: &Crew, is_dead: impl Fn(&T) -> bool) -> Option<(T, Option<Permit<T>>)> {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut state = self.shared.state();
                state
                    .entries
                    .retain(|entry| !matches!(&entry.wants, Wants::Worker { task, .. } if is_dead(task)));
                let mine = |wants: &Wants<T>| matches!(wants, Wants::Worker { crew: of, .. } if of == crew);
                if let Some(Entry { lane, wants: Wants::Worker { task, .. } }) = state.take(false, mine) {
                    let permit = lane.map(|lane| Permit { lane, shared: self.shared.clone() });
                    return Some((task, permit));
                }
                if state.closed && !state.entries.iter().any(|entry| mine(&entry.wants)) {
                    return None;
                }
            }
            changed.await;
        }
    }

    /// Waits for a lane in turn, for a caller that has a worker already. Cancel safe.
    pub async fn acquire(&self, lane: Lane) -> Permit<T> {
        let ticket = {
            let mut state = self.shared.state();
            state.next_ticket += 1;
            let ticket = state.next_ticket;
            state.entries.push_back(Entry { lane: Some(lane.clone()), wants: Wants::Lane { ticket } });
            ticket
        };
        let waiting = Waiting { shared: &self.shared, ticket };
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let mine =
                |wants: &Wants<T>| matches!(wants, Wants::Lane { ticket } if *ticket == waiting.ticket);
            if self.shared.state().take(true, mine).is_some() {
                return Permit { lane, shared: self.shared.clone() };
            }
            changed.await;
        }
    }

    /// Takes no more tasks; those that wait are still served.
    pub fn close(&self) {
        self.shared.state().closed = true;
        self.shared.changed.notify_waiters();
    }

    /// Drops the tasks that wait.
    pub fn clear(&self) {
        let dropped: VecDeque<Entry<T>> = {
            let mut state = self.shared.state();
            let (gone, kept) =
                state.entries.drain(..).partition(|entry| matches!(entry.wants, Wants::Worker { .. }));
            state.entries = kept;
            gone
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
            {
                let state = self.shared.state();
                let waits =
                    |entry: &Entry<T>| matches!(&entry.wants, Wants::Worker { crew: of, .. } if of == crew);
                if state.closed && !state.entries.iter().any(waits) {
                    return;
                }
            }
            changed.await;
        }
    }

    /// How many tasks wait for a worker.
    pub fn waiting(&self) -> usize {
        self.shared.state().waiting()
    }

    /// Whether a writer holds the lane.
    pub fn is_exclusive(&self, store: &StoreId) -> bool {
        self.shared.state().held.get(store).is_some_and(|held| held.exclusive)
    }
}

impl<T> Clone for Lanes<T> {
    fn clone(&self) -> Lanes<T> {
        Lanes { shared: self.shared.clone() }
    }
}

impl<T> Shared<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        // Nothing in here panics half-way; a poisoned lock holds whole data.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    /// Takes the first entry that `mine` names and whose lane admits it, and holds the lane for it. With
    /// `has_worker`, tasks that wait for a worker are passed over: they may be waiting for this very one.
    fn take(&mut self, has_worker: bool, mine: impl Fn(&Wants<T>) -> bool) -> Option<Entry<T>> {
        let mut blocked: HashSet<&StoreId> = HashSet::new();
        let mut found = None;
        for (index, entry) in self.entries.iter().enumerate() {
            if has_worker && matches!(entry.wants, Wants::Worker { .. }) {
                continue;
            }
            if let Some(lane) = &entry.lane {
                let held = self.held.get(&lane.store);
                let admits = !blocked.contains(&lane.store)
                    && held.is_none_or(|held| match lane.mode {
                        Mode::Shared => !held.exclusive,
                        Mode::Exclusive => !held.exclusive && held.shared == 0,
                    });
                if !admits {
                    blocked.insert(&lane.store);
                    continue;
                }
            }
            if mine(&entry.wants) {
                found = Some(index);
                break;
            }
            // An exclusive task that somebody else may take now goes before later ones of its lane.
            if let Some(Lane { store, mode: Mode::Exclusive }) = &entry.lane {
                blocked.insert(store);
            }
        }
        let entry = self.entries.remove(found?)?;
        if let Some(lane) = &entry.lane {
            let held = self.held.entry(lane.store.clone()).or_default();
            match lane.mode {
                Mode::Shared => held.shared += 1,
                Mode::Exclusive => held.exclusive = true,
            }
        }
        Some(entry)
    }

    fn waiting(&self) -> usize {
        self.entries.iter().filter(|entry| matches!(entry.wants, Wants::Worker { .. })).count()
    }
}

impl<T> Permit<T> {
    /// The lane held.
    pub fn lane(&self) -> &Lane {
        &self.lane
    }
}

impl<T> Drop for Permit<T> {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        if let Some(held) = state.held.get_mut(&self.lane.store) {
            match self.lane.mode {
                Mode::Shared => held.shared -= 1,
                Mode::Exclusive => held.exclusive = false,
            }
            if held.shared == 0 && !held.exclusive {
                state.held.remove(&self.lane.store);
            }
        }
        drop(state);
        self.shared.changed.notify_waiters();
    }
}

/// Takes the place in the queue back when its owner goes.
struct Waiting<'a, T> {
    shared: &'a Shared<T>,
    ticket: u64,
}

impl<T> Drop for Waiting<'_, T> {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        let before = state.entries.len();
        state.entries.retain(|entry| !matches!(entry.wants, Wants::Lane { ticket } if ticket == self.ticket));
        let changed = state.entries.len() != before;
        drop(state);
        if changed {
            self.shared.changed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests;
