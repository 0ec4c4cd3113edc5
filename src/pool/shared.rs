//! What the slots of a pool and its handles share.

use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex};

use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::lanes::{Crew, Lanes};
use super::task::{SetUp, Task};
use crate::metrics::Tally;
use crate::plan;
use crate::worker::{LaunchError, Launcher, Worker};

pub(super) struct PoolShared {
    pub(super) lanes: Lanes<Box<dyn Task>>,
    pub(super) launcher: Arc<dyn Launcher>,
    pub(super) set_up: Arc<dyn SetUp>,
    pub(super) sizes: plan::PoolLimits,
    /// Of [`plan::PoolLimits`]; may grow.
    pub(super) min: AtomicUsize,
    pub(super) max: AtomicUsize,
    pub(super) slots: Mutex<JoinSet<Option<Worker>>>,
    /// Slots of the shared crew.
    pub(super) size: AtomicUsize,
    pub(super) idle: AtomicUsize,
    pub(super) numbers: AtomicU64,
    /// Workers whose place another took, by why.
    pub(super) restarts: Tally,
    /// Tasks done, by whichever worker.
    pub(super) done: AtomicU64,
    pub(super) status: Mutex<Vec<WorkerStatus>>,
    pub(super) own_crews: Mutex<Vec<Crew>>,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) halt: CancellationToken,
}

/// Why a whole worker's place is taken by another: it was slow, or what it had read of a store is old.
pub const RETIRED: &str = "retired";

/// How far the start has come.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// Workers that are ready or busy.
    pub up: usize,
    /// So many more that have a store to themselves.
    pub own_up: usize,
    /// The last failure to start one, and how many in a row its slot has had.
    pub failure: Option<(LaunchError, u32)>,
}

/// A worker as health shows it.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct WorkerStatus {
    /// Its slot.
    pub slot: usize,
    /// The state's word.
    pub state: &'static str,
    /// Its process.
    pub pid: Option<u32>,
    /// Calls so far.
    pub calls: u64,
    /// Those of them that write or remove a secret.
    pub writes: u64,
    /// Resident bytes, where the system tells.
    pub memory: Option<u64>,
}

impl WorkerStatus {
    /// It waits for a task or runs one.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self.state, "ready" | "busy")
    }
}
