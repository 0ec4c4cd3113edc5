//! Asks about secrets: read, written and removed in the asking worker.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::vaults::minutes;
use super::{Answer, Asking, fault_of, no_vault, not_mounted, nothing, refusal};
use crate::cache::{Found, Join, Wanted};
use crate::error::BridgeError;
use crate::mount::{merge, project};
use crate::plan::{Mount, Projection};
use crate::pool::Rest;
use crate::protocol::{Fault, Metadata};
use crate::script::custom::{self, Call};
use crate::script::value::Portable;
use crate::secret::SecretValue;
use crate::store::Authentication;
use crate::vault::act::Began;
use crate::vault::session::Trouble;
use crate::vault::{Entry, Outcome, Vaults, Verb, rules};
use crate::worker::Worker;

/// What a look-at-the-plan gives for a value.
const UNREAD: &str = "<secret>";

#[derive(Deserialize)]
pub(super) struct MountAdd {
    name: String,
    vault: String,
    key: String,
    #[serde(default)]
    property: Option<Vec<String>>,
    #[serde(default)]
    expand: Option<String>,
    #[serde(default)]
    arguments: Vec<Portable>,
    #[serde(default = "of_vault")]
    cache_ttl: i64,
}

#[derive(Deserialize)]
pub(super) struct Dismount {
    name: String,
    #[serde(default)]
    remove: bool,
}

#[derive(Deserialize)]
pub(super) struct Named {
    name: String,
}

#[derive(Deserialize)]
pub(super) struct SecretSet {
    name: String,
    value: Portable,
    #[serde(default)]
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
pub(super) struct Read {
    vault: String,
    key: String,
    #[serde(default)]
    property: Option<Vec<String>>,
    #[serde(default)]
    expand: Option<String>,
    #[serde(default)]
    arguments: Vec<Portable>,
}

#[derive(Deserialize)]
pub(super) struct Set {
    vault: String,
    key: String,
    value: Portable,
    #[serde(default)]
    metadata: Option<Metadata>,
    #[serde(default)]
    arguments: Vec<Portable>,
}

#[derive(Deserialize)]
pub(super) struct Remove {
    vault: String,
    key: String,
    #[serde(default)]
    arguments: Vec<Portable>,
}

fn of_vault() -> i64 {
    -1
}

fn projection(property: Option<Vec<String>>, expand: Option<String>) -> Projection {
    match (expand.filter(|name| !name.is_empty()), property.filter(|names| !names.is_empty())) {
        (Some(name), _) => Projection::Member(name),
        (None, Some(names)) => Projection::Members(names),
        (None, None) => Projection::Whole,
    }
}

// === mounts ===

impl Asking {
    pub(super) fn mount(&self, add: MountAdd) -> Answer {
        let bridge = self.bridge()?;
        if add.expand.is_some() && add.property.as_ref().is_some_and(|names| !names.is_empty()) {
            let message = "Parameters 'Property' and 'ExpandProperty' are mutually exclusive";
            return Err(refusal("SecretMount", message));
        }
        if bridge.mounts().get(&add.name).is_some() {
            return Err(mounted(&add.name));
        }
        bridge.vaults().get(&add.vault).map_err(|_| no_vault(&add.vault))?;
        let mount = Mount {
            name: add.name,
            vault: add.vault,
            key: add.key,
            projection: projection(add.property, add.expand),
            cache_ttl: (add.cache_ttl >= 0).then(|| minutes(add.cache_ttl)),
        };
        let added = self.core.arguments.add(bridge.mounts(), mount, add.arguments);
        added.map(|()| nothing()).map_err(|mount| mounted(&mount.name))
    }

    pub(super) async fn dismount(
        &mut self,
        Dismount { name, remove }: Dismount,
        worker: &mut Worker,
    ) -> Answer {
        let bridge = self.bridge()?;
        match bridge.mounts().get(&name) {
            Some(mount) if remove => {
                let entry = bridge.vaults().get(&mount.vault).map_err(fault_of)?;
                let arguments = self.core.arguments.get(&name);
                self.remove_key(worker, &entry, &mount.key, &arguments).await?;
            }
            None if remove => return Err(not_mounted(&name)),
            _ => {}
        }
        self.core.arguments.remove(bridge.mounts(), &name);
        Ok(nothing())
    }

    pub(super) fn mount_test(&self, named: &Named) -> Answer {
        Ok(json!({ "mounted": self.bridge()?.mounts().get(&named.name).is_some() }))
    }

    pub(super) async fn secret_get(&mut self, Named { name }: Named, worker: &mut Worker) -> Answer {
        let bridge = self.bridge()?;
        let mount = bridge.mounts().get(&name).ok_or_else(|| not_mounted(&name))?;
        let arguments = self.core.arguments.get(&name);
        let value = match bridge.vaults().get(&mount.vault) {
            Ok(entry) => {
                let ttl = mount.cache_ttl.unwrap_or(entry.plan.cache_ttl);
                self.value(worker, &entry, &mount.key, ttl, &arguments).await?
            }
            Err(error) => self.left_over(&mount, &arguments).ok_or_else(|| fault_of(error))?,
        };
        Ok(projected(&value, &mount.projection))
    }

    pub(super) async fn secret_set(&mut self, set: SecretSet, worker: &mut Worker) -> Answer {
        let bridge = self.bridge()?;
        let mount = bridge.mounts().get(&set.name).ok_or_else(|| not_mounted(&set.name))?;
        let entry = bridge.vaults().get(&mount.vault).map_err(fault_of)?;
        let arguments = self.core.arguments.get(&set.name);
        let member = match &mount.projection {
            Projection::Member(member) => Some(member.clone()),
            Projection::Whole | Projection::Members(_) => None,
        };
        self.write(worker, &entry, &mount.key, set.value, set.metadata, member, &arguments).await
    }
}

// === keys of vaults ===

impl Asking {
    pub(super) async fn read(&mut self, read: Read, worker: &mut Worker) -> Answer {
        let entry = self.bridge()?.vaults().get(&read.vault).map_err(fault_of)?;
        let value = self.value_now(worker, &entry, &read.key, &read.arguments).await?;
        Ok(projected(&value, &projection(read.property, read.expand)))
    }

    pub(super) async fn set(&mut self, set: Set, worker: &mut Worker) -> Answer {
        let entry = self.bridge()?.vaults().get(&set.vault).map_err(fault_of)?;
        self.write(worker, &entry, &set.key, set.value, set.metadata, None, &set.arguments).await
    }

    pub(super) async fn remove(&mut self, remove: Remove, worker: &mut Worker) -> Answer {
        let entry = self.bridge()?.vaults().get(&remove.vault).map_err(fault_of)?;
        self.remove_key(worker, &entry, &remove.key, &remove.arguments).await?;
        Ok(nothing())
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of an ask, and the worker")]
    async fn write(
        &mut self,
        worker: &mut Worker,
        entry: &Arc<Entry>,
        key: &str,
        value: Portable,
        metadata: Option<Metadata>,
        member: Option<String>,
        arguments: &[Portable],
    ) -> Answer {
        if self.core.options.check {
            return Ok(nothing());
        }
        let value = value.to_secret().ok_or_else(|| {
            refusal("SecretValue", "Secret value is of an invalid type. Expected types: String, SecureString, HashTable, Byte[], or PSCredential")
        })?;
        if custom::of(entry).is_none() {
            let verb = Verb::Set { key: key.to_owned(), value: Arc::new(value), metadata, member };
            return self.verb(worker, entry, verb).await.map(|_| nothing()).map_err(fault_of);
        }
        let value = match member {
            Some(member) => self.merged(worker, entry, key, &member, value, arguments).await?,
            None => value,
        };
        let call = Call {
            kind: "set",
            key: Some(key),
            value: Some(&value),
            metadata: metadata.as_ref(),
            arguments,
            secret: None,
        };
        self.custom(worker, entry, call).await.map(|_| nothing())
    }

    /// A custom vault's whole value with one member changed.
    async fn merged(
        &mut self,
        worker: &mut Worker,
        entry: &Arc<Entry>,
        key: &str,
        member: &str,
        value: SecretValue,
        arguments: &[Portable],
    ) -> Result<SecretValue, Fault> {
        match self.value_now(worker, entry, key, arguments).await? {
            whole if matches!(*whole, SecretValue::Clixml(_)) && !is_null(&whole) => {
                let message = format!(
                    "'{member}' of the secret '{key}' cannot be updated by itself: the vault '{}' gives no Hashtable",
                    entry.plan.name
                );
                Err(refusal("SecretMember", message))
            }
            whole => Ok(merge(Some(&whole), member, value)),
        }
    }

    async fn remove_key(
        &mut self,
        worker: &mut Worker,
        entry: &Arc<Entry>,
        key: &str,
        arguments: &[Portable],
    ) -> Result<(), Fault> {
        if self.core.options.check {
            return Ok(());
        }
        if custom::of(entry).is_none() {
            let verb = Verb::Remove { key: key.to_owned() };
            return self.verb(worker, entry, verb).await.map(drop).map_err(fault_of);
        }
        let call = Call { kind: "remove", key: Some(key), arguments, ..Call::default() };
        self.custom(worker, entry, call).await.map(drop)
    }
}

// === values ===

impl Asking {
    /// A value, from the cache if it is kept there.
    async fn value(
        &mut self,
        worker: &mut Worker,
        entry: &Arc<Entry>,
        key: &str,
        ttl: Duration,
        arguments: &[Portable],
    ) -> Result<Arc<SecretValue>, Fault> {
        let is_custom = custom::of(entry).is_some();
        let name = cached_name(key, arguments);
        // A custom vault's load may wait for what this call holds, so it is never joined.
        let join = if is_custom { Join::Never } else { Join::InWorker };
        loop {
            let bridge = self.bridge()?;
            let wanted =
                Wanted { store: &entry.store.id, name: &name, detail: false, kept: !ttl.is_zero(), join };
            let mut outcome = match bridge.cache().find(wanted, Instant::now()) {
                Found::Fresh(value) => return Ok(value),
                Found::Loading(outcome) => outcome,
                Found::Miss(ticket) => {
                    let loaded = self.value_now(worker, entry, key, arguments).await;
                    if worker.broken().is_none() {
                        let shared = loaded.clone().map_err(|fault| BridgeError::Vault {
                            vault: entry.plan.name.clone(),
                            fault: Box::new(fault),
                        });
                        bridge.cache().finish(ticket, shared, ttl, Instant::now());
                    }
                    return loaded;
                }
            };
            let waited = timeout_at(self.deadline, outcome.wait_for(Option::is_some)).await;
            let late = |_| fault_of(BridgeError::Deadline { outcome_unknown: false });
            let loaded = waited.map_err(late)?.ok().and_then(|loaded| loaded.clone());
            match loaded {
                Some(Ok(value)) => return Ok(value),
                // Another's deadline, or worker, is not ours.
                Some(Err(_)) => return self.value_now(worker, entry, key, arguments).await,
                // The load was given up.
                None => tokio::task::yield_now().await,
            }
        }
    }

    /// A value, from the vault.
    async fn value_now(
        &mut self,
        worker: &mut Worker,
        entry: &Arc<Entry>,
        key: &str,
        arguments: &[Portable],
    ) -> Result<Arc<SecretValue>, Fault> {
        if self.core.options.check {
            return Ok(Arc::new(SecretValue::string(UNREAD)));
        }
        if custom::of(entry).is_some() {
            let call = Call { kind: "read", key: Some(key), arguments, ..Call::default() };
            let value = self.custom(worker, entry, call).await?.value.unwrap_or_else(Portable::null);
            let secret = value.to_secret();
            return secret
                .map(Arc::new)
                .ok_or_else(|| refusal("SecretValue", "a script block is no secret's value"));
        }
        match self
            .verb(worker, entry, Verb::Get { key: key.to_owned(), detail: false })
            .await
            .map_err(fault_of)?
        {
            Outcome::Value(reply) => Ok(Arc::new(reply.value)),
            Outcome::List(_) | Outcome::Done => Err(refusal("WorkerFailed", "no value came")),
        }
    }

    /// Does a verb in this worker, in the store's lane. A store that one worker has to itself is asked there;
    /// that worker runs no scripts, so it never waits for this one.
    pub(super) async fn verb(
        &mut self,
        worker: &mut Worker,
        entry: &Arc<Entry>,
        verb: Verb,
    ) -> Result<Outcome, BridgeError> {
        rules::check(entry, &verb)?;
        let not_ready = || BridgeError::NotReady { reason: "no worker pool runs".into() };
        let bridge = self.core.bridge().cloned().ok_or_else(not_ready)?;
        let vaults = bridge.vaults();
        if verb.writes() {
            self.began.note();
        }
        if entry.local.is_some() || entry.store.authentication() == Authentication::None {
            return vaults.perform(entry, verb, self.deadline).await;
        }
        let pool = vaults.pool().ok_or_else(not_ready)?;
        // What a script does before a vault's first use may need lanes itself, so it goes first.
        if let Err(error) = crate::vault::set_up::ready(worker, entry, self.deadline).await {
            return Err(Trouble::from(error).into_error(entry, verb.key(), false));
        }
        let permit = match Vaults::lane(&entry.store, &verb) {
            Some(lane) => {
                let waited = timeout_at(self.deadline, pool.lane(lane)).await;
                Some(waited.map_err(|_| BridgeError::Deadline { outcome_unknown: false })?)
            }
            None => None,
        };
        let act = vaults.act(entry, verb, self.deadline, Began::default());
        let mut done = act.run(worker).await;
        if let Err(Trouble::OldCopy) = done.outcome {
            drop(permit);
            return vaults.perform(entry, act.verb, self.deadline).await;
        }
        if let Some(task) = act.rest(worker, &mut done) {
            self.rest = Some(Rest { task, permit });
        }
        act.settle(done)
    }

    /// A value that is still kept, of a vault that was taken out.
    fn left_over(&self, mount: &Mount, arguments: &[Portable]) -> Option<Arc<SecretValue>> {
        let (store, ttl) = self.core.arguments.left_over(&mount.vault)?;
        if mount.cache_ttl.unwrap_or(ttl).is_zero() {
            return None;
        }
        let name = cached_name(&mount.key, arguments);
        let wanted = Wanted { store: &store, name: &name, detail: false, kept: true, join: Join::Never };
        match self.core.bridge()?.cache().find(wanted, Instant::now()) {
            Found::Fresh(value) => Some(value),
            Found::Loading(_) | Found::Miss(_) => None,
        }
    }
}

fn mounted(name: &str) -> Fault {
    refusal("SecretMounted", format!("A Secret with the name '{name}' has already been mounted."))
}

/// The key of a value in the cache: a mount's arguments may change what its vault gives.
fn cached_name(key: &str, arguments: &[Portable]) -> String {
    arguments.iter().fold(key.to_owned(), |name, argument| name + "\0" + argument.text())
}

fn is_null(value: &SecretValue) -> bool {
    matches!(value, SecretValue::Clixml(document) if document.expose().contains("<Nil />"))
}

/// The answer for a value: projected here where the core can look into it, else by the worker.
fn projected(value: &SecretValue, projection: &Projection) -> Value {
    match (value, projection) {
        (_, Projection::Whole) => json!({ "value": Portable::from(value) }),
        (SecretValue::Hashtable(_), Projection::Member(_)) => match project(value, projection) {
            Ok(member) => json!({ "value": Portable::from(&member) }),
            Err(_) => json!({ "value": Portable::null() }),
        },
        (SecretValue::Hashtable(_), Projection::Members(names)) => {
            let shown: std::collections::BTreeMap<String, SecretValue> =
                names.iter().filter_map(|name| Some((name.clone(), value.member(name)?.clone()))).collect();
            let shown = Portable::from(&SecretValue::Hashtable(shown));
            json!({ "value": shown, "project": { "property": names } })
        }
        (_, Projection::Member(name)) => {
            json!({ "value": Portable::from(value), "project": { "expand": name } })
        }
        (_, Projection::Members(names)) => {
            json!({ "value": Portable::from(value), "project": { "property": names } })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_projection_is_made_here_where_the_value_is_a_table_and_else_left_to_the_worker() {
        let table = SecretValue::Hashtable(
            [("User", "u"), ("Pass", "p")].map(|(k, v)| (k.to_owned(), SecretValue::string(v))).into(),
        );
        let member = |name: &str| projected(&table, &Projection::Member(name.into()));
        assert_eq!(member("pass"), json!({ "value": { "t": "string", "v": "p" } }));
        assert_eq!(member("nope"), json!({ "value": { "t": "null" } }));
        let some = projected(&table, &Projection::Members(vec!["Pass".into(), "Nope".into()]));
        assert_eq!(some["value"]["v"], json!({ "Pass": { "t": "string", "v": "p" } }));
        assert_eq!(some["project"]["property"], json!(["Pass", "Nope"]));
        let other = projected(&SecretValue::Clixml("<Objs/>".into()), &Projection::Member("x".into()));
        assert_eq!(other["project"], json!({ "expand": "x" }));
    }

    #[test]
    fn arguments_are_part_of_a_cached_name() {
        let argument: Portable = serde_json::from_value(json!({ "t": "int", "v": 1 })).unwrap();
        assert_ne!(cached_name("k", &[]), cached_name("k", std::slice::from_ref(&argument)));
        assert_eq!(cached_name("k", &[]), "k");
    }
}
