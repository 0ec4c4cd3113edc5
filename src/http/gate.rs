//! The gate in front of every listener and mode: who calls is judged before anything else of a request.

use std::sync::Arc;
use std::time::Duration;

use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HOST, HeaderName,
    HeaderValue, VARY,
};
use hyper::{Method, StatusCode};
use tokio::time::Instant;

use super::message::{Admitted, BoxFuture, Head, RefusedRequest, Reply, Request, Service};
use super::problem::Problem;
use super::respond;
use crate::access::{AccessPolicy, AccessRefusal, CallCounter, CallRefusal, Caller, Knock};

const ASKS_FOR_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-request-private-network");
const ALLOWS_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// Why a request is not let in.
struct Refusal {
    caller: Caller,
    problem: Problem,
    wait: Duration,
}

/// What is behind the gate: routes and their answers.
pub trait Site: Send + Sync + 'static {
    /// Whether a stranger may have the answer too: it tells nothing but that the server is there.
    fn is_public(&self, head: &Head) -> bool;

    /// Whether there is such a route, and whether the caller may use it. Before the body is read.
    fn permit(&self, head: &Head, caller: &Caller) -> Result<(), Problem>;

    /// As [`Service::answer`].
    fn answer(&self, request: Request) -> BoxFuture<'_, Reply>;

    /// The answer to a request that goes no further.
    fn refuse(&self, head: &Head, caller: &Caller, problem: &Problem) -> Reply;
}

/// A site behind the rule who may call it. Both are in force together, and replaced together.
#[derive(Clone)]
pub struct Gate {
    access: Arc<AccessPolicy>,
    counter: Arc<CallCounter>,
    site: Arc<dyn Site>,
}

impl Gate {
    /// Puts the rule in front of the site.
    pub fn new(access: Arc<AccessPolicy>, site: Arc<dyn Site>) -> Gate {
        Gate { access, counter: Arc::default(), site }
    }

    /// Counts on where the gate before it left off.
    pub fn counting(mut self, counter: Arc<CallCounter>) -> Gate {
        self.counter = counter;
        self
    }

    fn judge(&self, head: &Head) -> Result<Admitted, Box<Refusal>> {
        let refuse = |caller, problem| Box::new(Refusal { caller, problem, wait: Duration::ZERO });
        let stranger = |problem| refuse(Caller::Stranger, problem);
        if head.headers.get_all(HOST).iter().nth(1).is_some() {
            return Err(stranger(Problem::TwoHosts));
        }
        let asked = Knock {
            method: &head.method,
            headers: &head.headers,
            peer: &head.peer,
            certificate: head.certificate.as_deref(),
        };
        let known = head.holder.clone().map(Caller::Peer);
        let caller = match known.map_or_else(|| self.access.identify(asked), Ok) {
            Ok(caller) => caller,
            Err(AccessRefusal::WrongToken) => return Err(self.slowed(head)),
            Err(_) if self.site.is_public(head) => Caller::Stranger,
            Err(refusal) => return Err(stranger(refusal.into())),
        };
        let seat =
            match self.counter.enter(self.access.limits(), &caller, || head.peer.place(), head.received) {
                Ok(seat) => seat,
                Err(CallRefusal { limit, retry_after }) => {
                    return Err(refuse(caller, Problem::TooMany { limit: Some(limit), retry_after }));
                }
            };
        match self.site.permit(head, &caller) {
            Ok(()) => Ok(Admitted::new(caller, seat)),
            Err(problem) => Err(refuse(caller, problem)),
        }
    }

    /// A wrong token: the answer comes the later the more there were, and at last without a look at the token.
    fn slowed(&self, head: &Head) -> Box<Refusal> {
        let (problem, wait) = match self.counter.mistake(&head.peer.place(), Instant::now()) {
            Ok(wait) => (AccessRefusal::WrongToken.into(), wait),
            Err(retry_after) => (Problem::TooMany { limit: None, retry_after }, Duration::ZERO),
        };
        Box::new(Refusal { caller: Caller::Stranger, problem, wait })
    }

    /// A browser's question before a request of a page whose origin was opened by name.
    fn preflight(&self, head: &Head) -> Option<Reply> {
        let method =
            head.headers.get(ACCESS_CONTROL_REQUEST_METHOD).filter(|_| head.method == Method::OPTIONS)?;
        let origin = self.access.guard().opened(&head.headers)?;
        let mut reply = respond::empty(StatusCode::NO_CONTENT);
        reply.headers.insert(ACCESS_CONTROL_ALLOW_METHODS, method.clone());
        if let Some(wanted) = head.headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            reply.headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
        }
        if head.headers.contains_key(ASKS_FOR_PRIVATE_NETWORK) {
            reply.headers.insert(ALLOWS_PRIVATE_NETWORK, HeaderValue::from_static("true"));
        }
        reply.headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        Some(readable(reply, origin))
    }

    fn shared(&self, head: &Head, reply: Reply) -> Reply {
        match self.access.guard().opened(&head.headers) {
            Some(origin) => readable(reply, origin),
            None => reply,
        }
    }
}

/// What a page of that origin may read, unless the site says otherwise by itself.
fn readable(mut reply: Reply, origin: &HeaderValue) -> Reply {
    if !reply.headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
        reply.headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        reply.headers.append(VARY, HeaderValue::from_static("Origin"));
    }
    reply
}

impl Service for Gate {
    fn admit(&self, head: &Head) -> Result<Admitted, Box<RefusedRequest>> {
        if let Some(reply) = self.preflight(head) {
            return Err(RefusedRequest::at_once(reply));
        }
        self.judge(head).map_err(|refusal| {
            let Refusal { caller, problem, wait } = *refusal;
            let mut reply = self.shared(head, self.site.refuse(head, &caller, &problem));
            reply.note.code = problem.code();
            reply.note.who = Some(caller);
            Box::new(RefusedRequest { reply, wait })
        })
    }

    fn answer(&self, request: Request) -> BoxFuture<'_, Reply> {
        if self.access.guard().opened(&request.head.headers).is_none() {
            return self.site.answer(request);
        }
        Box::pin(async move {
            let head = request.head.clone();
            self.shared(&head, self.site.answer(request).await)
        })
    }

    fn refuse(&self, head: &Head, problem: &Problem) -> Reply {
        let mut reply = self.shared(head, self.site.refuse(head, &Caller::Stranger, problem));
        reply.note.code = problem.code();
        reply
    }
}
