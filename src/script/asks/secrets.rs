//! Asks about secrets: read, written and removed in the asking worker.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::vaults::minutes;
use super::{Answer, Asking, Failure, fault_of, no_vault, not_mounted, nothing, refusal};
use crate::plan::{Mount, Projection};
use crate::protocol::Metadata;
use crate::script::custom::{self, Call};
use crate::script::value::Portable;
use crate::secret::SecretValue;
use crate::vault::{Entry, Verb};
use crate::worker::Worker;

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
            prefetch: false,
        };
        let name = mount.name.clone();
        let added = self.core.arguments.add(bridge.mounts(), mount, add.arguments);
        if added { Ok(nothing()) } else { Err(mounted(&name)) }
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
                let keep = entry.plan.keep.with_ttl(mount.cache_ttl);
                self.value(worker, &entry, &mount.key, keep, &arguments).await?
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
            return self.said(worker, entry, verb).await.map(|_| nothing());
        }
        let call = Call {
            kind: "set",
            key: Some(key),
            value: Some(&value),
            metadata: metadata.as_ref(),
            arguments,
            ..Call::default()
        };
        let Some(member) = member else {
            return self.custom(worker, entry, call).await.map(|_| nothing());
        };
        self.custom_member(worker, entry, call, &member).await.map(|()| nothing())
    }

    async fn remove_key(
        &mut self,
        worker: &mut Worker,
        entry: &Arc<Entry>,
        key: &str,
        arguments: &[Portable],
    ) -> Result<(), Failure> {
        if self.core.options.check {
            return Ok(());
        }
        if custom::of(entry).is_none() {
            let verb = Verb::Remove { key: key.to_owned() };
            return self.said(worker, entry, verb).await.map(drop);
        }
        let call = Call { kind: "remove", key: Some(key), arguments, ..Call::default() };
        self.custom(worker, entry, call).await.map(drop)
    }
}

fn mounted(name: &str) -> Failure {
    refusal("SecretMounted", format!("A Secret with the name '{name}' has already been mounted."))
}

/// The answer for a value: projected here where it is a table; else whole, and what to show of it beside it.
fn projected(value: &SecretValue, projection: &Projection) -> Value {
    match (value, projection) {
        (_, Projection::Whole) => json!({ "value": Portable::from(value) }),
        (SecretValue::Hashtable(_), Projection::Member(name)) => {
            json!({ "value": value.member(name).map_or_else(Portable::null, Portable::from) })
        }
        (_, Projection::Member(name)) => json!({ "value": Portable::from(value), "expand": name }),
        // The worker makes an object of it, with a property for each name.
        (SecretValue::Hashtable(_), Projection::Members(names)) => {
            let members = names.iter().filter_map(|name| Some((name.clone(), value.member(name)?.clone())));
            json!({ "value": Portable::from(&SecretValue::Hashtable(members.collect())), "property": names })
        }
        (_, Projection::Members(names)) => json!({ "value": Portable::from(value), "property": names }),
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
        assert_eq!(some["property"], json!(["Pass", "Nope"]));
        let other = projected(&SecretValue::Clixml("<Objs/>".into()), &Projection::Member("x".into()));
        assert_eq!(other["expand"], "x");
    }
}
