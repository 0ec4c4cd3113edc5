//! A route's block as a task of the pool.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::Core;
use super::asks::Asking;
use super::page::Exception;
use super::seen::Seen;
use super::value::Portable;
use crate::error::BridgeError;
use crate::pool::lanes::Crew;
use crate::pool::{Permit, Task, Verdict};
use crate::protocol::{Fault, Op};
use crate::secret::Bytes;
use crate::vault::act::Began;
use crate::worker::{BoxFuture, Broken, CallError, Worker};

/// What a block is told of its request.
#[derive(Serialize)]
pub struct Event {
    /// In lower case.
    pub method: String,
    /// Decoded.
    pub path: String,
    /// As sent.
    pub query: String,
    /// What the pattern's names stand for.
    pub parameters: serde_json::Map<String, serde_json::Value>,
    /// As sent.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Bytes,
    /// Where it came in.
    pub endpoint: EventEndpoint,
    /// The route.
    pub route: EventRoute,
    /// `X-Pode-ContextId`.
    pub context: String,
    /// The client's address.
    pub remote: String,
    /// `1.0` or `1.1`.
    pub version: &'static str,
    /// When it came, in UTC.
    pub timestamp: String,
}

/// The endpoint as `$WebEvent.Endpoint` has it.
#[derive(Debug, Serialize)]
pub struct EventEndpoint {
    /// `http` or `https`.
    pub protocol: &'static str,
    /// The request's host, else the address.
    pub address: String,
    /// Its name.
    pub name: String,
}

/// The route as `$WebEvent.Route` has it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventRoute {
    /// As declared.
    pub path: String,
    /// As declared.
    pub method: String,
    /// Its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_content_type: Option<String>,
}

/// `{"route":…}`
#[derive(Debug, Serialize)]
pub struct Invocation<'a> {
    /// The block.
    pub block: u64,
    /// Its arguments.
    pub arguments: &'a [Portable],
    /// The request.
    pub event: Event,
}

/// What a block answers.
#[derive(Deserialize)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Header fields.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// The body.
    #[serde(default)]
    pub body: Option<Bytes>,
    /// The reason phrase, beside a body.
    #[serde(default)]
    pub description: Option<String>,
    /// In place of a body: an error page, rendered by the core.
    #[serde(default)]
    pub page: Option<PageWish>,
    /// The block threw this.
    #[serde(default)]
    pub failed: Option<Fault>,
}

/// What a block says of its error page.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PageWish {
    /// In place of the status's phrase.
    pub description: Option<String>,
    /// Its form.
    pub content_type: Option<String>,
    /// What happened.
    pub exception: Option<Exception>,
}

#[derive(Debug, Deserialize)]
struct Reply {
    response: Response,
    #[serde(default)]
    failed: Option<Fault>,
}

/// Why a block gave no answer.
#[derive(Debug)]
pub enum Unanswered {
    /// It could not run.
    Fault(Box<Fault>),
    /// The queue is full, the deadline passed, the worker died.
    Bridge(BridgeError),
}

struct RouteTask {
    core: Arc<Core>,
    op: Op,
    deadline: Instant,
    began: Began,
    seen: Seen,
    reply: oneshot::Sender<Result<Response, Unanswered>>,
}

/// Runs a route's block in a worker.
pub async fn invoke(
    core: &Arc<Core>,
    invocation: Invocation<'_>,
    deadline: Instant,
    seen: &Seen,
) -> Result<Response, Unanswered> {
    #[derive(Serialize)]
    struct Route<'a> {
        route: Invocation<'a>,
    }
    let not_ready = || Unanswered::Bridge(BridgeError::NotReady { reason: "no worker pool runs".into() });
    let pool = core.bridge().and_then(|bridge| bridge.vaults().pool()).ok_or_else(not_ready)?;
    let encoded = serde_json::value::to_raw_value(&Route { route: invocation });
    let op = encoded.map(Op::Invoke).map_err(|_| not_ready())?;
    let (reply, answer) = oneshot::channel();
    let began = Began::default();
    let task =
        RouteTask { core: core.clone(), op, deadline, began: began.clone(), seen: seen.clone(), reply };
    pool.submit(Box::new(task), Crew::Shared, None).map_err(Unanswered::Bridge)?;
    match timeout_at(deadline, answer).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => {
            let reason = "the task was dropped".to_owned();
            Err(Unanswered::Bridge(BridgeError::Worker { reason, outcome_unknown: began.is_writing() }))
        }
        Err(_) => Err(Unanswered::Bridge(BridgeError::Deadline { outcome_unknown: began.give_up() })),
    }
}

impl RouteTask {
    async fn call(&self, worker: &mut Worker, asking: &mut Asking) -> Result<Response, CallError> {
        self.core.session.load(worker, self.deadline).await?;
        let reply: Reply = worker.call_asking(self.op.clone(), self.deadline, Some(asking)).await?;
        let failed = reply.response.failed.or(reply.failed);
        Ok(Response { failed, ..reply.response })
    }
}

impl Task for RouteTask {
    fn run<'a>(self: Box<Self>, worker: &'a mut Worker, _permit: Option<Permit>) -> BoxFuture<'a, Verdict> {
        Box::pin(async move {
            let mut asking =
                Asking::with_caller(self.core.clone(), self.deadline, self.began.clone(), self.seen.clone());
            let outcome = self.call(worker, &mut asking).await;
            let verdict = match worker.broken() {
                Some(_) => Verdict::Replace,
                None => Verdict::Keep,
            };
            let outcome_unknown = self.began.is_writing();
            let outcome = outcome.map_err(|error| match error {
                CallError::Fault(fault) => Unanswered::Fault(fault),
                CallError::Broken(Broken::TimedOut) => {
                    Unanswered::Bridge(BridgeError::Deadline { outcome_unknown })
                }
                CallError::Broken(broken) => {
                    Unanswered::Bridge(BridgeError::Worker { reason: broken.to_string(), outcome_unknown })
                }
            });
            // Its locks are free before its caller goes on.
            drop(asking);
            let _ = self.reply.send(outcome);
            verdict
        })
    }

    fn is_dead(&self) -> bool {
        self.reply.is_closed() || Instant::now() >= self.deadline
    }
}

// === redacting Debug: headers, queries and bodies may hold secrets ===

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Event({} {}, {} bytes)", self.method, self.path, self.body.expose().len())
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = self.body.as_ref().map_or(0, |body| body.expose().len());
        write!(f, "Response({}, {length} bytes)", self.status)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::secret::SecretValue;

    #[test]
    fn debug_of_an_invocation_shows_neither_arguments_nor_headers_query_and_body() {
        let event = Event {
            method: "post".into(),
            path: "/kept".into(),
            query: "token=canary".into(),
            parameters: serde_json::Map::new(),
            headers: vec![("authorization".into(), "Bearer canary".into())],
            body: Bytes::new("canary"),
            endpoint: EventEndpoint { protocol: "http", address: "localhost".into(), name: String::new() },
            route: EventRoute {
                path: "/kept".into(),
                method: "POST".into(),
                content_type: None,
                error_content_type: None,
            },
            context: "c".into(),
            remote: "127.0.0.1:1".into(),
            version: "1.1",
            timestamp: String::new(),
        };
        let arguments = [Portable::from(&SecretValue::string("canary"))];
        let invocation = Invocation { block: 1, arguments: &arguments, event };
        assert_eq!(
            format!("{invocation:?}"),
            "Invocation { block: 1, arguments: [Portable(…)], event: Event(post /kept, 6 bytes) }"
        );
    }

    #[test]
    fn debug_of_a_response_shows_neither_headers_nor_body() {
        let response = json!({ "status": 200, "headers": [["Set-Cookie", "canary"]], "body": "Y2FuYXJ5" });
        let reply: Reply = serde_json::from_value(json!({ "response": response })).unwrap();
        assert_eq!(format!("{reply:?}"), "Reply { response: Response(200, 6 bytes), failed: None }");
    }
}
