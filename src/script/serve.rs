//! Answers requests for a script: route, lift or block, response or error page.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::ext::ReasonPhrase;
use hyper::http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, SERVER};
use hyper::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};

use super::Core;
use super::endpoint::Endpoint;
use super::protocol::call::{Response, RouteCall, WebEvent, WebEventEndpoint, WebEventRoute};
use super::route::{Match, ScriptRoute, decoded};
use super::task::{self, Unanswered};
use crate::access::{AccessRefusal, Caller, GrantVerb, Grants};
use crate::error::BridgeError;
use crate::http::bounds::{self, BodyBound};
use crate::http::respond;
use crate::http::{BoxFuture, Head, Problem, Reply, Request, Site};
use crate::protocol::Fault;
use crate::secret;
use exchange::Exchange;
use replies::{CONTEXT_ID, status_of};

mod exchange;
mod lifted;
mod replies;

/// A script, to be put behind a gate.
pub struct ScriptSite(Arc<Core>);

impl ScriptSite {
    /// Serves what is declared.
    pub fn new(core: Arc<Core>) -> ScriptSite {
        ScriptSite(core)
    }

    fn log(&self, head: &Head, reply: &Reply) {
        let (method, status) = (head.method.as_str(), reply.status.as_u16());
        self.0.logging.request(&head.peer.to_string(), method, &head.path, status);
    }
}

impl Site for ScriptSite {
    fn is_public(&self, _: &Head) -> bool {
        false
    }

    fn permit(&self, _: &Head, _: &Caller) -> Result<(), Problem> {
        Ok(())
    }

    fn answer(&self, request: Request) -> BoxFuture<'_, Reply> {
        Box::pin(async move {
            let Request { head, body, admitted } = request;
            let exchange = Exchange::new(&self.0, &head, body);
            let seen = exchange.seen.clone();
            let mut reply = unkept(exchange.answer(admitted.caller.grants()).await);
            reply.note.accesses = seen.take();
            self.log(&head, &reply);
            reply
        })
    }

    fn refuse(&self, head: &Head, _: &Caller, problem: &Problem) -> Reply {
        let reply = unkept(Exchange::new(&self.0, head, Bytes::new()).refusal(problem));
        self.log(head, &reply);
        reply
    }
}

impl Exchange<'_> {
    async fn answer(self, grants: &Grants) -> Reply {
        if self.head.version != Version::HTTP_10 && !self.head.headers.contains_key(HOST) {
            return self.page(StatusCode::BAD_REQUEST);
        }
        let Some(endpoint) = self.core.endpoints.find(self.head.listener, self.header(HOST)) else {
            return self.page(StatusCode::BAD_REQUEST);
        };
        let Some(path) = decoded(&self.head.path) else { return self.refusal(&Problem::UnknownRoute) };
        let name = Some(endpoint.name.as_str()).filter(|name| !name.is_empty());
        let verb = GrantVerb::of_method(self.head.method.as_str());
        match self.core.routes.find(self.head.method.as_str(), &path, name) {
            // Whoever may not have it is not told whether it is there.
            Match::None | Match::OtherMethods(_) if !grants.route(verb, &path) => {
                self.refusal(&AccessRefusal::Forbidden.into())
            }
            Match::None => self.refusal(&Problem::UnknownRoute),
            Match::OtherMethods(methods) => self.refusal(&Problem::Method { allow: methods.join(", ") }),
            // The declared route is what a rule allows. What its block then reads is up to the script.
            Match::Route(route, _) if !grants.route(verb, &route.path) => {
                self.refusal(&AccessRefusal::Forbidden.into())
            }
            Match::Route(route, names) => {
                let mut reply = self.routed(&route, names, endpoint).await;
                reply.note.route = route.path.as_str().into();
                reply
            }
        }
    }

    async fn routed(&self, route: &ScriptRoute, names: Vec<(String, String)>, endpoint: Endpoint) -> Reply {
        if let Err(bound) = self.bounded(route) {
            return self.out_of_bounds(route, bound);
        }
        match self.lifted(route).await {
            Some(reply) => reply,
            None => self.invoked(route, names, endpoint).await,
        }
    }

    /// Counts what the worker would parse before one is taken.
    fn bounded(&self, route: &ScriptRoute) -> Result<(), BodyBound> {
        let limits = &self.core.options.limits.body;
        bounds::check_query(self.head.query.as_deref(), limits)?;
        bounds::check(&self.head.headers, route.content_type.as_deref(), &self.body, limits)
    }

    fn out_of_bounds(&self, route: &ScriptRoute, bound: BodyBound) -> Reply {
        let problem = Problem::Bound(bound);
        let (status, description) = (problem.status(), problem.to_string());
        let mut reply = self.full_page(status, Some(&description), None, Some(route), None);
        reply.reason = ReasonPhrase::try_from(description.into_bytes()).ok();
        reply.note.code = problem.code();
        reply
    }

    // === in a worker ===

    async fn invoked(&self, route: &ScriptRoute, names: Vec<(String, String)>, endpoint: Endpoint) -> Reply {
        let invocation = RouteCall {
            block: route.block,
            arguments: &route.arguments,
            event: self.event(route, names, endpoint),
        };
        match task::invoke(self.core, invocation, self.head.deadline, &self.seen).await {
            Ok(response) => self.response(route, response),
            Err(unanswered) => self.unanswered(route, unanswered),
        }
    }

    fn event(&self, route: &ScriptRoute, names: Vec<(String, String)>, endpoint: Endpoint) -> WebEvent {
        let headers = self.head.headers.iter().map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        });
        let now = crate::clock::now();
        WebEvent {
            method: self.head.method.as_str().to_ascii_lowercase(),
            path: self.path.clone(),
            query: self.head.query.clone().unwrap_or_default(),
            parameters: names.into_iter().map(|(name, value)| (name, value.into())).collect(),
            headers: headers.collect(),
            body: secret::Bytes::new(self.body.as_ref()),
            endpoint: WebEventEndpoint {
                protocol: endpoint.protocol,
                address: self
                    .header(HOST)
                    .map_or_else(|| format!("{}:{}", endpoint.address, endpoint.port), str::to_owned),
                name: endpoint.name,
            },
            route: WebEventRoute {
                path: route.path.clone(),
                method: route.method.clone(),
                content_type: route.content_type.clone(),
                error_content_type: route.error_content_type.clone(),
            },
            context: self.context.clone(),
            remote: self.head.peer.to_string(),
            version: if self.head.version == Version::HTTP_10 { "1.0" } else { "1.1" },
            timestamp: now.format(&time::format_description::well_known::Rfc3339).unwrap_or_default(),
        }
    }

    fn response(&self, route: &ScriptRoute, response: Response) -> Reply {
        if let Some(fault) = &response.failed {
            self.core.logging.failure(self.position(route, fault).as_ref(), fault);
        }
        // A status below 200 does not end a request.
        let status = StatusCode::from_u16(response.status).ok().filter(|status| !status.is_informational());
        let Some(status) = status else {
            tracing::error!(
                status = response.status,
                path = route.path,
                "a block answered with no HTTP status"
            );
            return self.page(StatusCode::INTERNAL_SERVER_ERROR);
        };
        let mut reply = match &response.page {
            // The block is not at fault: a vault that it read asks its callers to wait.
            Some(_) if let Some(wait) = response.failed.as_ref().and_then(left_alone) => {
                self.later(route, wait)
            }
            Some(wish) => {
                let explicit = wish.content_type.as_deref();
                self.full_page(
                    status,
                    wish.description.as_deref(),
                    explicit,
                    Some(route),
                    wish.exception.as_ref(),
                )
            }
            None => {
                let body = response.body.map(Bytes::from_owner).unwrap_or_default();
                Reply::new(status, self.headers(), body)
            }
        };
        let described = response.page.as_ref().and_then(|wish| wish.description.as_ref());
        let described = described.or(response.description.as_ref()).filter(|text| !text.is_empty());
        // What cannot stand in a status line is left out.
        reply.reason = described.and_then(|text| ReasonPhrase::try_from(text.as_bytes()).ok());
        set_headers(&mut reply.headers, &response.headers, response.page.is_some(), &route.path);
        reply
    }

    /// 503, and when to come again.
    fn later(&self, route: &ScriptRoute, wait: Duration) -> Reply {
        let vault = String::new();
        let problem = Problem::from(BridgeError::Throttled { vault, retry_after: wait });
        let mut reply = self.full_page(status_of(&problem), None, None, Some(route), None);
        respond::fields(&problem, &mut reply.headers);
        reply.note.code = problem.code();
        reply
    }

    fn unanswered(&self, route: &ScriptRoute, unanswered: Unanswered) -> Reply {
        match unanswered {
            Unanswered::Fault(fault) => {
                self.core.logging.failure(self.position(route, &fault).as_ref(), &fault);
                if let Some(wait) = left_alone(&fault) {
                    return self.later(route, wait);
                }
                self.full_page(StatusCode::INTERNAL_SERVER_ERROR, None, None, Some(route), None)
            }
            Unanswered::Bridge(error) => {
                tracing::error!(path = route.path, code = error.code(), "{error}");
                let problem = Problem::from(error);
                let mut reply = self.full_page(status_of(&problem), None, None, Some(route), None);
                respond::fields(&problem, &mut reply.headers);
                reply.note.code = problem.code();
                reply
            }
        }
    }

    /// Where a block failed: as the fault says, else where the block stands.
    fn position(
        &self,
        route: &ScriptRoute,
        fault: &crate::protocol::Fault,
    ) -> Option<crate::protocol::ScriptPosition> {
        fault.position.clone().or_else(|| {
            let (script, line, _) = self.core.session.describe(route.block)?;
            Some(crate::protocol::ScriptPosition { script, line, column: 1 })
        })
    }
}

/// Nobody keeps an answer that may hold a secret, unless the script says so.
fn unkept(mut reply: Reply) -> Reply {
    reply.headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    reply
}

/// For how long the vault that a block failed of wants to be left alone: by our own refusal alone.
fn left_alone(fault: &Fault) -> Option<Duration> {
    fault.retry_after.filter(|_| fault.id == "throttled").map(Duration::from_secs)
}

/// Puts a block's headers beside ours; an error page keeps its own type. `path` is for the log.
fn set_headers(headers: &mut HeaderMap, given: &[(String, String)], is_page: bool, path: &str) {
    for (name, value) in given {
        let parsed = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes()));
        let (Ok(name), Ok(value)) = parsed else {
            tracing::error!(path, "a block set a header that HTTP does not allow; it is left out");
            continue;
        };
        if is_ours(&name) || (is_page && name == CONTENT_TYPE) {
            continue;
        }
        // The first header of a name replaces ours. More of that name are appended.
        if name == SERVER || name == CONTENT_TYPE {
            headers.insert(name, value);
        } else {
            headers.append(name, value);
        }
    }
}

/// Headers that the door writes, and a block cannot.
fn is_ours(name: &HeaderName) -> bool {
    use hyper::http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING, UPGRADE};
    [CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING, UPGRADE, CONTEXT_ID].contains(name)
}

#[cfg(test)]
mod tests;
