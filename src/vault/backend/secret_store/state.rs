//! What is known of the SecretStore of this user, whose vaults are all one store.
//!
//! Workers keep their own copy of it in memory, so the core counts its own writes (`generation`) and looks at the
//! store's files ([`Fingerprint`]): a worker whose copy is older than either reads the file again before it is believed.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::secret::{Bytes, fold};
use crate::vault::fingerprint::Fingerprint;
use crate::vault::store::Store;

/// How a SecretStore protects itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Authentication {
    /// Not looked at yet.
    #[default]
    Unknown,
    /// By password: each process unlocks, and an unlock reads the file again.
    Password,
    /// By file modes alone: cannot be refreshed, so one worker alone uses it.
    None,
}

/// Files, and what was in them.
pub(super) type KeptFiles = Arc<Vec<(PathBuf, Bytes)>>;

/// The files as they were before a write of one key, until that has ended well.
#[derive(Debug)]
pub(super) struct Undo {
    pub(super) key: String,
    pub(super) files: KeptFiles,
    /// The write left the key half done, and it could not be put back yet.
    pub(super) owed: bool,
}

/// The store, and what the core knows of it.
#[derive(Debug)]
pub struct KnownStore {
    base: Arc<Store>,
    state: Mutex<StoreState>,
}

#[derive(Debug, Default)]
pub(super) struct StoreState {
    pub(super) generation: u64,
    /// The files as our own last write, or the last foreign change seen, left them.
    pub(super) expected: Option<Fingerprint>,
    /// The data of before a write that is not known to have ended well.
    pub(super) kept: KeptFiles,
    /// What puts back the value of a key that was not read before a write of ours.
    pub(super) undo: Option<Undo>,
    authentication: Authentication,
    /// The worker that wrote last, if it was one of ours and its write was acknowledged.
    pub(super) last_writer: Option<u64>,
    /// Seconds from an unlock; `None` is for ever.
    timeout: Option<Duration>,
    configured: bool,
    foreign_changes: u64,
    /// When the last one was seen.
    last_foreign: Option<Instant>,
    /// When a foreign change of the configuration was seen.
    reconfigured: Option<Instant>,
    /// A foreign change was seen and nobody has looked into it yet.
    pub(super) uninspected: bool,
    /// Looking into it has failed, and that was said.
    inspection_failed: bool,
    vanished: Vec<String>,
}

impl StoreState {
    fn has_other_configuration(&self, files: &Fingerprint) -> bool {
        self.expected.as_ref().is_some_and(|expected| !files.has_configuration_of(expected))
    }
}

/// Most vanished keys that are remembered by name.
const MAX_VANISHED: usize = 100;

/// A foreign writer needs about so long for the steps of one overwrite.
pub const FOREIGN_STEPS: Duration = Duration::from_millis(100);

/// How long a change of the configuration may take to come to a worker as a file event.
const ECHO: Duration = Duration::from_millis(500);

/// A foreign writer that was seen so lately may be writing still.
const FOREIGN_NEAR: Duration = Duration::from_secs(10);

impl Deref for KnownStore {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.base
    }
}

impl KnownStore {
    /// Nothing is known yet but where it is.
    pub fn new(base: Arc<Store>) -> KnownStore {
        KnownStore { base, state: Mutex::default() }
    }

    /// A store over any files, for tests.
    #[cfg(test)]
    pub fn over(files: Vec<PathBuf>) -> KnownStore {
        KnownStore::new(Arc::new(Store::in_files("s", crate::store::Discipline::Readers, files)))
    }

    /// The store as all kinds of vaults know one.
    pub fn base(&self) -> &Arc<Store> {
        &self.base
    }

    /// The count of our own writes.
    pub fn generation(&self) -> u64 {
        self.state().generation
    }

    /// Notes a write of our own, of any kind and by any worker, after which the files look so.
    pub fn wrote(&self, files: Fingerprint) -> u64 {
        let mut state = self.state();
        self.note_write(&mut state, files)
    }

    /// Notes our own write of a secret, after which the files look so; and the worker, if it was acknowledged.
    pub fn wrote_secret(&self, files: Fingerprint, worker: Option<u64>) -> u64 {
        let mut state = self.state();
        // No such write changes the configuration.
        let reconfigured = state.has_other_configuration(&files);
        let generation = self.note_write(&mut state, files);
        state.last_writer = worker;
        if reconfigured {
            self.note_foreign(&mut state, true);
        }
        generation
    }

    fn note_write(&self, state: &mut StoreState, files: Fingerprint) -> u64 {
        state.last_writer = None;
        state.generation += 1;
        state.expected = Some(files);
        // Between our write and this look at the files theirs would pass for ours.
        if state.last_foreign.is_some_and(|seen| seen.elapsed() < FOREIGN_NEAR) {
            state.uninspected = true;
        }
        state.generation
    }

    /// The worker whose acknowledged write was the last one, by anybody that we know of.
    pub fn last_writer(&self) -> Option<u64> {
        self.state().last_writer
    }

    /// Compares the files with what we left, by a caller that holds the lane. A difference is somebody
    /// else's write: counted once, and every worker's copy is old from then on.
    pub fn foreign_change(&self) -> bool {
        self.differs(&self.files_now())
    }

    /// As [`KnownStore::foreign_change`], by how the files have just looked.
    pub fn differs(&self, files: &Fingerprint) -> bool {
        if self.files().is_empty() {
            return false;
        }
        let mut state = self.state();
        match &state.expected {
            Some(expected) if expected == files => false,
            None => {
                state.expected = Some(files.clone());
                false
            }
            Some(expected) => {
                if !files.has_data_of(expected) {
                    state.kept = KeptFiles::default();
                    state.undo = None;
                }
                let reconfigured = state.has_other_configuration(files);
                state.last_writer = None;
                state.expected = Some(files.clone());
                state.generation += 1;
                self.note_foreign(&mut state, reconfigured);
                true
            }
        }
    }

    fn note_foreign(&self, state: &mut StoreState, reconfigured: bool) {
        let now = Some(Instant::now());
        state.foreign_changes += 1;
        state.last_foreign = now;
        state.reconfigured = if reconfigured { now } else { state.reconfigured };
        state.uninspected = true;
        state.inspection_failed = false;
        tracing::warn!(store = %self.id, "the store was changed by another process; it is read again");
    }

    /// Whether somebody else may be in the middle of a write: an overwrite of theirs is a delete and an add,
    /// and between the two the files look whole.
    pub fn changed_lately(&self) -> bool {
        self.changed_within(FOREIGN_STEPS)
    }

    /// A foreign write was seen recently, so fingerprints are unreliable: between our write and the look at what it
    /// left theirs would pass for ours.
    pub fn is_shared(&self) -> bool {
        self.changed_within(FOREIGN_NEAR)
    }

    /// How long until every worker has heard of the last foreign change of the configuration, at which
    /// SecretStore drops what it has open, whatever it is doing.
    pub fn heard_of_configuration_in(&self) -> Duration {
        self.state().reconfigured.map_or(Duration::ZERO, |seen| ECHO.saturating_sub(seen.elapsed()))
    }

    fn changed_within(&self, time: Duration) -> bool {
        self.state().last_foreign.is_some_and(|seen| seen.elapsed() < time)
    }

    /// Whether a foreign change waits to be looked into; tells it once.
    pub fn take_uninspected(&self) -> bool {
        std::mem::take(&mut self.state().uninspected)
    }

    /// Looking into it has failed, and has to be tried again. Tells whether that is the first failure.
    pub fn inspect_again(&self) -> bool {
        let mut state = self.state();
        state.uninspected = true;
        !std::mem::replace(&mut state.inspection_failed, true)
    }

    /// Whether the files differ from what we left; a write of our own under way looks so too.
    pub fn looks_changed(&self) -> bool {
        let files = self.files_now();
        let state = self.state();
        state.uninspected || state.expected.as_ref() != Some(&files)
    }

    /// Foreign changes seen so far.
    pub fn foreign_changes(&self) -> u64 {
        self.state().foreign_changes
    }

    /// Notes a key of ours that somebody else erased; tells whether that is news.
    pub fn note_vanished(&self, key: &str) -> bool {
        let mut state = self.state();
        let known = state.vanished.iter().any(|gone| fold(gone) == fold(key));
        if !known && state.vanished.len() < MAX_VANISHED {
            state.vanished.push(key.to_owned());
        }
        !known
    }

    /// Notes that a write of a key has ended well: what was erased of it is back, and nothing is to be undone there.
    pub fn ended_well(&self, key: &str) {
        self.state().vanished.retain(|gone| fold(gone) != fold(key));
        self.forget_undo(key);
    }

    /// Notes which keys there are: those are back.
    pub fn note_present<'a>(&self, names: impl Iterator<Item = &'a str>) {
        let names: std::collections::HashSet<String> = names.map(fold).collect();
        self.state().vanished.retain(|gone| !names.contains(&fold(gone)));
    }

    /// Keys of ours that somebody else erased and that are not back.
    pub fn vanished(&self) -> Vec<String> {
        self.state().vanished.clone()
    }

    /// How it protects itself, as last told.
    pub fn authentication(&self) -> Authentication {
        self.state().authentication
    }

    /// Whether nothing has a worker read its file anew.
    pub fn has_no_password(&self) -> bool {
        self.authentication() == Authentication::None
    }

    /// Notes what a worker told of the configuration.
    pub fn told(&self, authentication: Option<&str>, password_timeout: Option<i64>) {
        let mut state = self.state();
        match authentication {
            Some(word) if word.eq_ignore_ascii_case("none") => state.authentication = Authentication::None,
            Some(_) => state.authentication = Authentication::Password,
            None => {}
        }
        if let Some(seconds) = password_timeout {
            state.timeout = u64::try_from(seconds).ok().map(Duration::from_secs);
        }
    }

    /// Whether a copy unlocked then should be unlocked again before use: well before the password times
    /// out, which counts from the unlock and does not slide.
    pub fn unlock_is_old(&self, unlocked: Instant, interval: Duration, now: Instant) -> bool {
        let age = now.saturating_duration_since(unlocked);
        let state = self.state();
        let by_timeout = state.timeout.is_some_and(|timeout| age >= timeout.mul_f64(0.7));
        let by_interval = !interval.is_zero() && age >= interval;
        by_timeout || by_interval
    }

    /// Whether the configuration was compared and, where needed, written.
    pub fn is_configured(&self) -> bool {
        self.state().configured
    }

    /// Notes that it was.
    pub fn set_configured(&self) {
        self.state().configured = true;
    }

    pub(super) fn state(&self) -> MutexGuard<'_, StoreState> {
        // Nothing in here panics half-way; a poisoned lock holds whole data.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
