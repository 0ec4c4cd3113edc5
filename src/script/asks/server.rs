//! Asks about the server's own tables: endpoints, routes, functions, state, locks, logs.

use std::time::Duration;

use tokio::time::Instant;

use super::{AskFailure, AskOutcome, Asking, refusal};
use crate::platform;
use crate::script::endpoint;
use crate::script::locks::{LockKey, Refused};
use crate::script::protocol::AskReply;
use crate::script::protocol::ask::{
    self, EndpointAdd, LockAsk, Log, NamedAsk, RouteAdd, RouteName, ServerAsk, Trust,
};
use crate::script::route::{ScriptRoute, normal};
use crate::script::session::Session;
use crate::secret::fold;
use crate::trusted;

impl Asking {
    /// Notes something that every worker must have.
    pub(super) fn declare(&self, declare: impl FnOnce(&Session)) -> AskReply {
        declare(&self.core.session);
        AskReply::done()
    }

    pub(super) fn route_remove(&self, route: &RouteName) -> AskReply {
        self.core.routes.remove(&route.method, &route.path, route.endpoint.as_deref());
        AskReply::done()
    }

    pub(super) fn route_test(&self, route: &RouteName) -> AskReply {
        let exists = self.core.routes.has(&route.method, &route.path, route.endpoint.as_deref());
        AskReply::Exists { exists }
    }

    pub(super) fn logging(&self, logging: &ask::LoggingAsk) -> AskOutcome {
        let root = self.core.session.root();
        let enabled = self.core.logging.enable(logging, root.as_deref());
        enabled.map_err(|message| refusal("Logging", message))?;
        Ok(AskReply::done())
    }

    pub(super) fn log(&self, log: &Log) -> AskReply {
        self.core.logging.message(log.level, &log.message);
        AskReply::done()
    }

    /// A script file whose name only its script knows.
    pub(super) fn trust(file: &Trust) -> AskOutcome {
        match trusted::check_script(&file.path, platform::vaults_of()) {
            Ok(()) => Ok(AskReply::done()),
            Err(error) => Err(refusal("Untrusted", error.to_string())),
        }
    }

    pub(super) fn close(&self) -> AskReply {
        self.core.closing.cancel();
        AskReply::done()
    }

    pub(super) fn server(&self, server: ServerAsk) -> AskOutcome {
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
        Ok(AskReply::done())
    }

    pub(super) async fn endpoint_add(&mut self, declared: EndpointAdd) -> AskOutcome {
        let core = &self.core;
        if core.declared.is_cancelled() {
            return Err(refusal("EndpointLate", "an endpoint can only be added while the server starts"));
        }
        let wrong = |message| refusal("Endpoint", message);
        let ip = endpoint::resolve(&declared.address, core.options.loopback).await.map_err(wrong)?;
        let root = core.session.root();
        core.endpoints.add(declared, ip, root.as_deref()).map_err(wrong)?;
        Ok(AskReply::done())
    }

    pub(super) fn route_add(&self, add: RouteAdd) -> AskOutcome {
        let core = &self.core;
        if let Some(unknown) = add.endpoints.iter().find(|name| !core.endpoints.has(name)) {
            return Err(refusal("Route", format!("The endpoint '{unknown}' does not exist")));
        }
        let path = normal(&add.path);
        let block = core.session.add_block(add.block);
        let endpoints: Vec<Option<String>> =
            if add.endpoints.is_empty() { vec![None] } else { add.endpoints.into_iter().map(Some).collect() };
        let position = add.position.and_then(|at| Some(format!("{}:{}", at.script?, at.line)));
        for method in &add.methods {
            for endpoint in &endpoints {
                let route = ScriptRoute {
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
                if !core.routes.add(route, add.if_exists) {
                    return Err(already_defined(method, &path, endpoint.as_deref()));
                }
            }
        }
        Ok(AskReply::done())
    }

    pub(super) async fn lock(&mut self, LockAsk { name, timeout }: LockAsk) -> AskOutcome {
        let wait = u64::try_from(timeout).ok().map(Duration::from_millis);
        let until = wait.map_or(self.deadline, |wait| self.deadline.min(Instant::now() + wait));
        match self.core.locks.take(LockKey::Object(fold(&name)), self.owner, Some(until)).await {
            Ok(()) => Ok(AskReply::Locked { locked: true }),
            Err(Refused::Late) => Ok(AskReply::Locked { locked: false }),
            Err(Refused::Circle) => Err(refusal(
                "LockCircle",
                format!("The lock '{name}' is held by a request that waits for this one"),
            )),
        }
    }

    pub(super) fn unlock(&self, named: &NamedAsk) -> AskReply {
        self.core.locks.give_back(&LockKey::Object(fold(&named.name)), self.owner);
        AskReply::done()
    }
}

fn already_defined(method: &str, path: &str, endpoint: Option<&str>) -> AskFailure {
    let at = endpoint.map(|endpoint| format!(" for the endpoint '{endpoint}'")).unwrap_or_default();
    refusal("RouteExists", format!("[{}] {path}: Already defined{at}", method.to_ascii_uppercase()))
}
