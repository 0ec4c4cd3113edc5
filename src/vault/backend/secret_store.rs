//! SecretStore: every process keeps a copy of its own, and the last one to write wins.
//!
//! A worker reads the file again when it unlocks, and only then. So before a read its copy is refreshed if it is older
//! than our own last write or than the files; before a write it always is, if another program writes too. An answer that
//! came while the files changed is asked again ([`session`], [`judge`]). If a failed write has torn the file, what was
//! there before is put back first. The caller holds the store's lane.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{
    AllVaults, Backend, CallAnswer, Damage, InWorker, PROBE_EVERY, Present, ServedBy, WholeSecret, recover,
};
use crate::error::BridgeError;
use crate::pool::lanes::LaneMode;
use crate::protocol::{Fault, GetReply, Metadata, SecretInfo, StoreReply};
use crate::secret::{SecretValue, Text};
use crate::store::Discipline;
use crate::vault::change::Change;
use crate::vault::facts::VaultFacts;
use crate::vault::store::Store;
use crate::vault::turn::{Trouble, Turn};
use crate::vault::verb::Verb;
use crate::worker::{BoxFuture, CallError, Worker};
pub(super) use kind::SecretStoreKind;
use ledger::Ledger;
#[cfg(test)]
pub use place::use_folder;
use place::{FILES, folder};
use session::StoreTurn;
use state::KnownStore;
use watch::Watch;

mod chores;
mod judge;
mod kept;
mod kind;
mod ledger;
mod limits;
mod place;
mod session;
mod set_up;
mod settings;
mod shape;
mod state;
#[cfg(test)]
pub mod testing;
mod watch;
mod words;
mod write;

/// See the module.
pub(crate) struct SecretStoreBackend {
    store: Arc<KnownStore>,
    ledger: Arc<Ledger>,
}

impl SecretStoreBackend {
    /// All vaults of this module are one store of the user's.
    fn of_user() -> SecretStoreBackend {
        let folder = folder();
        let files = FILES.map(|name| folder.join(name)).to_vec();
        let store = Store::in_files("secretstore", Discipline::Readers, files);
        SecretStoreBackend::over(KnownStore::new(Arc::new(store)))
    }

    fn over(store: KnownStore) -> SecretStoreBackend {
        SecretStoreBackend { store: Arc::new(store), ledger: Arc::default() }
    }

    fn at<'a, 'w>(&'a self, turn: &'a mut Turn<'w>) -> StoreTurn<'a, 'w> {
        StoreTurn { turn, store: &self.store }
    }
}

impl Backend for SecretStoreBackend {
    fn probes(&self) -> Option<Duration> {
        Some(PROBE_EVERY)
    }

    fn served_by(&self) -> ServedBy<'_> {
        ServedBy::Worker(self)
    }

    fn store(&self) -> &Arc<Store> {
        self.store.base()
    }

    fn refusal(&self, verb: &Verb) -> Option<String> {
        limits::refusal(verb)
    }

    fn has_secret_parameters(&self) -> bool {
        false
    }

    fn own_words(&self, vault: &VaultFacts, error: &BridgeError, verb: &Verb) -> Option<Fault> {
        words::of(vault, error, verb)
    }

    fn tells_types(&self) -> bool {
        true
    }

    /// SecretStore works in the worker's process, on its own files.
    fn ends_with_its_worker(&self) -> bool {
        true
    }

    fn overwrites_in_steps(&self) -> bool {
        true
    }

    /// Only an unlock has a worker read the file again, and without a password there is none.
    fn has_one_worker(&self) -> bool {
        self.store.has_no_password()
    }

    fn done(&self, vault: &VaultFacts, verb: &Verb, after: Option<WholeSecret>) {
        if let Some(key) = verb.key() {
            self.store.ended_well(key);
        }
        self.ledger.note(vault, verb, after);
    }

    fn may_be_removed(&self, key: &str) {
        self.ledger.forget(key);
    }

    fn owe(&self, vault: &VaultFacts, key: &str, change: &Change) {
        self.store.owe_undo(key);
        self.ledger.owe(vault, key, change);
    }

    fn owes(&self, key: &str) -> Option<Change> {
        self.ledger.owes(key)
    }

    fn forget_undo(&self, key: &str) {
        self.store.forget_undo(key);
    }

    fn left_by_a_dead_writer(&self) {
        self.store.left_by_a_dead_writer();
    }

    fn watch<'a>(&'a self, vaults: &'a dyn AllVaults) -> BoxFuture<'a, ()> {
        Box::pin(async move { Watch { store: &self.store, ledger: &self.ledger, vaults }.look().await })
    }

    /// The other bridge's writes since this one started are no other program's, and what it could not put right is left
    /// to this one.
    fn take_over(&self, old: Option<&dyn Backend>) {
        self.store.wrote(self.store.files_now());
        let old: Option<&dyn Any> = old.map(|old| old as &dyn Any);
        if let Some(old) = old.and_then(|old| old.downcast_ref::<SecretStoreBackend>()) {
            self.store.take_from(&old.store);
            self.ledger.take_from(&old.ledger);
        }
    }

    fn damage(&self) -> Damage {
        Damage { changes: self.store.foreign_changes(), vanished: self.store.vanished() }
    }
}

impl InWorker for SecretStoreBackend {
    fn configures(&self, vault: &VaultFacts, added: bool) -> Option<LaneMode> {
        set_up::mode(&self.store, vault, added)
    }

    fn configure<'a>(&'a self, turn: &'a mut Turn<'_>, added: bool) -> CallAnswer<'a, bool> {
        Box::pin(async move { self.at(turn).configure(added).await })
    }

    fn registered<'a>(
        &'a self,
        worker: &'a mut Worker,
        vault: &'a VaultFacts,
        until: Instant,
    ) -> BoxFuture<'a, Result<(), CallError>> {
        Box::pin(set_up::registered(&self.store, worker, vault, until))
    }

    fn prepare<'a>(&'a self, turn: &'a mut Turn<'_>, opened: bool) -> CallAnswer<'a, ()> {
        Box::pin(async move { self.at(turn).prepare(opened).await })
    }

    fn get<'a>(&'a self, turn: &'a mut Turn<'_>, key: &'a str, detail: bool) -> CallAnswer<'a, GetReply> {
        Box::pin(async move { self.at(turn).read_from_store(key, false, detail).await })
    }

    fn unlock<'a>(&'a self, turn: &'a mut Turn<'_>, password: Option<Text>) -> CallAnswer<'a, StoreReply> {
        Box::pin(async move { self.at(turn).unlock_with(password).await })
    }

    fn list<'a>(&'a self, turn: &'a mut Turn<'_>) -> CallAnswer<'a, Vec<SecretInfo>> {
        Box::pin(async move { self.at(turn).list().await })
    }

    fn before_write<'a>(&'a self, turn: &'a mut Turn<'_>, key: &'a str) -> CallAnswer<'a, Present> {
        Box::pin(async move { self.at(turn).read_before_write(key).await })
    }

    fn look<'a>(&'a self, turn: &'a mut Turn<'_>, key: &'a str) -> CallAnswer<'a, Present> {
        Box::pin(async move { self.at(turn).look_at(key).await })
    }

    fn recover<'a>(
        &'a self,
        turn: &'a mut Turn<'_>,
        key: &'a str,
        change: &'a Change,
    ) -> CallAnswer<'a, bool> {
        Box::pin(async move {
            if self.store.is_unchanged(key) {
                self.undo(turn, key)
            } else {
                recover(self, turn, key, change).await
            }
        })
    }

    fn undo(&self, turn: &Turn<'_>, key: &str) -> Result<bool, Trouble> {
        write::undo(&self.store, &turn.vault.plan.name, key)
    }

    fn set<'a>(
        &'a self,
        turn: &'a mut Turn<'_>,
        key: &'a str,
        value: &'a SecretValue,
        metadata: Option<&'a Metadata>,
        before: &'a Present,
    ) -> CallAnswer<'a, ()> {
        Box::pin(async move { self.at(turn).set_in_store(key, value, metadata, before).await })
    }

    fn set_info<'a>(
        &'a self,
        turn: &'a mut Turn<'_>,
        key: &'a str,
        value: &'a SecretValue,
        metadata: &'a Metadata,
        before: &'a Present,
    ) -> CallAnswer<'a, ()> {
        Box::pin(async move { self.at(turn).set_info_in_store(key, value, metadata, before).await })
    }

    fn remove<'a>(&'a self, turn: &'a mut Turn<'_>, key: &'a str, before: &'a Present) -> CallAnswer<'a, ()> {
        Box::pin(async move { self.at(turn).remove_from_store(key, before).await })
    }
}

#[cfg(test)]
mod tests;
