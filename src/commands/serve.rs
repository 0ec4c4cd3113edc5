//! The `serve` command: from a plan to a served, drained and stopped bridge.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::CommandError;
use super::access::{self, KeptPolicy};
use crate::access::{AccessPolicy, CallCounter};
use crate::bridge::{Bridge, Options, StartError};
use crate::cli::{Global, ServeArgs};
use crate::config;
use crate::http::route::RouteError;
use crate::http::{BoundAddress, Certificates, Gate, Native, Service};
use crate::local;
use crate::metrics::Metrics;
use crate::plan::{self, Bind, InitScript, Listener, Plan, Registry, SecretSource, Vault, VaultKind};
use crate::platform::local::LocalListener;
use crate::platform::{self, ServiceNotice};
use crate::registry::user::{RegistryMeans, UserRegistry, WantedVault};
use crate::server::announce::Announcer;
use crate::server::front::Front;
use crate::server::own;
use crate::server::signals::Wish;
use crate::server::watch::Looks;
use crate::server::{Server, Starting, dump};

/// The name of the embedded vault that is served without a configuration.
const LOCAL_VAULT: &str = "local";

/// How often the configuration file is looked at.
pub(super) const LOOK: Duration = Duration::from_secs(2);

/// Serves until a signal says stop.
pub async fn serve(global: &Global, arguments: &ServeArgs) -> Result<(), CommandError> {
    let server = Server::new().map_err(CommandError::Signals)?;
    let arguments = &with_configuration(arguments, &mut Announcer::to_stderr());
    let plan = plan(arguments)?;
    let registry = UserRegistry::new(means(global, &plan));
    let drain = plan.limits.drain;
    let served = serve_plan(server, global, arguments, plan, &registry).await;
    // A start that failed or was stopped may have left something.
    registry.end(drain).await;
    served
}

/// Starts what the plan needs, and tells how far that is; nothing where a signal comes before it is ready.
async fn start(
    server: &mut Server,
    plan: Plan,
    options: &Options,
    registry: &UserRegistry,
    starting: &Starting,
    say: &mut Announcer,
) -> Result<Option<Bridge>, StartError> {
    let progress = |up, of| {
        starting.workers(up, of);
        say.workers(up, of);
    };
    server.registers_in(registry);
    let start = async {
        registry.sweep().await;
        registry.sync(WantedVault::of_plan(&plan)).await.map_err(StartError::Registry)?;
        Bridge::start(plan, options, progress).await
    };
    server.unless_stopped(start).await.transpose()
}

async fn serve_plan(
    mut server: Server,
    global: &Global,
    arguments: &ServeArgs,
    plan: Plan,
    registry: &UserRegistry,
) -> Result<(), CommandError> {
    let mut say = Announcer::to_stderr();
    let own = access::own_names();
    let kept = access::of_plan(&plan.access, &plan.callers, &own)?;
    let (rule, token) = (Arc::new(kept.access.clone()), kept.token.clone());
    let (starting, counter) = (Arc::new(Starting::default()), Arc::new(CallCounter::default()));
    let gate = Gate::new(rule.clone(), starting.clone()).counting(counter.clone());
    let front = Arc::new(Front::new(Arc::new(gate)));
    server.audit(&plan.audit)?;
    // Before the workers: a port that is taken is told at once.
    let mut addresses = server.open(&plan.listeners, front.clone(), &plan.limits)?;
    server.open_credentials(plan.credentials.as_ref(), front.clone(), &plan.limits)?;
    let _note = match arguments.no_socket {
        true => None,
        false => {
            let (file, say) = (token.as_deref(), |why| say.line(why));
            own::listen(&mut server, front.clone(), &plan.limits, &mut addresses, file, say)
        }
    };
    let options = Options { pwsh: global.pwsh.clone() };
    let drain = plan.limits.drain;
    let certificates = server.certificates();
    let mut in_force = InForce::new(arguments, &plan, kept, &certificates);
    let started = start(&mut server, plan, &options, registry, &starting, &mut say).await;
    say.end_progress();
    let Some(bridge) = started? else {
        say.line("stopped before it was ready");
        return Ok(());
    };
    say.vaults(&bridge, arguments, global);
    let opened = open_to_peers(&addresses, &in_force.plan);
    let service = native(&bridge, &rule, &counter, server.metrics()).map_err(CommandError::from);
    let service = match opened.and(service) {
        Ok(service) => service,
        Err(error) => {
            server.end(&bridge, drain).await;
            return Err(error);
        }
    };
    // The front has the only handle: a replaced bridge must go, with its folder and its cache.
    front.replace(bridge, service).await;
    server.in_force();
    let callers = &in_force.plan.callers;
    say.line(access::refused_at_the_door(&own, &callers.hosts, &callers.origins));
    if let Some(credentials) = &in_force.plan.credentials {
        say.line(format_args!("credentials of systemd's units: {}", credentials.socket.display()));
    }
    // Only now, because a reader of this line may call at once.
    say.addresses(&addresses, rule.is_open(), token.as_deref(), arguments.config.is_none());
    let metrics = server.metrics().clone();
    let reload =
        Reload { global, arguments, options, own, front: &front, counter, metrics, certificates, registry };
    heed(&mut server, &reload, &mut in_force).await;
    say.line("stopping: requests under way are answered first");
    if let Some(bridge) = front.bridge() {
        server.end(&bridge, drain).await;
    }
    Ok(())
}

/// Other users may connect only where rules say who of them may do what.
fn open_to_peers(addresses: &[BoundAddress], plan: &Plan) -> Result<(), CommandError> {
    // The command line's socket is left out: only this user can connect to it.
    let named = |address: &&BoundAddress| plan.listeners.iter().any(|listener| listener.bind == address.bind);
    for address in addresses.iter().filter(named).filter(|_| !plan.callers.peers.is_empty()) {
        if let Bind::Unix(path) = &address.bind {
            LocalListener::open_to_others(path).map_err(CommandError::Socket)?;
        }
    }
    Ok(())
}

// === reload ===

/// What is served, as it was read, and how its files looked.
struct InForce {
    plan: Plan,
    access: AccessPolicy,
    /// Those that workers and vaults are started with.
    of_bridge: Looks,
    /// All.
    all: Looks,
}

/// What a reload needs beside what is in force.
struct Reload<'a> {
    global: &'a Global,
    arguments: &'a ServeArgs,
    options: Options,
    own: Vec<String>,
    front: &'a Front,
    counter: Arc<CallCounter>,
    metrics: Arc<Metrics>,
    certificates: Certificates,
    registry: &'a UserRegistry,
}

impl InForce {
    fn new(arguments: &ServeArgs, plan: &Plan, kept: KeptPolicy, certificates: &Certificates) -> InForce {
        let of_bridge = files_of_bridge(plan);
        let all = arguments.config.iter().chain(&kept.files).chain(&of_bridge).cloned();
        InForce {
            all: Looks::of(all.chain(certificates.files())),
            of_bridge: Looks::of(&of_bridge),
            access: kept.access,
            plan: plan.clone(),
        }
    }
}

/// Waits for the signal to stop; reloads meanwhile, on SIGHUP or when a file changes.
async fn heed(server: &mut Server, reload: &Reload<'_>, in_force: &mut InForce) {
    let mut tick = interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let why = tokio::select! {
            wish = server.next() => match wish {
                Wish::Stop => return,
                Wish::Reload => {
                    server.reopen_logs();
                    Why::Asked
                }
                Wish::Dump => {
                    dump(reload.front.bridge().as_ref());
                    continue;
                }
            },
            _ = tick.tick() => {
                let now = in_force.all.again();
                if now == in_force.all {
                    continue;
                }
                let changed = in_force.all.changed(&now);
                // A change that is refused is told once.
                in_force.all = now;
                Why::Changed(changed)
            }
        };
        platform::notify(ServiceNotice::Reloading);
        tracing::info!("the reload begins, because of {why}");
        match server.unless_stopped(reload.run(in_force, matches!(why, Why::Asked))).await {
            Some(Ok(what)) => tracing::info!("the reload is done: {what}"),
            Some(Err(error)) => tracing::error!(
                "the reload is refused: the changed configuration is not used, the old one stays in force: {error}"
            ),
            None => return,
        }
        platform::notify(ServiceNotice::Ready);
    }
}

/// What a reload is for.
enum Why {
    Asked,
    /// These files look different.
    Changed(String),
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Why::Asked => f.write_str("SIGHUP"),
            Why::Changed(files) => write!(f, "a change of {files}"),
        }
    }
}

impl Reload<'_> {
    /// Everything is read before anything is changed: all of it comes in force at one moment, or nothing. Says
    /// what came of it. `asked`: by a signal, so that workers and vaults are made anew in any case.
    async fn run(&self, in_force: &mut InForce, asked: bool) -> Result<String, CommandError> {
        let plan = plan(self.arguments)?;
        let fixed = fixed(&in_force.plan, &plan);
        if !fixed.is_empty() {
            return Err(CommandError::NeedsRestart(fixed.join(", ")));
        }
        let kept = access::of_plan(&plan.access, &plan.callers, &self.own)?;
        let certificates = self.certificates.read_again()?;
        let rule = Arc::new(kept.access.clone());
        let next = InForce::new(self.arguments, &plan, kept, &self.certificates);
        let same_plan = plan == in_force.plan;
        let same_bridge = same_plan && next.of_bridge == in_force.of_bridge;
        if asked || !same_bridge {
            let (wanted, means) = (WantedVault::of_plan(&plan), means(self.global, &plan));
            self.registry.check(&wanted).await.map_err(StartError::Registry)?;
            let bridge = Bridge::start(plan, &self.options, |_, _| {}).await?;
            let service = match native(&bridge, &rule, &self.counter, &self.metrics) {
                Ok(service) => service,
                Err(error) => {
                    bridge.stop(Duration::ZERO).await;
                    return Err(error.into());
                }
            };
            self.front.replace(bridge, service).await;
            self.registry.use_means(means).await;
            if let Err(error) = self.registry.sync(wanted).await {
                tracing::error!("{error}");
            }
        } else if let Some(bridge) = self.front.bridge() {
            self.front.put(native(&bridge, &rule, &self.counter, &self.metrics)?);
        }
        certificates.put_in_force();
        let same_access = next.access == in_force.access;
        let changes = differences(&in_force.plan, &next.plan);
        *in_force = next;
        let words = match (same_plan, same_access, same_bridge) {
            (false, ..) => return Ok(format!("the changed configuration is in force; changed: {changes}")),
            (true, false, _) => {
                "the configuration is unchanged; changed tokens are in force, and certificates were read again"
            }
            (true, true, false) => {
                "the configuration is unchanged; workers and vaults are new, with the changed files"
            }
            (true, true, true) if asked => {
                "the configuration is unchanged; workers and vaults are new, tokens and certificates were read again"
            }
            (true, true, true) => "the configuration and tokens are unchanged; certificates were read again",
        };
        Ok(words.to_owned())
    }
}

/// What differs between two plans, for the log: names, and never what a parameter is.
fn differences(old: &Plan, new: &Plan) -> String {
    let vault = |plan: &Plan, name: &str| plan.vaults.iter().find(|vault| vault.name == name).cloned();
    let names: BTreeSet<&str> =
        old.vaults.iter().chain(&new.vaults).map(|vault| vault.name.as_str()).collect();
    let vaults = names.into_iter().filter_map(|name| match (vault(old, name), vault(new, name)) {
        (None, Some(_)) => Some(format!("vault {name} (new)")),
        (Some(_), None) => Some(format!("vault {name} (gone)")),
        (old, new) => (old != new).then(|| format!("vault {name}")),
    });
    let parts = [
        ("secrets", old.mounts != new.mounts),
        ("routes", old.routes != new.routes),
        ("who may call", old.access != new.access || old.callers != new.callers),
        ("init", old.init != new.init),
        ("pwsh", old.pwsh != new.pwsh),
        ("pool", old.pool != new.pool),
        ("limits", old.limits != new.limits),
        ("cache", old.cache != new.cache),
        ("registry", old.registry != new.registry),
        ("auto_import", old.auto_import != new.auto_import),
    ];
    let parts = parts.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name.to_owned());
    vaults.chain(parts).collect::<Vec<_>>().join(", ")
}

/// What a change of the user's registry needs.
fn means(global: &Global, plan: &Plan) -> RegistryMeans {
    RegistryMeans { pwsh: global.pwsh.clone(), plan: plan.pwsh.clone(), removed: plan.secret_variables() }
}

/// What was changed that only a start can put in force, as it stands in the file.
fn fixed(old: &Plan, new: &Plan) -> Vec<&'static str> {
    let (a, b) = (&old.limits, &new.limits);
    let opens = old.callers.peers.is_empty() != new.callers.peers.is_empty();
    [
        ("listen or [[listeners]]", old.listeners != new.listeners),
        ("[[peers]] where there were none, or none where there were some", opens),
        ("[credentials]", old.credentials != new.credentials),
        ("[audit]", old.audit != new.audit),
        ("pwsh.user", old.pwsh.user != new.pwsh.user || old.pwsh.home != new.pwsh.home),
        ("limits.deadline", a.deadline != b.deadline),
        ("limits.drain", a.drain != b.drain),
        ("limits.max_body", a.max_body != b.max_body),
        ("limits.max_connections", a.max_connections != b.max_connections),
        ("limits.max_connections_per_peer", a.max_connections_per_peer != b.max_connections_per_peer),
        ("limits.first_byte_timeout", a.first_byte_timeout != b.first_byte_timeout),
        ("limits.header_timeout", a.header_timeout != b.header_timeout),
        ("limits.idle_timeout", a.idle_timeout != b.idle_timeout),
    ]
    .into_iter()
    .filter_map(|(name, differs)| differs.then_some(name))
    .collect()
}

/// Passwords and scripts that workers are started with.
fn files_of_bridge(plan: &Plan) -> Vec<PathBuf> {
    let unlock = plan.vaults.iter().filter_map(|vault| vault.extension()?.unlock.as_ref());
    let passwords = unlock.filter_map(|source| match source {
        SecretSource::File(path) => Some(path.clone()),
        _ => None,
    });
    let scripts = plan.init.iter().filter_map(|script| match script {
        InitScript::File(path) => Some(path.clone()),
        InitScript::Text(_) => None,
    });
    passwords.chain(scripts).collect()
}

/// The arguments with the configuration that is in force, if there is one.
fn with_configuration(arguments: &ServeArgs, say: &mut Announcer) -> ServeArgs {
    let mut arguments = arguments.clone();
    if arguments.local_vault.is_none()
        && let Some(place) = config::find(arguments.config.as_deref())
    {
        say.line(format_args!("configuration: {} ({})", place.path.display(), place.whose));
        arguments.config = Some(place.path);
    }
    arguments
}

/// The plan of the file or, without one, of the command line alone; what the command line says goes first.
fn plan(arguments: &ServeArgs) -> Result<Plan, CommandError> {
    let mut plan = match &arguments.config {
        Some(path) => config::load(path)?,
        None => plan_without_file(arguments)?,
    };
    if !arguments.listen.is_empty() {
        let listener = |bind: &Bind| Listener { bind: bind.clone(), tls: None, name: None };
        plan.listeners = arguments.listen.iter().map(listener).collect();
    }
    if plan.listeners.is_empty() {
        plan.listeners.push(Listener {
            bind: Bind::Tcp(plan::DEFAULT_ADDRESS.into()),
            tls: None,
            name: None,
        });
    }
    if let Some(file) = &arguments.token_file {
        plan.access = plan::Access::TokenFile(file.clone());
    }
    arguments.server.audit.apply(&mut plan.audit);
    access::add(&mut plan.callers, &arguments.server.access);
    if let Some(workers) = arguments.workers {
        (plan.pool.min, plan.pool.max) = (workers.into(), workers.into());
    }
    if let Some(user) = &arguments.server.as_user.worker_user {
        (plan.pwsh.user, plan.pwsh.home) = (Some(user.clone()), arguments.server.as_user.worker_home.clone());
    }
    if arguments.server.register_for_user {
        plan.registry = Registry::User;
    }
    plan.auto_import.enabled &= !arguments.no_auto_import;
    plan.auto_import.expose.extend(arguments.expose_vault.iter().cloned());
    Ok(plan)
}

fn plan_without_file(arguments: &ServeArgs) -> Result<Plan, CommandError> {
    let folder = match &arguments.local_vault {
        Some(folder) => folder.clone(),
        None => local::default_folder().ok_or(CommandError::NoHome)?,
    };
    let mut vault = Vault::new(LOCAL_VAULT, VaultKind::local(Some(folder), None));
    vault.exposed = true;
    Ok(Plan { vaults: vec![vault], ..Plan::default() })
}

fn native(
    bridge: &Bridge,
    access: &Arc<AccessPolicy>,
    counter: &Arc<CallCounter>,
    metrics: &Arc<Metrics>,
) -> Result<Arc<dyn Service>, RouteError> {
    let local = bridge.plan().vault(LOCAL_VAULT).map(|vault| vault.name.clone());
    let site = Arc::new(Native::new(bridge.clone(), local)?.counted(metrics.clone()));
    Ok(Arc::new(Gate::new(access.clone(), site).counting(counter.clone())))
}
