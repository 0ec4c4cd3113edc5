//! What a task asks the queue for.

use crate::store::StoreId;

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
