//! Who may be in a store together, and who may serve it.

use super::entry::Entry;
use super::store::Store;
use crate::pool::lanes::{Crew, Lane, LaneMode};
use crate::store::Discipline;

/// The lane that something needs in a store, if any, which writes or only reads.
pub fn of(store: &Store, writes: bool) -> Option<Lane> {
    let mode = match store.discipline {
        Discipline::Parallel => return None,
        Discipline::Serial => LaneMode::Exclusive,
        Discipline::Readers if writes => LaneMode::Exclusive,
        Discipline::Readers => LaneMode::Shared,
    };
    Some(Lane { store: store.id.clone(), mode })
}

/// The workers that may serve a vault's store.
pub fn crew(entry: &Entry) -> Crew {
    if entry.backend.has_one_worker() { Crew::Own(entry.store.id.clone()) } else { Crew::Shared }
}
