//! Cached values, with an epoch for each key.
//!
//! A load takes the key's epoch when it begins. A change of the key, or what may be one, drops its
//! entry; the next one has a new epoch, and a load of an older epoch is neither stored nor joined. So once
//! a write is acknowledged no later read sees an older value, cached or not.
//!
//! Loads of one key and epoch are one: a hundred callers of a cold secret make one vault call.
//!
//! A value has up to three times: when the next load should begin ([`Keep::refresh_ahead`]), when it is no longer
//! served ([`Keep::ttl`]), and until when it is served all the same where the vault fails ([`Keep::max_stale`]).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::error::BridgeError;
use crate::plan::{CacheLimits, Keep};
use crate::secret::{SecretValue, fold};
use crate::store::StoreId;
use kept::{Kept, KeptValues};

mod changes;
mod kept;

pub use changes::Changes;

/// The outcome of a load, shared by all who waited for it.
pub type LoadResult = Result<Arc<SecretValue>, BridgeError>;

/// Values by store and key.
pub struct Cache {
    /// Changed only by who holds `state`; read without it.
    values: KeptValues,
    state: Mutex<CacheState>,
    hits: AtomicU64,
    misses: AtomicU64,
    stale: AtomicU64,
}

#[derive(Default)]
struct CacheState {
    keys: HashMap<(StoreId, String), CacheKey>,
    /// Never used twice, so that an entry made anew is told from the one before.
    next_epoch: u64,
}

/// A key, its spellings folded together: a vault that tells them apart loses some caching, no value.
struct CacheKey {
    epoch: u64,
    /// The one spelling under which a value is kept.
    kept: Option<String>,
    flight: Option<Flight>,
}

struct Flight {
    spelling: String,
    detail: bool,
    /// Whoever loads has a worker already.
    in_worker: bool,
    begun: Instant,
    outcome: watch::Receiver<Option<LoadResult>>,
}

/// What a look-up found.
pub enum Lookup {
    /// A value within its time.
    Fresh(Hit),
    /// The vault said, within the time for that, that there is no such secret.
    Absent,
    /// A load under way since then; wait for its outcome. A closed channel means that it came to nothing.
    Loading(watch::Receiver<Option<LoadResult>>, Instant),
    /// Nothing: the caller loads, and tells the others through the ticket.
    Miss(Ticket),
}

/// A kept value.
#[derive(Debug, Clone)]
pub struct Hit {
    /// The value.
    pub value: Arc<SecretValue>,
    /// How old it is, and how old it may be.
    pub freshness: Freshness,
    /// Its end is near: a load should begin now, beside the answer.
    pub refresh: bool,
}

/// How old a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Freshness {
    /// Time since the vault was asked for it: it is no older than that.
    pub age: Duration,
    /// The age up to which it is served.
    pub bound: Duration,
    /// It comes from the cache. Else the vault was asked for this answer, or for one that was wanted at the same time.
    pub kept: bool,
}

impl Freshness {
    /// Seconds for which it would still be served; negative where it is served beyond its time.
    #[must_use]
    pub fn left(&self) -> i64 {
        let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        // Whole seconds of what is left: one that ends within a second has none.
        match self.is_stale() {
            true => -seconds(self.age - self.bound) - 1,
            false => seconds(self.bound.saturating_sub(self.age)),
        }
    }

    /// Whether it is served beyond its time, because the vault fails.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.kept && self.age >= self.bound
    }
}

/// The right and duty to load a key. If it is dropped before the load has ended, those who wait look again.
pub struct Ticket {
    key: (StoreId, String),
    spelling: String,
    detail: bool,
    epoch: u64,
    begun: Instant,
    outcome: watch::Sender<Option<LoadResult>>,
}

impl Ticket {
    /// Since when the load is under way.
    pub fn begun(&self) -> Instant {
        self.begun
    }

    /// Waits for the outcome of this load like everybody else.
    pub fn subscribe(&self) -> watch::Receiver<Option<LoadResult>> {
        self.outcome.subscribe()
    }
}

/// What a caller looks for.
#[derive(Debug, Clone, Copy)]
pub struct WantedValue<'a> {
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
    /// None: the caller may hold what the load needs, or wants a value that was read after it asked.
    Never,
}

/// Counts and sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct CacheUsage {
    /// Look-ups that were answered from kept values.
    pub hits: u64,
    /// Look-ups that were not.
    pub misses: u64,
    /// Values that were served beyond their time, because the vault failed.
    pub stale: u64,
    /// Values that are kept.
    pub entries: usize,
    /// How many bytes they take, names included.
    pub bytes: usize,
}

impl Default for Cache {
    fn default() -> Cache {
        Cache::new(CacheLimits::default())
    }
}

impl Cache {
    /// An empty cache of at most this size.
    pub fn new(limits: CacheLimits) -> Cache {
        Cache {
            values: KeptValues::new(limits),
            state: Mutex::default(),
            hits: AtomicU64::default(),
            misses: AtomicU64::default(),
            stale: AtomicU64::default(),
        }
    }

    /// Looks a key up.
    pub fn find(&self, wanted: WantedValue<'_>, now: Instant) -> Lookup {
        if let Some(found) = self.look(&wanted, now) {
            return found;
        }
        let mut guard = self.state();
        // A load may have ended since.
        if let Some(found) = self.look(&wanted, now) {
            return found;
        }
        self.misses.fetch_add(1, Ordering::Relaxed);
        let WantedValue { store, name, detail, join, .. } = wanted;
        let key = guard.key(store, name);
        if let Some(flight) = &key.flight {
            let may = match join {
                Join::Any => true,
                Join::InWorker => flight.in_worker,
                Join::Never => false,
            };
            if flight.is_alive() && may && flight.spelling == name && (flight.detail || !detail) {
                return Lookup::Loading(flight.outcome.clone(), flight.begun);
            }
        }
        Lookup::Miss(key.begin(&wanted, now))
    }

    /// The kept value, if there is one within its time that will do.
    fn look(&self, wanted: &WantedValue<'_>, now: Instant) -> Option<Lookup> {
        if !wanted.kept {
            return None;
        }
        let kept = self.values.get(wanted.store, wanted.name)?;
        if kept.until() <= now {
            return None;
        }
        let found = match &kept.value {
            Some(_) if wanted.detail && !kept.detail => return None,
            Some(value) => {
                let refresh = kept.refresh.is_some_and(|at| at <= now);
                Lookup::Fresh(Hit { value: value.clone(), freshness: kept.freshness(now), refresh })
            }
            None => Lookup::Absent,
        };
        self.hits.fetch_add(1, Ordering::Relaxed);
        Some(found)
    }

    /// The right to load a key although a value is kept, so that it is new before its time is over; `None` where
    /// a load is under way.
    pub fn ahead(&self, wanted: WantedValue<'_>, now: Instant) -> Option<Ticket> {
        let mut guard = self.state();
        let key = guard.key(wanted.store, wanted.name);
        match &key.flight {
            Some(flight) if flight.is_alive() => None,
            _ => Some(key.begin(&wanted, now)),
        }
    }

    /// A value whose time is over, for a caller whose load failed; `None` where none may be served. The caller
    /// says that it is stale.
    pub fn stale(&self, wanted: WantedValue<'_>, now: Instant) -> Option<Hit> {
        let kept = self.values.get(wanted.store, wanted.name)?;
        if kept.stale_until <= now || (wanted.detail && !kept.detail) {
            return None;
        }
        let value = kept.value.clone()?;
        self.stale.fetch_add(1, Ordering::Relaxed);
        Some(Hit { value, freshness: kept.freshness(now), refresh: false })
    }

    /// Ends a load: keeps what it gave as `keep` says if no write came between, and tells those who wait. A load
    /// that failed leaves what is kept; one that found nothing does not.
    pub fn finish(&self, ticket: Ticket, outcome: LoadResult, keep: &Keep, now: Instant) {
        {
            let mut guard = self.state();
            if let Some(key) = guard.keys.get_mut(&ticket.key).filter(|key| key.epoch == ticket.epoch) {
                key.flight = None;
                self.keep(key, &ticket, &outcome, keep, now);
                if key.kept.is_none() {
                    guard.keys.remove(&ticket.key);
                }
            }
        }
        let _ = ticket.outcome.send(Some(outcome));
    }

    fn keep(&self, key: &mut CacheKey, ticket: &Ticket, outcome: &LoadResult, keep: &Keep, now: Instant) {
        let (value, ttl) = match outcome {
            Ok(value) => (Some(value.clone()), keep.ttl),
            Err(BridgeError::NotFound { .. }) => (None, keep.negative_ttl.min(keep.ttl)),
            Err(_) => return,
        };
        let store = &ticket.key.0;
        if let Some(spelling) = key.kept.take() {
            self.values.remove(store, &spelling);
        }
        if ttl.is_zero() {
            return;
        }
        // The time counts from the request: the vault may have read the value at any moment since.
        let read = ticket.begun.min(now);
        let until = read + ttl;
        let is_value = value.is_some();
        let refresh = (is_value && !keep.refresh_ahead.is_zero())
            .then(|| until.checked_sub(keep.refresh_ahead.min(ttl)).unwrap_or(read));
        let stale_until = if is_value { until + keep.max_stale } else { until };
        let kept = Kept { value, detail: ticket.detail, read, ttl, refresh, stale_until };
        self.values.put(store, &ticket.spelling, kept, now);
        key.kept = Some(ticket.spelling.clone());
    }

    /// A key was changed, or may have been: older loads no longer count, the value is dropped.
    fn touched(&self, store: &StoreId, name: &str) {
        let mut state = self.state();
        if let Some(CacheKey { kept: Some(spelling), .. }) = state.keys.remove(&(store.clone(), fold(name))) {
            self.values.remove(store, &spelling);
        }
    }

    /// A store was changed by somebody else: as [`Cache::touched`] for each of its keys.
    fn touched_all(&self, store: &StoreId) {
        let mut state = self.state();
        state.keys.retain(|(of, _), _| of != store);
        self.values.remove_all(store);
    }

    /// The names in a store of which something is kept or is being loaded, in the spelling in which they were asked for.
    pub fn names(&self, store: &StoreId) -> Vec<String> {
        let state = self.state();
        let mut names = self.values.spellings(store);
        let ours = state.keys.iter().filter(|((of, _), _)| of == store);
        let loading = ours.filter_map(|(_, key)| key.flight.as_ref()).filter(|flight| flight.is_alive());
        for flight in loading {
            if !names.contains(&flight.spelling) {
                names.push(flight.spelling.clone());
            }
        }
        names
    }

    /// Drops values whose time is over, so that plain text does not linger. Called now and then.
    pub fn expire(&self, now: Instant) {
        let mut state = self.state();
        self.values.expire(now);
        for ((store, _), key) in &mut state.keys {
            key.kept.take_if(|spelling| self.values.get(store, spelling).is_none());
        }
        // A load that was given up leaves its entry behind.
        state.keys.retain(|_, key| key.kept.is_some() || key.flight.as_ref().is_some_and(Flight::is_alive));
    }

    /// Counts and sizes.
    pub fn usage(&self) -> CacheUsage {
        let (entries, bytes) = self.values.usage();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CacheUsage {
            hits: count(&self.hits),
            misses: count(&self.misses),
            stale: count(&self.stale),
            entries,
            bytes,
        }
    }

    fn state(&self) -> MutexGuard<'_, CacheState> {
        // Nothing in here panics half-way; a poisoned lock holds whole data.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CacheState {
    fn key(&mut self, store: &StoreId, name: &str) -> Placed<'_> {
        let id = (store.clone(), fold(name));
        let next_epoch = &mut self.next_epoch;
        let key = self.keys.entry(id.clone()).or_insert_with(|| {
            *next_epoch += 1;
            CacheKey { epoch: *next_epoch, kept: None, flight: None }
        });
        Placed { id, key }
    }
}

/// A key with its place in the table.
struct Placed<'a> {
    id: (StoreId, String),
    key: &'a mut CacheKey,
}

impl std::ops::Deref for Placed<'_> {
    type Target = CacheKey;

    fn deref(&self) -> &CacheKey {
        self.key
    }
}

impl Placed<'_> {
    fn begin(self, wanted: &WantedValue<'_>, now: Instant) -> Ticket {
        let (outcome, receiver) = watch::channel(None);
        let (spelling, detail, epoch) = (wanted.name.to_owned(), wanted.detail, self.key.epoch);
        let in_worker = wanted.join == Join::InWorker;
        self.key.flight =
            Some(Flight { spelling: spelling.clone(), detail, in_worker, begun: now, outcome: receiver });
        Ticket { key: self.id, spelling, detail, epoch, begun: now, outcome }
    }
}

impl Flight {
    /// Somebody still loads.
    fn is_alive(&self) -> bool {
        self.outcome.has_changed().is_ok()
    }
}

impl Kept {
    fn freshness(&self, now: Instant) -> Freshness {
        Freshness { age: now.saturating_duration_since(self.read), bound: self.ttl, kept: true }
    }
}

#[cfg(test)]
mod tests;
