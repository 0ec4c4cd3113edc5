//! What a script declares, to be looked at: `secretbridge run --check`.
//!
//! Secrets are redacted. As TOML it is a configuration file that `serve` answers alike; what a file cannot
//! hold stands there as a comment.

use std::fmt::Write as _;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Core;
use super::endpoint::Endpoint;
use super::protocol::ask::Lift;
use super::protocol::call::Needs;
use super::route::ScriptRoute;
use crate::config::to_toml;
use crate::plan::{self, Access, Action, Plan, Projection, Vault};
use crate::secret::fold;
use crate::vault::Entry;
use crate::vault::backend::kinds;

/// What a script declares.
#[derive(Debug)]
pub struct Outline {
    threads: usize,
    endpoints: Vec<Endpoint>,
    vaults: Vec<Vault>,
    /// Names of vaults with an init block.
    initialised: Vec<String>,
    mounts: Vec<plan::Mount>,
    routes: Vec<RouteOutline>,
    needs: Needs,
    plan: Plan,
}

#[derive(Debug, Serialize)]
struct RouteOutline {
    method: String,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<String>,
    /// Answered without a worker where the request allows it.
    lifted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<String>,
    /// Why a configuration file cannot hold it.
    #[serde(skip_serializing_if = "Option::is_none")]
    only_in_the_script: Option<&'static str>,
}

impl Outline {
    /// Of what is declared so far.
    pub fn of(core: &Core) -> Outline {
        let (vaults, mounts) = (core.bridge.vaults(), core.bridge.mounts().all());
        let mounts: Vec<plan::Mount> = mounts.iter().map(|mount| (**mount).clone()).collect();
        // Of the user's own vaults, those that the script mounts from.
        let is_used = |vault: &Vault| {
            !is_imported(vault) || mounts.iter().any(|mount| fold(&mount.vault) == fold(&vault.name))
        };
        let entries = vaults.all();
        let entries = entries.iter().filter(|entry| is_used(&entry.plan));
        let has_init = |entry: &&Arc<Entry>| entry.hooks.as_ref().is_some_and(|hooks| hooks.has_before());
        let initialised = entries.clone().filter(has_init).map(|entry| entry.plan.name.clone()).collect();
        let declared: Vec<Vault> = entries.map(|entry| entry.plan.clone()).collect();
        let is_custom = |name: &str| vaults.get(name).is_ok_and(|entry| entry.is_scripts_own());
        let kept: Vec<plan::Mount> =
            mounts.iter().filter(|mount| !is_custom(&mount.vault)).cloned().collect();
        let mut routes = Vec::new();
        let mut natives = Vec::new();
        for route in core.routes.all() {
            let native = native(&route, &kept);
            routes.push(RouteOutline {
                method: route.method.clone(),
                path: route.path.clone(),
                endpoint: route.endpoint.clone(),
                lifted: route.lift.is_some(),
                position: route.position.clone(),
                only_in_the_script: native.as_ref().err().copied(),
            });
            natives.extend(native.ok());
        }
        let threads = core.settings.threads();
        let plan = Plan {
            listeners: core.endpoints.listeners(),
            access: Access::Open,
            vaults: declared.iter().cloned().map(in_file).collect(),
            mounts: kept,
            routes: natives,
            pool: plan::PoolLimits { min: threads, max: threads, ..plan::PoolLimits::default() },
            limits: core.settings.limits(core.options.limits.clone()),
            registry: core.bridge.plan().registry,
            ..Plan::default()
        };
        let needs = core.settings.needs();
        Outline {
            threads,
            endpoints: core.endpoints.all(),
            vaults: declared,
            initialised,
            mounts,
            routes,
            needs,
            plan,
        }
    }

    /// For people.
    pub fn to_text(&self) -> String {
        let mut out = format!("workers    {}\n", self.threads);
        for endpoint in &self.endpoints {
            let name = if endpoint.name.is_empty() { String::new() } else { format!(" ({})", endpoint.name) };
            let _ = writeln!(out, "endpoint   {}{name}", endpoint.url());
        }
        for vault in &self.vaults {
            let _ = writeln!(out, "vault      {}: {}", vault.name, kinds::of(vault).line(vault));
        }
        for mount in &self.mounts {
            let shown = match &mount.projection {
                Projection::Whole => String::new(),
                Projection::Member(name) => format!(", its {name}"),
                Projection::Members(names) => format!(", its {}", names.join(", ")),
            };
            let _ = writeln!(out, "secret     {}: {} of {}{shown}", mount.name, mount.key, mount.vault);
        }
        for route in &self.routes {
            let how = if route.lifted { "without a worker where it can be" } else { "in a worker" };
            let at = route.position.as_deref().map(|position| format!(" ({position})")).unwrap_or_default();
            let _ = writeln!(out, "route      {} {}: {how}{at}", route.method, route.path);
        }
        for name in &self.needs.parameters {
            let _ = writeln!(out, "needs      the parameter -{name} (not given)");
        }
        for variable in &self.needs.environment {
            let set = if variable.set { "" } else { " (not set)" };
            let _ = writeln!(out, "needs      the environment variable {}{set}", variable.name);
        }
        for file in &self.needs.files {
            let missing = if std::path::Path::new(file).exists() { "" } else { " (not there)" };
            let _ = writeln!(out, "needs      the file {file}{missing}");
        }
        out
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        let vaults: Vec<Value> = self.vaults.iter().map(shown).collect();
        let mounts: Vec<Value> = self
            .mounts
            .iter()
            .map(|mount| {
                let (property, expand) = match &mount.projection {
                    Projection::Whole => (None, None),
                    Projection::Member(name) => (None, Some(name)),
                    Projection::Members(names) => (Some(names), None),
                };
                let ttl = mount.cache_ttl.map(|ttl| ttl.as_secs());
                json!({ "name": mount.name, "vault": mount.vault, "key": mount.key, "property": property, "expand": expand, "cache_ttl_seconds": ttl })
            })
            .collect();
        json!({ "threads": self.threads, "endpoints": self.endpoints, "vaults": vaults, "mounts": mounts, "routes": self.routes, "needs": self.needs })
    }

    /// As a configuration file.
    pub fn to_toml(&self) -> String {
        let mut out = to_toml(&self.plan, true);
        let names: Vec<&Endpoint> =
            self.endpoints.iter().filter(|endpoint| endpoint.hostname.is_some()).collect();
        for endpoint in names {
            let host = endpoint.hostname.as_deref().unwrap_or_default();
            let _ = write!(
                out,
                "\n# the endpoint {} answers the host {} only, which a file cannot say\n",
                line(&endpoint.url()),
                line(host)
            );
        }
        for name in &self.initialised {
            let _ = write!(
                out,
                "\n# the init block of the vault {} is not here: what it does goes to init of [pwsh]\n",
                line(name)
            );
        }
        for mount in self.mounts.iter().filter(|mount| !self.plan.mounts.contains(mount)) {
            let _ = write!(
                out,
                "\n# the secret {} is in a vault of script blocks, which a file cannot hold\n",
                line(&mount.name)
            );
        }
        for route in &self.routes {
            if let Some(reason) = route.only_in_the_script {
                let _ = write!(out, "\n# {} {} is not here: {reason}\n", route.method, line(&route.path));
            }
        }
        out
    }
}

fn is_imported(vault: &Vault) -> bool {
    vault.extension().is_some_and(|extension| extension.imported)
}

/// As a file registers it. Without what every such vault of a script has, since a file has it by default; and one that
/// is imported is the file's own, since a mount needs it.
fn in_file(mut vault: Vault) -> Vault {
    let kind = kinds::of(&vault);
    if let Some(extension) = vault.extension_mut() {
        extension.imported = false;
        kind.for_file(extension);
    }
    vault
}

/// One line of a comment, whatever the script put into a name.
fn line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A vault with the names of its parameters.
fn shown(vault: &Vault) -> Value {
    let mut shown = Map::from_iter([("name".to_owned(), vault.name.as_str().into())]);
    shown.extend(kinds::of(vault).shown(vault));
    shown.insert("cache_ttl_seconds".to_owned(), vault.keep.ttl.as_secs().into());
    Value::Object(shown)
}

/// The route of a configuration file that answers alike, or why there is none.
fn native(route: &ScriptRoute, mounts: &[plan::Mount]) -> Result<plan::Route, &'static str> {
    let lift = route.lift.as_ref().ok_or("its block needs PowerShell")?;
    if route.method == "*" {
        return Err("it answers any method");
    }
    if route.endpoint.is_some() {
        return Err("it belongs to one endpoint");
    }
    if route.content_type.is_some() || route.error_content_type.is_some() {
        return Err("it has content types of its own");
    }
    if route.path.contains(['*', ':', '{', '}']) {
        return Err("its path is a pattern");
    }
    let known = |name: &str| mounts.iter().any(|mount| fold(&mount.name) == fold(name));
    let action = match lift {
        Lift::Respond(template @ plan::Template::Object(_))
            if template.secrets().iter().all(|name| known(name)) =>
        {
            Action::Respond(template.clone())
        }
        Lift::Update { secret, field } if known(secret) => {
            Action::Update { secret: secret.clone(), field: field.clone() }
        }
        Lift::Respond(_) | Lift::Update { .. } => {
            return Err("what it answers is not a table of mounted secrets");
        }
    };
    Ok(plan::Route { method: route.method.clone(), path: route.path.clone(), action })
}
