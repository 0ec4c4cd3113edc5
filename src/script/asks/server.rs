//! Asks about the server's own tables: endpoints, routes, functions, state, locks, logs.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::{Answer, Asking, Failure, nothing, read, refusal};
use crate::protocol::LogLevel;
use crate::script::endpoint::{self, Declared};
use crate::script::lift::Lift;
use crate::script::locks::{Key, Refused};
use crate::script::logging;
use crate::script::route::{IfExists, Route, normal};
use crate::script::session::{Block, Function, Variable};
use crate::script::settings::Server;
use crate::script::value::Portable;
use crate::secret::fold;

#[derive(Deserialize)]
struct RouteAdd {
    methods: Vec<String>,
    path: String,
    block: Block,
    #[serde(default)]
    arguments: Vec<Portable>,
    #[serde(default)]
    content_type: Option<String>,
    #[serde(default)]
    error_content_type: Option<String>,
    #[serde(default)]
    if_exists: Option<String>,
    #[serde(default)]
    endpoints: Vec<String>,
    #[serde(default)]
    lift: Option<Lift>,
    #[serde(default)]
    position: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct RouteName {
    method: String,
    path: String,
    #[serde(default)]
    endpoint: Option<String>,
}

#[derive(Deserialize)]
struct Module {
    name: String,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Scope {
    scope: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct Lock {
    name: String,
    #[serde(default = "for_ever")]
    timeout: i64,
}

#[derive(Deserialize)]
struct Log {
    level: LogLevel,
    message: String,
}

fn for_ever() -> i64 {
    -1
}

impl Asking {
    /// What is answered from a table at once.
    pub(super) fn tables(&self, name: &str, what: &RawValue) -> Answer {
        let core = &self.core;
        match name {
            "server" => return self.server(read(what)?),
            "route-add" => return self.route_add(read(what)?),
            "route-remove" => {
                let route: RouteName = read(what)?;
                core.routes.remove(&route.method, &route.path, route.endpoint.as_deref());
            }
            "route-test" => {
                let route: RouteName = read(what)?;
                let exists = core.routes.has(&route.method, &route.path, route.endpoint.as_deref());
                return Ok(json!({ "exists": exists }));
            }
            "function-add" => core.session.set_function(read::<Function>(what)?),
            "module-add" => core.session.add_module(read::<Module>(what)?.name),
            "variable-add" => core.session.set_variable(read::<Variable>(what)?),
            "state-get" => {
                let found = core.state.get(&read::<Named>(what)?.name);
                let is_found = found.is_some();
                let (value, scope) = found.unwrap_or_else(|| (Portable::null(), Vec::new()));
                return Ok(json!({ "found": is_found, "value": value, "scope": scope }));
            }
            "state-names" => return Ok(json!({ "names": core.state.names(&read::<Scope>(what)?.scope) })),
            "logging" => {
                let root = core.session.root();
                let enabled = core.logging.enable(&read::<logging::Declared>(what)?, root.as_deref());
                enabled.map_err(|message| refusal("Logging", message))?;
            }
            "log" => {
                let Log { level, message } = read(what)?;
                core.logging.message(level, &message);
            }
            "close" => core.closing.cancel(),
            // What is not known fails closed.
            other => return Err(refusal("BadAsk", format!("'{other}' is not served"))),
        }
        Ok(nothing())
    }

    fn server(&self, server: Server) -> Answer {
        let core = &self.core;
        if core.settings.is_told() {
            return Err(refusal("ServerStarted", "the server has been started already"));
        }
        if let Some(root) = &server.root {
            core.session.set_origin(root, None);
        }
        if let Some(config) = &server.config {
            core.session.set_config(config.clone());
        }
        core.settings.set(server);
        self.auto_import()?;
        Ok(nothing())
    }

    pub(super) async fn endpoint_add(&mut self, declared: Declared) -> Answer {
        let core = &self.core;
        if core.declared.is_cancelled() {
            return Err(refusal("EndpointLate", "an endpoint can only be added while the server starts"));
        }
        let wrong = |message| refusal("Endpoint", message);
        let ip = endpoint::resolve(&declared.address, core.options.loopback).await.map_err(wrong)?;
        let root = core.session.root();
        let endpoint = core.endpoints.add(declared, ip, root.as_deref()).map_err(wrong)?;
        Ok(json!({ "endpoint": endpoint }))
    }

    fn route_add(&self, add: RouteAdd) -> Answer {
        let core = &self.core;
        let if_exists = match add.if_exists.as_deref().unwrap_or_default().to_ascii_lowercase().as_str() {
            "" | "default" | "error" => IfExists::Error,
            "overwrite" => IfExists::Overwrite,
            "skip" => IfExists::Skip,
            other => return Err(refusal("Route", format!("-IfExists has no '{other}'"))),
        };
        if let Some(unknown) = add.endpoints.iter().find(|name| !core.endpoints.has(name)) {
            return Err(refusal("Route", format!("The endpoint '{unknown}' does not exist")));
        }
        let path = normal(&add.path);
        let block = core.session.add_block(add.block);
        let endpoints: Vec<Option<String>> =
            if add.endpoints.is_empty() { vec![None] } else { add.endpoints.into_iter().map(Some).collect() };
        let position = add.position.and_then(|position| match position {
            serde_json::Value::String(text) => Some(text),
            serde_json::Value::Object(at) => {
                Some(format!("{}:{}", at.get("script")?.as_str()?, at.get("line")?.as_u64()?))
            }
            _ => None,
        });
        for method in &add.methods {
            for endpoint in &endpoints {
                let route = Route {
                    method: method.to_ascii_uppercase(),
                    path: path.clone(),
                    endpoint: endpoint.clone(),
                    block,
                    arguments: add.arguments.clone(),
                    content_type: add.content_type.clone().filter(|text| !text.is_empty()),
                    error_content_type: add.error_content_type.clone().filter(|text| !text.is_empty()),
                    lift: add.lift.clone().filter(|_| !core.options.no_lift),
                    position: position.clone(),
                };
                if !core.routes.add(route, if_exists) {
                    return Err(already_defined(method, &path, endpoint.as_deref()));
                }
            }
        }
        Ok(nothing())
    }

    pub(super) async fn lock(&mut self, Lock { name, timeout }: Lock) -> Answer {
        let wait = u64::try_from(timeout).ok().map(Duration::from_millis);
        let until = wait.map_or(self.deadline, |wait| self.deadline.min(Instant::now() + wait));
        match self.core.locks.take(Key::Object(fold(&name)), self.owner, Some(until)).await {
            Ok(()) => Ok(json!({ "locked": true })),
            Err(Refused::Late) => Ok(json!({ "locked": false })),
            Err(Refused::Circle) => Err(refusal(
                "LockCircle",
                format!("The lock '{name}' is held by a request that waits for this one"),
            )),
        }
    }

    pub(super) fn unlock(&self, lock: &Lock) -> Answer {
        self.core.locks.give_back(&Key::Object(fold(&lock.name)), self.owner);
        Ok(nothing())
    }
}

fn already_defined(method: &str, path: &str, endpoint: Option<&str>) -> Failure {
    let at = endpoint.map(|endpoint| format!(" for the endpoint '{endpoint}'")).unwrap_or_default();
    refusal("RouteExists", format!("[{}] {path}: Already defined{at}", method.to_ascii_uppercase()))
}
