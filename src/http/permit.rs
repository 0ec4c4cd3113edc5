//! What of the native routes a caller may use. Pure; it says the same whether a secret is there or not.

use super::route::{Routed, Scope, Target};
use crate::access::{GrantVerb, Grants};
use crate::plan::{Action, Plan};
use crate::secret::is_same_name;

/// Whether the caller may have the route that was found.
pub(super) fn may(grants: &Grants, found: &Routed<'_>, plan: &Plan, default_vault: Option<&str>) -> bool {
    if *grants == Grants::All {
        return true;
    }
    let on_secret =
        |scope: Scope, verb: GrantVerb| may_reach(grants, found, plan, default_vault, scope, verb);
    match found.target {
        Target::Action(action) => may_act(grants, found.pattern, plan, action),
        // They show each caller only what that caller may see.
        Target::Live
        | Target::Health
        | Target::Ready
        | Target::Vaults
        | Target::Mounts
        | Target::StatusPage => true,
        Target::Metrics | Target::OpenApi | Target::StatusEvents => {
            grants.route(GrantVerb::Read, found.pattern)
        }
        // They are about all callers, so a rule has to name them.
        Target::Unlock | Target::Lock | Target::ClearCache | Target::RefreshCache => {
            grants.route(GrantVerb::Write, found.pattern)
        }
        Target::List(scope) => on_secret(*scope, GrantVerb::List),
        Target::Get(scope) => on_secret(*scope, GrantVerb::Read),
        Target::Put(scope) | Target::Patch(scope) => on_secret(*scope, GrantVerb::Write),
        Target::Delete(scope) => on_secret(*scope, GrantVerb::Delete),
    }
}

fn may_reach(
    grants: &Grants,
    found: &Routed<'_>,
    plan: &Plan,
    default_vault: Option<&str>,
    scope: Scope,
    verb: GrantVerb,
) -> bool {
    let vault = match scope {
        Scope::Default => default_vault.unwrap_or_default(),
        Scope::Named => found.vault.as_deref().unwrap_or_default(),
        Scope::Mounted => return may_mounted(grants, verb, plan, found.key.as_deref().unwrap_or_default()),
    };
    match found.key.as_deref() {
        Some(key) => grants.secret(verb, vault, key),
        // A listing shows only the names that the caller may read.
        None => grants.vault(Some(verb), vault),
    }
}

/// Whether the caller may do that with the secret behind a mount. One that is not there is as one that may not.
pub(super) fn may_mounted(grants: &Grants, verb: GrantVerb, plan: &Plan, name: &str) -> bool {
    let mount = plan.mounts.iter().find(|mount| is_same_name(&mount.name, name));
    mount.map_or(*grants == Grants::All, |mount| grants.secret(verb, &mount.vault, &mount.key))
}

/// By the route itself, or by every secret behind it.
fn may_act(grants: &Grants, pattern: &str, plan: &Plan, action: &Action) -> bool {
    let verb = match action {
        Action::Respond(_) => GrantVerb::Read,
        Action::Update { .. } => GrantVerb::Write,
        Action::Remove { .. } => GrantVerb::Delete,
    };
    let names = action.secrets();
    let behind = |name: &&str| may_mounted(grants, verb, plan, name);
    grants.route(verb, pattern) || !names.is_empty() && names.iter().all(behind)
}
