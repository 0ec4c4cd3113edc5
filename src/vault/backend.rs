//! The kinds of vaults: where their calls go, who may be in them together, and what their answers are worth.
//!
//! A kind is one implementation of [`Backend`] in a file or folder of its own, and of [`InWorker`] or [`InProcess`] for its calls; each
//! store has one of its own, which keeps what is known of it. What the rest of the program asks beside calls is the kind's [`kind::Kind`], beside its backend.
//! To add a kind: write both, and name it in the table of [`kinds`]. Nothing else in the program asks what kind a vault is.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use super::change::{Before, Change};
use super::facts::VaultFacts;
use super::job::Chore;
use super::store::Store;
use super::turn::{Trouble, Turn};
use super::verb::{Outcome, Verb};
use crate::cache::Changes;
use crate::error::BridgeError;
use crate::local::LocalError;
use crate::pool::TaskPermit;
use crate::pool::lanes::{Lane, LaneMode};
use crate::protocol::{Fault, GetReply, Metadata, SecretInfo, StoreReply};
use crate::secret::{SecretValue, Text};
use crate::store::StoreId;
use crate::worker::{BoxFuture, CallError, Worker};

mod azure;
mod custom;
pub mod kind;
pub mod kinds;
mod local;
mod module;
pub(crate) mod secret_store;
pub mod settings;

pub use super::change::{Present, UnreadValue};

/// What a call in a worker gives.
pub type CallAnswer<'a, T> = BoxFuture<'a, Result<T, Trouble>>;

/// What differs between kinds of vaults, beside their calls.
pub trait Backend: Any + Send + Sync {
    /// The store: its identity, who may be in its lane together, and its files.
    fn store(&self) -> &Arc<Store>;

    /// Why a vault cannot hold, or would change in silence, what the verb names.
    fn refusal(&self, _verb: &Verb) -> Option<String> {
        None
    }

    /// Whether its parameters are secret. Its module may quote them in an error, where they are then starred out.
    fn has_secret_parameters(&self) -> bool {
        true
    }

    /// An error of ours in the module's own words, where scripts know it by other ids and messages than SecretManagement's.
    fn own_words(&self, _vault: &VaultFacts, _error: &BridgeError, _verb: &Verb) -> Option<Fault> {
        None
    }

    /// Whether a read can tell a value's exact type without another call.
    fn tells_types(&self) -> bool {
        false
    }

    /// Whether an overwrite is more than one step: one that is cut off may leave neither the old nor the new value.
    fn overwrites_in_steps(&self) -> bool {
        false
    }

    /// Whether a call ends with its worker: once that is gone, nothing that the call had begun can still happen.
    fn ends_with_its_worker(&self) -> bool {
        false
    }

    /// After how long without a call the vault is asked how it is, where the plan does not say; `None` for vaults whose
    /// service may bill each call.
    fn probes(&self) -> Option<Duration> {
        None
    }

    /// Who does its verbs.
    fn served_by(&self) -> ServedBy<'_>;

    /// Whether one worker alone may use the store, because the copy of a second one could not be refreshed.
    fn has_one_worker(&self) -> bool {
        false
    }

    /// Notes a verb that was done, by a caller that still holds the store's lane: so the order of notes is that of the
    /// writes, and a write whose caller has hung up is noted too. `after` is what the key holds then.
    fn done(&self, _vault: &VaultFacts, _verb: &Verb, _after: Option<WholeSecret>) {}

    /// Notes a removal whose outcome is unknown.
    fn may_be_removed(&self, _key: &str) {}

    /// Notes what a write has left half done and nobody could put right yet; the next write of the key settles it.
    fn owe(&self, _vault: &VaultFacts, _key: &str, _change: &Change) {}

    /// What is still to be put right at a key, if anything is.
    fn owes(&self, _key: &str) -> Option<Change> {
        None
    }

    /// Nothing is to be undone at this key any more.
    fn forget_undo(&self, _key: &str) {}

    /// Notes what a worker did to the store after its call was given up, now that it is gone.
    fn left_by_a_dead_writer(&self) {}

    /// Looks for changes of the store by others, and puts right what is still owed. Called about once a second.
    fn watch<'a>(&'a self, _vaults: &'a dyn AllVaults) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }

    /// Takes over what the backend of the same store in another bridge, which has ended, knows of it; `None` where that
    /// had no such store.
    fn take_over(&self, _old: Option<&dyn Backend>) {}

    /// What others have done to the store.
    fn damage(&self) -> Damage {
        Damage::default()
    }
}

/// Who does the verbs of a vault.
pub enum ServedBy<'a> {
    /// This process.
    ThisProcess(&'a dyn InProcess),
    /// A worker that holds the vault's lane.
    Worker(&'a dyn InWorker),
    /// A script, in the worker that asks. Nobody else calls the vault.
    Script,
}

/// The calls of a vault that a worker makes, which holds the vault's lane.
pub trait InWorker: Backend {
    /// The lane that [`InWorker::configure`] needs, in a worker that starts or in which a script has just `added` the vault:
    /// exclusive if it may change the store, shared if it only reads. `None` if there is nothing to configure.
    fn configures(&self, _vault: &VaultFacts, _added: bool) -> Option<LaneMode> {
        None
    }

    /// Gives the store the configuration that the plan says. Tells whether that has unlocked it too.
    fn configure<'a>(&'a self, _turn: &'a mut Turn<'_>, _added: bool) -> CallAnswer<'a, bool> {
        Box::pin(async { Ok(false) })
    }

    /// Once in a worker, after the vault was registered there.
    fn registered<'a>(
        &'a self,
        _worker: &'a mut Worker,
        _vault: &'a VaultFacts,
        _until: tokio::time::Instant,
    ) -> BoxFuture<'a, Result<(), CallError>> {
        Box::pin(async { Ok(()) })
    }

    /// Makes a registered vault ready in a worker; `opened` is what [`InWorker::configure`] told.
    fn prepare<'a>(&'a self, turn: &'a mut Turn<'_>, _opened: bool) -> CallAnswer<'a, ()> {
        Box::pin(unlock_at_start(self, turn))
    }

    /// Unlocks with this password.
    fn unlock<'a>(&'a self, turn: &'a mut Turn<'_>, password: Option<Text>) -> CallAnswer<'a, StoreReply>;

    /// Asks the module's own test how the vault is. One that is locked is unlocked, as after a call that failed.
    fn probe<'a>(&'a self, turn: &'a mut Turn<'_>) -> CallAnswer<'a, ()> {
        Box::pin(probe(self, turn))
    }

    /// Reads a value; with `detail` its exact type and metadata, which may cost another call.
    fn get<'a>(&'a self, turn: &'a mut Turn<'_>, key: &'a str, detail: bool) -> CallAnswer<'a, GetReply>;

    /// Lists names, types and metadata.
    fn list<'a>(&'a self, turn: &'a mut Turn<'_>) -> CallAnswer<'a, Vec<SecretInfo>>;

    /// What is there before a write, as far as a write needs to know.
    fn before_write<'a>(&'a self, turn: &'a mut Turn<'_>, key: &'a str) -> CallAnswer<'a, Present>;

    /// What is there now, its value included, after a write that was cut off.
    fn look<'a>(&'a self, turn: &'a mut Turn<'_>, key: &'a str) -> CallAnswer<'a, Present> {
        self.before_write(turn, key)
    }

    /// Puts back a value that was not read before a write. Tells whether it did.
    fn undo(&self, _turn: &Turn<'_>, _key: &str) -> Result<bool, Trouble> {
        Ok(false)
    }

    /// Writes a value; `before` is what [`InWorker::before_write`] gave, in the same lane.
    fn set<'a>(
        &'a self,
        turn: &'a mut Turn<'_>,
        key: &'a str,
        value: &'a SecretValue,
        metadata: Option<&'a Metadata>,
        before: &'a Present,
    ) -> CallAnswer<'a, ()>;

    /// Gives a secret this metadata and leaves its value, which is this.
    fn set_info<'a>(
        &'a self,
        turn: &'a mut Turn<'_>,
        key: &'a str,
        value: &'a SecretValue,
        metadata: &'a Metadata,
        before: &'a Present,
    ) -> CallAnswer<'a, ()>;

    /// Removes a key; `before` is what [`InWorker::before_write`] gave, in the same lane.
    fn remove<'a>(&'a self, turn: &'a mut Turn<'_>, key: &'a str, before: &'a Present) -> CallAnswer<'a, ()>;

    /// Puts back what was there before a write that was cut off, if that left neither the old value nor the new
    /// one: an overwrite may delete first, and a table may be written member by member. Tells whether it did.
    fn recover<'a>(
        &'a self,
        turn: &'a mut Turn<'_>,
        key: &'a str,
        change: &'a Change,
    ) -> CallAnswer<'a, bool> {
        Box::pin(recover(self, turn, key, change))
    }
}

/// A vault in this process.
pub trait InProcess: Sync {
    /// Opens it, again if it is open, and makes its files where there are none. It opens by itself at its first verb; this
    /// shows before that what is wrong with it.
    fn open(&self) -> Result<(), LocalError>;

    /// Does a verb. `changes` is told of a key that it may have changed.
    fn perform<'a>(
        &'a self,
        vault: &'a VaultFacts,
        verb: Verb,
        changes: &'a Changes,
    ) -> BoxFuture<'a, Result<Outcome, BridgeError>>;
}

/// What a key holds after a write: the whole value, and its metadata where that was written.
pub type WholeSecret = (Arc<SecretValue>, Option<Metadata>);

/// What other programs have done to a store.
#[derive(Debug, Clone, Default)]
pub struct Damage {
    /// Changes that were seen.
    pub changes: u64,
    /// Keys of ours that are gone, and not back.
    pub vanished: Vec<String>,
}

/// What a backend that watches its store may ask of all vaults.
pub trait AllVaults: Sync {
    /// Does a verb on a vault, within the time of a request.
    fn perform<'a>(&'a self, vault: &'a str, verb: Verb) -> BoxFuture<'a, Result<Outcome, BridgeError>>;

    /// Does a chore of the backend's own on a vault of its store, within the time of a request.
    fn chore<'a>(&'a self, vault: &'a str, chore: Arc<dyn Chore>) -> BoxFuture<'a, Result<(), BridgeError>>;

    /// A vault over a store, if there is one.
    fn over(&self, store: &StoreId) -> Option<String>;

    /// A lane; `None` where the program stops.
    fn lane(&self, lane: Lane) -> BoxFuture<'_, Option<TaskPermit>>;

    /// Tells that others have changed a store.
    fn changed_by_others(&self, store: &StoreId);
}

async fn unlock_at_start<B: InWorker + ?Sized>(backend: &B, turn: &mut Turn<'_>) -> Result<(), Trouble> {
    if !turn.is_unlocked_at_start() || backend.has_one_worker() {
        return Ok(());
    }
    match backend.unlock(turn, turn.vault.password()).await {
        Ok(_) | Err(Trouble::OldCopy) => Ok(()),
        Err(trouble) => Err(trouble),
    }
}

async fn probe<B: InWorker + ?Sized>(backend: &B, turn: &mut Turn<'_>) -> Result<(), Trouble> {
    if turn.is_ready().await? {
        return Ok(());
    }
    if turn.vault.may_unlock() && !backend.has_one_worker() {
        return backend.unlock(turn, turn.vault.password()).await.map(drop);
    }
    let reason = "its own test (Test-SecretVault) does not find it ready".to_owned();
    Err(Trouble::Locked { reason, retry_after: Duration::from_secs(10) })
}

/// See [`InWorker::recover`].
async fn recover<B: InWorker + ?Sized>(
    backend: &B,
    turn: &mut Turn<'_>,
    key: &str,
    change: &Change,
) -> Result<bool, Trouble> {
    let now = backend.look(turn, key).await?;
    let whole = change.is_whole(now.reply().map(|now| &now.value));
    match &change.before {
        _ if whole => backend.forget_undo(key),
        Before::Value(before) => {
            backend.set(turn, key, &before.value, Some(&before.metadata), &Present::Missing).await?;
        }
        Before::Nothing => backend.remove(turn, key, &now).await?,
        Before::Unread { .. } => return backend.undo(turn, key),
    }
    Ok(!whole)
}

/// After how long without a call a vault that costs nothing is asked how it is.
const PROBE_EVERY: Duration = Duration::from_secs(30);
