//! The bridge: mounts, cache and vaults behind one handle.
//!
//! This is the library's front. The HTTP routes, the command line and script mode all go through it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cache::{Cache, CacheUsage, Changes};
use crate::check::check_vaults;
use crate::error::BridgeError;
use crate::metrics::Calls;
use crate::mount::{Mounts, project};
use crate::plan::{Plan, Projection};
use crate::pool::{Pool, WorkerStatus};
use crate::protocol::{Metadata, SecretInfo};
use crate::pwsh::{self, Folder};
use crate::secret::SecretValue;
use crate::trusted;
use crate::vault::backend::kinds;
use crate::vault::condition;
pub use crate::vault::condition::VaultState;
use crate::vault::set_up::WorkerSetUp;
use crate::vault::{Entry, Hooks, Means, Outcome, VaultTable, Vaults, Verb};
use crate::worker::Launcher;
use crate::worker::process::Environment;

mod manage;
mod renew;
pub(crate) mod start;
mod stop;
mod values;
mod watch;

pub use start::{FoundVault, StartError};
use start::{import, password};
pub(crate) use start::{open_in_process, wait_for};
use values::Values;
pub use values::{Answer, Reading};
pub(crate) use values::{Loading, Loads, Look, value_of};
use watch::watch_stores;

/// A running bridge. Cheap to clone. [`Bridge::stop`] ends it in good order; when the last handle goes
/// without, its workers are killed.
#[derive(Clone)]
pub struct Bridge(Arc<BridgeInner>);

struct BridgeInner {
    plan: Arc<Plan>,
    values: Values,
    mounts: Mounts,
    found: Vec<FoundVault>,
    stopping: CancellationToken,
    /// Removed when the last handle goes, after the workers.
    _folder: Option<Arc<Folder>>,
}

/// Where workers come from.
struct Workers {
    launcher: Arc<dyn Launcher>,
    /// What they run, removed after them.
    folder: Option<Arc<Folder>>,
    /// What script mode does in each of them first.
    first: Option<Arc<dyn Hooks>>,
}

/// What a start needs beside the plan.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `--pwsh`.
    pub pwsh: Option<PathBuf>,
}

/// How the bridge is. Never holds a value.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct Health {
    /// Requests can be served.
    pub ready: bool,
    /// Requests that wait for a worker.
    pub waiting: usize,
    /// Workers whose place another took before their time was over.
    pub restarts: u64,
    /// The same, by what they broke of: `timeout`, `ended`, `noise`, `line`, `protocol`; `retired` were whole.
    pub restart_causes: BTreeMap<&'static str, u64>,
    /// The cache.
    pub cache: CacheUsage,
    /// The workers.
    pub workers: Vec<WorkerStatus>,
    /// The vaults.
    pub vaults: Vec<VaultHealth>,
}

/// How a vault is.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct VaultHealth {
    /// Its friendly name.
    pub name: String,
    /// By its last call, and whether its password is locked out now.
    #[serde(flatten)]
    pub condition: condition::ShownCondition,
    /// Somebody has locked it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub closed: bool,
    /// Why, if it is locked out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Changes to its store by somebody else.
    pub foreign_changes: u64,
    /// Keys that we had written and somebody else erased, and that are not back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub vanished: Vec<String>,
    /// What was asked of it.
    #[serde(skip)]
    pub(crate) calls: Arc<Calls>,
}

impl Health {
    /// A worker is up, or none is needed.
    #[must_use]
    pub fn has_worker(&self) -> bool {
        self.workers.is_empty() || self.workers.iter().any(WorkerStatus::is_up)
    }
}

impl Bridge {
    /// Starts what the plan needs, and waits until it is ready. `progress` is told how many workers are up.
    /// Dropping the future kills what was started.
    pub(crate) async fn start(
        mut plan: Plan,
        options: &Options,
        progress: impl FnMut(usize, usize),
    ) -> Result<Bridge, StartError> {
        let user = start::worker_user(&plan.pwsh, plan.registry)?;
        let found = import(&mut plan)?;
        check_vaults(&plan)?;
        if !plan.vaults.iter().any(kinds::needs_worker) {
            return Bridge::assemble(plan, found, None, progress).await;
        }
        trusted::check_plan(&plan, user.as_ref()).map_err(StartError::Untrusted)?;
        start::look_for_init(&plan)?;
        let program = pwsh::find(options.pwsh.as_deref(), plan.pwsh.path.as_deref())?;
        let environment = |_: &Folder| Environment {
            removed: plan.secret_variables(),
            module_path: plan.pwsh.module_path.clone(),
            ..Environment::default()
        };
        let (folder, launcher) = start::launcher(program, user, environment).await?;
        Bridge::assemble(
            plan,
            found,
            Some(Workers { launcher: Arc::new(launcher), folder: Some(folder), first: None }),
            progress,
        )
        .await
    }

    /// A bridge for a script, which declares everything later: no vaults yet, and no workers until the pool
    /// grows. Each worker begins with `first`.
    pub(crate) async fn start_script(
        plan: Plan,
        launcher: Arc<dyn Launcher>,
        folder: Option<Arc<Folder>>,
        first: Arc<dyn Hooks>,
    ) -> Result<Bridge, StartError> {
        let workers = Workers { launcher, folder, first: Some(first) };
        Bridge::assemble(plan, Vec::new(), Some(workers), |_, _| {}).await
    }

    /// As [`Bridge::start`], with workers from any launcher and no look at the user's registry.
    #[cfg(test)]
    pub(crate) async fn start_with(plan: Plan, launcher: Arc<dyn Launcher>) -> Result<Bridge, StartError> {
        Bridge::assemble(plan, Vec::new(), Some(Workers { launcher, folder: None, first: None }), |_, _| {})
            .await
    }

    async fn assemble(
        plan: Plan,
        found: Vec<FoundVault>,
        workers: Option<Workers>,
        progress: impl FnMut(usize, usize),
    ) -> Result<Bridge, StartError> {
        let table = Arc::new(VaultTable::new(&plan.init));
        for vault in &plan.vaults {
            let means = Means { password: password(vault)?, hooks: None };
            open_in_process(&*table.add(vault.clone(), means)?)?;
        }
        let (mut folder, mut pool) = (None, None);
        if let Some(workers) = workers {
            folder = workers.folder.clone();
            pool = Some(start_pool(&plan, &table, workers, progress).await?);
        }
        let cache = Arc::new(Cache::new(plan.cache));
        let changes = Changes::to(cache.clone());
        let vaults = Arc::new(Vaults::new(table, pool, plan.limits.clone(), changes));
        let inner = BridgeInner {
            mounts: Mounts::new(plan.mounts.clone()),
            plan: Arc::new(plan),
            values: Values::new(cache, vaults),
            found,
            stopping: CancellationToken::new(),
            _folder: folder,
        };
        let bridge = Bridge(Arc::new(inner));
        let (values, stopping) = (bridge.0.values.clone(), bridge.0.stopping.clone());
        tokio::spawn(watch_stores(values, bridge.0.plan.limits.deadline, stopping));
        bridge.prefetch();
        Ok(bridge)
    }

    /// Reads a mounted secret, projected as the mount says.
    pub async fn read(&self, mount: &str, deadline: Instant) -> Result<SecretValue, BridgeError> {
        Ok(self.read_as(mount, Reading::Kept, deadline).await?.value)
    }

    /// As [`Bridge::read`], with the value's age.
    pub async fn read_as(
        &self,
        mount: &str,
        reading: Reading,
        deadline: Instant,
    ) -> Result<Answer, BridgeError> {
        let mount = self.mount(mount)?;
        let entry = self.vaults().get(&mount.vault)?;
        let keep = entry.plan.keep.with_ttl(mount.cache_ttl);
        let look =
            Look { entry: &entry, key: &mount.key, name: &mount.key, detail: false, keep, reading, deadline };
        let Answer { value, freshness } = self.0.values.read(&look).await?;
        let value = plain(&entry, value)?;
        let value = project(&value, &mount.projection).map_err(|member| BridgeError::NoMember {
            vault: mount.vault.clone(),
            key: mount.key.clone(),
            member,
        })?;
        Ok(Answer { value, freshness })
    }

    /// Writes a mounted secret. With a member projection the other members are kept.
    pub async fn update(
        &self,
        mount: &str,
        value: SecretValue,
        metadata: Option<Metadata>,
        deadline: Instant,
    ) -> Result<(), BridgeError> {
        let mount = self.mount(mount)?;
        let entry = self.vaults().get(&mount.vault)?;
        let member = match &mount.projection {
            Projection::Member(member) => Some(member.clone()),
            Projection::Whole | Projection::Members(_) => None,
        };
        let verb = Verb::Set { key: mount.key.clone(), value: Arc::new(value), metadata, member };
        self.vaults().perform(&entry, verb, deadline).await.map(drop)
    }

    /// Removes a mounted secret's key from its vault.
    pub async fn remove_mounted(&self, mount: &str, deadline: Instant) -> Result<(), BridgeError> {
        let mount = self.mount(mount)?;
        self.remove(&mount.vault, &mount.key, deadline).await
    }

    /// Reads a key of a vault, with its exact type where the vault tells it cheaply.
    pub async fn get(&self, vault: &str, key: &str, deadline: Instant) -> Result<SecretValue, BridgeError> {
        Ok(self.get_as(vault, key, Reading::Kept, deadline).await?.value)
    }

    /// As [`Bridge::get`], with the value's age.
    pub async fn get_as(
        &self,
        vault: &str,
        key: &str,
        reading: Reading,
        deadline: Instant,
    ) -> Result<Answer, BridgeError> {
        let entry = self.vaults().get(vault)?;
        let detail = entry.backend.tells_types();
        let look = Look { entry: &entry, key, name: key, detail, keep: entry.plan.keep, reading, deadline };
        let Answer { value, freshness } = self.0.values.read(&look).await?;
        Ok(Answer { value: (*plain(&entry, value)?).clone(), freshness })
    }

    /// Writes a key of a vault. Without metadata the present metadata is kept.
    pub async fn set(
        &self,
        vault: &str,
        key: &str,
        value: SecretValue,
        metadata: Option<Metadata>,
        deadline: Instant,
    ) -> Result<(), BridgeError> {
        let entry = self.vaults().get(vault)?;
        let verb = Verb::Set { key: key.to_owned(), value: Arc::new(value), metadata, member: None };
        self.vaults().perform(&entry, verb, deadline).await.map(drop)
    }

    /// Removes a key of a vault.
    pub async fn remove(&self, vault: &str, key: &str, deadline: Instant) -> Result<(), BridgeError> {
        let entry = self.vaults().get(vault)?;
        self.vaults().perform(&entry, Verb::Remove { key: key.to_owned() }, deadline).await.map(drop)
    }

    /// Lists a vault: names, types and metadata; never values.
    pub async fn list(&self, vault: &str, deadline: Instant) -> Result<Vec<SecretInfo>, BridgeError> {
        let entry = self.vaults().get(vault)?;
        match self.vaults().perform(&entry, Verb::List, deadline).await? {
            Outcome::List(secrets) => Ok(secrets),
            Outcome::Value(_) | Outcome::Done => Ok(Vec::new()),
        }
    }

    /// The plan that it serves.
    #[must_use]
    pub fn plan(&self) -> Arc<Plan> {
        self.0.plan.clone()
    }

    /// As [`Bridge::plan`], without a handle of its own.
    pub(crate) fn plan_in_force(&self) -> &Plan {
        &self.0.plan
    }

    /// The vaults that the user had registered.
    #[must_use]
    pub fn found(&self) -> &[FoundVault] {
        &self.0.found
    }

    /// The vaults; script mode adds to them while the server runs.
    pub(crate) fn vaults(&self) -> &Arc<Vaults> {
        self.0.values.vaults()
    }

    /// The mounts; script mode adds to them while the server runs.
    pub(crate) fn mounts(&self) -> &Mounts {
        &self.0.mounts
    }

    /// The way to values; a script goes it with its own worker.
    pub(crate) fn values(&self) -> &Values {
        &self.0.values
    }

    /// Whether it has begun to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.0.stopping.is_cancelled()
    }

    /// How it is, without calling a vault.
    pub fn health(&self) -> Health {
        let pool = self.vaults().pool();
        let workers = pool.map(Pool::workers).unwrap_or_default();
        let has_worker = pool.is_none() || workers.iter().any(WorkerStatus::is_up);
        let vaults: Vec<_> = self.vaults().all().iter().map(|entry| vault_health(entry)).collect();
        let restart_causes = pool.map(Pool::restarts).unwrap_or_default();
        Health {
            ready: has_worker && !self.0.stopping.is_cancelled() && any_open(&vaults),
            waiting: pool.map_or(0, Pool::waiting),
            restarts: restart_causes.values().sum(),
            restart_causes,
            cache: self.0.values.usage(),
            workers,
            vaults,
        }
    }

    /// Takes over from another bridge of this process, which has ended. Its writes since this one started are no other
    /// program's, and what it could not put right is left to this one.
    pub(crate) fn take_over(&self, old: &Bridge) {
        self.vaults().take_over(old.vaults());
    }

    fn mount(&self, name: &str) -> Result<Arc<crate::plan::Mount>, BridgeError> {
        self.0.mounts.get(name).ok_or_else(|| BridgeError::UnknownMount { name: name.to_owned() })
    }
}

impl Drop for BridgeInner {
    fn drop(&mut self) {
        // Slots and pool hold each other: without this the slots would never end.
        self.stopping.cancel();
        if let Some(pool) = self.values.vaults().pool() {
            pool.halt();
        }
    }
}

impl std::fmt::Debug for Bridge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bridge").field("vaults", &self.0.plan.vaults.len()).finish_non_exhaustive()
    }
}

/// Starts the workers and waits until they are ready; where they do not come up none is left.
async fn start_pool(
    plan: &Plan,
    table: &Arc<VaultTable>,
    workers: Workers,
    progress: impl FnMut(usize, usize),
) -> Result<Pool, StartError> {
    let set_up = WorkerSetUp { table: table.clone(), init: plan.init.clone(), first: workers.first };
    let pool = Pool::start(workers.launcher, Arc::new(set_up), plan.pool.clone());
    let mut started = wait_for(&pool, plan.pool.min, progress).await;
    for backend in table.stores() {
        if started.is_ok() && backend.has_one_worker() {
            // No other worker may serve it.
            pool.add_own_worker(backend.store().id.clone());
            started = pool.ready().await;
        }
    }
    match started {
        Ok(()) => Ok(pool),
        Err(error) => {
            pool.stop(Instant::now(), |_, _| Box::pin(async {})).await;
            Err(error.into())
        }
    }
}

/// Refuses what only a script block can read.
fn plain(entry: &Entry, value: Arc<SecretValue>) -> Result<Arc<SecretValue>, BridgeError> {
    if value.is_opaque() {
        let reason = "the value is an object that only a script block can read".to_owned();
        return Err(BridgeError::Refused { vault: entry.plan.name.clone(), reason });
    }
    Ok(value)
}

fn vault_health(entry: &Entry) -> VaultHealth {
    let lockout = entry.store.lockout(Instant::now());
    let damage = entry.backend.damage();
    let mut condition = entry.condition.shown();
    if lockout.is_some() {
        condition.state = condition::VaultState::LockedOut;
    }
    VaultHealth {
        name: entry.plan.name.clone(),
        condition,
        closed: entry.is_closed(),
        reason: lockout.map(|lockout| lockout.reason),
        foreign_changes: damage.changes,
        vanished: damage.vanished,
        calls: entry.calls.clone(),
    }
}

/// Whether any vault can serve: not where each of them is locked.
fn any_open(vaults: &[VaultHealth]) -> bool {
    let shut =
        |vault: &VaultHealth| matches!(vault.condition.state, VaultState::Locked | VaultState::LockedOut);
    vaults.is_empty() || !vaults.iter().all(shut)
}

#[cfg(test)]
mod tests;
