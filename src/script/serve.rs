//! Answers requests for a script: route, lift or block, response or error page.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::ext::ReasonPhrase;
use hyper::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HOST, SERVER};
use hyper::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};

use super::Core;
use super::endpoint::Endpoint;
use super::lift;
use super::page::{Form, Page, Wishes};
use super::protocol::ask::Lift;
use super::protocol::call::{Exception, Response, RouteCall, WebEvent, WebEventEndpoint, WebEventRoute};
use super::route::{Match, ScriptRoute, decoded};
use super::seen::{self, SeenAccesses};
use super::task::{self, Unanswered};
use crate::access::{AccessRefusal, Caller, GrantVerb, Grants};
use crate::audit::AuditedAccess;
use crate::error::BridgeError;
use crate::http::bounds::{self, BodyBound};
use crate::http::respond;
use crate::http::{AuditNote, BoxFuture, Head, Problem, Reply, Request, Site};
use crate::protocol::Fault;
use crate::secret::{self, SecretValue};

/// The name that a script's clients saw.
const SERVER_NAME: HeaderValue = HeaderValue::from_static("Pode");

/// Unique for each request.
const CONTEXT_ID: HeaderName = HeaderName::from_static("x-pode-contextid");

/// A script, to be put behind a gate.
pub struct ScriptSite(Arc<Core>);

/// One request on its way.
struct Exchange<'a> {
    core: &'a Arc<Core>,
    head: &'a Head,
    body: Bytes,
    /// The path in plain text; as sent, where it has none.
    path: String,
    context: String,
    /// What it got at so far.
    seen: SeenAccesses,
}

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

impl<'a> Exchange<'a> {
    fn new(core: &'a Arc<Core>, head: &'a Head, body: Bytes) -> Exchange<'a> {
        let path = decoded(&head.path).unwrap_or_else(|| head.path.clone());
        Exchange { core, head, body, path, context: context_id(), seen: SeenAccesses::default() }
    }

    fn header(&self, name: HeaderName) -> Option<&str> {
        self.head.headers.get(name).and_then(|value| value.to_str().ok())
    }

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
        let status = if bound.is_size() { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST };
        let description = bound.to_string();
        let mut reply = self.full_page(status, Some(&description), None, Some(route), None);
        reply.reason = ReasonPhrase::try_from(description.into_bytes()).ok();
        reply.note.code = bound.code();
        reply
    }

    // === without a worker ===

    /// The answer, where it can be given without a worker.
    async fn lifted(&self, route: &ScriptRoute) -> Option<Reply> {
        match route.lift.as_ref()? {
            Lift::Respond(template) => {
                let mut values = Vec::new();
                for name in template.secrets() {
                    match self.read(name).await {
                        Ok(value) => values.push(value?),
                        Err(error) => return self.refused(route, "read", name, error),
                    }
                }
                let body = lift::render(template, &values)?;
                let mut headers = self.headers();
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
                let body = Bytes::from_owner(secret::Bytes::new(body.as_bytes()));
                Some(Reply {
                    status: StatusCode::OK,
                    headers,
                    body,
                    stream: None,
                    reason: None,
                    note: AuditNote::default(),
                })
            }
            Lift::Update { secret, field } => {
                if self.head.headers.contains_key(CONTENT_ENCODING) || !self.is_of_extension(secret) {
                    return None;
                }
                let forced = route.content_type.as_deref();
                let text = lift::field(&self.body, self.header(CONTENT_TYPE), forced, field)?;
                let value = SecretValue::String(text);
                match self.core.bridge.update(secret, value, None, self.head.deadline).await {
                    Ok(()) => {
                        self.seen.note(seen::of_mount(self.core, "write", secret));
                        let (headers, body) = (self.headers(), Bytes::new());
                        Some(Reply {
                            status: StatusCode::OK,
                            headers,
                            body,
                            stream: None,
                            reason: None,
                            note: AuditNote::default(),
                        })
                    }
                    Err(error) => self.refused(route, "write", secret, error),
                }
            }
        }
    }

    /// A mounted value; nothing where only a block can tell it.
    async fn read(&self, name: &str) -> Result<Option<SecretValue>, BridgeError> {
        if !self.is_of_extension(name) {
            return Ok(None);
        }
        let value = self.core.bridge.read(name, self.head.deadline).await?;
        if value.as_text().is_none() {
            return Ok(None);
        }
        self.seen.note(seen::of_mount(self.core, "read", name));
        Ok(Some(value))
    }

    /// Whether the core may call the mount's vault by itself: custom vaults are blocks.
    fn is_of_extension(&self, mount: &str) -> bool {
        let bridge = &self.core.bridge;
        let entry = bridge.mounts().get(mount).and_then(|mount| bridge.vaults().get(&mount.vault).ok());
        entry.is_some_and(|entry| super::custom::of(&entry).is_none())
    }

    /// An error of a lifted route: the block fails in its own words, where it can be tried without harm.
    fn refused(
        &self,
        route: &ScriptRoute,
        action: &'static str,
        mount: &str,
        error: BridgeError,
    ) -> Option<Reply> {
        match error {
            BridgeError::Saturated
            | BridgeError::Throttled { .. }
            | BridgeError::NotReady { .. }
            | BridgeError::Deadline { .. }
            | BridgeError::Worker { .. } => {
                let access = seen::of_mount(self.core, action, mount);
                self.seen.note(AuditedAccess { outcome: error.code(), ..access });
                Some(self.unanswered(route, Unanswered::Bridge(error)))
            }
            _ => None,
        }
    }

    // === with one ===

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
                Reply {
                    status,
                    headers: self.headers(),
                    body,
                    stream: None,
                    reason: None,
                    note: AuditNote::default(),
                }
            }
        };
        let described = response.page.as_ref().and_then(|wish| wish.description.as_ref());
        let described = described.or(response.description.as_ref()).filter(|text| !text.is_empty());
        // What cannot stand in a status line is left out.
        reply.reason = described.and_then(|text| ReasonPhrase::try_from(text.as_bytes()).ok());
        for (name, value) in &response.headers {
            let parsed = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes()));
            let (Ok(name), Ok(value)) = parsed else {
                tracing::error!(
                    path = route.path,
                    "a block set a header that HTTP does not allow; it is left out"
                );
                continue;
            };
            if is_ours(&name) || (response.page.is_some() && name == CONTENT_TYPE) {
                continue;
            }
            // The first header of a name replaces ours. More of that name are appended.
            if name == SERVER || name == CONTENT_TYPE {
                reply.headers.insert(name, value);
            } else {
                reply.headers.append(name, value);
            }
        }
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

    // === replies ===

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(SERVER, SERVER_NAME);
        if let Ok(context) = HeaderValue::from_str(&self.context) {
            headers.insert(CONTEXT_ID, context);
        }
        headers
    }

    /// What was asked for, as Pode's pages show it.
    fn url(&self) -> String {
        let listener = self.core.endpoints.listeners().into_iter().nth(self.head.listener);
        let protocol = if listener.is_some_and(|listener| listener.tls.is_some()) { "https" } else { "http" };
        format!("{protocol}://{}{}", self.header(HOST).unwrap_or_default(), self.path)
    }

    /// A page in place of an answer.
    fn refusal(&self, problem: &Problem) -> Reply {
        let mut reply = self.page(status_of(problem));
        respond::fields(problem, &mut reply.headers);
        reply.note.code = problem.code();
        reply
    }

    fn page(&self, status: StatusCode) -> Reply {
        self.full_page(status, None, None, None, None)
    }

    fn full_page(
        &self,
        status: StatusCode,
        description: Option<&str>,
        explicit: Option<&str>,
        route: Option<&ScriptRoute>,
        exception: Option<&Exception>,
    ) -> Reply {
        let settings = self.core.settings.pages();
        let wishes = Wishes {
            explicit,
            route: route.and_then(|route| route.error_content_type.as_deref()),
            path: &self.path,
            content_type: self.header(CONTENT_TYPE),
            accept: self.header(ACCEPT),
        };
        let form = Form::choose(&settings, wishes);
        let exception = exception.filter(|_| settings.show_exceptions);
        let page = Page { status, description, url: &self.url(), exception };
        let mut headers = self.headers();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(form.content_type()));
        Reply {
            status,
            headers,
            body: page.render(form).into(),
            stream: None,
            reason: None,
            note: AuditNote::default(),
        }
    }
}

/// Nobody keeps an answer that may hold a secret, unless the script says so.
fn unkept(mut reply: Reply) -> Reply {
    reply.headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    reply
}

/// The status of a problem as Pode's clients know it: that a block failed is a 500, whatever it failed of.
fn status_of(problem: &Problem) -> StatusCode {
    match (problem, problem.status()) {
        (Problem::Bridge(_), status @ (StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)) => {
            status
        }
        (Problem::Bridge(_), _) => StatusCode::INTERNAL_SERVER_ERROR,
        (_, status) => status,
    }
}

/// For how long the vault that a block failed of wants to be left alone: by our own refusal alone.
fn left_alone(fault: &Fault) -> Option<Duration> {
    fault.retry_after.filter(|_| fault.id == "throttled").map(Duration::from_secs)
}

/// Headers that the door writes, and a block cannot.
fn is_ours(name: &HeaderName) -> bool {
    use hyper::http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING, UPGRADE};
    [CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING, UPGRADE, CONTEXT_ID].contains(name)
}

/// A random UUID. Without randomness it is all zeros; the request goes on.
fn context_id() -> String {
    let mut bytes = [0u8; 16];
    let _ = getrandom::fill(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = |range: std::ops::Range<usize>| {
        bytes[range].iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    [hex(0..4), hex(4..6), hex(6..8), hex(8..10), hex(10..16)].join("-")
}

#[cfg(test)]
mod tests;
