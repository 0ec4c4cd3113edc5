//! What script mode notes about a worker.

use std::collections::HashMap;

use crate::worker::Worker;

/// What a worker has of a script.
#[derive(Debug, Default)]
pub(super) struct ScriptNotes {
    /// What it has of the script's session.
    pub(super) loaded: LoadedSession,
    /// The versions that it has of the objects that the script's blocks share.
    pub(super) copies: HashMap<u64, u64>,
    /// The unlocks that it has seen of the script's vaults, by their entries' numbers.
    pub(super) ran: HashMap<u64, u64>,
}

/// What a worker has of a script's session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct LoadedSession {
    /// The session's version that it has.
    pub(super) version: u64,
    /// It runs the script itself, so it lacks nothing but the blocks by their numbers.
    pub(super) declares: bool,
}

/// The notes about a worker.
pub(super) fn about(worker: &mut Worker) -> &mut ScriptNotes {
    worker.notes.of()
}
