//! What a script has declared, in one place.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::endpoint::Endpoints;
use super::live::Lives;
use super::locks::Locks;
use super::logging::Logging;
use super::route::ScriptRoutes;
use super::session::Session;
use super::settings::ScriptSettings;
use super::shared::SharedObjects;
use super::state::{MountArguments, PodeState};
use crate::bridge::Bridge;
use crate::plan::Limits;
use crate::registry::user::UserRegistry;

/// Everything that a script has declared, and what its workers share.
pub struct Core {
    /// Vaults, mounts and what is kept of them.
    pub(crate) bridge: Bridge,
    /// How it was started.
    pub(crate) options: CoreOptions,
    pub(crate) session: Arc<Session>,
    pub(crate) settings: ScriptSettings,
    pub(crate) routes: ScriptRoutes,
    pub(crate) endpoints: Endpoints,
    pub(crate) state: PodeState,
    pub(crate) arguments: MountArguments,
    pub(crate) shared: SharedObjects,
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
            settings: ScriptSettings::default(),
            routes: ScriptRoutes::default(),
            endpoints: Endpoints::default(),
            state: PodeState::default(),
            arguments: MountArguments::default(),
            shared: SharedObjects::default(),
            lives: Lives::default(),
            locks: Locks::default(),
            logging: Logging::default(),
            closing: CancellationToken::new(),
            declared: CancellationToken::new(),
        })
    }
}

impl Core {
    /// A vault is gone, and its table with it.
    pub(super) fn forget_live(&self, number: u64) {
        if let Some(table) = self.lives.remove(number).and_then(|live| live.table) {
            self.shared.remove(table);
        }
    }
}
