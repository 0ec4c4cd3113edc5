//! What all layers say of a store, the thing behind one or more registered vaults: which it is, and who may be in it
//! together. What is known of one is in `vault`.

use std::sync::Arc;

/// Identity of a store; the key of its lane and of its cached values.
pub type StoreId = Arc<str>;

/// How a store takes calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discipline {
    /// Readers together, writers alone.
    Readers,
    /// Any number of calls at once, in any worker.
    Parallel,
    /// One call at a time.
    Serial,
}
