//! The vaults themselves, opened by this command and closed at its end.

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::error::Failure;
use super::name::{SecretName, SecretPlace};
use super::terms::{Secret, VaultLine, WantedVaults};
use crate::bridge::{Bridge, Options};
use crate::cli::{Connect, Global};
use crate::config;
use crate::error::BridgeError;
use crate::local;
use crate::mount::project;
use crate::plan::{Expose, LOCAL_VAULT, Mount, Plan, Projection, Vault};
use crate::protocol::{Metadata, SecretInfo};
use crate::secret::{SecretValue, fold};

/// How long the vaults may take to close.
const CLOSING: Duration = Duration::from_secs(5);

/// A bridge for one command.
pub struct Own {
    bridge: Bridge,
    /// The plan with all its vaults, of which only those that are wanted were opened.
    plan: Plan,
    timeout: Duration,
}

impl Own {
    /// Opens what is wanted.
    pub async fn open(connect: &Connect, global: &Global, wanted: &WantedVaults) -> Result<Own, Failure> {
        let mut plan = plan(connect)?;
        admit_registered(&mut plan, wanted);
        let mut opened = plan.clone();
        opened.vaults.retain(|vault| is_wanted(&plan, vault, wanted));
        // One command asks one thing at a time.
        (opened.pool.min, opened.pool.max) = (1, 1);
        let options = Options { pwsh: global.pwsh.clone() };
        let bridge = Bridge::start(opened, &options, |_, _| {}).await?;
        plan.vaults.extend(
            bridge
                .plan()
                .vaults
                .iter()
                .filter(|vault| plan.vault(&vault.name).is_none())
                .cloned()
                .collect::<Vec<_>>(),
        );
        Ok(Own { bridge, plan, timeout: connect.timeout })
    }

    pub(super) async fn get(&self, name: &SecretName) -> Result<Secret, Failure> {
        let (vault, key) = self.place(name)?;
        let value = self.bridge.get(&vault, &key, self.deadline()).await?;
        let value =
            match self.mount(name) {
                None => value,
                Some(mount) => project(&value, &mount.projection)
                    .map_err(|member| BridgeError::NoMember { vault, key: key.clone(), member })?,
            };
        Ok(Secret { name: name.last().to_owned(), value })
    }

    pub(super) async fn set(
        &self,
        name: &SecretName,
        value: SecretValue,
        metadata: Option<Metadata>,
    ) -> Result<(), Failure> {
        let (vault, key) = self.writable(name)?;
        let of_mount = self.mount(name).and_then(|mount| match &mount.projection {
            Projection::Member(member) => Some(member.clone()),
            Projection::Whole | Projection::Members(_) => None,
        });
        let member = name.members.first().cloned().or(of_mount);
        Ok(self.bridge.set_member(&vault, &key, member, value, metadata, self.deadline()).await?)
    }

    pub(super) async fn set_metadata(&self, name: &SecretName, metadata: Metadata) -> Result<(), Failure> {
        let (vault, key) = self.writable(name)?;
        Ok(self.bridge.set_metadata(&vault, &key, metadata, self.deadline()).await?)
    }

    pub(super) async fn remove(&self, name: &SecretName) -> Result<(), Failure> {
        let (vault, key) = self.writable(name)?;
        Ok(self.bridge.remove(&vault, &key, self.deadline()).await?)
    }

    pub(super) async fn list(&self, vault: &str) -> Result<Vec<SecretInfo>, Failure> {
        Ok(self.bridge.list(vault, self.deadline()).await?)
    }

    pub(super) fn vaults(&self) -> Vec<VaultLine> {
        let of_plan = self.plan.vaults.iter().map(|vault| VaultLine {
            name: vault.name.clone(),
            read_only: vault.read_only,
            state: None,
        });
        let found = self.bridge.found().iter().filter(|found| self.plan.vault(&found.name).is_none());
        let found = found.map(|found| VaultLine { name: found.name.clone(), read_only: false, state: None });
        of_plan.chain(found).collect()
    }

    pub(super) fn mounts(&self) -> Vec<String> {
        self.plan.mounts.iter().map(|mount| mount.name.clone()).collect()
    }

    pub(super) fn resolve(&self, bare: &str) -> Result<(String, String), Failure> {
        self.place(&SecretName { place: SecretPlace::Bare(bare.to_owned()), members: Vec::new() })
    }

    pub(super) async fn close(self) {
        self.bridge.stop(CLOSING).await;
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    fn mount(&self, name: &SecretName) -> Option<&Mount> {
        let SecretPlace::Bare(bare) = &name.place else { return None };
        mount(&self.plan, bare)
    }

    fn place(&self, name: &SecretName) -> Result<(String, String), Failure> {
        place(&self.plan, name).ok_or_else(|| super::server::no_place(name.last()))
    }

    fn writable(&self, name: &SecretName) -> Result<(String, String), Failure> {
        let (vault, key) = self.place(name)?;
        match self.plan.vault(&vault) {
            Some(found) if found.read_only => Err(BridgeError::ReadOnly { vault }.into()),
            _ => Ok((vault, key)),
        }
    }
}

/// The plan of the configuration that is in force; without one, that of the local vault.
pub fn plan(connect: &Connect) -> Result<Plan, Failure> {
    let file = match &connect.local_vault {
        Some(_) => None,
        None => config::find(connect.config.as_deref()).map(|place| place.path),
    };
    if let Some(file) = file {
        return Ok(config::load(&file)?);
    }
    let folder = connect.local_vault.clone().or_else(local::default_folder);
    let folder = folder.ok_or_else(|| {
        Failure::failed("no home folder is known").hint("set HOME, or name a folder with --local-vault")
    })?;
    Ok(Plan::of_local_vault(folder))
}

/// Whether a vault of the plan is a local one whose file is there: to open it asks for nothing and makes nothing.
pub(super) fn is_local_and_there(connect: &Connect, vault: &str) -> bool {
    let Ok(plan) = plan(connect) else { return false };
    let Some((folder, _)) = plan.vault(vault).and_then(Vault::local) else { return false };
    let folder = folder.map(Path::to_owned).or_else(local::default_folder);
    folder.is_some_and(|folder| local::FILES.iter().any(|file| folder.join(file).is_file()))
}

/// A vault that is wanted, and is not the plan's, may be one that the user has registered in PowerShell.
fn admit_registered(plan: &mut Plan, wanted: &WantedVaults) {
    let named: Vec<String> = match wanted {
        WantedVaults::Names(names) => {
            names.iter().filter_map(|name| name.vault().map(str::to_owned)).collect()
        }
        WantedVaults::Vault(vault) => vec![vault.clone()],
        WantedVaults::Everything | WantedVaults::Nothing => Vec::new(),
    };
    if !plan.auto_import.enabled {
        return;
    }
    let registered = crate::registry::look().vaults;
    for name in named {
        let is_new =
            plan.vault(&name).is_none() && registered.iter().any(|vault| fold(&vault.name) == fold(&name));
        let is_said = plan.auto_import.expose.iter().any(|expose| fold(&expose.vault) == fold(&name));
        if is_new && !is_said {
            plan.auto_import.expose.push(Expose { vault: name, writable: true });
        }
    }
}

fn is_wanted(plan: &Plan, vault: &Vault, wanted: &WantedVaults) -> bool {
    let is_it = |name: &str| fold(&vault.name) == fold(name);
    match wanted {
        WantedVaults::Everything => true,
        WantedVaults::Nothing => false,
        WantedVaults::Vault(name) => is_it(name),
        WantedVaults::Names(names) => {
            names.iter().any(|name| place(plan, name).is_some_and(|(of, _)| is_it(&of)))
        }
    }
}

fn mount<'a>(plan: &'a Plan, bare: &str) -> Option<&'a Mount> {
    plan.mounts.iter().find(|mount| fold(&mount.name) == fold(bare))
}

/// The vault and key that a name leads to: a mount's, or the default vault's.
fn place(plan: &Plan, name: &SecretName) -> Option<(String, String)> {
    match &name.place {
        SecretPlace::Key { vault, key } => Some((vault.clone(), key.clone())),
        SecretPlace::Bare(bare) => match mount(plan, bare) {
            Some(mount) => Some((mount.vault.clone(), mount.key.clone())),
            None => Some((plan.vault(LOCAL_VAULT)?.name.clone(), bare.clone())),
        },
    }
}
