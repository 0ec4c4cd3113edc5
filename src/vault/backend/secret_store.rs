//! SecretStore: every process keeps a copy of its own, and the last one to write wins.
//!
//! A worker reads its file again when it unlocks, and only then. So before a read its copy is refreshed if it is
//! older than our own last write or than the files; before a write always, where somebody else writes too. An answer
//! that came while the files changed is asked again ([`judge`]); after a write that failed, so is any error, once
//! what was there before is back. The caller holds the store's lane.

use std::path::PathBuf;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};

use super::{Backend, CallAnswer, ModuleSettings, PROBE_EVERY, Present};
use crate::plan::{SECRET_STORE, Vault};
#[cfg(not(test))]
use crate::platform;
use crate::pool::lanes::LaneMode;
use crate::protocol::{Fault, Get, GetReply, Info, InfoReply, Metadata, Op, SecretInfo};
use crate::secret::{SecretValue, fold};
use crate::store::{Discipline, Fingerprint, Store};
use crate::vault::change::Change;
use crate::vault::entry::Entry;
use crate::vault::turn::{Trouble, Turn, UnlockFailure, UnlockRefusal, is_not_found, is_refused_unlock};
use crate::vault::verb::Verb;
use crate::worker::{BoxFuture, CallError, Worker};
use judge::{Complaint, Judgement, Observation};

mod judge;
mod limits;
mod set_up;
mod settings;
pub mod watch;
mod write;

pub(super) const MODULE: &str = SECRET_STORE;

/// How often a doubtful answer is asked again while the files go on changing.
const DOUBTS: u32 = 8;

/// The wait before it is asked again: about the time of one write.
const MID_WRITE: Duration = Duration::from_millis(30);

/// Why what was there before a write is put back.
const TORN: &str = "that failed has left the store unreadable";

/// See the module.
pub(super) struct SecretStoreBackend;

impl Backend for SecretStoreBackend {
    fn probes(&self) -> Option<Duration> {
        Some(PROBE_EVERY)
    }

    /// All vaults of this module are one store of the user's.
    fn store(&self, _vault: &Vault) -> Store {
        let folder = folder();
        let files = ["storefile", "storeconfig"].map(|name| folder.join(name)).to_vec();
        Store::with_files("secretstore", Discipline::Readers, files)
    }

    fn refusal(&self, verb: &Verb) -> Option<String> {
        limits::refusal(verb)
    }

    fn settings(&self) -> Option<&'static ModuleSettings> {
        Some(&settings::SETTINGS)
    }

    fn has_secret_parameters(&self) -> bool {
        false
    }

    fn has_own_words(&self) -> bool {
        true
    }

    fn tells_types(&self) -> bool {
        true
    }

    /// All that it does it does in its process, to its own files.
    fn ends_with_its_worker(&self) -> bool {
        true
    }

    fn overwrites_in_steps(&self) -> bool {
        true
    }

    fn unlock_failed(&self, failure: &UnlockFailure<'_>) -> UnlockRefusal {
        judge::unlock(is_refused_unlock(failure.fault), failure.doubts, failure.moving)
    }

    fn configures(&self, entry: &Entry, added: bool) -> Option<LaneMode> {
        set_up::mode(entry, added)
    }

    fn configure<'a>(&'a self, turn: &'a mut Turn<'_>, added: bool) -> CallAnswer<'a, bool> {
        Box::pin(turn.configure(added))
    }

    fn registered<'a>(
        &'a self,
        worker: &'a mut Worker,
        entry: &'a Entry,
        until: Instant,
    ) -> BoxFuture<'a, Result<(), CallError>> {
        Box::pin(set_up::registered(worker, entry, until))
    }

    fn prepare<'a>(&'a self, turn: &'a mut Turn<'_>, opened: bool) -> CallAnswer<'a, ()> {
        Box::pin(set_up::prepare(turn, opened))
    }

    fn get<'a>(&'a self, turn: &'a mut Turn<'_>, key: &'a str, detail: bool) -> CallAnswer<'a, GetReply> {
        Box::pin(turn.read_from_store(key, false, detail))
    }

    fn list<'a>(&'a self, turn: &'a mut Turn<'_>) -> CallAnswer<'a, Vec<SecretInfo>> {
        Box::pin(async move {
            let vault = turn.registered();
            let op = |refresh| Op::Info(Info { vault: vault.clone(), name: None, refresh });
            turn.settled(false, op, |reply: InfoReply| Ok(reply.secrets)).await
        })
    }

    fn before_write<'a>(&'a self, turn: &'a mut Turn<'_>, key: &'a str) -> CallAnswer<'a, Present> {
        Box::pin(turn.read_before_write(key))
    }

    fn look<'a>(&'a self, turn: &'a mut Turn<'_>, key: &'a str) -> CallAnswer<'a, Present> {
        Box::pin(turn.look_at(key))
    }

    fn recover<'a>(
        &'a self,
        turn: &'a mut Turn<'_>,
        key: &'a str,
        change: &'a Change,
    ) -> CallAnswer<'a, bool> {
        Box::pin(async move {
            if turn.entry.store.is_unchanged(key) {
                turn.undo_write(key)
            } else {
                turn.recover(key, change).await
            }
        })
    }

    fn undo(&self, turn: &Turn<'_>, key: &str) -> Result<bool, Trouble> {
        turn.undo_write(key)
    }

    fn set<'a>(
        &'a self,
        turn: &'a mut Turn<'_>,
        key: &'a str,
        value: &'a SecretValue,
        metadata: Option<&'a Metadata>,
        before: &'a Present,
    ) -> CallAnswer<'a, ()> {
        Box::pin(turn.set_in_store(key, value, metadata, before))
    }

    fn set_info<'a>(
        &'a self,
        turn: &'a mut Turn<'_>,
        key: &'a str,
        value: &'a SecretValue,
        metadata: &'a Metadata,
        before: &'a Present,
    ) -> CallAnswer<'a, ()> {
        Box::pin(turn.set_info_in_store(key, value, metadata, before))
    }

    fn remove<'a>(&'a self, turn: &'a mut Turn<'_>, key: &'a str, before: &'a Present) -> CallAnswer<'a, ()> {
        Box::pin(turn.remove_from_store(key, before))
    }
}

impl Turn<'_> {
    async fn read_from_store(
        &mut self,
        key: &str,
        always_refresh: bool,
        detail: bool,
    ) -> Result<GetReply, Trouble> {
        let (vault, name) = (self.registered(), key.to_owned());
        let op = |refresh| Op::Get(Get { vault: vault.clone(), name: name.clone(), refresh, detail });
        self.settled(always_refresh, op, Ok).await
    }

    /// Metadata and type of one secret, which cost a fraction of its value.
    async fn info_from_store(&mut self, key: &str, always_refresh: bool) -> Result<SecretInfo, Trouble> {
        let vault = self.registered();
        let op = |refresh| Op::Info(Info { vault: vault.clone(), name: Some(key.to_owned()), refresh });
        let missing = || Box::new(Fault { id: "GetSecretNotFound".into(), ..Fault::default() });
        let only = |reply: InfoReply| {
            reply.secrets.into_iter().find(|info| fold(&info.name) == fold(key)).ok_or_else(missing)
        };
        self.settled(always_refresh, op, only).await
    }

    /// Calls until the answer can be believed. `read` takes what is wanted from a reply; its error is judged as one of
    /// the call.
    async fn settled<T: DeserializeOwned, R>(
        &mut self,
        always_refresh: bool,
        op: impl Fn(bool) -> Op,
        read: impl Fn(T) -> Result<R, Box<Fault>>,
    ) -> Result<R, Trouble> {
        let store = self.entry.store.clone();
        // Before our own write makes the files look like ours again.
        store.foreign_change();
        let mut refresh = (always_refresh && self.can_refresh()) || self.is_old()?;
        let (mut doubts, mut unlocked_now) = (0, false);
        loop {
            if refresh && !self.has_opened() {
                // A worker remembers a password only once it has opened the store.
                self.unlock().await?;
                (refresh, unlocked_now) = (false, true);
            }
            let files = store.files_now();
            let answer = self.ask::<T>(op(refresh), refresh, unlocked_now, &files).await?;
            let fault = match answer.and_then(&read) {
                Ok(found) => return Ok(found),
                Err(fault) => fault,
            };
            // A worker that cannot unlock may say not-found of a file that it cannot read.
            if store.put_back(TORN) {
                refresh = self.can_refresh();
                continue;
            }
            doubts += 1;
            let seen = Observation {
                fresh: refresh || unlocked_now,
                can_refresh: self.can_refresh(),
                moving: store.files_now() != files || store.changed_lately(),
                doubts,
            };
            match judge::read(Complaint::of(&fault), seen) {
                Judgement::Believe => return Err(Trouble::Fault(fault)),
                Judgement::LockOut => return Err(self.refused(&fault, files)),
                Judgement::Again => {}
                Judgement::Wait => sleep(MID_WRITE).await,
            }
            refresh = self.can_refresh() || self.is_old()?;
        }
    }

    /// One call; notes what it shows of the worker's copy and of the file.
    async fn ask<T: DeserializeOwned>(
        &mut self,
        op: Op,
        refresh: bool,
        unlocked_now: bool,
        files: &Fingerprint,
    ) -> Result<Result<T, Box<Fault>>, Trouble> {
        if refresh {
            self.heed_lockout()?;
        }
        let store = self.entry.store.clone();
        let (generation, now) = (store.generation(), Instant::now());
        let outcome = match self.worker.call::<T>(op, self.until).await {
            Ok(reply) => Ok(reply),
            Err(CallError::Fault(fault)) => Err(fault),
            Err(broken) => return Err(broken.into()),
        };
        if refresh && outcome.as_ref().err().is_none_or(|fault| is_not_found(fault)) {
            store.unlocked();
            self.saw(generation, files.clone(), Some(now));
        }
        // What comes from memory says nothing of the file.
        if outcome.is_ok() && (refresh || unlocked_now || !self.can_refresh()) {
            store.is_whole();
        }
        Ok(outcome)
    }

    /// Whether this worker has opened the store at all.
    fn has_opened(&self) -> bool {
        self.worker.seen.get(&self.entry.store.id).is_some_and(|seen| seen.unlocked.is_some())
    }
}

/// Where SecretStore keeps its files.
fn folder() -> PathBuf {
    // Never the user's own store, which may be there or not.
    #[cfg(test)]
    return FOLDER.with_borrow(Clone::clone).unwrap_or_else(|| "/nowhere".into());
    #[cfg(not(test))]
    platform::secret_store()
}

#[cfg(test)]
thread_local! {
    static FOLDER: std::cell::RefCell<Option<PathBuf>> = const { std::cell::RefCell::new(None) };
}

/// Gives SecretStore a folder of a test's own, on this thread.
#[cfg(test)]
pub fn use_folder(folder: &std::path::Path) {
    FOLDER.set(Some(folder.to_owned()));
}

#[cfg(test)]
mod tests;
