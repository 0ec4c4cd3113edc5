//! The fixed routes on vaults and mounted secrets.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::call::{AccessSubject, AdmittedCall, Native, ShownAnswer, reading};
use crate::access::{Caller, GrantVerb};
use crate::error::BridgeError;
use crate::http::message::{Reply, Request};
use crate::http::problem::Problem;
use crate::http::respond;
use crate::http::route::{Scope, Target};
use crate::http::secrets::Secrets;
use crate::http::value::{self, Format};
use crate::plan::{Mount, Plan, Projection};
use crate::protocol::SecretInfo;
use crate::secret::{SecretValue, is_same_name};

/// Media types of bare secrets.
pub(super) const TEXT: &str = "text/plain; charset=utf-8";
const OCTETS: &str = "application/octet-stream";

/// Where a request leads to.
pub(super) struct VaultTarget<'a> {
    vault: String,
    /// Empty where the vault itself is meant.
    key: String,
    mount: Option<&'a Mount>,
    /// Writes and removals are refused.
    read_only: bool,
}

impl VaultTarget<'_> {
    pub(super) fn subject(&self) -> AccessSubject {
        AccessSubject {
            vault: self.vault.as_str().into(),
            key: self.key.as_str().into(),
            mount: self.mount.map(|mount| mount.name.as_str().into()).unwrap_or_default(),
        }
    }

    fn writable(&self) -> Result<(), BridgeError> {
        if self.read_only { Err(BridgeError::ReadOnly { vault: self.vault.clone() }) } else { Ok(()) }
    }
}

impl<S: Secrets> Native<S> {
    /// The exposed vaults, and the default one.
    pub(super) fn vaults(&self, plan: &Plan, caller: &Caller) -> Reply {
        let seen = plan.vaults.iter().filter(|vault| vault.exposed || self.is_default(&vault.name));
        let shown: Vec<Value> = seen
            .filter(|vault| caller.grants().vault(None, &vault.name))
            .map(|vault| {
                let mut line = json!({ "Name": vault.name, "ReadOnly": vault.read_only });
                if self.is_default(&vault.name) {
                    line["Default"] = json!(true);
                }
                line
            })
            .collect();
        respond::json(StatusCode::OK, &json!({ "Vaults": shown }))
    }

    fn is_default(&self, vault: &str) -> bool {
        self.default_vault.as_deref().is_some_and(|default| is_same_name(default, vault))
    }

    /// What the path is about. A vault that is not exposed does not differ from one that is not there; a
    /// mounted secret of it can be read, as by the plan's own routes, and not written.
    pub(super) fn place<'a>(
        &self,
        call: &AdmittedCall<'_>,
        plan: &'a Plan,
    ) -> Result<VaultTarget<'a>, BridgeError> {
        let key = call.found.key.clone().unwrap_or_default();
        if call.found.target.scope() == Some(Scope::Mounted) {
            let mount = plan.mounts.iter().find(|mount| is_same_name(&mount.name, &key));
            let mount = mount.ok_or(BridgeError::UnknownMount { name: key })?;
            let vault = plan.vault(&mount.vault);
            let read_only =
                vault.is_none_or(|vault| vault.read_only || !(vault.exposed || self.is_default(&vault.name)));
            let (vault, key) = (mount.vault.clone(), mount.key.clone());
            return Ok(VaultTarget { vault, key, mount: Some(mount), read_only });
        }
        let asked = match call.found.target.scope() {
            Some(Scope::Default) => self.default_vault.as_deref().unwrap_or_default(),
            _ => call.found.vault.as_deref().unwrap_or_default(),
        };
        let found = plan.vault(asked).filter(|vault| vault.exposed || self.is_default(&vault.name));
        let found = found.ok_or_else(|| BridgeError::UnknownVault { name: asked.to_owned() })?;
        Ok(VaultTarget { vault: found.name.clone(), key, mount: None, read_only: found.read_only })
    }

    pub(super) async fn on_vault(
        &self,
        call: &AdmittedCall<'_>,
        place: &VaultTarget<'_>,
        request: &Request,
    ) -> Result<ShownAnswer, Problem> {
        let (vault, key) = (place.vault.as_str(), place.key.as_str());
        let (headers, deadline) = (&call.head.headers, call.head.deadline);
        self.bounded(request)?;
        match call.found.target {
            Target::Put(_) => {
                place.writable()?;
                self.put(call, place, request).await?;
            }
            Target::Patch(_) => {
                place.writable()?;
                let metadata = value::patch(headers, &request.body)?;
                self.secrets.set_metadata(vault, key, metadata, deadline).await?;
            }
            Target::Delete(_) => {
                place.writable()?;
                self.secrets.remove(vault, key, deadline).await?;
            }
            Target::Unlock => {
                let password = value::password(headers, &request.body)?;
                self.secrets.unlock(vault, password, deadline).await?;
            }
            Target::Lock => self.secrets.lock(vault)?,
            Target::Get(_) => {
                let formats = value::accepted(headers);
                let reading = reading(call.head);
                let (name, answer) = match place.mount {
                    Some(mount) => (&mount.name, self.secrets.read(&mount.name, reading, deadline).await?),
                    None => (&place.key, self.secrets.get(vault, key, reading, deadline).await?),
                };
                return Ok(ShownAnswer {
                    reply: show(name, &answer.value, &formats)?,
                    freshness: Some(answer.freshness),
                });
            }
            _ => {
                let mut secrets = self.secrets.list(vault, deadline).await?;
                secrets.retain(|info| call.caller.grants().secret(GrantVerb::List, vault, &info.name));
                return Ok(listing(secrets).into());
            }
        }
        Ok(respond::empty(StatusCode::NO_CONTENT).into())
    }

    /// Writes a secret, or the one member of it that the query or the mount names.
    async fn put(
        &self,
        call: &AdmittedCall<'_>,
        place: &VaultTarget<'_>,
        request: &Request,
    ) -> Result<(), Problem> {
        let (vault, key, deadline) = (place.vault.as_str(), place.key.as_str(), call.head.deadline);
        let name = place.mount.map_or(key, |mount| mount.name.as_str());
        let written = value::written(&call.head.headers, &request.body, name)?;
        let of_mount = place.mount.and_then(|mount| match &mount.projection {
            Projection::Member(member) => Some(member.clone()),
            Projection::Whole | Projection::Members(_) => None,
        });
        let done = match asked_property(call.head.query.as_deref()).or(of_mount) {
            Some(member) => {
                self.secrets.set_member(vault, key, member, written.value, written.metadata, deadline).await
            }
            None => self.secrets.set(vault, key, written.value, written.metadata, deadline).await,
        };
        Ok(done?)
    }
}

/// The member in `?property=…`.
fn asked_property(query: Option<&str>) -> Option<String> {
    let mut fields = form_urlencoded::parse(query?.as_bytes());
    fields.find(|(name, _)| name == "property").map(|(_, value)| value.into_owned())
}

/// The mounted secrets, and where they are.
pub(super) fn mounts(plan: &Plan, caller: &Caller) -> Reply {
    let theirs = |mount: &&Mount| {
        let may = |verb| caller.grants().secret(verb, &mount.vault, &mount.key);
        may(GrantVerb::Read) || may(GrantVerb::Write) || may(GrantVerb::List)
    };
    let shown = plan
        .mounts
        .iter()
        .filter(theirs)
        .map(|mount| json!({ "Name": mount.name, "Vault": mount.vault, "Key": mount.key }));
    respond::json(StatusCode::OK, &json!({ "Mounts": shown.collect::<Vec<_>>() }))
}

fn listing(secrets: Vec<SecretInfo>) -> Reply {
    let shown = secrets.into_iter().map(|info| {
        json!({ "Name": info.name, "Type": info.kind, "Metadata": value::shown_metadata(&info.metadata) })
    });
    respond::json(StatusCode::OK, &json!({ "Secrets": shown.collect::<Vec<_>>() }))
}

/// In the first format asked for that the value has.
fn show(key: &str, secret: &SecretValue, formats: &[Format]) -> Result<Reply, Problem> {
    let reply = formats.iter().find_map(|format| match format {
        Format::Json => Some(respond::json(StatusCode::OK, &value::shown(key, secret))),
        Format::Text => value::bare(secret, *format).map(|text| respond::body(StatusCode::OK, TEXT, text)),
        Format::Octets => {
            value::bare(secret, *format).map(|octets| respond::body(StatusCode::OK, OCTETS, octets))
        }
    });
    reply.ok_or(Problem::NotAcceptable)
}
