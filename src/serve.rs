//! The `serve` command: from a plan to a served, drained and stopped bridge.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::bridge::{Bridge, Options, StartError};
use crate::cli::{Global, ServeArgs};
use crate::config::{self, ConfigError};
use crate::exit::Exit;
use crate::http::auth::{Token, TokenError};
use crate::http::route::RouteError;
use crate::http::{BindError, Door, Drained, Native, Service};
use crate::local;
use crate::plan::{Access, Bind, Listener, Plan, Vault, VaultKind};
use crate::private_file::{PrivateFileError, create_private_dir};
use crate::shutdown::{Signals, Wish};
use crate::worker::LaunchError;
use announce::Announcer;
use front::Front;

mod announce;
mod front;

/// Where a server listens if nobody says otherwise.
const DEFAULT_ADDRESS: ([u8; 4], u16) = ([127, 0, 0, 1], 8085);

/// The name of the embedded vault that is served without a configuration.
const LOCAL_VAULT: &str = "local";

/// How often the configuration file is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Why the server did not start.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The vaults or the workers.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A listener.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The bearer token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The folder of the bearer token.
    #[error(transparent)]
    Folder(#[from] PrivateFileError),
    /// The token's environment variable.
    #[error("the bearer token: the environment variable '{0}' is not set, or not text")]
    NoToken(String),
    /// No data folder for the token or the local vault.
    #[error(
        "no home folder is known (hint: set HOME, or name a place with --local-vault DIR and --token-file FILE)"
    )]
    NoHome,
    /// The plan's routes.
    #[error(transparent)]
    Routes(#[from] RouteError),
    /// Signals.
    #[error("signals cannot be listened to: {0}")]
    Signals(io::Error),
}

impl ServeError {
    /// How the program ends.
    pub fn exit(&self) -> Exit {
        match self {
            ServeError::Config(_)
            | ServeError::Start(StartError::Password { .. } | StartError::NoSuchVault { .. })
            | ServeError::Routes(_)
            | ServeError::NoToken(_) => Exit::Usage,
            ServeError::Start(StartError::Pwsh(_) | StartError::Workers(LaunchError::TooOld { .. })) => {
                Exit::NoPwsh
            }
            _ => Exit::Failure,
        }
    }
}

/// Serves until a signal says stop.
pub async fn serve(global: &Global, arguments: &ServeArgs) -> Result<(), ServeError> {
    let mut signals = Signals::listen().map_err(ServeError::Signals)?;
    let mut say = Announcer::new();
    let plan = plan(arguments)?;
    let token = token(&plan.access)?;
    // Before the workers: a port that is taken is told at once.
    let door = Door::bind(&plan.listeners)?;
    let options = Options { pwsh: global.pwsh.clone() };
    let limits = plan.limits.clone();
    let started = tokio::select! {
        bridge = Bridge::start(plan, &options, |up, of| say.workers(up, of)) => Some(bridge),
        () = stopped(&mut signals) => None,
    };
    say.end_progress();
    let Some(bridge) = started.transpose()? else {
        say.line("stopped before it was ready");
        return Ok(());
    };
    say.vaults(&bridge, arguments, global);
    say.addresses(&door, &token, arguments.config.is_none());
    let service = native(&bridge, &token.token)?;
    // The front has the only handle: a replaced bridge must go, with its folder and its cache.
    let front = Arc::new(Front::new(bridge, service));
    let (stop, mut stopping) = watch::channel(false);
    let shutdown = async move {
        let _ = stopping.wait_for(|stop| *stop).await;
    };
    let serving = tokio::spawn({
        let (front, limits) = (front.clone(), limits.clone());
        async move { door.serve(front, &limits, shutdown).await }
    });
    heed(&mut signals, &front, arguments, &options, &token).await;
    say.line("stopping: requests under way are answered first");
    stop.send_replace(true);
    let (bridge, end) = (front.bridge(), Instant::now() + limits.drain);
    // A second signal ends it at once.
    tokio::select! {
        drained = bridge.stop_after(serving, limits.drain) => {
            if let Ok(Drained::Cut { connections }) = drained {
                tracing::warn!(connections, "the drain limit passed with requests under way");
            }
        }
        () = stopped(&mut signals) => {
            tracing::warn!("stopped at once by a second signal");
            // But not in the middle of a call: a write that is cut off may leave a store half written.
            bridge.stop(end.saturating_duration_since(Instant::now()).min(Duration::from_secs(10))).await;
        }
    }
    Ok(())
}

/// Waits for the signal to stop; reloads the plan meanwhile, on SIGHUP or when its file changes.
async fn heed(
    signals: &mut Signals,
    front: &Front,
    arguments: &ServeArgs,
    options: &Options,
    token: &KeptToken,
) {
    let mut seen = arguments.config.as_deref().map(look);
    let mut tick = interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            wish = signals.next() => match wish {
                Wish::Stop => return,
                Wish::Reload => seen = arguments.config.as_deref().map(look),
            },
            _ = tick.tick() => {
                let now = arguments.config.as_deref().map(look);
                if now == seen {
                    continue;
                }
                seen = now;
            }
        }
        if arguments.config.is_some() {
            reload(front, arguments, options, token).await;
        }
    }
}

async fn reload(front: &Front, arguments: &ServeArgs, options: &Options, token: &KeptToken) {
    let old = front.bridge();
    let plan = match plan(arguments) {
        Ok(plan) => plan,
        Err(error) => {
            tracing::error!("the changed configuration is not used, the old one stays in force: {error}");
            return;
        }
    };
    if plan.listeners != old.plan().listeners
        || plan.access != old.plan().access
        || plan.limits != old.plan().limits
    {
        tracing::warn!("listeners, auth and limits take effect at the next start");
    }
    let refused = |error: &dyn std::fmt::Display| {
        tracing::error!("the changed configuration is not used, the old one stays in force: {error}");
    };
    let bridge = match Bridge::start(plan, options, |_, _| {}).await {
        Ok(bridge) => bridge,
        Err(error) => return refused(&error),
    };
    match native(&bridge, &token.token) {
        Ok(service) => {
            front.replace(bridge, service).await;
            tracing::info!("the changed configuration is in force");
        }
        Err(error) => refused(&error),
    }
}

async fn stopped(signals: &mut Signals) {
    while signals.next().await != Wish::Stop {}
}

fn look(path: &Path) -> Option<(u64, std::time::SystemTime)> {
    let found = std::fs::metadata(path).ok()?;
    Some((found.len(), found.modified().ok()?))
}

/// The plan of the file or, without one, of the command line alone; what the command line says goes first.
fn plan(arguments: &ServeArgs) -> Result<Plan, ServeError> {
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
        plan.access = Access::TokenFile(file.clone());
    }
    if let Some(workers) = arguments.workers {
        (plan.pool.min, plan.pool.max) = (workers.into(), workers.into());
    }
    plan.auto_import.enabled &= !arguments.no_auto_import;
    plan.auto_import.expose.extend(arguments.expose_vault.iter().cloned());
    Ok(plan)
}

fn plan_without_file(arguments: &ServeArgs) -> Result<Plan, ServeError> {
    let folder = match &arguments.local_vault {
        Some(folder) => folder.clone(),
        None => local::default_folder().ok_or(ServeError::NoHome)?,
    };
    let vault = Vault::new(LOCAL_VAULT, VaultKind::Local { folder: Some(folder) });
    Ok(Plan { vaults: vec![vault], ..Plan::default() })
}

/// The bearer token, and the file it is kept in.
struct KeptToken {
    token: Option<Token>,
    file: Option<PathBuf>,
}

fn native(bridge: &Bridge, token: &Option<Token>) -> Result<Arc<dyn Service>, RouteError> {
    let local = bridge.plan().vault(LOCAL_VAULT).map(|vault| vault.name.clone());
    Ok(Arc::new(Native::new(bridge.clone(), token.clone(), local)?))
}

fn token(access: &Access) -> Result<KeptToken, ServeError> {
    let kept = |token, file| KeptToken { token: Some(token), file };
    match access {
        Access::Open => Ok(KeptToken { token: None, file: None }),
        Access::TokenFile(path) => Ok(kept(Token::load(path)?, Some(path.clone()))),
        Access::TokenEnv(name) => {
            let text = std::env::var(name).map_err(|_| ServeError::NoToken(name.clone()))?;
            Ok(kept(Token::from_text(&text)?, None))
        }
        Access::OwnToken => {
            let path = own_token()?;
            if let Some(folder) = path.parent() {
                create_private_dir(folder)?;
            }
            Ok(kept(Token::load_or_create(&path)?.0, Some(path)))
        }
    }
}

fn own_token() -> Result<PathBuf, ServeError> {
    let folder = local::default_folder().ok_or(ServeError::NoHome)?;
    Ok(folder.join("token"))
}
