//! What passes between the door and a service.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::ext::ReasonPhrase;
use hyper::{HeaderMap, Method, StatusCode, Version};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::problem::Problem;
use crate::access::{CallSeat, Caller, Certificate, Holder, Peer};
use crate::audit::{AuditName, AuditedAccesses};

pub use futures_util::future::BoxFuture;

/// What the door brings requests to.
pub trait Service: Send + Sync + 'static {
    /// Looks at a request's head before its body is read: who calls, and whether they may. It waits for nothing.
    /// Where it refuses, the body is not read at all.
    fn admit(&self, head: &Head) -> Result<Admitted, Box<RefusedRequest>>;

    /// Answers a request that was admitted. It runs to its end even if the client goes away, and has to
    /// keep to [`Head::deadline`] by itself.
    fn answer(&self, request: Request) -> BoxFuture<'_, Reply>;

    /// The answer to a request that the door itself could not bring through.
    fn refuse(&self, head: &Head, problem: &Problem) -> Reply;
}

/// Leave to go on, held until the request is answered.
pub struct Admitted {
    /// Who calls.
    pub caller: Caller,
    /// Its place among those under way, which is free again when this is dropped.
    _seat: Option<CallSeat>,
    /// The service whose rule it was, where another may be in force by the time of the answer.
    pub by: Option<Arc<dyn Service>>,
}

/// A request that goes no further.
#[derive(Debug)]
pub struct RefusedRequest {
    /// Its answer.
    pub reply: Reply,
    /// How long the answer is held back: whoever guesses tokens gets fewer tries.
    pub wait: Duration,
}

/// A request's head.
#[derive(Clone)]
pub struct Head {
    /// Unique in this process.
    pub id: u64,
    /// The method.
    pub method: Method,
    /// The path as sent, percent signs and all.
    pub path: String,
    /// The query as sent, without its question mark. Never logged.
    pub query: Option<String>,
    /// The header fields.
    pub headers: HeaderMap,
    /// The protocol version.
    pub version: Version,
    /// Who sent it.
    pub peer: Peer,
    /// The certificate that it showed, which the listener has verified.
    pub certificate: Option<Arc<Certificate>>,
    /// Who that is, where the listener itself knows.
    pub holder: Option<Holder>,
    /// Index of the listener in the plan.
    pub listener: usize,
    /// When the head was complete.
    pub received: Instant,
    /// When the answer is due.
    pub deadline: Instant,
}

/// A request whose body has been read.
pub struct Request {
    /// Its head.
    pub head: Arc<Head>,
    /// Its whole body. The buffer is wiped when the last handle is dropped.
    pub body: Bytes,
    /// Who was let in with it.
    pub admitted: Admitted,
}

/// An answer.
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// Header fields; the door adds `Date`, `Content-Length` and `Connection`.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// In place of the body: pieces that come while the answer is read. It ends when their sender is dropped.
    pub stream: Option<mpsc::Receiver<Bytes>>,
    /// In place of the status's own phrase.
    pub reason: Option<ReasonPhrase>,
    /// What the audit trail is told of it.
    pub note: AuditNote,
}

/// What the audit trail is told of an answer, beside what the door knows by itself.
#[derive(Debug, Clone, Default)]
pub struct AuditNote {
    /// The caller, where the door was told of none.
    pub who: Option<Caller>,
    /// The route's pattern; empty where none was found.
    pub route: AuditName,
    /// The secrets that the request got at.
    pub accesses: AuditedAccesses,
    /// The error's code; empty where there was none.
    pub code: &'static str,
}

impl Reply {
    /// A whole answer, of which the audit trail is told nothing yet.
    pub fn new(status: StatusCode, headers: HeaderMap, body: impl Into<Bytes>) -> Reply {
        let body = body.into();
        Reply { status, headers, body, stream: None, reason: None, note: AuditNote::default() }
    }
}

impl RefusedRequest {
    /// One that is refused at once.
    pub fn at_once(reply: Reply) -> Box<RefusedRequest> {
        Box::new(RefusedRequest { reply, wait: Duration::ZERO })
    }

    /// The answer, once it may be given.
    pub async fn answer(self) -> Reply {
        if !self.wait.is_zero() {
            sleep(self.wait).await;
        }
        self.reply
    }
}

impl Admitted {
    /// Leave for that caller, who takes a place among those under way, if that is counted.
    pub fn new(caller: Caller, seat: Option<CallSeat>) -> Admitted {
        Admitted { caller, _seat: seat, by: None }
    }
}

// === redacting Debug: headers, queries and bodies may hold secrets ===

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Head(#{} {} {} from {})", self.id, self.method, self.path, self.peer)
    }
}

impl fmt::Debug for Admitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Admitted({})", self.caller)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({:?}, {} bytes)", self.head, self.body.len())
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply({}, {} bytes)", self.status, self.body.len())
    }
}
