//! Who may be in a store together, and who may serve it.

use super::verb::Verb;
use crate::pool::lanes::{Crew, Lane, LaneMode};
use crate::store::{Authentication, Discipline, Store};

/// The lane that a verb needs in a store, if any.
pub fn of(store: &Store, verb: &Verb) -> Option<Lane> {
    let mode = match store.discipline {
        Discipline::Parallel => return None,
        Discipline::Serial => LaneMode::Exclusive,
        Discipline::Readers if verb.writes() => LaneMode::Exclusive,
        Discipline::Readers => LaneMode::Shared,
    };
    Some(Lane { store: store.id.clone(), mode })
}

/// The workers that may serve a store.
pub fn crew(store: &Store) -> Crew {
    match store.authentication() {
        Authentication::None => Crew::Own(store.id.clone()),
        Authentication::Unknown | Authentication::Password => Crew::Shared,
    }
}
