//! Cached values, with an epoch for each key.
//!
//! A load takes the key's epoch when it begins. Whoever changes a key, or may have changed it, drops its
//! entry; the next one has a new epoch, and a load of an older epoch is neither stored nor joined. So once
//! a write is acknowledged no later read sees an older value, cached or not.
//!
//! Loads of one key and epoch are one: a hundred callers of a cold secret make one vault call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::error::BridgeError;
use crate::secret::{SecretValue, fold};
use crate::store::StoreId;

/// Most values kept. Past that the one nearest to its end goes.
const MAX_VALUES: usize = 10_000;

/// The outcome of a load, shared by all who waited for it.
pub type Loaded = Result<Arc<SecretValue>, BridgeError>;

/// Values by store and key.
#[derive(Default)]
pub struct Cache {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    keys: HashMap<(StoreId, String), Key>,
    /// Never used twice, so that an entry made anew is told from the one before.
    next_epoch: u64,
    values: usize,
    hits: u64,
    misses: u64,
}

/// A key, its spellings folded together: a vault that tells them apart loses some caching, no value.
struct Key {
    epoch: u64,
    value: Option<Kept>,
    flight: Option<Flight>,
}

struct Kept {
    spelling: String,
    detail: bool,
    value: Arc<SecretValue>,
    until: Instant,
}

struct Flight {
    spelling: String,
    detail: bool,
    /// Whoever loads has a worker already.
    in_worker: bool,
    outcome: watch::Receiver<Option<Loaded>>,
}

/// What a look-up found.
pub enum Found {
    /// A value within its time.
    Fresh(Arc<SecretValue>),
    /// A load under way; wait for its outcome. A closed channel means that it came to nothing.
    Loading(watch::Receiver<Option<Loaded>>),
    /// Nothing: the caller loads, and tells the others through the ticket.
    Miss(Ticket),
}

/// The right and duty to load a key. Dropped unfinished, those who wait look again.
pub struct Ticket {
    key: (StoreId, String),
    spelling: String,
    detail: bool,
    epoch: u64,
    outcome: watch::Sender<Option<Loaded>>,
}

impl Ticket {
    /// Waits for the outcome of this load like everybody else.
    pub fn subscribe(&self) -> watch::Receiver<Option<Loaded>> {
        self.outcome.subscribe()
    }
}

/// What a caller looks for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The store.
    pub store: &'a StoreId,
    /// The key, in the caller's spelling.
    pub name: &'a str,
    /// With the exact type, which not every load asks for.
    pub detail: bool,
    /// A kept value will do; else a load, though not one of its own.
    pub kept: bool,
    /// Whose load will do.
    pub join: Join,
}

/// Which loads under way a caller may wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// Any: the caller holds nothing that a load could need.
    Any,
    /// One that has its worker: the caller holds a worker itself, and one that still waits for a worker
    /// may be waiting for this very one.
    InWorker,
    /// None: the caller may hold what the load needs.
    Never,
}

impl Cache {
    /// Looks a key up.
    pub fn find(&self, wanted: Wanted<'_>, now: Instant) -> Found {
        let Wanted { store, name, detail, kept: take_kept, join } = wanted;
        let id = (store.clone(), fold(name));
        let mut guard = self.state();
        let state = &mut *guard;
        let next_epoch = &mut state.next_epoch;
        let key = state.keys.entry(id.clone()).or_insert_with(|| {
            *next_epoch += 1;
            Key { epoch: *next_epoch, value: None, flight: None }
        });
        if let Some(kept) = key.value.as_ref().filter(|_| take_kept)
            && kept.until > now
            && kept.spelling == name
            && (kept.detail || !detail)
        {
            state.hits += 1;
            return Found::Fresh(kept.value.clone());
        }
        state.misses += 1;
        if let Some(flight) = &key.flight {
            let alive = flight.outcome.has_changed().is_ok();
            let may = match join {
                Join::Any => true,
                Join::InWorker => flight.in_worker,
                Join::Never => false,
            };
            if alive && may && flight.spelling == name && (flight.detail || !detail) {
                return Found::Loading(flight.outcome.clone());
            }
        }
        let (outcome, receiver) = watch::channel(None);
        let epoch = key.epoch;
        let in_worker = join == Join::InWorker;
        key.flight = Some(Flight { spelling: name.to_owned(), detail, in_worker, outcome: receiver });
        Found::Miss(Ticket { key: id, spelling: name.to_owned(), detail, epoch, outcome })
    }

    /// Ends a load: keeps the value for `ttl` if no write came between, and tells those who wait.
    pub fn finish(&self, ticket: Ticket, outcome: Loaded, ttl: Duration, now: Instant) {
        {
            let mut guard = self.state();
            let state = &mut *guard;
            if let Some(key) = state.keys.get_mut(&ticket.key).filter(|key| key.epoch == ticket.epoch) {
                key.flight = None;
                if let (Ok(value), false) = (&outcome, ttl.is_zero()) {
                    let (spelling, detail) = (ticket.spelling.clone(), ticket.detail);
                    let kept = Kept { spelling, detail, value: value.clone(), until: now + ttl };
                    if key.value.replace(kept).is_none() {
                        state.values += 1;
                    }
                } else if key.value.is_none() {
                    state.keys.remove(&ticket.key);
                }
            }
            state.shrink(now);
        }
        let _ = ticket.outcome.send(Some(outcome));
    }

    /// A key was changed, or may have been: older loads no longer count, the value is dropped.
    pub fn touched(&self, store: &StoreId, name: &str) {
        let mut state = self.state();
        if state.keys.remove(&(store.clone(), fold(name))).is_some_and(|key| key.value.is_some()) {
            state.values -= 1;
        }
    }

    /// A store was changed by somebody else: as [`Cache::touched`] for each of its keys.
    pub fn touched_all(&self, store: &StoreId) {
        let mut state = self.state();
        state.keys.retain(|(of, _), _| of != store);
        state.values = state.keys.values().filter(|key| key.value.is_some()).count();
    }

    /// Drops values whose time is over, so that plain text does not linger. Called now and then.
    pub fn expire(&self, now: Instant) {
        self.state().expire(now);
    }

    /// Look-ups answered from the cache, and those that were not.
    pub fn counts(&self) -> (u64, u64) {
        let state = self.state();
        (state.hits, state.misses)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way; a poisoned lock holds whole data.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn expire(&mut self, now: Instant) {
        for key in self.keys.values_mut() {
            if key.value.as_ref().is_some_and(|kept| kept.until <= now) {
                key.value = None;
            }
        }
        // A load that was given up leaves its flight behind.
        let flies = |flight: &Flight| flight.outcome.has_changed().is_ok();
        self.keys.retain(|_, key| key.value.is_some() || key.flight.as_ref().is_some_and(flies));
        self.values = self.keys.values().filter(|key| key.value.is_some()).count();
    }

    fn shrink(&mut self, now: Instant) {
        if self.values <= MAX_VALUES {
            return;
        }
        self.expire(now);
        while self.values > MAX_VALUES {
            let first = self
                .keys
                .values_mut()
                .filter(|key| key.value.is_some())
                .min_by_key(|key| key.value.as_ref().map(|kept| kept.until));
            if let Some(key) = first {
                key.value = None;
            }
            self.values -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn store() -> StoreId {
        "s".into()
    }

    fn value(text: &str) -> Loaded {
        Ok(Arc::new(SecretValue::string(text)))
    }

    fn find(cache: &Cache, name: &str, now: Instant) -> Found {
        look(cache, name, Join::Any, now)
    }

    fn look(cache: &Cache, name: &str, join: Join, now: Instant) -> Found {
        cache.find(Wanted { store: &store(), name, detail: false, kept: true, join }, now)
    }

    fn begin(cache: &Cache, name: &str) -> Ticket {
        match find(cache, name, Instant::now()) {
            Found::Miss(ticket) => ticket,
            _ => panic!("a cold key is a miss"),
        }
    }

    fn fresh(cache: &Cache, name: &str, now: Instant) -> Option<String> {
        match find(cache, name, now) {
            Found::Fresh(value) => value.as_text().map(str::to_owned),
            _ => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_is_served_until_its_time_is_over() {
        let (cache, now) = (Cache::default(), Instant::now());
        cache.finish(begin(&cache, "k"), value("v"), MINUTE, now);
        assert_eq!(fresh(&cache, "k", now + MINUTE / 2).as_deref(), Some("v"));
        assert_eq!(fresh(&cache, "k", now + MINUTE), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_load_begun_before_a_write_is_neither_stored_nor_joined_after_it() {
        let (cache, now) = (Cache::default(), Instant::now());
        let old = begin(&cache, "k");
        assert!(matches!(find(&cache, "k", now), Found::Loading(_)), "before the write it is joined");
        cache.touched(&store(), "K");
        let new = begin(&cache, "k");
        cache.finish(old, value("old"), MINUTE, now);
        assert_eq!(fresh(&cache, "k", now), None);
        cache.finish(new, value("new"), MINUTE, now);
        assert_eq!(fresh(&cache, "k", now).as_deref(), Some("new"));
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_wait_get_the_one_outcome() {
        let (cache, now) = (Cache::default(), Instant::now());
        let ticket = begin(&cache, "k");
        let Found::Loading(mut waiting) = find(&cache, "k", now) else { panic!("one load") };
        cache.finish(ticket, value("v"), Duration::ZERO, now);
        let outcome = waiting.wait_for(Option::is_some).await.unwrap().clone().unwrap();
        assert_eq!(outcome.unwrap().as_text(), Some("v"));
        assert_eq!(fresh(&cache, "k", now), None, "no time to live, no value kept");
    }

    #[tokio::test(start_paused = true)]
    async fn a_load_given_up_is_begun_again() {
        let cache = Cache::default();
        drop(begin(&cache, "k"));
        begin(&cache, "k");
    }

    #[tokio::test(start_paused = true)]
    async fn who_holds_a_worker_joins_no_load_that_may_wait_for_one() {
        let (cache, now) = (Cache::default(), Instant::now());
        let queued = begin(&cache, "k");
        let Found::Miss(own) = look(&cache, "k", Join::InWorker, now) else { panic!("its own load") };
        assert!(matches!(look(&cache, "k", Join::InWorker, now), Found::Loading(_)));
        assert!(matches!(look(&cache, "k", Join::Any, now), Found::Loading(_)));
        let Found::Miss(_) = look(&cache, "k", Join::Never, now) else { panic!("its own load") };
        cache.finish(queued, value("v"), MINUTE, now);
        cache.finish(own, value("v"), MINUTE, now);
        assert_eq!(fresh(&cache, "k", now).as_deref(), Some("v"));
    }

    #[tokio::test(start_paused = true)]
    async fn another_spelling_never_gets_the_value() {
        let (cache, now) = (Cache::default(), Instant::now());
        cache.finish(begin(&cache, "Key"), value("v"), MINUTE, now);
        assert_eq!(fresh(&cache, "key", now), None);
    }

    #[tokio::test(start_paused = true)]
    async fn it_does_not_grow_without_bound() {
        let (cache, now) = (Cache::default(), Instant::now());
        for n in 0..MAX_VALUES + 50 {
            let ttl = MINUTE + Duration::from_secs(n as u64);
            cache.finish(begin(&cache, &format!("k{n}")), value("v"), ttl, now);
        }
        assert_eq!(cache.state().values, MAX_VALUES);
        assert_eq!(fresh(&cache, "k0", now), None, "the one nearest to its end went");
        cache.touched_all(&store());
        assert_eq!(cache.state().values, 0);
    }
}
