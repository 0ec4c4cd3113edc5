//! The life of a server, whatever it serves: one order of things for `serve` and for `run`.
//!
//! ```text
//! signals ─► doors bound, answering "starting" ─► start ─► in force ─► drain ─► stop
//! ```
//!
//! What is promised:
//!
//! - From the moment that a port is bound it answers: 503 until what it serves is in force ([`front`]).
//! - A signal to stop is heeded at any moment: in the middle of a start or of a reload it ends that.
//! - A second one ends the drain, but never a call under way in the middle of a write.
//! - Whatever ends the service, the bridge behind it is stopped in good order.

#[cfg(test)]
mod allocations;
pub mod announce;
pub mod front;
pub mod guarded;
pub mod own;
pub mod reloads;
pub mod signals;
mod starting;
mod turns;
pub mod watch;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch as channel;
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval};

use crate::audit::{self, AuditError, Destination, Trail};
use crate::bridge::Bridge;
use crate::http::{BindError, BoundAddress, Certificates, Door, Drained, Service};
use crate::metrics::Metrics;
use crate::plan::credentials::UnitCredentials;
use crate::plan::{Limits, Listener};
use crate::platform::{self, ServiceNotice};
use crate::registry::user::UserRegistry;
use signals::{ServerSignals, Wish};
pub use starting::Starting;

/// A stop that is hurried on by a second signal leaves calls under way so long.
const LAST_CALLS: Duration = Duration::from_secs(10);

/// At most so much of a drain limit, and at most a quarter of it, is kept for the user's vault registry.
const LAST_PART: Duration = Duration::from_secs(5);

/// A server from its first signal handler to its end.
pub struct Server {
    signals: ServerSignals,
    doors: Vec<JoinHandle<Drained>>,
    certificates: Certificates,
    stop: channel::Sender<bool>,
    trail: Option<Trail>,
    metrics: Arc<Metrics>,
    watchdog: Option<JoinHandle<()>>,
    registry: Option<UserRegistry>,
}

impl Server {
    /// From here on signals no longer end the program by themselves.
    pub fn new() -> io::Result<Server> {
        Ok(Server {
            signals: ServerSignals::listen()?,
            doors: Vec::new(),
            certificates: Certificates::default(),
            stop: channel::Sender::new(false),
            trail: None,
            metrics: Arc::default(),
            watchdog: None,
            registry: None,
        })
    }

    /// What is counted of its requests and connections.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Opens the audit trail; requests of listeners that are opened later are noted there.
    pub fn audit(&mut self, settings: &audit::AuditSettings) -> Result<(), AuditError> {
        // On standard error the log's filter counts for it too.
        let silent =
            settings.to == Destination::Stderr && !tracing::enabled!(target: "audit", tracing::Level::INFO);
        let to = if silent { Destination::None } else { settings.to.clone() };
        let trail =
            Trail::start(&audit::AuditSettings { to, ..settings.clone() }, Some(self.metrics.clone()))?;
        self.metrics.use_trail(&trail);
        self.trail = Some(trail);
        Ok(())
    }

    /// What it has in the user's vault registry is taken out at its end.
    pub fn registers_in(&mut self, registry: &UserRegistry) {
        self.registry = Some(registry.clone());
    }

    /// Opens the files of log and trail anew: they were renamed.
    pub fn reopen_logs(&self) {
        crate::logging::file::reopen();
        if let Some(trail) = &self.trail {
            trail.reopen();
        }
    }

    /// Binds the listeners, all or none, and has the service answer from now on.
    pub fn open(
        &mut self,
        listeners: &[Listener],
        service: Arc<dyn Service>,
        limits: &Limits,
    ) -> Result<Vec<BoundAddress>, BindError> {
        self.serve(Door::bind(listeners)?, service, limits)
    }

    /// Binds the socket that systemd loads credentials from, if there is to be one.
    pub fn open_credentials(
        &mut self,
        credentials: Option<&UnitCredentials>,
        service: Arc<dyn Service>,
        limits: &Limits,
    ) -> Result<(), BindError> {
        let Some(credentials) = credentials else { return Ok(()) };
        let mut door = Door::bind(&[])?;
        door.add_credentials(credentials)?;
        self.serve(door, service, limits).map(drop)
    }

    fn serve(
        &mut self,
        mut door: Door,
        service: Arc<dyn Service>,
        limits: &Limits,
    ) -> Result<Vec<BoundAddress>, BindError> {
        if let Some(trail) = &self.trail {
            door = door.observed(trail, &self.metrics);
        }
        let addresses = door.addresses();
        self.certificates.add(door.certificates());
        let (mut stopping, limits) = (self.stop.subscribe(), limits.clone());
        self.doors.push(tokio::spawn(async move {
            let shutdown = async move {
                let _ = stopping.wait_for(|stop| *stop).await;
            };
            door.serve(service, &limits, shutdown).await
        }));
        Ok(addresses)
    }

    /// Tells the service manager that requests are served, and from now on that the server is alive.
    pub fn in_force(&mut self) {
        platform::notify(ServiceNotice::Ready);
        self.watchdog = platform::watchdog().map(|limit| {
            tokio::spawn(async move {
                // A part of the limit, so that one beat that is late does no harm.
                let mut beat = interval(limit / 3);
                loop {
                    beat.tick().await;
                    platform::notify(ServiceNotice::Alive);
                }
            })
        });
    }

    /// The certificates of all that it listens on.
    pub fn certificates(&self) -> Certificates {
        self.certificates.clone()
    }

    /// What comes of the work, or nothing if a signal says stop first; the work is dropped then.
    pub async fn unless_stopped<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            () = stopped(&mut self.signals, None) => None,
        }
    }

    /// Answers what was accepted and stops the bridge, both within the limit, or within what the system leaves of it. A
    /// second signal ends it sooner.
    pub async fn end(mut self, bridge: &Bridge, limit: Duration) {
        let limit = self.signals.drain(limit);
        platform::notify(ServiceNotice::Stopping);
        self.stop.send_replace(true);
        let end = Instant::now() + limit;
        let is_registered = match &self.registry {
            Some(registry) => registry.holds_any().await,
            None => false,
        };
        let last = if is_registered { (limit / 4).min(LAST_PART) } else { Duration::ZERO };
        let doors = join_all(self.doors.iter_mut());
        tokio::select! {
            drained = bridge.stop_after(doors, limit - last) => {
                let cut = |drained| match drained {
                    Ok(Drained::Cut { connections }) => connections,
                    _ => 0,
                };
                let connections: usize = drained.into_iter().map(cut).sum();
                if connections > 0 {
                    tracing::warn!(connections, "the drain limit passed with requests under way");
                }
            }
            () = stopped(&mut self.signals, Some(bridge)) => {
                tracing::warn!("stopped at once by a second signal");
                // But not in the middle of a call: a write that is cut off may leave a store half written.
                let left = end.saturating_duration_since(Instant::now()).min(LAST_CALLS);
                bridge.stop(self.signals.drain(left)).await;
            }
        }
        if let Some(registry) = &self.registry {
            registry.end(end.saturating_duration_since(Instant::now())).await;
        }
    }
}

/// Nothing goes on listening once its server is gone, and what was noted is written.
impl Drop for Server {
    fn drop(&mut self) {
        self.doors.iter().for_each(JoinHandle::abort);
        self.metrics.let_trail_go();
        if let Some(trail) = &self.trail {
            trail.close();
        }
        self.watchdog.iter().for_each(JoinHandle::abort);
    }
}

/// Logs how everything is; no value is in it.
pub fn dump(bridge: Option<&Bridge>) {
    let Some(health) = bridge.map(Bridge::health) else {
        tracing::info!(target: "secretbridge::state", "the state, as SIGUSR1 asked: the server starts, or reads its plan anew");
        return;
    };
    let state = serde_json::to_string(&health).unwrap_or_default();
    tracing::info!(target: "secretbridge::state", %state, "the state, as SIGUSR1 asked");
}

/// Waits for the signal to stop. Meanwhile there is nothing to reload, and the state is told where that is asked for.
async fn stopped(signals: &mut ServerSignals, bridge: Option<&Bridge>) {
    loop {
        match signals.next().await {
            Wish::Stop => return,
            Wish::Dump => dump(bridge),
            Wish::Reload => {}
        }
    }
}
