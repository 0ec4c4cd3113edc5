//! Sets a fresh worker up: init scripts, then each vault registered, configured and unlocked.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::session::{Session, Trouble};
use super::{Entry, Hooks, Vaults};
use crate::plan::{Extension, InitScript};
use crate::pool::lanes::{Crew, Lane, Lanes, Mode};
use crate::pool::{SetUp, Task};
use crate::protocol::{
    Configure, Empty, Get, GetReply, Init, Op, Parameters, Register, RegisterReply, StoreReply, VaultName,
};
use crate::secret::SecretValue;
use crate::store::{Authentication, Discipline};
use crate::worker::{BoxFuture, Broken, CallError, LaunchError, Seen, Worker};

/// Replays the plan's set-up into each worker.
pub struct WorkerSetUp {
    /// The vaults; they hold the pool that holds this.
    pub vaults: Weak<Vaults>,
    /// Scripts that run first.
    pub init: Vec<InitScript>,
    /// What script mode loads after them.
    pub first: Option<Arc<dyn Hooks>>,
}

impl SetUp for WorkerSetUp {
    fn prepare<'a>(
        &'a self,
        worker: &'a mut Worker,
        crew: &'a Crew,
        lanes: &'a Lanes<Box<dyn Task>>,
        until: Instant,
    ) -> BoxFuture<'a, Result<(), LaunchError>> {
        Box::pin(async move {
            for script in &self.init {
                run_init(worker, script, until).await?;
            }
            if let Some(first) = &self.first {
                first.before(worker, until).await.map_err(|error| named("loading the script", error))?;
            }
            let Some(vaults) = self.vaults.upgrade() else { return Ok(()) };
            for entry in vaults.all() {
                if belongs(&entry, crew) {
                    match enter(worker, &entry, lanes, until).await {
                        // A script may be adding it just now, and take it out again.
                        Err(LaunchError::SetUp { what, fault }) if self.first.is_some() => {
                            tracing::warn!("{what} failed: {fault}");
                        }
                        entered => entered?,
                    }
                }
            }
            Ok(())
        })
    }
}

/// Whether a worker of this crew serves the vault.
fn belongs(entry: &Entry, crew: &Crew) -> bool {
    match crew {
        Crew::Own(store) => entry.store.id == *store,
        // What the user had registered, and nobody named, is registered when it is used.
        Crew::Shared if entry.plan.extension().is_some_and(|extension| extension.imported) => {
            entry.plan.exposed && entry.store.authentication() != Authentication::None
        }
        Crew::Shared => entry.store.authentication() != Authentication::None,
    }
}

/// Brings a vault into a fresh worker. One that stays locked is no reason to do without the worker.
async fn enter(
    worker: &mut Worker,
    entry: &Entry,
    lanes: &Lanes<Box<dyn Task>>,
    until: Instant,
) -> Result<(), LaunchError> {
    let what = || format!("registering the vault '{}'", entry.plan.name);
    ready(worker, entry, until).await.map_err(|error| named(what(), error))?;
    let Some(extension) = entry.plan.extension() else { return Ok(()) };
    let opening = Opening { entry, extension, lanes, until, added: false };
    match opening.open(worker).await {
        Ok(()) => Ok(()),
        Err(Trouble::Broken(broken)) => Err(broken.into()),
        Err(trouble) => {
            let error = trouble.into_error(entry, None, false);
            tracing::warn!(vault = %entry.plan.name, "the vault stays as it is: {error}");
            Ok(())
        }
    }
}

/// Makes sure that a vault can be used in a worker: what a script does first, then its registration. Done
/// once for each worker; vaults that were added while the server runs come to a worker this way.
pub async fn ready(worker: &mut Worker, entry: &Entry, until: Instant) -> Result<(), CallError> {
    if worker.vaults.contains(&entry.number) {
        return Ok(());
    }
    if let Some(hooks) = &entry.hooks {
        hooks.before(worker, until).await?;
    }
    join(worker, entry, until).await
}

/// As [`ready`], where what a script does first has been done.
pub async fn join(worker: &mut Worker, entry: &Entry, until: Instant) -> Result<(), CallError> {
    if let Some(extension) = entry.plan.extension() {
        register(worker, extension, until).await?;
        let store = &entry.store;
        if !extension.is_secret_store() {
            // Of an earlier vault of this name.
            worker.seen.remove(&store.id);
        }
        if extension.imported && extension.is_secret_store() && !store.is_configured() {
            // It is asked how it protects itself; nothing is named, so nothing is written.
            let ask = Configure { parameters: Parameters::default(), password: None };
            match worker.call::<StoreReply>(Op::Configure(ask), until).await {
                Ok(reply) => store.told(reply.authentication.as_deref(), reply.password_timeout),
                Err(CallError::Broken(broken)) => return Err(broken.into()),
                // A store that is locked tells nothing.
                Err(CallError::Fault(_)) => {}
            }
        }
    }
    worker.vaults.insert(entry.number);
    Ok(())
}

/// Runs an init script in a worker.
pub async fn run_init(worker: &mut Worker, script: &InitScript, until: Instant) -> Result<(), LaunchError> {
    let (what, init) = match script {
        InitScript::Text(text) => {
            ("the init script".to_owned(), Init { script: Some(text.clone()), file: None })
        }
        InitScript::File(path) => {
            let file = path.to_string_lossy().into_owned();
            (format!("the init script {file}"), Init { script: None, file: Some(file) })
        }
    };
    worker.call::<Empty>(Op::Init(init), until).await.map(drop).map_err(|error| named(what, error))
}

async fn register(worker: &mut Worker, extension: &Extension, until: Instant) -> Result<(), CallError> {
    let op = Op::Register(Register {
        vault: extension.registered.clone(),
        module: extension.module.clone(),
        // SecretStore's are its configuration, which is no business of the registry.
        parameters: if extension.is_secret_store() {
            Parameters::default()
        } else {
            extension.parameters.clone()
        },
    });
    worker.call::<RegisterReply>(op, until).await.map(drop)
}

/// Takes a vault out of the worker's registry; the extension's own hook runs.
pub async fn unregister(worker: &mut Worker, entry: &Entry, extension: &Extension, until: Instant) {
    let op = Op::Unregister(VaultName { vault: extension.registered.clone() });
    // The hook needs the registration, which this worker may not have had a use for.
    let gone = match ready(worker, entry, until).await {
        Ok(()) => worker.call::<Empty>(op, until).await.map(drop),
        Err(error) => Err(error),
    };
    worker.vaults.remove(&entry.number);
    if let Err(error) = gone {
        let error = Trouble::from(error).into_error(entry, None, false);
        tracing::warn!(vault = %entry.plan.name, "unregistering failed: {error}");
    }
}

/// A registered vault about to be configured and unlocked, in its store's lane.
pub struct Opening<'a> {
    /// The vault.
    pub entry: &'a Entry,
    /// What it is.
    pub extension: &'a Extension,
    /// Where to take the lane.
    pub lanes: &'a Lanes<Box<dyn Task>>,
    /// The deadline.
    pub until: Instant,
    /// It was added just now, by a script in this worker, so its configuration has been looked at by
    /// nobody. Else the worker is starting.
    pub added: bool,
}

impl Opening<'_> {
    /// Does it: the first worker of all alone, since it may write the configuration or create the store,
    /// later ones beside each other.
    pub async fn open(&self, worker: &mut Worker) -> Result<(), Trouble> {
        let store = &self.entry.store;
        let configures = self.extension.is_secret_store() && (self.added || !store.is_configured());
        let mode = match store.discipline {
            Discipline::Parallel => None,
            Discipline::SecretStore if !configures => Some(Mode::Shared),
            Discipline::SecretStore | Discipline::Serial => Some(Mode::Exclusive),
        };
        let lane = mode.map(|mode| Lane { store: store.id.clone(), mode });
        let _permit = match lane {
            Some(lane) => {
                let permit = async {
                    if self.added {
                        self.lanes.acquire(lane).await
                    } else {
                        self.lanes.acquire_at_start(lane).await
                    }
                };
                let waited = timeout_at(self.until, permit).await;
                Some(waited.map_err(|_| Trouble::Broken(Broken::TimedOut))?)
            }
            None => None,
        };
        if configures {
            self.configure(worker).await?;
        }
        if self.extension.unlock_at_start
            && self.entry.password().is_some()
            && store.authentication() != Authentication::None
        {
            let mut session = Session { worker, entry: self.entry, until: self.until, grace: Duration::ZERO };
            match session.unlock().await {
                Ok(_) | Err(Trouble::OldCopy) => {}
                Err(trouble) => return Err(trouble),
            }
        }
        if store.authentication() == Authentication::None {
            // Read by the warm-up, and not refreshable after.
            let seen = Seen { generation: store.generation(), files: store.files_now(), unlocked: None };
            worker.seen.insert(store.id.clone(), seen);
        }
        warm_up(worker, self.entry, self.extension, self.until).await
    }

    /// Compares a SecretStore's configuration with the plan's and writes what differs.
    async fn configure(&self, worker: &mut Worker) -> Result<(), Trouble> {
        let store = &self.entry.store;
        let (files, generation) = (store.files_now(), store.generation());
        let parameters =
            if self.extension.imported { Parameters::default() } else { self.extension.parameters.clone() };
        let password = self.entry.password().map(SecretValue::SecureString);
        let op = Op::Configure(Configure { parameters, password });
        let told = worker.call::<StoreReply>(op, self.until).await;
        match told {
            Ok(reply) => {
                store.told(reply.authentication.as_deref(), reply.password_timeout);
                store.set_configured();
            }
            // A script is told; a plan's other vaults go on without.
            Err(CallError::Fault(fault)) if !self.added => {
                tracing::warn!(vault = %self.entry.plan.name, "the store was not configured: {fault}");
            }
            Err(error) => return Err(error.into()),
        }
        let files_now = store.files_now();
        let generation = if files_now == files { generation } else { store.wrote(files_now.clone()) };
        let seen = Seen { generation, files: files_now, unlocked: None };
        worker.seen.insert(store.id.clone(), seen);
        Ok(())
    }
}

/// The first call of a module is many times slower than the next, so it is made before anybody waits. Only
/// where it goes to no network: a made-up name of SecretStore.
async fn warm_up(
    worker: &mut Worker,
    entry: &Entry,
    extension: &Extension,
    until: Instant,
) -> Result<(), Trouble> {
    if !extension.is_secret_store() || entry.store.authentication() == Authentication::Unknown {
        return Ok(());
    }
    let get = Get {
        vault: extension.registered.clone(),
        name: "secretbridge-warm-up".into(),
        refresh: false,
        detail: false,
    };
    match worker.call::<GetReply>(Op::Get(get), until).await {
        Err(CallError::Broken(broken)) => Err(Trouble::Broken(broken)),
        Ok(_) | Err(CallError::Fault(_)) => Ok(()),
    }
}

fn named(what: impl Into<String>, error: CallError) -> LaunchError {
    match error {
        CallError::Broken(broken) => LaunchError::BrokenIn { what: what.into(), broken },
        CallError::Fault(fault) => LaunchError::SetUp { what: what.into(), fault },
    }
}
