//! The native routes: those of the plan, and the fixed ones.
//!
//! | route | methods | |
//! | --- | --- | --- |
//! | `/health`, `/ready` | GET | without a token little more than yes or no |
//! | `/metrics` | GET | for Prometheus |
//! | `/secrets`, `/secrets/{name}` | GET; GET PUT DELETE | the embedded local vault |
//! | `/vaults` | GET | the vaults that are exposed |
//! | `/vaults/{vault}/secrets[/{key}]` | GET; GET PUT DELETE | one of them |
//!
//! A path is matched before it is decoded, so an encoded slash is part of a name.

use std::sync::Arc;

use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderName, ORIGIN};
use hyper::{Method, StatusCode};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::auth::Token;
use super::message::{BoxFuture, DoorFault, Head, Reply, Request, Service};
use super::{form, metrics, respond, value};
use crate::bridge::Bridge;
use crate::error::BridgeError;
use crate::plan::{Action, Template};

/// Answers native routes from a bridge.
pub struct Native {
    bridge: Bridge,
    token: Option<Token>,
    /// The vault behind `/secrets`.
    local: Option<String>,
    routes: matchit::Router<Route>,
}

/// What a path leads to.
#[derive(Debug, Clone)]
enum Route {
    Health,
    Ready,
    Metrics,
    LocalList,
    LocalSecret,
    Vaults,
    VaultList,
    VaultSecret,
    /// Of the plan: actions by method.
    Planned(Arc<Vec<(Method, Action)>>),
}

/// Where a request goes, with the names in its path decoded.
struct Found {
    route: Route,
    vault: String,
    name: String,
}

const FIXED: [(&str, Route); 9] = [
    ("/health", Route::Health),
    ("/ready", Route::Ready),
    ("/metrics", Route::Metrics),
    ("/secrets", Route::LocalList),
    ("/secrets/{*name}", Route::LocalSecret),
    ("/vaults", Route::Vaults),
    ("/vaults/{vault}/secrets", Route::VaultList),
    ("/vaults/{vault}/secrets/{*name}", Route::VaultSecret),
    ("/vaults/{vault}/secrets/", Route::VaultList),
];

impl Native {
    /// Routes of the bridge's plan and the fixed ones. Without a token anyone who connects is served.
    pub fn new(bridge: Bridge, token: Option<Token>, local: Option<String>) -> Native {
        let mut routes = matchit::Router::new();
        let mut planned: Vec<(String, Vec<(Method, Action)>)> = Vec::new();
        for route in &bridge.plan().routes {
            let Ok(method) = Method::from_bytes(route.method.as_bytes()) else { continue };
            match planned.iter_mut().find(|(path, _)| *path == route.path) {
                Some((_, actions)) => actions.push((method, route.action.clone())),
                None => planned.push((route.path.clone(), vec![(method, route.action.clone())])),
            }
        }
        let planned = planned.into_iter().map(|(path, actions)| (path, Route::Planned(Arc::new(actions))));
        for (path, route) in FIXED.into_iter().map(|(path, route)| (path.to_owned(), route)).chain(planned) {
            // The configuration refuses paths that collide; the first one stands.
            let _ = routes.insert(path, route);
        }
        Native { bridge, token, local, routes }
    }

    fn find(&self, path: &str) -> Result<Found, Box<Reply>> {
        let matched = self.routes.at(path).map_err(|_| Box::new(respond::no_route()))?;
        let decoded = |name: &str| {
            let text = matched.params.get(name).unwrap_or_default();
            percent_encoding::percent_decode_str(text).decode_utf8().map(|text| text.into_owned()).map_err(
                |_| {
                    Box::new(respond::bad_input(
                        "the path is not UTF-8",
                        "encode names as UTF-8, then with percent signs",
                    ))
                },
            )
        };
        Ok(Found { route: matched.value.clone(), vault: decoded("vault")?, name: decoded("name")? })
    }

    fn authenticated(&self, head: &Head) -> bool {
        self.token.as_ref().is_none_or(|token| token.admits(&head.headers))
    }

    async fn reply(&self, request: &Request, found: Found) -> Reply {
        let head = &request.head;
        let until = head.deadline;
        match &found.route {
            Route::Health => self.health(self.authenticated(head)),
            Route::Ready => self.ready(),
            Route::Metrics => {
                let text = metrics::text(&self.bridge.health());
                respond::typed(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
            }
            Route::Vaults => self.vaults(),
            Route::LocalList | Route::LocalSecret => match &self.local {
                Some(local) => self.secret(request, local, &found, until).await,
                None => respond::no_route(),
            },
            Route::VaultList | Route::VaultSecret => {
                let exposed = self.bridge.plan().vault(&found.vault).is_some_and(|vault| vault.exposed);
                match exposed {
                    true => self.secret(request, &found.vault, &found, until).await,
                    // One that is there and not exposed looks like one that is not there.
                    false => respond::error(&BridgeError::UnknownVault { name: found.vault.clone() }),
                }
            }
            Route::Planned(actions) => {
                let method = if head.method == Method::HEAD { &Method::GET } else { &head.method };
                match actions.iter().find(|(of, _)| of == method) {
                    Some((_, action)) => {
                        self.act(request, action, until).await.unwrap_or_else(|error| respond::error(&error))
                    }
                    None => respond::method_not_allowed(&allowed(&found.route)),
                }
            }
        }
    }

    async fn secret(&self, request: &Request, vault: &str, found: &Found, until: Instant) -> Reply {
        let (head, bridge) = (&request.head, &self.bridge);
        if found.name.is_empty() {
            return bridge
                .list(vault, until)
                .await
                .map_or_else(|error| respond::error(&error), |all| value::listed(&all));
        }
        let name = &found.name;
        let outcome = match head.method {
            Method::PUT => match value::brought(header(head, CONTENT_TYPE), &request.body).await {
                Ok((value, metadata)) => bridge
                    .set(vault, name, value, metadata, until)
                    .await
                    .map(|()| respond::empty(StatusCode::NO_CONTENT)),
                Err(problem) => {
                    return respond::bad_input(
                        &problem,
                        "send text/plain, application/octet-stream or JSON {\"Value\": …}",
                    );
                }
            },
            Method::DELETE => {
                bridge.remove(vault, name, until).await.map(|()| respond::empty(StatusCode::NO_CONTENT))
            }
            _ => bridge
                .get(vault, name, until)
                .await
                .map(|found| value::sent(name, &found, header(head, ACCEPT))),
        };
        outcome.unwrap_or_else(|error| respond::error(&error))
    }

    async fn act(&self, request: &Request, action: &Action, until: Instant) -> Result<Reply, BridgeError> {
        match action {
            Action::Respond(template) => {
                let document = self.fill(template, until).await?;
                Ok(respond::json(StatusCode::OK, &document))
            }
            Action::Update { secret, field } => {
                match form::field(header(&request.head, CONTENT_TYPE), &request.body, field).await {
                    Ok(value) => self
                        .bridge
                        .update(secret, value, None, until)
                        .await
                        .map(|()| respond::empty(StatusCode::OK)),
                    Err(problem) => Ok(respond::bad_input(
                        &problem.to_string(),
                        &format!("send the field '{field}' in a form or in JSON"),
                    )),
                }
            }
            Action::Remove { secret } => {
                self.bridge.remove_mounted(secret, until).await.map(|()| respond::empty(StatusCode::OK))
            }
        }
    }

    /// A template with its secrets in place, all of them read at the same time.
    fn fill<'a>(
        &'a self,
        template: &'a Template,
        until: Instant,
    ) -> BoxFuture<'a, Result<Value, BridgeError>> {
        Box::pin(async move {
            Ok(match template {
                Template::Literal(value) => value.clone(),
                Template::Secret(mount) => self.bridge.read(mount, until).await?.to_json(),
                Template::List(items) => {
                    let items = items.iter().map(|item| self.fill(item, until));
                    Value::Array(futures_util::future::try_join_all(items).await?)
                }
                Template::Object(members) => {
                    let values = members.iter().map(|(_, member)| self.fill(member, until));
                    let values = futures_util::future::try_join_all(values).await?;
                    let names = members.iter().map(|(name, _)| name.clone());
                    Value::Object(names.zip(values).collect::<Map<_, _>>())
                }
            })
        })
    }

    fn health(&self, all: bool) -> Reply {
        let health = self.bridge.health();
        let status = if health.ready { "ok" } else { "not_ready" };
        let mut document = json!({ "status": status, "ready": health.ready });
        if let (true, Ok(Value::Object(more)), Value::Object(document)) =
            (all, serde_json::to_value(&health), &mut document)
        {
            document.extend(more);
        }
        respond::json(StatusCode::OK, &document)
    }

    fn ready(&self) -> Reply {
        if self.bridge.health().ready {
            respond::json(StatusCode::OK, &json!({ "ready": true }))
        } else {
            respond::error(&BridgeError::NotReady { reason: "no worker is up".into() })
        }
    }

    fn vaults(&self) -> Reply {
        let plan = self.bridge.plan();
        let exposed = plan.vaults.iter().filter(|vault| vault.exposed);
        let vaults: Vec<_> =
            exposed.map(|vault| json!({ "Name": vault.name, "Writable": !vault.read_only })).collect();
        respond::json(StatusCode::OK, &json!({ "Vaults": vaults }))
    }

    /// One line for each access to a secret: who, where, what came of it. Never a value.
    fn audit(&self, head: &Head, found: &Found, reply: &Reply) {
        let (what, vault, key) = match &found.route {
            Route::Health | Route::Ready | Route::Metrics | Route::Vaults => return,
            Route::LocalList | Route::LocalSecret => {
                ("/secrets", self.local.as_deref().unwrap_or_default(), found.name.as_str())
            }
            Route::VaultList | Route::VaultSecret => ("/vaults", found.vault.as_str(), found.name.as_str()),
            Route::Planned(actions) => {
                (head.path.as_str(), "", actions.first().map_or("", |(_, action)| mount_of(action)))
            }
        };
        let latency_ms = head.received.elapsed().as_millis();
        tracing::info!(
            target: "audit",
            who = %head.peer,
            token = self.token.is_some(),
            method = %head.method,
            route = what,
            vault,
            key,
            status = reply.status.as_u16(),
            latency_ms,
            "access"
        );
    }
}

impl Service for Native {
    fn admit(&self, head: &Head) -> Result<(), Box<Reply>> {
        let found = self.find(&head.path);
        let open = matches!(&found, Ok(Found { route: Route::Health | Route::Ready, .. }));
        if !open && !self.authenticated(head) {
            tracing::info!(target: "audit", who = %head.peer, method = %head.method, status = 401, "refused");
            return Err(Box::new(respond::unauthorized()));
        }
        // Without a token a page in the user's browser could reach us; browsers say where a page is from.
        if !open && self.token.is_none() && head.headers.contains_key(ORIGIN) {
            let hint = "ask for a token, so that pages in a browser are told from programs";
            return Err(Box::new(respond::refusal(
                StatusCode::FORBIDDEN,
                "from_a_browser",
                "requests of web pages are not served without a token",
                hint,
            )));
        }
        let allow = allowed(&found?.route);
        if !allow.split(", ").any(|method| method == head.method.as_str()) {
            return Err(Box::new(respond::method_not_allowed(&allow)));
        }
        Ok(())
    }

    fn answer(&self, request: Request) -> BoxFuture<'_, Reply> {
        Box::pin(async move {
            let found = match self.find(&request.head.path) {
                Ok(found) => found,
                Err(reply) => return *reply,
            };
            if request.head.method == Method::OPTIONS {
                let mut reply = respond::method_not_allowed(&allowed(&found.route));
                reply.status = StatusCode::NO_CONTENT;
                reply.headers.remove(CONTENT_TYPE);
                reply.body = bytes::Bytes::new();
                return reply;
            }
            let seen =
                Found { route: found.route.clone(), vault: found.vault.clone(), name: found.name.clone() };
            let reply = self.reply(&request, found).await;
            self.audit(&request.head, &seen, &reply);
            reply
        })
    }

    fn fault(&self, _head: &Head, fault: DoorFault) -> Reply {
        respond::door_fault(fault)
    }
}

/// The methods of a route, as `Allow` has them.
fn allowed(route: &Route) -> String {
    match route {
        Route::LocalSecret | Route::VaultSecret => "GET, HEAD, PUT, DELETE, OPTIONS".to_owned(),
        Route::Planned(actions) => {
            let mut methods: Vec<&str> = actions.iter().map(|(method, _)| method.as_str()).collect();
            if methods.contains(&"GET") && !methods.contains(&"HEAD") {
                methods.push("HEAD");
            }
            if !methods.contains(&"OPTIONS") {
                methods.push("OPTIONS");
            }
            methods.join(", ")
        }
        _ => "GET, HEAD, OPTIONS".to_owned(),
    }
}

fn mount_of(action: &Action) -> &str {
    match action {
        Action::Update { secret, .. } | Action::Remove { secret } => secret,
        Action::Respond(Template::Object(members)) => match members.first() {
            Some((_, Template::Secret(secret))) => secret,
            _ => "",
        },
        Action::Respond(_) => "",
    }
}

fn header(head: &Head, name: HeaderName) -> Option<&str> {
    head.headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests;
