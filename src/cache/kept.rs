//! The values that are kept: read by many at once, bounded in number and in bytes.
//!
//! Readers of different keys share no lock, and readers of one key share a lock that only a change of a value
//! in the same part takes for itself.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;

use crate::plan::CacheLimits;
use crate::secret::SecretValue;
use crate::store::StoreId;

/// How many parts there are. A power of two.
const PARTS: usize = 32;

/// What an entry costs beside its value: names, times, the tables' own room.
const OVERHEAD: usize = 200;

/// What is known of a key.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    /// The value; `None` where the vault said that there is none.
    pub value: Option<Arc<SecretValue>>,
    /// With the exact type.
    pub detail: bool,
    /// When it was read.
    pub read: Instant,
    /// How long it may be served.
    pub ttl: Duration,
    /// When a look-up should begin the next load, if at all.
    pub refresh: Option<Instant>,
    /// Until when it may be served where the vault fails.
    pub stale_until: Instant,
}

impl Kept {
    pub fn until(&self) -> Instant {
        self.read + self.ttl
    }

    /// When there is no use for it any more.
    fn end(&self) -> Instant {
        self.until().max(self.stale_until)
    }
}

/// The kept values, by store and spelling.
pub(super) struct KeptValues {
    parts: [RwLock<HashMap<StoreId, HashMap<String, Kept>>>; PARTS],
    hasher: std::hash::RandomState,
    order: Mutex<Order>,
    limits: CacheLimits,
}

/// Which values end first, and how large they are.
#[derive(Default)]
struct Order {
    by_end: BTreeMap<(Instant, u64), CachePlace>,
    places: HashMap<CachePlace, Size>,
    bytes: usize,
    next: u64,
}

type CachePlace = (StoreId, String);

struct Size {
    at: (Instant, u64),
    bytes: usize,
}

impl KeptValues {
    pub fn new(limits: CacheLimits) -> KeptValues {
        KeptValues {
            parts: std::array::from_fn(|_| RwLock::default()),
            hasher: std::hash::RandomState::new(),
            order: Mutex::default(),
            limits,
        }
    }

    /// What is known of a key in exactly this spelling, whether its time is over or not.
    pub fn get(&self, store: &StoreId, spelling: &str) -> Option<Kept> {
        let part = self.part(spelling).read().unwrap_or_else(PoisonError::into_inner);
        part.get(store)?.get(spelling).cloned()
    }

    /// Keeps a value, and lets others go where there are too many. One that is larger than all that may be kept is
    /// not kept.
    pub fn put(&self, store: &StoreId, spelling: &str, kept: Kept, now: Instant) {
        let bytes = OVERHEAD + spelling.len() + kept.value.as_ref().map_or(0, |value| value.size());
        let mut order = self.order();
        self.take(&mut order, store, spelling);
        if bytes > self.limits.max_bytes {
            return;
        }
        order.next += 1;
        let (place, at) = ((store.clone(), spelling.to_owned()), (kept.end(), order.next));
        order.by_end.insert(at, place.clone());
        order.places.insert(place, Size { at, bytes });
        order.bytes += bytes;
        let mut part = self.part(spelling).write().unwrap_or_else(PoisonError::into_inner);
        part.entry(store.clone()).or_default().insert(spelling.to_owned(), kept);
        drop(part);
        self.shrink(&mut order, now);
    }

    pub fn remove(&self, store: &StoreId, spelling: &str) {
        self.take(&mut self.order(), store, spelling);
    }

    /// Forgets all of a store.
    pub fn remove_all(&self, store: &StoreId) {
        self.retain(|(of, _), _| of != store);
    }

    /// Forgets what is of no use any more.
    pub fn expire(&self, now: Instant) {
        let mut order = self.order();
        self.drop_ended(&mut order, now);
    }

    /// How many there are, and how many bytes they take.
    pub fn usage(&self) -> (usize, usize) {
        let order = self.order();
        (order.places.len(), order.bytes)
    }

    /// All places for which a value is kept, of any time.
    pub fn spellings(&self, store: &StoreId) -> Vec<String> {
        let order = self.order();
        order.places.keys().filter(|(of, _)| of == store).map(|(_, spelling)| spelling.clone()).collect()
    }

    fn retain(&self, keep: impl Fn(&CachePlace, &Size) -> bool) {
        let mut order = self.order();
        let gone: Vec<CachePlace> = order
            .places
            .iter()
            .filter(|(place, size)| !keep(place, size))
            .map(|(place, _)| place.clone())
            .collect();
        for (store, spelling) in gone {
            self.take(&mut order, &store, &spelling);
        }
    }

    fn shrink(&self, order: &mut Order, now: Instant) {
        let over = |order: &Order| {
            order.places.len() > self.limits.max_entries || order.bytes > self.limits.max_bytes
        };
        if over(order) {
            self.drop_ended(order, now);
        }
        // The value that expires first is evicted first: it would be read again soonest anyway.
        while over(order)
            && let Some((_, (store, spelling))) = order.by_end.first_key_value()
        {
            let (store, spelling) = (store.clone(), spelling.clone());
            self.take(order, &store, &spelling);
        }
    }

    fn drop_ended(&self, order: &mut Order, now: Instant) {
        while let Some((&(end, _), (store, spelling))) = order.by_end.first_key_value()
            && end <= now
        {
            let (store, spelling) = (store.clone(), spelling.clone());
            self.take(order, &store, &spelling);
        }
    }

    fn take(&self, order: &mut Order, store: &StoreId, spelling: &str) {
        let Some(size) = order.places.remove(&(store.clone(), spelling.to_owned())) else { return };
        order.by_end.remove(&size.at);
        order.bytes -= size.bytes;
        let mut part = self.part(spelling).write().unwrap_or_else(PoisonError::into_inner);
        if let Some(values) = part.get_mut(store) {
            values.remove(spelling);
            if values.is_empty() {
                part.remove(store);
            }
        }
    }

    fn part(&self, spelling: &str) -> &RwLock<HashMap<StoreId, HashMap<String, Kept>>> {
        &self.parts[self.hasher.hash_one(spelling) as usize % PARTS]
    }

    fn order(&self) -> MutexGuard<'_, Order> {
        // Nothing in here panics half-way; a poisoned lock holds whole data.
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
