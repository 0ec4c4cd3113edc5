//! Sets a fresh worker up: init scripts, then each vault registered, configured and unlocked.

use std::sync::Weak;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::session::{Session, Trouble};
use super::{Entry, Vaults};
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
}

impl SetUp for WorkerSetUp {
    fn prepare<'a>(
        &'a self,
        worker: &'a mut Worker,
        crew: &'a Crew,
        held: Option<&'a Lane>,
        lanes: &'a Lanes<Box<dyn Task>>,
        until: Instant,
    ) -> BoxFuture<'a, Result<(), LaunchError>> {
        Box::pin(async move {
            for script in &self.init {
                run_init(worker, script, until).await?;
            }
            let Some(vaults) = self.vaults.upgrade() else { return Ok(()) };
            for entry in vaults.all() {
                if let Some(extension) = entry.plan.extension()
                    && belongs(&entry, crew)
                {
                    register(worker, &entry, extension, until).await?;
                    open(worker, &entry, extension, held, lanes, until).await?;
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
        Crew::Shared => entry.store.authentication() != Authentication::None,
    }
}

async fn run_init(worker: &mut Worker, script: &InitScript, until: Instant) -> Result<(), LaunchError> {
    let (what, init) = match script {
        InitScript::Text(text) => {
            ("the init script".to_owned(), Init { script: Some(text.clone()), file: None })
        }
        InitScript::File(path) => {
            let file = path.to_string_lossy().into_owned();
            (format!("the init script {file}"), Init { script: None, file: Some(file) })
        }
    };
    let done: Result<Empty, CallError> = worker.call(Op::Init(init), until).await;
    named(what, done).map(|_| ())
}

/// Registers a vault in the worker.
pub async fn register(
    worker: &mut Worker,
    entry: &Entry,
    extension: &Extension,
    until: Instant,
) -> Result<RegisterReply, LaunchError> {
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
    named(format!("registering the vault '{}'", entry.plan.name), worker.call(op, until).await)
}

/// Takes a vault out of the worker's registry; the extension's own hook runs.
pub async fn unregister(worker: &mut Worker, entry: &Entry, extension: &Extension, until: Instant) {
    let op = Op::Unregister(VaultName { vault: extension.registered.clone() });
    if let Err(error) = worker.call::<Empty>(op, until).await {
        tracing::warn!(vault = %entry.plan.name, "unregistering failed: {error}");
    }
}

/// Configures and unlocks a registered vault, in its store's lane: the first worker of all alone, since it
/// may write the configuration or create the store, later ones beside each other.
async fn open(
    worker: &mut Worker,
    entry: &Entry,
    extension: &Extension,
    held: Option<&Lane>,
    lanes: &Lanes<Box<dyn Task>>,
    until: Instant,
) -> Result<(), LaunchError> {
    let store = &entry.store;
    let mode = match store.discipline {
        Discipline::Parallel => None,
        Discipline::SecretStore if store.is_configured() => Some(Mode::Shared),
        Discipline::SecretStore | Discipline::Serial => Some(Mode::Exclusive),
    };
    let lane = mode.map(|mode| Lane { store: store.id.clone(), mode });
    let _permit = match lane.filter(|_| held.is_none_or(|held| held.store != store.id)) {
        Some(lane) => Some(timeout_at(until, lanes.acquire(lane)).await.map_err(|_| Broken::TimedOut)?),
        None => None,
    };
    if extension.is_secret_store() && !store.is_configured() {
        configure(worker, entry, extension, until).await?;
    }
    if extension.unlock_at_start && entry.password.is_some() && store.authentication() != Authentication::None
    {
        let mut session = Session { worker, entry, until, grace: Duration::ZERO };
        match session.unlock().await {
            Ok(_) | Err(Trouble::OldCopy) => {}
            Err(Trouble::Broken(broken)) => return Err(broken.into()),
            Err(Trouble::Locked { reason, .. }) => {
                tracing::warn!(vault = %entry.plan.name, "the vault stays locked: {reason}");
                return Ok(());
            }
            Err(Trouble::Fault(fault)) => {
                tracing::warn!(vault = %entry.plan.name, id = fault.id, "the vault stays locked: {}", fault.message);
                return Ok(());
            }
        }
    }
    if store.authentication() == Authentication::None {
        // Read by the warm-up, and not refreshable after.
        let seen = Seen { generation: store.generation(), files: store.files_now(), unlocked: None };
        worker.seen.insert(store.id.clone(), seen);
    }
    warm_up(worker, entry, extension, until).await
}

/// Compares a SecretStore's configuration with the plan's and writes what differs, once for all workers.
async fn configure(
    worker: &mut Worker,
    entry: &Entry,
    extension: &Extension,
    until: Instant,
) -> Result<(), LaunchError> {
    let store = &entry.store;
    let (files, generation) = (store.files_now(), store.generation());
    let parameters = if extension.imported { Parameters::default() } else { extension.parameters.clone() };
    let password = entry.password.clone().map(SecretValue::SecureString);
    let told = worker.call::<StoreReply>(Op::Configure(Configure { parameters, password }), until).await;
    match told {
        Ok(reply) => {
            store.told(reply.authentication.as_deref(), reply.password_timeout);
            store.set_configured();
        }
        Err(CallError::Broken(broken)) => return Err(broken.into()),
        // A store that is locked tells nothing; neither may an imported one be made to.
        Err(CallError::Fault(fault)) => {
            tracing::warn!(vault = %entry.plan.name, id = fault.id, "the store was not configured: {}", fault.message);
        }
    }
    let files_now = store.files_now();
    let generation = if files_now == files { generation } else { store.wrote(files_now.clone()) };
    let seen = Seen { generation, files: files_now, unlocked: None };
    worker.seen.insert(store.id.clone(), seen);
    Ok(())
}

/// The first call of a module is many times slower than the next, so it is made before anybody waits. Only
/// where it goes to no network: a made-up name of SecretStore.
async fn warm_up(
    worker: &mut Worker,
    entry: &Entry,
    extension: &Extension,
    until: Instant,
) -> Result<(), LaunchError> {
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
        Err(CallError::Broken(broken)) => Err(broken.into()),
        Ok(_) | Err(CallError::Fault(_)) => Ok(()),
    }
}

fn named<T>(what: String, outcome: Result<T, CallError>) -> Result<T, LaunchError> {
    outcome.map_err(|error| match error {
        CallError::Broken(broken) => broken.into(),
        CallError::Fault(fault) => LaunchError::SetUp { what, fault },
    })
}
