//! The `serve` command: from a plan to a served, drained and stopped bridge.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::{CommandError, token_file};
use crate::access::{Access, Token, TokenError};
use crate::bridge::{Bridge, Options};
use crate::cli::{Global, ServeArgs};
use crate::config;
use crate::environment;
use crate::http::route::RouteError;
use crate::http::{Gate, Native, Service};
use crate::local;
use crate::metrics::Metrics;
use crate::plan::{self, Bind, Listener, Plan, Vault, VaultKind};
use crate::platform::{self, Notice};
use crate::private_file::create_private_dir;
use crate::server::announce::Announcer;
use crate::server::front::Front;
use crate::server::own;
use crate::server::signals::Wish;
use crate::server::{Server, Starting, dump};

/// Where a server listens if nobody says otherwise.
const DEFAULT_ADDRESS: ([u8; 4], u16) = ([127, 0, 0, 1], 8085);

/// The name of the embedded vault that is served without a configuration.
const LOCAL_VAULT: &str = "local";

/// How often the configuration file is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Who may call, and the file that the token is kept in.
struct Kept {
    access: Arc<Access>,
    file: Option<PathBuf>,
    metrics: Arc<Metrics>,
}

/// Serves until a signal says stop.
pub async fn serve(global: &Global, arguments: &ServeArgs) -> Result<(), CommandError> {
    let mut server = Server::new().map_err(CommandError::Signals)?;
    let mut say = Announcer::to_stderr();
    let plan = plan(arguments)?;
    let mut kept = access(arguments, &plan.access)?;
    kept.metrics = server.metrics().clone();
    let limits = plan.limits.clone();
    let starting = Arc::new(Starting::default());
    let gate = Gate::new(kept.access.clone(), starting.clone());
    let front = Arc::new(Front::new(Arc::new(gate)));
    server.audit(&plan.audit)?;
    // Before the workers: a port that is taken is told at once.
    let mut addresses = server.open(&plan.listeners, front.clone(), &limits)?;
    let _note = match arguments.no_socket {
        true => None,
        false => {
            let (file, say) = (kept.file.as_deref(), |why| say.line(why));
            own::listen(&mut server, front.clone(), &limits, &mut addresses, file, say)
        }
    };
    let options = Options { pwsh: global.pwsh.clone() };
    let progress = |up, of| {
        starting.workers(up, of);
        say.workers(up, of);
    };
    let started = server.unless_stopped(Bridge::start(plan, &options, progress)).await;
    say.end_progress();
    let Some(bridge) = started.transpose()? else {
        say.line("stopped before it was ready");
        return Ok(());
    };
    say.vaults(&bridge, arguments, global);
    let service = match native(&bridge, &kept) {
        Ok(service) => service,
        Err(error) => {
            server.end(&bridge, limits.drain).await;
            return Err(error.into());
        }
    };
    // The front has the only handle: a replaced bridge must go, with its folder and its cache.
    front.replace(bridge, service).await;
    server.in_force();
    // Not before: who reads the line may call at once.
    say.addresses(&addresses, kept.access.is_open(), kept.file.as_deref(), arguments.config.is_none());
    heed(&mut server, &front, arguments, &options, &kept).await;
    say.line("stopping: requests under way are answered first");
    if let Some(bridge) = front.bridge() {
        server.end(&bridge, limits.drain).await;
    }
    Ok(())
}

/// Waits for the signal to stop; reloads the plan meanwhile, on SIGHUP or when its file changes.
async fn heed(server: &mut Server, front: &Front, arguments: &ServeArgs, options: &Options, kept: &Kept) {
    let mut seen = arguments.config.as_deref().map(look);
    let mut tick = interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            wish = server.next() => match wish {
                Wish::Stop => return,
                Wish::Reload => {
                    server.reopen_logs();
                    seen = arguments.config.as_deref().map(look);
                }
                Wish::Dump => {
                    dump(front.bridge().as_ref());
                    continue;
                }
            },
            _ = tick.tick() => {
                let now = arguments.config.as_deref().map(look);
                if now == seen {
                    continue;
                }
                seen = now;
            }
        }
        if arguments.config.is_none() {
            continue;
        }
        platform::notify(Notice::Reloading);
        let stopped = server.unless_stopped(reload(front, arguments, options, kept)).await.is_none();
        if stopped {
            return;
        }
        platform::notify(Notice::Ready);
    }
}

async fn reload(front: &Front, arguments: &ServeArgs, options: &Options, kept: &Kept) {
    let Some(old) = front.bridge() else { return };
    let refused = |error: &dyn std::fmt::Display| {
        tracing::error!("the changed configuration is not used, the old one stays in force: {error}");
    };
    let plan = match plan(arguments) {
        Ok(plan) => plan,
        Err(error) => return refused(&error),
    };
    if plan.listeners != old.plan().listeners
        || plan.access != old.plan().access
        || plan.limits != old.plan().limits
    {
        tracing::warn!("listeners, auth and limits take effect at the next start");
    }
    drop(old);
    let bridge = match Bridge::start(plan, options, |_, _| {}).await {
        Ok(bridge) => bridge,
        Err(error) => return refused(&error),
    };
    match native(&bridge, kept) {
        Ok(service) => {
            front.replace(bridge, service).await;
            tracing::info!("the changed configuration is in force");
        }
        Err(error) => refused(&error),
    }
}

fn look(path: &Path) -> Option<(u64, std::time::SystemTime)> {
    let found = std::fs::metadata(path).ok()?;
    Some((found.len(), found.modified().ok()?))
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
        plan.listeners.push(Listener { bind: Bind::Tcp(DEFAULT_ADDRESS.into()), tls: None, name: None });
    }
    if let Some(file) = &arguments.token_file {
        plan.access = plan::Access::TokenFile(file.clone());
    }
    arguments.audit.apply(&mut plan.audit);
    if let Some(workers) = arguments.workers {
        (plan.pool.min, plan.pool.max) = (workers.into(), workers.into());
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
    let mut vault = Vault::new(LOCAL_VAULT, VaultKind::Local { folder: Some(folder) });
    vault.exposed = true;
    Ok(Plan { vaults: vec![vault], ..Plan::default() })
}

fn native(bridge: &Bridge, kept: &Kept) -> Result<Arc<dyn Service>, RouteError> {
    let local = bridge.plan().vault(LOCAL_VAULT).map(|vault| vault.name.clone());
    let native = Native::new(bridge.clone(), local)?.counted(kept.metrics.clone());
    Ok(Arc::new(Gate::new(kept.access.clone(), Arc::new(native))))
}

fn access(arguments: &ServeArgs, access: &plan::Access) -> Result<Kept, CommandError> {
    let kept = |token, file| Kept { access: Arc::new(Access::token(token)), file, metrics: Arc::default() };
    let refused = |source: TokenError| CommandError::Token { place: "", source };
    match access {
        plan::Access::Open => {
            Ok(Kept { access: Arc::new(Access::open()), file: None, metrics: Arc::default() })
        }
        plan::Access::TokenFile(path) if arguments.token_file.is_some() => {
            let access = Arc::new(token_file(path)?);
            Ok(Kept { access, file: Some(path.clone()), metrics: Arc::default() })
        }
        plan::Access::TokenFile(path) => Ok(kept(Token::load(path).map_err(refused)?, Some(path.clone()))),
        plan::Access::TokenEnv(name) => {
            let text = environment::take(name).map_err(|_| CommandError::NoToken(name.clone()))?;
            Ok(kept(Token::from_text(text.expose()).map_err(refused)?, None))
        }
        plan::Access::OwnToken => {
            let path = own_token()?;
            if let Some(folder) = path.parent() {
                create_private_dir(folder)?;
            }
            Ok(kept(Token::load_or_create(&path).map_err(refused)?.0, Some(path)))
        }
    }
}

fn own_token() -> Result<PathBuf, CommandError> {
    let folder = local::default_folder().ok_or(CommandError::NoHome)?;
    Ok(folder.join("token"))
}
