//! Vaults: which there are, how workers are set up for them, and the verbs.
//!
//! [`Vaults`] turns a verb into a task for the pool or a call of the embedded vault. What is done inside
//! a worker is in [`session`], a whole verb with its recovery in [`act`], the task around it in `task`, the
//! set-up of a fresh worker in [`set_up`].

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::error::BridgeError;
use crate::local::{LocalError, LocalVault};
use crate::plan::{InitScript, Limits, Vault, VaultKind};
use crate::pool::Pool;
use crate::pool::lanes::{Crew, Lane, Mode};
use crate::protocol::{GetReply, Metadata, SecretInfo};
use crate::secret::{SecretValue, Text, fold};
use crate::store::{Authentication, Discipline, Store, StoreId};
use crate::worker::{BoxFuture, CallError, Worker};
use act::{Act, Began};
use condition::Condition;
use ledger::Ledger;
use task::VaultTask;

pub mod act;
pub mod condition;
pub mod ledger;
pub mod rules;
pub mod session;
pub mod set_up;
mod task;

/// A vault, ready for use.
pub struct Entry {
    /// Unique in the table's life: a name that is added again is another entry.
    pub number: u64,
    /// As the plan has it.
    pub plan: Vault,
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

/// A verb with what it needs.
#[derive(Debug, Clone)]
pub enum Verb {
    /// Read a value.
    Get {
        /// The key.
        key: String,
        /// With its exact type and metadata, which may cost another call.
        detail: bool,
    },
    /// Write a value. Without metadata the present metadata is kept, where the module keeps just what it is
    /// given.
    Set {
        /// The key.
        key: String,
        /// The new value.
        value: Arc<SecretValue>,
        /// Metadata to write.
        metadata: Option<Metadata>,
        /// Only this member of a table; its siblings are kept.
        member: Option<String>,
    },
    /// Write a value that somebody else erased, if the key is still missing then.
    PutBack {
        /// The key.
        key: String,
        /// The value to be there again.
        value: Arc<SecretValue>,
        /// Its metadata.
        metadata: Option<Metadata>,
    },
    /// Put right what a failed write of ours has left, if that is still to be done.
    Settle {
        /// The key.
        key: String,
    },
    /// Write metadata in place of what is there, and leave the value as it is.
    SetInfo {
        /// The key, which must be there.
        key: String,
        /// All of the metadata that it is to have.
        metadata: Metadata,
    },
    /// Remove a key.
    Remove {
        /// The key.
        key: String,
    },
    /// List names, types and metadata.
    List,
    /// Unlock now.
    Unlock,
    /// Unlock now, with this password in place of the vault's.
    UnlockWith {
        /// The password.
        password: Text,
    },
}

/// What a verb gives.
#[derive(Debug)]
pub enum Outcome {
    /// Of a get.
    Value(GetReply),
    /// Of a list.
    List(Vec<SecretInfo>),
    /// Of the others.
    Done,
}

/// The vaults of a bridge.
pub struct Vaults {
    table: RwLock<HashMap<String, Arc<Entry>>>,
    stores: Mutex<HashMap<StoreId, Arc<Store>>>,
    numbers: AtomicU64,
    pool: OnceLock<Pool>,
    limits: Limits,
    login: Arc<[InitScript]>,
    ledger: Arc<Ledger>,
    /// Told of each key that a write changed or may have changed, before the write is acknowledged.
    touched: Touched,
}

/// Told of each key that was changed, or may have been.
pub type Touched = Arc<dyn Fn(&StoreId, &str) + Send + Sync>;

impl Entry {
    /// What an error about this vault says.
    fn name(&self) -> &str {
        &self.plan.name
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
    /// An entry over a store of a test's own.
    pub fn over(store: Store, password: &str) -> Entry {
        let plan = Vault::new("v", VaultKind::Extension(crate::plan::Extension::new("v", "M")));
        Entry { store: Arc::new(store), password: Some(password.into()), ..Entry::bare(plan) }
    }

    /// An entry without a pool or a password.
    pub fn bare(plan: Vault) -> Entry {
        let (store, unlockable) = (Arc::new(Store::of(&plan)), AtomicBool::new(true));
        Entry {
            plan,
            number: 0,
            store,
            password: None,
            local: None,
            hooks: None,
            login: Arc::default(),
            condition: Condition::default(),
            unlockable,
            closed: AtomicBool::new(false),
            learned: Mutex::default(),
        }
    }
}

impl Verb {
    /// Whether it may change the vault.
    pub fn writes(&self) -> bool {
        match self {
            Verb::Set { .. }
            | Verb::SetInfo { .. }
            | Verb::PutBack { .. }
            | Verb::Settle { .. }
            | Verb::Remove { .. } => true,
            Verb::Get { .. } | Verb::List | Verb::Unlock | Verb::UnlockWith { .. } => false,
        }
    }

    /// The key it is about.
    pub fn key(&self) -> Option<&str> {
        match self {
            Verb::Get { key, .. }
            | Verb::Set { key, .. }
            | Verb::PutBack { key, .. }
            | Verb::SetInfo { key, .. }
            | Verb::Settle { key }
            | Verb::Remove { key } => Some(key),
            Verb::List | Verb::Unlock | Verb::UnlockWith { .. } => None,
        }
    }
}

impl Vaults {
    /// No vaults yet.
    ///
    /// `login`: the scripts that log every worker in.
    pub fn new(
        limits: Limits,
        login: &[InitScript],
        touched: impl Fn(&StoreId, &str) + Send + Sync + 'static,
    ) -> Vaults {
        Vaults {
            login: login.into(),
            table: RwLock::default(),
            stores: Mutex::default(),
            numbers: AtomicU64::new(1),
            pool: OnceLock::new(),
            limits,
            ledger: Arc::default(),
            touched: Arc::new(touched),
        }
    }

    /// Puts the pool behind them.
    pub fn use_pool(&self, pool: Pool) {
        // Set once, at start; a second pool would be a second truth.
        let _ = self.pool.set(pool);
    }

    /// The pool, where there is one.
    pub fn pool(&self) -> Option<&Pool> {
        self.pool.get()
    }

    /// Adds a vault; `None` if its name is taken.
    pub fn add(&self, plan: Vault, means: Means) -> Option<Arc<Entry>> {
        let store = Store::of(&plan);
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        let store = stores.entry(store.id.clone()).or_insert_with(|| Arc::new(store)).clone();
        drop(stores);
        let folded = fold(&plan.name);
        let unlock_at_start = match &plan.kind {
            VaultKind::Extension(extension) => extension.unlock_at_start,
            VaultKind::Custom(custom) => custom.unlock_at_start,
            VaultKind::Local { .. } => true,
        };
        let Means { password, local, hooks } = means;
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let unlockable = AtomicBool::new(unlock_at_start);
        let entry = Arc::new(Entry {
            number,
            plan,
            store,
            password,
            local,
            hooks,
            login: self.login.clone(),
            condition: Condition::default(),
            unlockable,
            closed: AtomicBool::new(false),
            learned: Mutex::default(),
        });
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        match table.entry(folded) {
            std::collections::hash_map::Entry::Occupied(_) => None,
            std::collections::hash_map::Entry::Vacant(place) => Some(place.insert(entry).clone()),
        }
    }

    /// Takes a vault out.
    pub fn forget(&self, name: &str) -> Option<Arc<Entry>> {
        self.table.write().unwrap_or_else(PoisonError::into_inner).remove(&fold(name))
    }

    /// The vault of that friendly name.
    pub fn get(&self, name: &str) -> Result<Arc<Entry>, BridgeError> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.get(&fold(name)).cloned().ok_or_else(|| BridgeError::UnknownVault { name: name.to_owned() })
    }

    /// All of them, by name.
    pub fn all(&self) -> Vec<Arc<Entry>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = table.values().cloned().collect();
        all.sort_by(|a, b| a.plan.name.cmp(&b.plan.name));
        all
    }

    /// The stores behind them.
    pub fn stores(&self) -> Vec<Arc<Store>> {
        self.stores.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Does a verb, by `deadline`. A read whose worker died is tried once more; so is a write that had not
    /// begun. What became of one that had is read, and in a SecretStore, where nothing of a dead worker can
    /// still come to pass, one that was not done is done once more.
    pub async fn perform(
        &self,
        entry: &Arc<Entry>,
        verb: Verb,
        deadline: Instant,
    ) -> Result<Outcome, BridgeError> {
        rules::check(entry, &verb)?;
        entry.condition.admit(entry.name(), Instant::now())?;
        let outcome = self.perform_unnoted(entry, verb, deadline).await;
        entry.condition.note(entry.name(), outcome, Instant::now())
    }

    async fn perform_unnoted(
        &self,
        entry: &Arc<Entry>,
        verb: Verb,
        deadline: Instant,
    ) -> Result<Outcome, BridgeError> {
        if let Some(local) = &entry.local {
            return self.in_local(entry, local.clone(), verb).await;
        }
        match self.in_worker(entry, &verb, deadline).await {
            Err(BridgeError::Worker { outcome_unknown: false, .. }) => {
                self.in_worker(entry, &verb, deadline).await
            }
            Err(error @ BridgeError::Worker { .. }) => self.after_death(entry, &verb, deadline, error).await,
            outcome => outcome,
        }
    }

    /// After the death of a worker inside a write.
    async fn after_death(
        &self,
        entry: &Arc<Entry>,
        verb: &Verb,
        deadline: Instant,
        mut error: BridgeError,
    ) -> Result<Outcome, BridgeError> {
        // What the dead one left is put right before this is read.
        let mut done = self.shows(entry, verb, deadline).await;
        if done == Some(false) && entry.store.discipline == Discipline::SecretStore {
            match self.in_worker(entry, verb, deadline).await {
                Err(again @ BridgeError::Worker { outcome_unknown: true, .. }) => error = again,
                outcome => return outcome,
            }
            done = self.shows(entry, verb, deadline).await;
        }
        if done != Some(true) {
            return Err(error);
        }
        let key = verb.key();
        tracing::info!(vault = entry.name(), key, "a worker ended inside a write, which a read finds done");
        Ok(Outcome::Done)
    }

    /// Whether a read finds what a write was to leave; nothing where it cannot be read in time.
    async fn shows(&self, entry: &Arc<Entry>, verb: &Verb, deadline: Instant) -> Option<bool> {
        let get = Verb::Get { key: verb.key()?.to_owned(), detail: false };
        let now = match self.in_worker(entry, &get, deadline).await {
            Ok(Outcome::Value(now)) => Some(now.value),
            Err(BridgeError::NotFound { .. }) => None,
            _ => return None,
        };
        match verb {
            // It is not read back whether metadata was written too.
            Verb::Set { metadata: Some(_), .. } => Some(false),
            Verb::Set { value, member: None, .. } => Some(now.is_some_and(|now| now.looks_like(value))),
            Verb::Set { value, member: Some(member), .. } => {
                let there = now.as_ref().and_then(|now| now.member(member));
                Some(there.is_some_and(|now| now.looks_like(value)))
            }
            Verb::Remove { .. } => Some(now.is_none()),
            _ => None,
        }
    }

    /// What was written and acknowledged.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// A verb for a caller that holds a worker, and the verb's lane.
    pub fn act(&self, entry: &Arc<Entry>, verb: Verb, deadline: Instant, began: Began) -> Act {
        let (grace, touched, ledger) = (self.limits.write_grace, self.touched.clone(), self.ledger.clone());
        Act { entry: entry.clone(), verb, deadline, grace, began, touched, ledger }
    }

    /// The lane that a verb needs in a store, if any.
    pub fn lane(store: &Store, verb: &Verb) -> Option<Lane> {
        let mode = match store.discipline {
            Discipline::Parallel => return None,
            Discipline::Serial => Mode::Exclusive,
            Discipline::SecretStore if verb.writes() => Mode::Exclusive,
            Discipline::SecretStore => Mode::Shared,
        };
        Some(Lane { store: store.id.clone(), mode })
    }

    /// The workers that may serve a store.
    pub fn crew(store: &Store) -> Crew {
        match store.authentication() {
            Authentication::None => Crew::Own(store.id.clone()),
            Authentication::Unknown | Authentication::Password => Crew::Shared,
        }
    }

    async fn in_worker(
        &self,
        entry: &Arc<Entry>,
        verb: &Verb,
        deadline: Instant,
    ) -> Result<Outcome, BridgeError> {
        let pool = self.pool.get().ok_or(BridgeError::NotReady { reason: "no worker pool runs".into() })?;
        let crew = Vaults::crew(&entry.store);
        if let Crew::Own(store) = &crew {
            pool.add_own_worker(store.clone());
        }
        let (reply, answer) = oneshot::channel();
        let began = Began::default();
        let act = self.act(entry, verb.clone(), deadline, began.clone());
        let task = VaultTask { act, crew: crew.clone(), fresh_worker: false, reply };
        pool.submit(Box::new(task), crew, Vaults::lane(&entry.store, verb))?;
        let answered = timeout_at(deadline, answer).await;
        if let Ok(Ok(outcome)) = answered {
            return outcome;
        }
        let outcome_unknown = began.give_up();
        if let (true, Some(key)) = (outcome_unknown, verb.key()) {
            (self.touched)(&entry.store.id, key);
        }
        Err(match answered {
            // The task was dropped: its worker died with it, or the pool stopped.
            Ok(_) => BridgeError::Worker { reason: "the task was dropped".into(), outcome_unknown },
            Err(_) => BridgeError::Deadline { outcome_unknown },
        })
    }

    async fn in_local(
        &self,
        entry: &Entry,
        local: Arc<LocalVault>,
        verb: Verb,
    ) -> Result<Outcome, BridgeError> {
        let name = entry.name().to_owned();
        let key = verb.key().map(str::to_owned);
        let (touched, store, writes) = (self.touched.clone(), entry.store.id.clone(), verb.writes());
        let joined = tokio::task::spawn_blocking(move || {
            let key = verb.key().filter(|_| writes).map(str::to_owned);
            let done = in_file(&local, verb);
            // In here, since it is done even where its caller has hung up.
            if let Some(key) = key {
                touched(&store, &key);
            }
            done
        })
        .await;
        match joined {
            Ok(Ok(Some(outcome))) => Ok(outcome),
            Ok(Ok(None)) => Err(BridgeError::NotFound { vault: name, key: key.unwrap_or_default() }),
            Ok(Err(LocalError::Refused { reason })) => {
                Err(BridgeError::Refused { vault: name, reason: reason.into() })
            }
            Ok(Err(error)) => Err(BridgeError::Local { vault: name, reason: error.to_string() }),
            Err(_) => Err(BridgeError::Local { vault: name, reason: "it panicked".into() }),
        }
    }
}

fn in_file(local: &LocalVault, verb: Verb) -> Result<Option<Outcome>, crate::local::LocalError> {
    Ok(match verb {
        Verb::Get { key, .. } => {
            local.get(&key)?.map(|(value, metadata)| Outcome::Value(GetReply { value, metadata }))
        }
        Verb::Set { key, value, metadata, member } => {
            let value = (*value).clone();
            match member {
                Some(member) => local.set_member(&key, &member, value, metadata)?,
                None => local.set(&key, value, metadata)?,
            }
            Some(Outcome::Done)
        }
        Verb::PutBack { key, value, metadata } => {
            if local.get(&key)?.is_none() {
                local.set(&key, (*value).clone(), metadata)?;
            }
            Some(Outcome::Done)
        }
        Verb::SetInfo { key, metadata } => local.set_metadata(&key, metadata)?.then_some(Outcome::Done),
        Verb::Remove { key } => local.remove(&key)?.then_some(Outcome::Done),
        Verb::List => Some(Outcome::List(local.list()?)),
        // Its writes are one step, so nothing is left half done.
        Verb::Settle { .. } | Verb::Unlock | Verb::UnlockWith { .. } => Some(Outcome::Done),
    })
}
