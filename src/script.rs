//! Script mode: a PowerShell script written for Pode's Secrets feature, served.
//!
//! The script declares, a worker runs it, and everything that it declares is kept here, once: vaults and
//! mounts in the [`Bridge`], blocks in the [`session`], routes, endpoints, state and locks in their tables.
//! Workers ask ([`asks`]) and hold nothing. [`protocol`] has the
//! shapes.
//!
//! ```text
//! door ─► serve ─► route ─► lift ─► bridge
//!                    └────► task ─► worker ─► asks ─► vault, in that same worker
//! ```
//!
//! What is promised:
//!
//! - A script block never waits for another worker to be free: what it asks for is cached, or done by its
//!   own worker. What it may wait for are lanes and locks, and a circle of those is refused by name.
//! - A mount, route or vault that a block adds is seen by every worker from the next question on.
//! - Whatever a block leaves behind (locks, a write cut off half-way) is put in order when its call ends.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::bridge::Bridge;
use crate::plan::Limits;
use crate::registry::user::UserRegistry;
use endpoint::Endpoints;
use live::Lives;
use locks::Locks;
use logging::Logging;
use route::Routes;
use session::Session;
use settings::Settings;
use shared::Shared;
use state::{MountArguments, State};

pub mod asks;
mod custom;
pub mod endpoint;
pub mod json;
pub mod lift;
mod live;
mod locks;
mod logging;
pub mod outline;
pub mod page;
pub mod pattern;
pub mod protocol;
mod renewal;
pub mod route;
pub mod run;
mod seen;
pub mod serve;
pub mod session;
pub mod settings;
mod shared;
mod state;
pub mod task;
mod value;

/// Everything that a script has declared, and what its workers share.
pub struct Core {
    /// Vaults, mounts and what is kept of them.
    pub(crate) bridge: Bridge,
    /// How it was started.
    pub(crate) options: CoreOptions,
    pub(crate) session: Arc<Session>,
    pub(crate) settings: Settings,
    pub(crate) routes: Routes,
    pub(crate) endpoints: Endpoints,
    pub(crate) state: State,
    pub(crate) arguments: MountArguments,
    pub(crate) shared: Shared,
    pub(crate) lives: Lives,
    pub(crate) locks: Locks,
    pub(crate) logging: Logging,
    /// Cancelled by `Close-PodeServer`.
    pub(crate) closing: CancellationToken,
    /// Cancelled once the script has declared all, and the endpoints are fixed.
    pub(crate) declared: CancellationToken,
}

/// How a script is run.
#[derive(Debug, Clone, Default)]
pub struct CoreOptions {
    /// Nothing is contacted; the plan is only looked at.
    pub check: bool,
    /// No route is answered without a worker.
    pub no_lift: bool,
    /// Every endpoint is bound to the loopback interface.
    pub loopback: bool,
    /// The user's own vault registry is not looked at.
    pub no_import: bool,
    /// Where its vaults are registered for the user, if they are.
    pub registry: Option<UserRegistry>,
    /// Limits of requests.
    pub limits: Limits,
}

/// How long a goodbye or a first unlock may take, where no request bounds it.
pub(crate) const STEP_LIMIT: Duration = Duration::from_secs(60);

impl Core {
    /// Empty tables over a bridge, whose workers are given the session.
    pub fn new(options: CoreOptions, bridge: Bridge, session: Arc<Session>) -> Arc<Core> {
        Arc::new(Core {
            bridge,
            options,
            session,
            settings: Settings::default(),
            routes: Routes::default(),
            endpoints: Endpoints::default(),
            state: State::default(),
            arguments: MountArguments::default(),
            shared: Shared::default(),
            lives: Lives::default(),
            locks: Locks::default(),
            logging: Logging::default(),
            closing: CancellationToken::new(),
            declared: CancellationToken::new(),
        })
    }
}

#[cfg(test)]
mod tests;
