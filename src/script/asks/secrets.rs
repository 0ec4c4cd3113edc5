//! Asks about secrets: read, written and removed in the asking worker.

use std::sync::Arc;

use super::asked::{Asked, ScriptWrite};
use super::vaults::minutes;
use super::{AskFailure, AskOutcome, Asking, fault_of, no_vault, not_mounted, refusal};
use crate::plan::{Mount, Projection};
use crate::protocol::Metadata;
use crate::script::protocol::AskReply;
use crate::script::protocol::ask::{self, Dismount, NamedAsk, ReadAsk, RemoveAsk, SecretSet, SetAsk};
use crate::script::value::Portable;
use crate::secret::SecretValue;
use crate::vault::{Entry, Verb};
use crate::worker::Worker;

fn projection(property: Option<Vec<String>>, expand: Option<String>) -> Projection {
    match (expand.filter(|name| !name.is_empty()), property.filter(|names| !names.is_empty())) {
        (Some(name), _) => Projection::Member(name),
        (None, Some(names)) => Projection::Members(names),
        (None, None) => Projection::Whole,
    }
}

// === mounts ===

impl Asking {
    pub(super) fn mount(&self, add: ask::MountAsk) -> AskOutcome {
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
        added.map(|()| AskReply::done()).map_err(|_| mounted(&name))
    }

    pub(super) async fn dismount(
        &mut self,
        Dismount { name, remove }: Dismount,
        worker: &mut Worker,
    ) -> AskOutcome {
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
        Ok(AskReply::done())
    }

    pub(super) fn mount_test(&self, named: &NamedAsk) -> AskOutcome {
        Ok(AskReply::Mounted { mounted: self.bridge()?.mounts().get(&named.name).is_some() })
    }

    pub(super) async fn secret_get(
        &mut self,
        NamedAsk { name }: NamedAsk,
        worker: &mut Worker,
    ) -> AskOutcome {
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

    pub(super) async fn secret_set(&mut self, set: SecretSet, worker: &mut Worker) -> AskOutcome {
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
    pub(super) async fn read(&mut self, read: ReadAsk, worker: &mut Worker) -> AskOutcome {
        let entry = self.bridge()?.vaults().get(&read.vault).map_err(fault_of)?;
        let value = self.value_now(worker, &entry, &read.key, &read.arguments).await?;
        Ok(projected(&value, &projection(read.property, read.expand)))
    }

    pub(super) async fn set(&mut self, set: SetAsk, worker: &mut Worker) -> AskOutcome {
        let entry = self.bridge()?.vaults().get(&set.vault).map_err(fault_of)?;
        let Some(value) = set.value else {
            if self.core.options.check {
                return Ok(AskReply::done());
            }
            let verb = Verb::SetInfo { key: set.key, metadata: set.metadata.unwrap_or_default() };
            return self.said(worker, &entry, verb).await.map(|_| AskReply::done());
        };
        self.write(worker, &entry, &set.key, value, set.metadata, None, &set.arguments).await
    }

    pub(super) async fn remove(&mut self, remove: RemoveAsk, worker: &mut Worker) -> AskOutcome {
        let entry = self.bridge()?.vaults().get(&remove.vault).map_err(fault_of)?;
        self.remove_key(worker, &entry, &remove.key, &remove.arguments).await?;
        Ok(AskReply::done())
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
    ) -> AskOutcome {
        if self.core.options.check {
            return Ok(AskReply::done());
        }
        let value = value.to_secret().ok_or_else(|| {
            refusal("SecretValue", "Secret value is of an invalid type. Expected types: String, SecureString, HashTable, Byte[], or PSCredential")
        })?;
        let written = ScriptWrite { key, value, metadata, member, arguments };
        Asked::of(entry).write(self, worker, written).await.map(|()| AskReply::done())
    }

    async fn remove_key(
        &mut self,
        worker: &mut Worker,
        entry: &Arc<Entry>,
        key: &str,
        arguments: &[Portable],
    ) -> Result<(), AskFailure> {
        if self.core.options.check {
            return Ok(());
        }
        Asked::of(entry).remove(self, worker, key, arguments).await
    }
}

fn mounted(name: &str) -> AskFailure {
    refusal("SecretMounted", format!("A Secret with the name '{name}' has already been mounted."))
}

/// The answer for a value: projected here where it is a table; else whole, and what to show of it beside it.
fn projected(value: &SecretValue, projection: &Projection) -> AskReply {
    let whole = |value: Portable| AskReply::Value { value, expand: None, property: None };
    match (value, projection) {
        (_, Projection::Whole) => whole(Portable::from(value)),
        (SecretValue::Hashtable(_), Projection::Member(name)) => {
            whole(value.member(name).map_or_else(Portable::null, Portable::from))
        }
        (_, Projection::Member(name)) => {
            AskReply::Value { value: Portable::from(value), expand: Some(name.clone()), property: None }
        }
        // The worker makes an object of it, with a property for each name.
        (SecretValue::Hashtable(_), Projection::Members(names)) => {
            let members = names.iter().filter_map(|name| Some((name.clone(), value.member(name)?.clone())));
            let value = Portable::from(&SecretValue::Hashtable(members.collect()));
            AskReply::Value { value, expand: None, property: Some(names.clone()) }
        }
        (_, Projection::Members(names)) => {
            AskReply::Value { value: Portable::from(value), expand: None, property: Some(names.clone()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn projected(value: &SecretValue, projection: &Projection) -> serde_json::Value {
        serde_json::to_value(super::projected(value, projection)).unwrap()
    }

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
