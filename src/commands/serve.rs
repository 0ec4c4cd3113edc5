//! The `serve` command: from a plan to a served, drained and stopped bridge.

mod plan;
mod reload;
mod site;

use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use self::plan::{plan, with_configuration};
use self::reload::{InForce, ServeRenewal};
use self::site::{means, site};
use super::CommandError;
use super::access;
use crate::bridge::{Bridge, Options, StartError};
use crate::cli::{Global, ServeArgs};
use crate::http::BoundAddress;
use crate::plan::{Bind, Plan};
use crate::platform::local::LocalListener;
use crate::registry::user::{UserRegistry, WantedVault};
use crate::server::announce::{Announcer, STOPPED_EARLY, STOPPING};
use crate::server::front::Front;
use crate::server::guarded::GuardedSite;
use crate::server::own::{self, SocketNote};
use crate::server::reloads::Renewable as _;
use crate::server::{Server, Starting};

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
    let (access, token) = (kept.access.clone(), kept.token.clone());
    let starting = Arc::new(Starting::default());
    let mut door = GuardedSite::new(access, starting.clone());
    server.audit(&plan.audit)?;
    let opened = open(&mut server, arguments, &plan, &door.front(), token.as_deref(), &mut say)?;
    let options = Options { pwsh: global.pwsh.clone() };
    let drain = plan.limits.drain;
    let certificates = server.certificates();
    let in_force = InForce::new(arguments, &plan, kept, &certificates);
    let started = start(&mut server, plan, &options, registry, &starting, &mut say).await;
    say.end_progress();
    let Some(bridge) = started? else {
        say.line(STOPPED_EARLY);
        return Ok(());
    };
    say.vaults(&bridge, arguments, global);
    let peers = open_to_peers(&opened.addresses, &in_force.plan);
    let site = match peers.and(site(&bridge, server.metrics()).map_err(CommandError::from)) {
        Ok(site) => site,
        Err(error) => {
            server.end(&bridge, drain).await;
            return Err(error);
        }
    };
    door.replace(bridge, site, None).await;
    server.in_force();
    opened.tell(arguments, &in_force.plan, &own, (door.is_open(), token.as_deref()), &mut say);
    let metrics = server.metrics().clone();
    let mut renewal =
        ServeRenewal { global, arguments, options, own, door, metrics, certificates, registry, in_force };
    server.serve_until_stopped(&mut renewal, &CancellationToken::new()).await;
    say.line(STOPPING);
    if let Some(bridge) = renewal.bridge() {
        server.end(&bridge, drain).await;
    }
    Ok(())
}

/// What is listened on.
struct Opened {
    addresses: Vec<BoundAddress>,
    /// Tells the command line where the socket is, while it is held.
    _note: Option<SocketNote>,
}

/// Opens what the plan listens on, before the workers start: a port that is taken is told at once.
fn open(
    server: &mut Server,
    arguments: &ServeArgs,
    plan: &Plan,
    front: &Arc<Front>,
    token: Option<&Path>,
    say: &mut Announcer,
) -> Result<Opened, CommandError> {
    let mut addresses = server.open(&plan.listeners, front.clone(), &plan.limits)?;
    server.open_credentials(plan.credentials.as_ref(), front.clone(), &plan.limits)?;
    let note = match arguments.no_socket {
        true => None,
        false => own::listen(server, front.clone(), &plan.limits, &mut addresses, token, |why| say.line(why)),
    };
    Ok(Opened { addresses, _note: note })
}

impl Opened {
    /// Says where it serves. Only once it does, because a reader of these lines may call at once.
    fn tell(
        &self,
        arguments: &ServeArgs,
        plan: &Plan,
        own: &[String],
        (open, token): (bool, Option<&Path>),
        say: &mut Announcer,
    ) {
        say.line(access::refused_at_the_door(own, &plan.callers.hosts, &plan.callers.origins));
        if let Some(credentials) = &plan.credentials {
            say.line(format_args!("credentials of systemd's units: {}", credentials.socket.display()));
        }
        say.addresses(&self.addresses, open, token, arguments.config.is_none());
    }
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
