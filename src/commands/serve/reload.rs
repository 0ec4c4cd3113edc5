//! What comes in force while a bridge is served: the plan read again, on SIGHUP or when one of its files changes.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::plan::plan;
use super::site::{means, site};
use crate::access::AccessPolicy;
use crate::bridge::{Bridge, Options, StartError};
use crate::cli::{Global, ServeArgs};
use crate::commands::CommandError;
use crate::commands::access::{self, KeptPolicy};
use crate::http::Certificates;
use crate::metrics::Metrics;
use crate::plan::{InitScript, Plan, SecretSource};
use crate::registry::user::{UserRegistry, WantedVault};
use crate::server::guarded::GuardedSite;
use crate::server::reloads::{Renewable, Why};
use crate::server::watch::Looks;

/// What is served, as it was read, and how its files looked.
pub(super) struct InForce {
    pub(super) plan: Plan,
    pub(super) access: AccessPolicy,
    /// Those that workers and vaults are started with.
    of_bridge: Looks,
    /// All.
    all: Looks,
}

/// What can be renewed while a bridge is served: all but what only a start can put in force.
pub(super) struct ServeRenewal<'a> {
    pub(super) global: &'a Global,
    pub(super) arguments: &'a ServeArgs,
    pub(super) options: Options,
    /// The names that this server is called by without being told.
    pub(super) own: Vec<String>,
    pub(super) door: GuardedSite,
    pub(super) metrics: Arc<Metrics>,
    pub(super) certificates: Certificates,
    pub(super) registry: &'a UserRegistry,
    pub(super) in_force: InForce,
}

impl InForce {
    pub(super) fn new(
        arguments: &ServeArgs,
        plan: &Plan,
        kept: KeptPolicy,
        certificates: &Certificates,
    ) -> InForce {
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

impl Renewable for ServeRenewal<'_> {
    type Error = CommandError;

    const REFUSED: &'static str = "the changed configuration is not used, the old one stays in force";

    fn looks(&mut self) -> &mut Looks {
        &mut self.in_force.all
    }

    fn bridge(&self) -> Option<Bridge> {
        self.door.front().bridge()
    }

    /// After a signal, workers and vaults are made anew in any case.
    async fn reload(&mut self, why: &Why) -> Result<String, CommandError> {
        let plan = plan(self.arguments)?;
        let fixed = fixed(&self.in_force.plan, &plan);
        if !fixed.is_empty() {
            return Err(CommandError::NeedsRestart(fixed.join(", ")));
        }
        let kept = access::of_plan(&plan.access, &plan.callers, &self.own)?;
        let certificates = self.certificates.read_again()?;
        let next = InForce::new(self.arguments, &plan, kept, &self.certificates);
        let came = Came::of(&self.in_force, &next, *why == Why::Asked);
        if came.needs_a_bridge() {
            self.exchange(plan, next.access.clone()).await?;
        } else {
            self.door.renew(next.access.clone());
        }
        certificates.put_in_force();
        let changes = differences(&self.in_force.plan, &next.plan);
        self.in_force = next;
        Ok(came.words(&changes))
    }
}

impl ServeRenewal<'_> {
    /// Starts a bridge of this plan and puts it in the place of the one in force.
    async fn exchange(&mut self, plan: Plan, access: AccessPolicy) -> Result<(), CommandError> {
        let (wanted, means) = (WantedVault::of_plan(&plan), means(self.global, &plan));
        self.registry.check(&wanted).await.map_err(StartError::Registry)?;
        let bridge = Bridge::start(plan, &self.options, |_, _| {}).await?;
        let site = match site(&bridge, &self.metrics) {
            Ok(site) => site,
            Err(error) => {
                bridge.stop(Duration::ZERO).await;
                return Err(error.into());
            }
        };
        self.door.replace(bridge, site, Some(access)).await;
        self.registry.use_means(means).await;
        if let Err(error) = self.registry.sync(wanted).await {
            tracing::error!("{error}");
        }
        Ok(())
    }
}

/// What a reload came to.
struct Came {
    same_plan: bool,
    same_access: bool,
    same_bridge: bool,
    asked: bool,
}

impl Came {
    fn of(before: &InForce, next: &InForce, asked: bool) -> Came {
        let same_plan = next.plan == before.plan;
        Came {
            same_plan,
            same_access: next.access == before.access,
            same_bridge: same_plan && next.of_bridge == before.of_bridge,
            asked,
        }
    }

    fn needs_a_bridge(&self) -> bool {
        self.asked || !self.same_bridge
    }

    fn words(&self, changes: &str) -> String {
        let words = match (self.same_plan, self.same_access, self.same_bridge) {
            (false, ..) => return format!("the changed configuration is in force; changed: {changes}"),
            (true, false, _) => {
                "the configuration is unchanged; changed tokens are in force, and certificates were read again"
            }
            (true, true, false) => {
                "the configuration is unchanged; workers and vaults are new, with the changed files"
            }
            (true, true, true) if self.asked => {
                "the configuration is unchanged; workers and vaults are new, tokens and certificates were read again"
            }
            (true, true, true) => "the configuration and tokens are unchanged; certificates were read again",
        };
        words.to_owned()
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
