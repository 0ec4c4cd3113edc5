//! What `serve` serves: the HTTP routes of a bridge.

use std::sync::Arc;

use crate::bridge::Bridge;
use crate::cli::Global;
use crate::http::route::RouteError;
use crate::http::{Native, Site};
use crate::metrics::Metrics;
use crate::plan::{LOCAL_VAULT, Plan};
use crate::registry::user::RegistryMeans;

/// The site of a bridge, counted in these metrics.
pub(super) fn site(bridge: &Bridge, metrics: &Arc<Metrics>) -> Result<Arc<dyn Site>, RouteError> {
    let local = bridge.plan().vault(LOCAL_VAULT).map(|vault| vault.name.clone());
    Ok(Arc::new(Native::new(bridge.clone(), local)?.counted(metrics.clone())))
}

/// What a change of the user's registry needs.
pub(super) fn means(global: &Global, plan: &Plan) -> RegistryMeans {
    RegistryMeans { pwsh: global.pwsh.clone(), plan: plan.pwsh.clone(), removed: plan.secret_variables() }
}
