//! A vault of the table, with all that is known of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use super::backend::{self, Backend};
use super::condition::Condition;
use crate::error::BridgeError;
use crate::local::LocalVault;
use crate::metrics::Calls;
use crate::plan::{InitScript, Vault, VaultKind};
use crate::secret::Text;
use crate::store::Store;
use crate::worker::{BoxFuture, CallError, Worker};

/// The word for a probe in what is counted.
const PROBE: &str = "probe";

/// A vault, ready for use.
pub struct Entry {
    /// Unique in the table's life: a name that is added again is another entry.
    pub number: u64,
    /// As the plan has it.
    pub plan: Vault,
    /// What kind of vault it is.
    pub backend: &'static dyn Backend,
    /// The store behind it.
    pub store: Arc<Store>,
    /// The unlock password, resolved once at start.
    pub password: Option<Text>,
    /// The embedded vault, if it is one.
    pub local: Option<Arc<LocalVault>>,
    /// What a script does for it.
    pub hooks: Option<Arc<dyn Hooks>>,
    /// Scripts that log every worker in, to be run again when a login is over.
    pub login: Arc<[InitScript]>,
    /// What its last calls showed.
    pub condition: Condition,
    /// How often what was asked of it, and how long it took.
    pub calls: Arc<Calls>,
    unlockable: AtomicBool,
    /// Somebody has locked it: it answers nothing until somebody unlocks it.
    closed: AtomicBool,
    /// A password that unlocked it, in place of the one of the start.
    learned: Mutex<Option<Text>>,
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

/// What a vault needs beside the plan's word.
#[derive(Default)]
pub struct Means {
    /// The unlock password.
    pub password: Option<Text>,
    /// The embedded vault, if it is one.
    pub local: Option<Arc<LocalVault>>,
    /// What a script does for it.
    pub hooks: Option<Arc<dyn Hooks>>,
}

impl Entry {
    /// A vault of the table. `number` is its alone in the table's life.
    pub fn new(number: u64, plan: Vault, store: Arc<Store>, means: Means, login: Arc<[InitScript]>) -> Entry {
        let unlock_at_start = plan.unlock_at_start();
        let Means { password, local, hooks } = means;
        Entry {
            number,
            backend: backend::of(&plan),
            plan,
            store,
            password,
            local,
            hooks,
            login,
            condition: Condition::default(),
            calls: Arc::default(),
            unlockable: AtomicBool::new(unlock_at_start),
            closed: AtomicBool::new(false),
            learned: Mutex::default(),
        }
    }

    /// Takes in what a call that began at this moment came to, for the vault's state and for what is counted; what was
    /// refused because the vault throttles was no call.
    pub fn noted<T>(
        &self,
        action: &'static str,
        outcome: Result<T, BridgeError>,
        begun: Instant,
    ) -> Result<T, BridgeError> {
        if matches!(outcome, Err(BridgeError::Throttled { .. })) {
            return outcome;
        }
        // That the vault is not locked does not show that its reads and writes succeed again.
        if action == PROBE && outcome.is_ok() && self.condition.state().fails_at_work() {
            self.calls.note(action, "ok", begun.elapsed());
            return outcome;
        }
        let outcome = self.condition.note(&self.plan.name, outcome, Instant::now());
        let word = outcome.as_ref().map_or_else(BridgeError::code, |_| "ok");
        self.calls.note(action, word, begun.elapsed());
        outcome
    }

    /// Whether the vault was not called for so long that it is time to ask how it is.
    pub fn is_probe_due(&self, now: Instant) -> bool {
        let every = match &self.plan.kind {
            VaultKind::Extension(extension) => extension.probe_every.or_else(|| self.backend.probes()),
            VaultKind::Local { .. } => self.backend.probes(),
            VaultKind::Custom(_) => None,
        };
        let asked = every.filter(|every| !every.is_zero());
        asked.is_some_and(|every| self.condition.idle(now) >= every)
            && self.condition.left_alone(now).is_none()
            && self.store.lockout(now).is_none()
            && !self.is_closed()
    }

    /// Whether the password may be used of our own accord. Not after `-NoUnlock`, until somebody asks for
    /// an unlock.
    pub fn may_unlock(&self) -> bool {
        self.password().is_some() && self.unlockable.load(Ordering::Relaxed)
    }

    /// The unlock password, as it was last told. A vault without one of its own has that of its store, which
    /// another of the store's vaults was unlocked with.
    pub fn password(&self) -> Option<Text> {
        let learned = || self.learned.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.store.password().or_else(learned).or_else(|| self.password.clone())
    }

    /// A password that has just unlocked it: every worker uses it from now on.
    pub fn learn(&self, password: Text) {
        self.store.learn(&password);
        *self.learned.lock().unwrap_or_else(PoisonError::into_inner) = Some(password);
    }

    /// Somebody locks it: nothing is answered, and no password used of our own accord, until somebody opens
    /// it. A password that it was told meanwhile is forgotten.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.unlockable.store(false, Ordering::Relaxed);
        *self.learned.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Ends [`Entry::close`].
    pub fn open(&self) {
        self.closed.store(false, Ordering::Release);
        self.allow_unlock();
    }

    /// Whether somebody has locked it.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Somebody asks for an unlock.
    pub fn allow_unlock(&self) {
        self.unlockable.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
impl Entry {
    /// An entry of SecretStore over a store of a test's own.
    pub fn over(store: Store, password: &str) -> Entry {
        let extension = crate::plan::Extension::new("v", crate::plan::SECRET_STORE);
        let plan = Vault::new("v", VaultKind::Extension(extension));
        Entry { store: Arc::new(store), password: Some(password.into()), ..Entry::bare(plan) }
    }

    /// An entry without a pool or a password.
    pub fn bare(plan: Vault) -> Entry {
        let store = Arc::new(backend::of(&plan).store(&plan));
        Entry::new(0, plan, store, Means::default(), Arc::default())
    }
}
