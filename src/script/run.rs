//! Runs a script in a worker of its own until it has declared everything.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::time::Instant;

use super::asks::Asking;
use super::asks::imports::import_registry;
use super::custom::Loader;
use super::noted;
use super::outline::Outline;
use super::protocol::Invoke;
use super::protocol::call::{self, PlanReply, ScriptProblem};
use super::renewal::renew_unlocks;
use super::session::Session;
use super::{Core, CoreOptions};
use crate::bridge::{Bridge, StartError, start, wait_for};
use crate::plan::{self, InitScript, Limits, Plan};
use crate::platform;
use crate::protocol::{Fault, ScriptPosition};
use crate::pwsh::{self, Folder};
use crate::registry::user::UserRegistry;
use crate::trusted;
use crate::vault::run_init;
use crate::worker::process::Environment;
use crate::worker::{CallError, LaunchError, Launcher, Worker};

/// How long a script may take to declare everything. It may sign in to a cloud meanwhile.
const PLAN_LIMIT: Duration = Duration::from_secs(600);

/// How a script is run.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// The script.
    pub script: PathBuf,
    /// Its parameters, as on the command line.
    pub parameters: Vec<String>,
    /// `--pwsh`.
    pub pwsh: Option<PathBuf>,
    /// `--worker-user` and `--worker-home`: who the workers run as.
    pub workers: plan::Pwsh,
    /// `--check`: nothing is contacted and nothing is served.
    pub check: bool,
    /// `--no-lift`.
    pub no_lift: bool,
    /// `--loopback`.
    pub loopback: bool,
    /// `--register-for-user`.
    pub for_user: bool,
    /// Where its vaults are registered for the user, if they are.
    pub registry: Option<UserRegistry>,
    /// Limits of requests, where the script says nothing.
    pub limits: Limits,
}

/// Why a script was not served.
#[derive(Debug, Error)]
pub enum RunError {
    /// There is no such script.
    #[error("cannot read the script {}: {source}", .path.display())]
    Script {
        /// As given.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No pwsh, no folder, no workers.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A worker did not come up.
    #[error("the workers did not come up: {0}")]
    Workers(#[from] LaunchError),
    /// The script failed while it declared.
    #[error("the script failed: {}{} ({})", .0.message, position(.0), .0.id)]
    Declaration(Box<Fault>),
    /// Pieces of it are not served.
    #[error("the script cannot be served as it is:\n{}", .0.iter().map(ScriptProblem::line).collect::<Vec<_>>().join("\n"))]
    Problems(Vec<ScriptProblem>),
    /// Its worker broke meanwhile.
    #[error("the worker that ran the script failed: {0}")]
    Planning(crate::worker::Broken),
    /// It never called `Start-PodeServer`.
    #[error("the script declares no server (hint: what is served stands in a block of Start-PodeServer)")]
    NoServer,
    /// It has no endpoint.
    #[error(
        "the script declares no endpoint (hint: Add-PodeEndpoint -Address localhost -Port 8080 -Protocol Http)"
    )]
    NoEndpoint,
    /// It was stopped before it served.
    #[error("stopped before the script was served")]
    Stopped,
}

/// A script that has declared everything, with its workers, before it serves.
pub struct Declared {
    core: Arc<Core>,
    bridge: Bridge,
}

impl ScriptProblem {
    fn line(&self) -> String {
        match &self.position {
            Some(at) => format!("{}:{}: {}", at.script.as_deref().unwrap_or("script"), at.line, self.message),
            None => self.message.clone(),
        }
    }
}

impl RunError {
    /// Whether the script itself is at fault, and not what it runs on.
    pub fn is_of_the_script(&self) -> bool {
        match self {
            RunError::Script { .. }
            | RunError::Declaration(_)
            | RunError::Problems(_)
            | RunError::NoServer
            | RunError::NoEndpoint => true,
            RunError::Start(_) | RunError::Workers(_) | RunError::Planning(_) | RunError::Stopped => false,
        }
    }

    /// For programs: `{"errors": [{"id", "message", "hint"?, "script"?, "line"?, "column"?}]}`.
    pub fn to_json(&self) -> serde_json::Value {
        let one = |id: &str, message: &str, position: Option<&ScriptPosition>| {
            let (message, hint) = match message.split_once(" (hint: ") {
                Some((message, hint)) => (message, Some(hint.strip_suffix(')').unwrap_or(hint))),
                None => (message, None),
            };
            let script = position.and_then(|at| at.script.as_deref());
            let (line, column) = (position.map(|at| at.line), position.map(|at| at.column));
            let error = serde_json::json!({ "id": id, "message": message, "hint": hint, "script": script, "line": line, "column": column });
            let told = |object: serde_json::Map<String, serde_json::Value>| {
                object.into_iter().filter(|(_, value)| !value.is_null()).collect()
            };
            match error {
                serde_json::Value::Object(object) => serde_json::Value::Object(told(object)),
                other => other,
            }
        };
        let errors: Vec<_> = match self {
            RunError::Problems(problems) => problems
                .iter()
                .map(|problem| one(&problem.id, &problem.message, problem.position.as_ref()))
                .collect(),
            RunError::Declaration(fault) => vec![one(&fault.id, &fault.message, fault.position.as_ref())],
            other => vec![one("Run", &other.to_string(), None)],
        };
        serde_json::json!({ "errors": errors })
    }
}

/// Tells what a script declares. No vault is contacted.
pub async fn check(options: RunOptions) -> Result<Outline, RunError> {
    let declared = declare(&RunOptions { check: true, ..options }).await?;
    let outline = Outline::of(&declared.core);
    declared.bridge.stop(Duration::ZERO).await;
    Ok(outline)
}

/// Runs a script in a worker of its own until it has declared everything.
pub async fn declare(options: &RunOptions) -> Result<Declared, RunError> {
    let unreadable = |source| RunError::Script { path: options.script.clone(), source };
    let script = platform::real_path(&options.script).map_err(unreadable)?;
    if !std::fs::metadata(&script).map_err(unreadable)?.is_file() {
        let what = if script.is_dir() {
            "it is a folder (hint: name the script in it)"
        } else {
            "it is not a regular file"
        };
        return Err(unreadable(std::io::Error::other(what)));
    }
    let registry = if options.for_user { plan::Registry::User } else { plan::Registry::Private };
    let user = start::worker_user(&options.workers, registry)?;
    trusted::check_script(&script, user.as_ref()).map_err(StartError::Untrusted)?;
    let program = pwsh::find(options.pwsh.as_deref(), None).map_err(StartError::Pwsh)?;
    // The module that answers to Pode's name is ours, and goes before one that is installed.
    let environment = |folder: &Folder| Environment {
        module_path: vec![folder.path().to_owned()],
        ..Environment::default()
    };
    let (folder, launcher) = start::launcher(program, user, environment).await?;
    let options = RunOptions { script, ..options.clone() };
    declare_with(&options, Arc::new(launcher), Some(folder)).await
}

/// As [`declare`], with workers from any launcher.
pub async fn declare_with(
    options: &RunOptions,
    launcher: Arc<dyn Launcher>,
    folder: Option<Arc<Folder>>,
) -> Result<Declared, RunError> {
    let core_options = CoreOptions {
        check: options.check,
        no_lift: options.no_lift,
        loopback: options.loopback,
        no_import: folder.is_none(),
        registry: options.registry.clone(),
        limits: options.limits.clone(),
    };
    let pool = plan::PoolLimits { min: 0, max: 0, ..plan::PoolLimits::default() };
    let init = folder.as_deref().map(pode_module).into_iter().collect();
    let registry = if options.for_user { plan::Registry::User } else { plan::Registry::Private };
    let plan = Plan { pool, init, registry, limits: options.limits.clone(), ..Plan::default() };
    let session = Arc::new(Session::default());
    let first = Arc::new(Loader(session.clone()));
    let bridge = Bridge::start_script(plan, launcher, folder, first).await?;
    let core = Core::new(core_options, bridge.clone(), session);
    let declared = Declared { core, bridge };
    match declared.run_script(options).await {
        Ok(()) => Ok(declared),
        Err(error) => {
            declared.bridge.stop(Duration::ZERO).await;
            Err(error)
        }
    }
}

impl Declared {
    /// What was declared.
    pub fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// The bridge that serves it.
    pub fn bridge(&self) -> &Bridge {
        &self.bridge
    }

    /// The limits of requests, with those of the script.
    pub fn limits(&self) -> Limits {
        self.core.settings.limits(self.core.options.limits.clone())
    }

    /// What was declared, to be shown.
    #[cfg(test)]
    pub fn outline(&self) -> Outline {
        Outline::of(&self.core)
    }

    async fn run_script(&self, options: &RunOptions) -> Result<(), RunError> {
        let script = options.script.to_string_lossy();
        if let Some(root) = options.script.parent() {
            self.core.session.set_origin(&root.to_string_lossy(), Some(&script));
        }
        let pool = self.bridge.vaults().pool().ok_or(RunError::Stopped)?;
        let mut worker = pool.launch_bare(Instant::now() + plan::PoolLimits::default().start_limit).await?;
        noted::about(&mut worker).loaded.declares = true;
        for script in &self.bridge.plan().init {
            run_init(&mut worker, script, Instant::now() + plan::PoolLimits::default().start_limit).await?;
        }
        // The script's first lines may ask the user's own vaults.
        import_registry(&self.core, &self.bridge, |_| true);
        let until = Instant::now() + PLAN_LIMIT;
        let reply = self.plan(&mut worker, options, &script, until).await;
        let (served, needs, environment) = match reply {
            Ok(PlanReply { problems, .. }) if !problems.is_empty() => {
                return Err(RunError::Problems(problems));
            }
            Ok(PlanReply { served, needs, environment, .. }) => (served, needs, environment),
            Err(CallError::Fault(fault)) => return Err(RunError::Declaration(fault)),
            Err(CallError::Broken(broken)) => return Err(RunError::Planning(broken)),
        };
        worker.shut_down(Instant::now() + Duration::from_secs(5)).await;
        if !served {
            return Err(RunError::NoServer);
        }
        self.core.settings.set_needs(needs);
        self.core.session.set_environment(environment);
        self.core.declared.cancel();
        Ok(())
    }

    async fn plan(
        &self,
        worker: &mut Worker,
        options: &RunOptions,
        script: &str,
        until: Instant,
    ) -> Result<PlanReply, CallError> {
        let call = call::PlanCall { script, arguments: &options.parameters, check: options.check };
        let op = Invoke::Plan(call).op();
        let op = op.ok_or(crate::worker::Broken::Protocol("the plan call does not encode"))?;
        let mut asking = Asking::new(self.core.clone(), until);
        worker.call_asking(op, until, Some(&mut asking)).await
    }

    /// Starts as many workers as the script asked for.
    #[cfg(test)]
    pub async fn start_workers(&self) -> Result<(), RunError> {
        self.start_workers_with(|_, _| {}).await
    }

    /// The same; `progress` is told how many are up.
    pub async fn start_workers_with(&self, progress: impl FnMut(usize, usize)) -> Result<(), RunError> {
        let pool = self.bridge.vaults().pool().ok_or(RunError::Stopped)?;
        let threads = self.core.settings.threads();
        pool.grow(threads);
        wait_for(pool, threads, progress).await?;
        tokio::spawn(renew_unlocks(Arc::downgrade(&self.core)));
        Ok(())
    }

    /// Ends everything: custom vaults' unregister blocks run once, then the workers go.
    #[cfg(test)]
    pub async fn stop(&self) {
        self.bridge.stop(self.core.options.limits.drain).await;
    }
}

/// Brings our module of Pode's commands into a worker.
fn pode_module(folder: &Folder) -> InitScript {
    let path = folder.path().join("Pode").join("Pode.psd1");
    let quoted = path.to_string_lossy().replace('\'', "''");
    InitScript::Text(format!("Import-Module '{quoted}' -Global -DisableNameChecking"))
}

/// One warning, where another host reaches secrets without showing who it is.
pub(crate) fn warning(core: &Core) -> Option<String> {
    let open: Vec<_> = core.endpoints.all().into_iter().filter(super::endpoint::Endpoint::is_open).collect();
    let reachable = |route: &super::route::ScriptRoute| {
        let named = route.endpoint.as_deref();
        open.iter().any(|endpoint| {
            named.is_none_or(|name| crate::secret::fold(name) == crate::secret::fold(&endpoint.name))
        })
    };
    let names_secrets = |route: &super::route::ScriptRoute| {
        route.lift.is_some() || core.session.describe(route.block).is_some_and(|(_, _, names)| names)
    };
    let routes: Vec<String> = core
        .routes
        .all()
        .iter()
        .filter(|route| reachable(route) && names_secrets(route))
        .map(|route| format!("{} {}", route.method, route.path))
        .collect();
    if routes.is_empty() {
        return None;
    }
    let addresses: Vec<String> = open.iter().map(super::endpoint::Endpoint::url).collect();
    Some(format!(
        "other hosts can reach secrets without authentication at {}: {} (remedy: --token-file FILE asks callers for a \
         bearer token, --loopback listens on this machine only)",
        addresses.join(", "),
        routes.join(", ")
    ))
}

fn position(fault: &Fault) -> String {
    match &fault.position {
        Some(position) => {
            format!(", at {}:{}", position.script.as_deref().unwrap_or("the script"), position.line)
        }
        None => String::new(),
    }
}
