//! What this layer notes about a worker.

use std::collections::HashSet;

use crate::worker::Worker;

/// What has been done in a worker.
#[derive(Debug, Default)]
pub(super) struct VaultNotes {
    /// The vaults that are registered in it, by their entries' numbers.
    pub(super) vaults: HashSet<u64>,
    /// How often a vault was unlocked in it, or what logs it in ran again.
    pub(super) renewals: u64,
}

/// The notes about a worker.
pub(super) fn about(worker: &mut Worker) -> &mut VaultNotes {
    worker.notes.of()
}
