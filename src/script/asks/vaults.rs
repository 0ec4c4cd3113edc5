//! Asks about vaults: registered, unlocked and taken out while the script waits.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::asked::Asked;
use super::imports::{is_imported, search_order};
use super::words::words_of;
use super::{AskFailure, AskOutcome, Asking, fault_of, no_vault, refusal};
use crate::bridge::open_in_process;
use crate::check::same_registrations;
use crate::clock;
use crate::plan::{BlockKind, Custom, Extension, Keep, SecretSource, Vault};
use crate::protocol::Parameters;
use crate::registry::user::WantedVault;
use crate::script::custom::{self, VaultHooks, as_fault};
use crate::script::expiry::round_trip;
use crate::script::live::Live;
use crate::script::protocol::AskReply;
use crate::script::protocol::ask::{InfoAsk, LookBy, NamedAsk, VaultAdd, VaultGet, VaultUnlock};
use crate::script::protocol::shape::{Block, VaultShown, VaultType};
use crate::secret::{SecretValue, Text, fold};
use crate::vault::backend::kinds;
use crate::vault::set_up::{self, Opening, join, unregister};
use crate::vault::turn::Trouble;
use crate::vault::{Entry, Hooks, Means, Outcome, Vaults, Verb};
use crate::worker::Worker;

/// Whole minutes; nothing below one.
pub(super) fn minutes(count: i64) -> Duration {
    u64::try_from(count).map_or(Duration::ZERO, |count| Duration::from_secs(count.saturating_mul(60)))
}

/// Pode registers each vault with `-AllowClobber`: of two that PowerShell knows by one name, the last one serves both. A
/// script of Pode's may mean that, so it is no error; a plan of a file refuses it.
fn say_what_it_replaces(vaults: &Vaults, added: &Vault) {
    let present = vaults.all();
    let mut all: Vec<&Vault> = present.iter().map(|entry| &entry.plan).collect();
    all.push(added);
    let is_added = |at: usize| at + 1 == all.len();
    for twin in same_registrations(&all).into_iter().filter(|twin| is_added(twin.again)) {
        let (first, registered) = (all[twin.first], added.extension().map(|extension| &extension.registered));
        if first.kind != added.kind
            && let Some(registered) = registered
        {
            tracing::warn!(
                "vaults {} and {} both have the name {registered} in PowerShell, with different modules or parameters: \
                 the one registered last serves both, as with Pode; give each a -VaultName of its own",
                first.name,
                added.name
            );
        }
    }
}

impl Asking {
    pub(super) async fn vault_add(&mut self, add: VaultAdd, worker: &mut Worker) -> AskOutcome {
        let name = add.name.clone();
        let blocks = self.numbered(&add.blocks);
        let password = add.unlock.as_ref().and_then(SecretValue::as_text).map(Text::from);
        let root = self.core.session.root();
        let plan = plan(&add, &blocks, password.clone(), root.as_deref().map(Path::new))?;
        let bridge = self.bridge()?;
        let vaults = bridge.vaults();
        // What the user had registered gives way to what the script says.
        if let Ok(present) = vaults.get(&name)
            && is_imported(&present)
        {
            vaults.forget(&name);
        }
        say_what_it_replaces(vaults, &plan);
        let live = Arc::new(Live::new(add.table, add.reads, add.local));
        custom::say_what_stays(&live, &name, BlockKind::Init, add.stays);
        let hooks: Arc<dyn Hooks> = Arc::new(VaultHooks {
            core: Arc::downgrade(&self.core),
            name: name.clone(),
            live: live.clone(),
            custom: add.kind == VaultType::Custom,
            init: add.init.map(|block| self.core.session.add_block(block)),
            unregister: blocks.get(&BlockKind::Unregister).copied(),
        });
        let entry = self.core.lives.adding(live, || {
            let means = Means { password, hooks: Some(hooks) };
            let entry = vaults.add(plan, means).map_err(|_| {
                refusal(
                    "SecretVaultExists",
                    format!("A Secret Vault with the name '{name}' has already been registered."),
                )
            })?;
            Ok::<_, AskFailure>((entry.number, entry))
        })?;
        // Values of an earlier vault of this name must not be served for this one.
        vaults.changes().replaced(&entry.store.id);
        if self.core.options.check {
            return Ok(AskReply::done());
        }
        let mut opened = self.open(&entry, worker).await;
        if opened.is_ok() {
            opened = self.register_for_user(&entry).await;
        }
        if opened.is_err() {
            // Keep the name if another call has taken it since.
            if vaults.get(&name).is_ok_and(|present| present.number == entry.number) {
                vaults.forget(&name);
            }
            set_up::forget(worker, &entry);
            self.core.forget_live(entry.number);
        }
        opened.map(|()| AskReply::done())
    }

    /// Registers, configures and unlocks a vault that was added just now, here. Its init block has run here
    /// already, where the script's own variables are.
    async fn open(&mut self, entry: &Arc<Entry>, worker: &mut Worker) -> Result<(), AskFailure> {
        open_in_process(entry).map_err(|error| refusal("LocalVault", error.to_string()))?;
        if entry.password().is_some() {
            entry.store.forget_lockout();
        }
        join(worker, entry, self.deadline).await.map_err(as_fault)?;
        if let asked @ Asked::Blocks(_) = Asked::of(entry)
            && entry.may_unlock()
        {
            return asked.unlock(self, worker, None).await;
        }
        let bridge = self.bridge()?;
        let pool = bridge.vaults().workers().map_err(fault_of)?;
        let opening = Opening { entry, lanes: pool.lanes(), until: self.deadline, added: true };
        match opening.open(worker).await {
            Ok(()) => {
                if entry.may_unlock() {
                    self.core.lives.get(entry.number).unlocked_since(clock::now());
                }
                Ok(())
            }
            // The vault's own message, where there is one.
            Err(Trouble::Fault(fault)) => Err(fault),
            Err(trouble) => Err(words_of(trouble.into_error(entry, None, false), entry, &Verb::Unlock)),
        }
    }

    /// As Pode does, where the user asks for it.
    async fn register_for_user(&self, entry: &Entry) -> Result<(), AskFailure> {
        let Some(registry) = &self.core.options.registry else { return Ok(()) };
        let Some(wanted) = entry.plan.extension().and_then(WantedVault::of) else { return Ok(()) };
        registry.add(wanted).await.map_err(|error| refusal("UserRegistry", error.to_string()))
    }

    /// The numbers of blocks, by their kinds.
    fn numbered(&self, blocks: &BTreeMap<BlockKind, Option<Block>>) -> BTreeMap<BlockKind, u64> {
        let there = blocks.iter().filter_map(|(kind, block)| Some((*kind, block.clone()?)));
        there.map(|(kind, block)| (kind, self.core.session.add_block(block))).collect()
    }

    pub(super) async fn vault_remove(
        &mut self,
        NamedAsk { name }: NamedAsk,
        worker: &mut Worker,
    ) -> AskOutcome {
        let bridge = self.bridge()?;
        let Some(entry) = bridge.vaults().forget(&name) else { return Ok(AskReply::done()) };
        self.core.arguments.keep(&entry);
        if self.core.options.check {
            return Ok(AskReply::done());
        }
        if let Some(hooks) = &entry.hooks {
            hooks.after(worker, self.deadline).await.map_err(as_fault)?;
        }
        if let Some(extension) = entry.plan.extension().filter(|extension| !extension.imported) {
            match &self.core.options.registry {
                // The module's own unregister function is called there.
                Some(registry) => registry
                    .remove(&extension.registered)
                    .await
                    .map_err(|error| refusal("UserRegistry", error.to_string()))?,
                None => unregister(worker, &entry, extension, self.deadline).await,
            }
        }
        self.core.forget_live(entry.number);
        Ok(AskReply::done())
    }

    pub(super) async fn vault_unlock(&mut self, unlock: VaultUnlock, worker: &mut Worker) -> AskOutcome {
        let entry = self.bridge()?.vaults().get(&unlock.name).map_err(|_| no_vault(&unlock.name))?;
        let given = unlock.secret.as_ref().and_then(SecretValue::as_text).map(Text::from);
        // What has no password is not unlocked, as in Pode.
        if self.core.options.check || (given.is_none() && entry.password().is_none()) {
            return Ok(AskReply::done());
        }
        Asked::of(&entry).unlock(self, worker, given).await.map(|()| AskReply::done())
    }

    pub(super) fn vault_get(&self, names: &VaultGet) -> AskOutcome {
        let bridge = self.bridge()?;
        let all = bridge.vaults().all();
        let found = match names.by {
            Some(LookBy::Search) => search_order(&all, self.core.settings.default_vault().as_deref()),
            Some(LookBy::Registry) => named(&all, names, |entry| Some(&entry.plan.extension()?.registered)),
            None => named(&all, names, |entry| Some(&entry.plan.name)),
        };
        let vaults = found.into_iter().map(|entry| shown(entry, &self.core.lives.get(entry.number)));
        Ok(AskReply::Vaults { vaults: vaults.collect() })
    }

    /// Names, types and metadata; never values.
    pub(super) async fn info(&mut self, InfoAsk { vault }: InfoAsk, worker: &mut Worker) -> AskOutcome {
        let entry = self.bridge()?.vaults().get(&vault).map_err(fault_of)?;
        if self.core.options.check {
            return Ok(AskReply::Secrets { secrets: Vec::new() });
        }
        match self.said(worker, &entry, Verb::List).await? {
            Outcome::List(secrets) => Ok(AskReply::Secrets { secrets }),
            Outcome::Value(_) | Outcome::Done => Err(refusal("WorkerFailed", "no list came")),
        }
    }
}

/// The vault's plan, checked as Pode checks it. `base`: what its paths are relative to, wherever the program was started.
fn plan(
    add: &VaultAdd,
    blocks: &BTreeMap<BlockKind, u64>,
    password: Option<Text>,
    base: Option<&Path>,
) -> Result<Vault, AskFailure> {
    let unlock = password.map(SecretSource::Value);
    let parameters = Parameters(add.parameters.clone().unwrap_or_default());
    let kind = match (add.kind, add.module.as_deref()) {
        (VaultType::Custom, _) => custom_plan(add, blocks, unlock, parameters)?.into(),
        (VaultType::SecretManagement, None | Some("")) => {
            return Err(refusal("SecretVault", "a module name is required"));
        }
        (VaultType::SecretManagement, Some(module)) => {
            let registered =
                add.vault_name.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| add.name.clone());
            let mut extension = Extension::new(registered, module);
            extension.unlock_interval = minutes(add.interval);
            extension.unlock_at_start = !add.no_unlock;
            extension.unlock = unlock;
            extension.parameters = parameters;
            kinds::by_script(extension, base).map_err(|refused| refusal(refused.id, refused.message))?
        }
    };
    let keep = Keep::default().with_ttl(Some(minutes(add.cache_ttl)));
    Ok(Vault { keep, ..Vault::new(add.name.clone(), kind) })
}

fn custom_plan(
    add: &VaultAdd,
    blocks: &BTreeMap<BlockKind, u64>,
    unlock: Option<SecretSource>,
    parameters: Parameters,
) -> Result<Custom, AskFailure> {
    if !blocks.contains_key(&BlockKind::Read) {
        return Err(refusal("SecretVault", "a custom vault needs a ScriptBlock to read with"));
    }
    if unlock.is_some() && !blocks.contains_key(&BlockKind::Unlock) {
        let message =
            "Unlock secret supplied for custom Secret Vault type, but no Unlock ScriptBlock supplied";
        return Err(refusal("SecretVaultNoBlock", message));
    }
    Ok(Custom {
        parameters,
        blocks: blocks.clone(),
        unlock,
        unlock_interval: minutes(add.interval),
        unlock_at_start: !add.no_unlock,
    })
}

/// The vaults of these names, in their order.
fn named<'a>(
    all: &'a [Arc<Entry>],
    names: &VaultGet,
    name_of: impl Fn(&Entry) -> Option<&String>,
) -> Vec<&'a Arc<Entry>> {
    let is_it = |entry: &Entry, name: &str| name_of(entry).is_some_and(|present| fold(present) == fold(name));
    names.names.iter().filter_map(|name| all.iter().find(|entry| is_it(entry, name))).collect()
}

/// As `Get-PodeSecretVault` shows it, without its secrets.
fn shown(entry: &Entry, live: &Live) -> VaultShown {
    let (extension, interval) = (entry.plan.extension(), entry.plan.unlock_interval());
    let of_kind = kinds::of(&entry.plan).module();
    VaultShown {
        name: entry.plan.name.clone(),
        kind: if entry.is_scripts_own() { VaultType::Custom } else { VaultType::SecretManagement },
        module: extension.map(|extension| extension.module.clone()).or_else(|| of_kind.map(str::to_owned)),
        vault_name: extension.map(|extension| extension.registered.clone()),
        auto_imported: extension.is_some_and(|extension| extension.imported),
        interval: interval.as_secs() / 60,
        cache_ttl: entry.plan.keep.ttl.as_secs() / 60,
        unlock: entry.password().is_some(),
        expiry: live.expiry().or_else(|| live.next_unlock(interval, clock::now()).map(round_trip)),
        table: live.table,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::plan::VaultKind;

    fn add(more: Value) -> Result<Vault, AskFailure> {
        let mut ask =
            json!({ "name": "v", "type": "secretmanagement", "module": "Microsoft.PowerShell.SecretStore" });
        ask.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let add: VaultAdd = serde_json::from_value(ask).unwrap();
        let blocks = add.blocks.keys().map(|kind| (*kind, 1)).collect();
        let password = add.unlock.as_ref().and_then(SecretValue::as_text).map(Text::from);
        plan(&add, &blocks, password, Some(Path::new("/script")))
    }

    fn secret() -> Value {
        json!({ "t": "securestring", "v": "pw" })
    }

    #[test]
    fn secret_store_has_podes_rules() {
        assert!(add(json!({})).unwrap_err().message.contains("'UnlockSecret' property is required"));
        let vault =
            add(json!({ "unlock": secret(), "parameters": { "password": "x", "interaction": "Prompt" } }))
                .unwrap();
        let extension = vault.extension().unwrap();
        assert_eq!(extension.unlock_interval, Duration::from_secs(60));
        assert_eq!(
            Value::Object(extension.parameters.0.clone()),
            json!({ "interaction": "Prompt", "Authentication": "Password", "PasswordTimeout": 70 })
        );
        let named =
            add(json!({ "unlock": secret(), "interval": 5, "parameters": { "passwordtimeout": 900 } }))
                .unwrap();
        assert_eq!(named.extension().unwrap().parameters.0["passwordtimeout"], 900);
        let not_positive =
            add(json!({ "unlock": secret(), "interval": 5, "parameters": { "PasswordTimeout": -1 } }))
                .unwrap();
        assert_eq!(not_positive.extension().unwrap().parameters.0["PasswordTimeout"], 310);
    }

    #[test]
    fn a_custom_vault_needs_its_blocks() {
        let custom = |more: Value| {
            let mut ask = json!({ "type": "custom" });
            ask.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            add(ask)
        };
        assert!(custom(json!({})).is_err());
        assert!(
            custom(json!({ "blocks": { "read": { "text": "" } }, "unlock": secret() }))
                .unwrap_err()
                .message
                .contains("Unlock")
        );
        let vault =
            custom(json!({ "blocks": { "read": { "text": "" }, "unlock": { "text": "" } }, "unlock": secret(), "cache_ttl": 2 }))
                .unwrap();
        assert_eq!(vault.keep.ttl, Duration::from_secs(120));
    }

    #[test]
    fn the_local_module_is_the_embedded_vault() {
        let vault = add(json!({ "module": "secretbridge.local", "parameters": { "Folder": "/x" } })).unwrap();
        assert_eq!(vault.kind, VaultKind::local(Some("/x".into()), None));
        let vault = add(json!({ "module": "secretbridge.local", "parameters": { "path": "data" } })).unwrap();
        assert_eq!(vault.kind, VaultKind::local(Some(Path::new("/script").join("data")), None));
    }
}
