//! What is known of a vault, whatever its kind. This is all that a backend knows of one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use super::store::Store;
use crate::plan::{InitScript, Vault};
use crate::secret::Text;
use crate::worker::{BoxFuture, CallError, Worker};

/// What is known of a vault.
pub struct VaultFacts {
    /// Unique in the table's life: a name that is added again is another vault.
    pub number: u64,
    /// As the plan has it.
    pub plan: Vault,
    /// The store behind it.
    pub store: Arc<Store>,
    /// What a script does for it.
    pub hooks: Option<Arc<dyn Hooks>>,
    /// Scripts that log every worker in, to be run again when a login is over.
    pub login: Arc<[InitScript]>,
    /// Whether its parameters are secret, which its module may quote in an error.
    pub has_secret_parameters: bool,
    /// The unlock password, resolved once at start.
    pub(super) given: Option<Text>,
    pub(super) unlockable: AtomicBool,
    /// A password that unlocked it, in place of the one of the start.
    pub(super) learned: Mutex<Option<Text>>,
}

/// What a script does for a vault in each worker.
pub trait Hooks: Send + Sync {
    /// Runs before the vault is used in a worker for the first time.
    fn before<'a>(&'a self, worker: &'a mut Worker, until: Instant) -> BoxFuture<'a, Result<(), CallError>>;

    /// Whether there is something for [`Hooks::before`] to run.
    fn has_before(&self) -> bool {
        true
    }

    /// Runs once, in one worker, when the vault is taken out for good.
    fn after<'a>(&'a self, worker: &'a mut Worker, until: Instant) -> BoxFuture<'a, Result<(), CallError>>;
}

impl VaultFacts {
    /// Whether the password may be used of our own accord. Not after `-NoUnlock`, until somebody asks for
    /// an unlock.
    pub fn may_unlock(&self) -> bool {
        self.password().is_some() && self.unlockable.load(Ordering::Relaxed)
    }

    /// The unlock password, as it was last told. A vault without one of its own has that of its store, which
    /// another of the store's vaults was unlocked with.
    pub fn password(&self) -> Option<Text> {
        let learned = || self.learned.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.store.password().or_else(learned).or_else(|| self.given.clone())
    }

    /// A password that has just unlocked it: every worker uses it from now on.
    pub fn learn(&self, password: Text) {
        self.store.learn(&password);
        *self.learned.lock().unwrap_or_else(PoisonError::into_inner) = Some(password);
    }

    /// Somebody asks for an unlock.
    pub fn allow_unlock(&self) {
        self.unlockable.store(true, Ordering::Relaxed);
    }

    /// Its password is not used of our own accord any more, and one that it was told meanwhile is forgotten.
    pub(super) fn forbid_unlock(&self) {
        self.unlockable.store(false, Ordering::Relaxed);
        *self.learned.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The name that its module knows it by.
    pub fn registered(&self) -> String {
        self.plan.registered().to_owned()
    }
}
