//! What the cache must hear of: every way in which a secret changes, or may have changed, has its method here, and
//! nothing else drops what is kept before its time.

use std::sync::Arc;

use super::Cache;
use crate::store::StoreId;

/// Where changes are told. Cheap to clone.
#[derive(Clone)]
pub struct Changes(Arc<Cache>);

impl Changes {
    /// To this cache.
    pub fn to(cache: Arc<Cache>) -> Changes {
        Changes(cache)
    }

    /// A write of ours has begun to change a key, whatever it came to. Told before the write is acknowledged, so that
    /// no later read sees an older value.
    pub fn wrote(&self, store: &StoreId, key: &str) {
        self.0.touched(store, key);
    }

    /// A block of a custom vault has written. A block may change other keys, so the whole store is cleared.
    pub fn wrote_by_block(&self, store: &StoreId) {
        self.0.touched_all(store);
    }

    /// Somebody says that a key was changed elsewhere.
    pub fn announced(&self, store: &StoreId, key: &str) {
        self.0.touched(store, key);
    }

    /// The store's files were changed by somebody else.
    pub fn changed_by_others(&self, store: &StoreId) {
        self.0.touched_all(store);
    }

    /// The vault was locked: what is kept of it is not to be seen any more.
    pub fn locked(&self, store: &StoreId) {
        self.0.touched_all(store);
    }

    /// The vault's name has come to mean another vault.
    pub fn replaced(&self, store: &StoreId) {
        self.0.touched_all(store);
    }

    /// Somebody wants what is kept of the store to be forgotten.
    pub fn forgotten(&self, store: &StoreId) {
        self.0.touched_all(store);
    }
}
