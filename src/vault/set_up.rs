//! Sets a fresh worker up: init scripts, then each vault registered, configured and unlocked.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::backend::kinds;
use super::entry::Entry;
use super::facts::Hooks;
use super::init::{named, run_init};
use super::noted::about;
use super::table::VaultTable;
use super::turn::{Trouble, Turn};
use crate::plan::{Extension, InitScript};
use crate::pool::lanes::{Crew, Lane, LaneMode, Lanes};
use crate::pool::{SetUp, Task, TaskPermit};
use crate::protocol::{Empty, Op, Parameters, Register, RegisterReply, VaultName};
use crate::store::Discipline;
use crate::worker::{BoxFuture, Broken, CallError, LaunchError, Worker};

/// Replays the plan's set-up into each worker.
pub struct WorkerSetUp {
    /// The vaults, also those that are added later.
    pub table: Arc<VaultTable>,
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
            for entry in self.table.all() {
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
            entry.plan.exposed && !entry.backend.has_one_worker()
        }
        Crew::Shared => !entry.backend.has_one_worker(),
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
    ready(worker, entry, until).await.map_err(|error| named(what(), with_cure(error, entry)))?;
    let opening = Opening { entry, lanes, until, added: false };
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
    if about(worker).vaults.contains(&entry.number) {
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
    }
    if let Ok(calls) = entry.calls() {
        calls.registered(worker, entry, until).await?;
    }
    about(worker).vaults.insert(entry.number);
    Ok(())
}

async fn register(worker: &mut Worker, extension: &Extension, until: Instant) -> Result<(), CallError> {
    let is_configuration = kinds::settings_of(extension).is_some();
    let op = Op::Register(Register {
        vault: extension.registered.clone(),
        module: extension.module.clone(),
        // A configuration goes through `configure`; it is no business of the registry.
        parameters: if is_configuration { Parameters::default() } else { extension.parameters.clone() },
        new: false,
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
    forget(worker, entry);
    if let Err(error) = gone {
        let error = Trouble::from(error).into_error(entry, None, false);
        tracing::warn!(vault = %entry.plan.name, "unregistering failed: {error}");
    }
}

/// Forgets that a vault was registered in a worker.
pub fn forget(worker: &mut Worker, entry: &Entry) {
    about(worker).vaults.remove(&entry.number);
}

/// A registered vault about to be configured and unlocked, in its store's lane.
pub struct Opening<'a> {
    /// The vault.
    pub entry: &'a Entry,
    /// Where to take the lane.
    pub lanes: &'a Lanes<Box<dyn Task>>,
    /// The deadline.
    pub until: Instant,
    /// It was added just now, by a script in this worker, so its configuration has been looked at by
    /// nobody. Else the worker is starting.
    pub added: bool,
}

impl Opening<'_> {
    /// Does it: what may write the configuration or create the store alone, the rest beside other workers.
    pub async fn open(&self, worker: &mut Worker) -> Result<(), Trouble> {
        let entry = self.entry;
        // There is nothing in a worker of a vault that no worker calls.
        let Ok(calls) = entry.calls() else { return Ok(()) };
        let mut turn = Turn { worker, vault: entry, until: self.until, grace: Duration::ZERO };
        let mut opened = false;
        if let Some(mode) = calls.configures(entry, self.added) {
            let _permit = self.permit(mode).await?;
            // Another worker may have done it while this one waited.
            if calls.configures(entry, self.added).is_some() {
                opened = calls.configure(&mut turn, self.added).await?;
            }
        }
        let _permit = match entry.store.discipline {
            Discipline::Parallel => None,
            Discipline::Readers => Some(self.permit(LaneMode::Shared).await?),
            Discipline::Serial => Some(self.permit(LaneMode::Exclusive).await?),
        };
        calls.prepare(&mut turn, opened).await
    }

    async fn permit(&self, mode: LaneMode) -> Result<TaskPermit, Trouble> {
        let lane = Lane { store: self.entry.store.id.clone(), mode };
        let permit = async {
            if self.added { self.lanes.acquire(lane).await } else { self.lanes.acquire_at_start(lane).await }
        };
        timeout_at(self.until, permit).await.map_err(|_| Trouble::Broken(Broken::TimedOut))
    }
}

/// A module that is not installed is told with the command that installs it.
fn with_cure(error: CallError, entry: &Entry) -> CallError {
    let CallError::Fault(mut fault) = error else { return error };
    let module = match (fault.id.as_str(), entry.plan.extension()) {
        ("SecretManagementMissing", _) => Some("Microsoft.PowerShell.SecretManagement"),
        ("RegisterSecretVaultCantGetModuleInfo", Some(extension)) => Some(extension.module.as_str()),
        _ => None,
    };
    if let Some(module) = module.filter(|_| !fault.message.contains("Install-PSResource")) {
        fault.message.push_str(&format!(
            " (hint: Install-PSResource {module}, in pwsh, as the user that runs this program; module_path in [pwsh] names other \
             folders of modules)"
        ));
    }
    CallError::Fault(fault)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{SECRET_STORE, Vault, VaultKind};
    use crate::protocol::Fault;

    fn entry(module: &str, imported: bool, exposed: bool) -> Entry {
        let mut extension = Extension::new("v", module);
        extension.imported = imported;
        Entry::bare(Vault { exposed, ..Vault::new("v", VaultKind::Extension(extension)) })
    }

    #[test]
    fn a_worker_registers_what_it_serves_and_what_the_user_had_only_where_somebody_may_ask_for_it() {
        for (imported, exposed, shared) in
            [(false, false, true), (false, true, true), (true, false, false), (true, true, true)]
        {
            let entry = entry("My.Vault", imported, exposed);
            assert_eq!(belongs(&entry, &Crew::Shared), shared, "{imported}, {exposed}");
            let own = Crew::Own(entry.store.id.clone());
            assert!(belongs(&entry, &own) && !belongs(&entry, &Crew::Own("another".into())));
        }
    }

    #[test]
    fn a_module_that_is_not_installed_is_told_with_the_command_that_installs_it() {
        let said = |id: &str, message: &str| {
            let fault = Fault { id: id.into(), message: message.into(), ..Fault::default() };
            match with_cure(CallError::Fault(Box::new(fault)), &entry(SECRET_STORE, false, false)) {
                CallError::Fault(fault) => fault.message,
                CallError::Broken(_) => panic!("a fault stays one"),
            }
        };
        for (id, module) in [
            ("SecretManagementMissing", Some("Microsoft.PowerShell.SecretManagement")),
            ("RegisterSecretVaultCantGetModuleInfo", Some(SECRET_STORE)),
            ("AnythingElse", None),
        ] {
            let (cured, told) =
                (said(id, "it is missing."), said(id, "it is missing: Install-PSResource it"));
            match module {
                Some(module) => assert!(cured.contains(&format!("Install-PSResource {module},")), "{cured}"),
                None => assert_eq!(cured, "it is missing."),
            }
            assert_eq!(told, "it is missing: Install-PSResource it", "not twice");
        }
    }
}
