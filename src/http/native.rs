//! The native service: routes answered by Rust from mounts and vaults.
//!
//! The order of the checks is fixed: who calls, which route, which vault, may it be written, and only
//! then the body. Without the token a caller learns nothing about routes but that `/health` and `/ready`
//! are there. Each access to a secret is noted for the audit trail.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use hyper::StatusCode;
use hyper::header::{AGE, HeaderName, HeaderValue};
use serde_json::{Map, Value, json};

use super::body_error::BodyError;
use super::gate::Site;
use super::message::{BoxFuture, Head, Reply, Request};
use super::metrics;
use super::problem::Problem;
use super::respond;
use super::route::{RouteError, Routes, Target};
pub use super::secrets::Secrets;
use super::{bounds, form, permit, status};
use crate::access::{AccessRefusal, Caller, GrantVerb};
use crate::audit::AuditName;
use crate::cache::Freshness;
use crate::error::BridgeError;
use crate::metrics::Metrics;
use crate::plan::{Action, Plan, Template};
use crate::secret::is_same_name;

pub use call::Native;
use call::{AccessSubject, AdmittedCall, reading};
use notice::{ChangeNotice, ChangedSecret, NoticePlace};
use render::{Rendered, ShownValues};

/// The media type of `/metrics`.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

mod call;
mod notice;
mod openapi;
mod render;
mod vaults;

/// Whether an answer comes from the cache (RFC 9211).
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

// === impl Native ===

impl<S: Secrets> Native<S> {
    /// A site for the bridge's plan, to be put behind a [`Gate`](super::Gate).
    ///
    /// `default_vault` is the friendly name of the vault under `/secrets`. The routes are those of the
    /// plan at this moment; a changed plan needs a new service.
    pub fn new(secrets: S, default_vault: Option<String>) -> Result<Native<S>, RouteError> {
        let plan = secrets.plan();
        let routes = Routes::build(plan, default_vault.is_some())?;
        let names = plan.routes.iter().flat_map(|route| route.action.secrets());
        let mounts = names.map(|name| (name.to_owned(), mounted(plan, name))).collect();
        Ok(Native { secrets, default_vault, routes, mounts, metrics: Arc::default() })
    }

    /// Shows these counts under `/metrics` beside those of the bridge.
    pub fn counted(mut self, metrics: Arc<Metrics>) -> Native<S> {
        self.metrics = metrics;
        self
    }

    async fn run(&self, call: &AdmittedCall<'_>, request: &Request) -> Result<Reply, Problem> {
        let plan = self.secrets.plan();
        match call.found.target {
            Target::Live => Ok(respond::json(StatusCode::OK, &json!({ "live": true }))),
            Target::Health => Ok(self.health(call.caller)),
            Target::Ready => self.ready(),
            Target::Metrics => {
                let text = metrics::text(&self.secrets.health()) + &self.metrics.text().await;
                Ok(respond::body(StatusCode::OK, PROMETHEUS, text.into_bytes()))
            }
            Target::OpenApi => Ok(respond::json(StatusCode::OK, &openapi::document(&self.routes))),
            Target::Vaults => Ok(self.vaults(plan, call.caller)),
            Target::Action(action) => self.act(call, action, request).await,
            Target::Mounts => Ok(vaults::mounts(plan, call.caller)),
            Target::StatusPage => Ok(status::page()),
            Target::StatusEvents => Ok(self.events()),
            Target::RefreshCache => self.renew(call, request),
            Target::ClearCache => {
                self.secrets.clear_cache();
                let done = Ok(respond::empty(StatusCode::NO_CONTENT));
                call.note(action_of(call.found.target), AccessSubject::default(), &done, "ok");
                done
            }
            _ => {
                let place = self.place(call, plan);
                let subject = match &place {
                    Ok(place) => place.subject(),
                    Err(_) => call.asked(),
                };
                let done = match &place {
                    Ok(place) => self.on_vault(call, place, request).await,
                    Err(error) => Err(error.clone().into()),
                };
                let word = done.as_ref().map_or("ok", |shown| served(shown.freshness));
                call.note(action_of(call.found.target), subject, &done, word);
                done.map(|shown| dated(shown.reply, shown.freshness))
            }
        }
    }
}

// === state ===

impl<S: Secrets> Native<S> {
    /// Strangers learn whether it serves; the rest is for callers.
    fn health(&self, caller: &Caller) -> Reply {
        let health = self.secrets.health();
        let mut shown = Map::new();
        shown.insert("status".to_owned(), json!(if health.ready { "ok" } else { "not_ready" }));
        shown.insert("ready".to_owned(), json!(health.ready));
        if caller.grants().route(GrantVerb::Read, "/health")
            && let Ok(Value::Object(all)) = serde_json::to_value(&health)
        {
            shown.extend(all);
        }
        respond::json(StatusCode::OK, &shown)
    }

    /// Whether it serves; why it does not is told without a name, for everybody may ask.
    fn ready(&self) -> Result<Reply, Problem> {
        let health = self.secrets.health();
        if health.ready {
            return Ok(respond::json(StatusCode::OK, &json!({ "ready": true })));
        }
        let reason = if self.secrets.is_stopping() {
            "the server stops"
        } else if health.has_worker() {
            "no vault can be read: all are locked (/health, with a token, says which and why)"
        } else {
            "no worker is up (/health, with a token, and the log say why)"
        };
        Err(BridgeError::NotReady { reason: reason.to_owned() }.into())
    }
}

// === the cache and the status page ===

impl<S: Secrets> Native<S> {
    /// Reads anew what has changed elsewhere. Names that nobody reads cost no call, and are counted.
    fn renew(&self, call: &AdmittedCall<'_>, request: &Request) -> Result<Reply, Problem> {
        let changed = match notice::read(&request.body).ok_or(Problem::Body(BodyError::Notice))? {
            ChangeNotice::Handshake(code) => {
                return Ok(respond::json(StatusCode::OK, &json!({ "validationResponse": code })));
            }
            ChangeNotice::Changed(changed) => changed,
        };
        let (mut renewed, mut unknown) = (0, 0);
        for ChangedSecret { vault, key } in &changed {
            let vaults = match vault {
                NoticePlace::Friendly(name) => vec![name.clone()],
                NoticePlace::Azure(name) => self.secrets.over_azure(name),
            };
            let done: Vec<_> =
                vaults.iter().filter(|vault| matches!(self.secrets.renew(vault, key), Ok(true))).collect();
            for vault in &done {
                let subject = AccessSubject {
                    vault: vault.as_str().into(),
                    key: key.as_str().into(),
                    mount: AuditName::default(),
                };
                call.note(action_of(call.found.target), subject, &Ok(()), "ok");
            }
            if done.is_empty() { unknown += 1 } else { renewed += 1 }
        }
        Ok(respond::json(StatusCode::ACCEPTED, &json!({ "Renewed": renewed, "Unknown": unknown })))
    }

    fn events(&self) -> Reply {
        let (secrets, metrics) = (self.secrets.clone(), self.metrics.clone());
        status::events(move || (!secrets.is_stopping()).then(|| (secrets.health(), metrics.overview())))
    }
}

// === routes of the plan ===

impl<S: Secrets> Native<S> {
    async fn act(
        &self,
        call: &AdmittedCall<'_>,
        action: &Action,
        request: &Request,
    ) -> Result<Reply, Problem> {
        match action {
            Action::Respond(template) => {
                let (values, freshness) = self.fetch(call, template).await?;
                let shown = Rendered { template, values: &values };
                Ok(dated(respond::json(StatusCode::OK, &shown), freshness))
            }
            Action::Update { secret, field } => {
                let done = self.update(call, secret, field, request).await;
                call.note("write", self.mounted(secret), &done, "ok");
                done.map(|()| respond::empty(StatusCode::OK))
            }
            Action::Remove { secret } => {
                let done = self.secrets.remove_mounted(secret, call.head.deadline).await;
                let done = done.map_err(Problem::from);
                call.note("remove", self.mounted(secret), &done, "ok");
                done.map(|()| respond::empty(StatusCode::OK))
            }
        }
    }

    async fn update(
        &self,
        call: &AdmittedCall<'_>,
        secret: &str,
        field: &str,
        request: &Request,
    ) -> Result<(), Problem> {
        self.bounded(request)?;
        let value = form::field(&call.head.headers, &request.body, field).await?;
        Ok(self.secrets.update(secret, value, call.head.deadline).await?)
    }

    /// Counts what the body holds before anything reads it.
    fn bounded(&self, request: &Request) -> Result<(), Problem> {
        let limits = &self.secrets.plan().limits.body;
        Ok(bounds::check(&request.head.headers, None, &request.body, limits)?)
    }

    fn mounted(&self, name: &str) -> AccessSubject {
        self.mounts.get(name).cloned().unwrap_or_default()
    }

    /// The template's secrets, read at the same time and each of them once.
    async fn fetch<'t>(
        &self,
        call: &AdmittedCall<'_>,
        template: &'t Template,
    ) -> Result<(ShownValues<'t>, Option<Freshness>), Problem> {
        let mut names: Vec<&'t str> = template.secrets();
        if names.len() > 1 {
            names = distinct(&names);
        }
        let read = async |name: &'t str| {
            let answer = self.secrets.read(name, reading(call.head), call.head.deadline).await;
            let answer = answer.map_err(Problem::from);
            let word = answer.as_ref().map_or("ok", |answer| served(Some(answer.freshness)));
            call.note("read", self.mounted(name), &answer, word);
            answer.map(|answer| (name, answer))
        };
        if let [name] = names[..] {
            let (name, answer) = read(name).await?;
            return Ok((vec![(name, answer.value)], Some(answer.freshness)));
        }
        // All are waited for, also after a failure, so that each leaves its audit line.
        let answers: Vec<_> =
            join_all(names.into_iter().map(read)).await.into_iter().collect::<Result<_, _>>()?;
        let oldest = answers.iter().map(|(_, answer)| answer.freshness).min_by_key(Freshness::left);
        Ok((answers.into_iter().map(|(name, answer)| (name, answer.value)).collect(), oldest))
    }
}

fn mounted(plan: &Plan, name: &str) -> AccessSubject {
    let mount = plan.mounts.iter().find(|mount| is_same_name(&mount.name, name));
    AccessSubject {
        vault: mount.map(|mount| mount.vault.as_str().into()).unwrap_or_default(),
        key: mount.map(|mount| mount.key.as_str().into()).unwrap_or_default(),
        mount: name.into(),
    }
}

/// Each name once, in the order of its first mention.
fn distinct<'t>(names: &[&'t str]) -> Vec<&'t str> {
    let mut once: Vec<&str> = Vec::with_capacity(names.len());
    for name in names {
        if !once.iter().any(|other| is_same_name(name, other)) {
            once.push(name);
        }
    }
    once
}

/// The audit trail's word for what is done with a vault.
fn action_of(target: &Target) -> &'static str {
    match target {
        Target::Put(_) => "write",
        Target::Patch(_) => "write",
        Target::Unlock => "unlock",
        Target::Lock => "lock",
        Target::ClearCache => "clear_cache",
        Target::RefreshCache => "refresh_cache",
        Target::Delete(_) => "remove",
        Target::Get(_) => "read",
        _ => "list",
    }
}

/// The audit trail's word for what was served.
fn served(freshness: Option<Freshness>) -> &'static str {
    if freshness.is_some_and(|freshness| freshness.is_stale()) { "stale" } else { "ok" }
}

/// Says how old the answer's oldest value is, and how long it would still be served: `Age`, and `Cache-Status` as
/// RFC 9211 has it, where a negative `ttl` is a value served beyond its time. A value that the vault was asked for is a
/// miss; it is a bypass where nothing is kept.
fn dated(mut reply: Reply, freshness: Option<Freshness>) -> Reply {
    if let Some(freshness) = freshness {
        reply.headers.insert(AGE, HeaderValue::from(freshness.age.as_secs()));
        let how = match freshness {
            Freshness { kept: true, .. } => "hit",
            Freshness { bound: Duration::ZERO, .. } => "fwd=bypass",
            _ => "fwd=miss",
        };
        let status = format!("secretbridge; {how}; ttl={}", freshness.left());
        reply.headers.extend(HeaderValue::from_str(&status).map(|status| (CACHE_STATUS, status)).ok());
    }
    reply
}

// === impl Site ===

impl<S: Secrets> Site for Native<S> {
    fn is_public(&self, head: &Head) -> bool {
        self.routes.find(&head.method, &head.path).is_ok_and(|found| found.target.is_public())
    }

    fn permit(&self, head: &Head, caller: &Caller) -> Result<(), Problem> {
        let found = self.routes.find(&head.method, &head.path)?;
        let may = permit::may(caller.grants(), &found, self.secrets.plan(), self.default_vault.as_deref());
        if may || *caller == Caller::Stranger { Ok(()) } else { Err(AccessRefusal::Forbidden.into()) }
    }

    fn answer(&self, request: Request) -> BoxFuture<'_, Reply> {
        Box::pin(async move {
            let found = match self.routes.find(&request.head.method, &request.head.path) {
                Ok(found) => found,
                Err(problem) => return respond::problem(&problem),
            };
            let caller = &request.admitted.caller;
            let call = AdmittedCall { head: &request.head, caller, found, accesses: Mutex::default() };
            let done = self.run(&call, &request).await;
            let mut reply = done.unwrap_or_else(|problem| respond::problem(&problem));
            reply.note.route = call.found.pattern.clone();
            reply.note.accesses = call.accesses.into_inner().unwrap_or_else(PoisonError::into_inner);
            reply
        })
    }

    fn refuse(&self, head: &Head, _: &Caller, problem: &Problem) -> Reply {
        let reply = respond::problem(problem);
        match problem {
            Problem::Options { .. } => notice::allowed(head, reply),
            _ => reply,
        }
    }
}

#[cfg(test)]
mod tests;
