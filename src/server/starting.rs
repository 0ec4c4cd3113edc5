//! What a listener answers before anything is in force: that the server starts, and how far it is.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use hyper::StatusCode;
use hyper::header::RETRY_AFTER;
use serde_json::json;

use crate::access::Caller;
use crate::http::respond;
use crate::http::{BoxFuture, Head, Problem, Reply, Request, Site};

/// The site of a start. Every route is 503, `/livez` too: a probe learns that it has to wait, and does not hang.
#[derive(Debug, Default)]
pub struct Starting {
    up: AtomicUsize,
    of: AtomicUsize,
}

impl Starting {
    /// Notes how many workers are up.
    pub fn workers(&self, up: usize, of: usize) {
        self.up.store(up, Relaxed);
        self.of.store(of, Relaxed);
    }

    fn reply(&self) -> Reply {
        let workers = json!({ "up": self.up.load(Relaxed), "of": self.of.load(Relaxed) });
        let error = json!({
            "code": "starting",
            "message": "the server is starting",
            "hint": "try again shortly; /readyz answers 200 when it serves",
        });
        let mut reply = respond::json(
            StatusCode::SERVICE_UNAVAILABLE,
            &json!({ "status": "starting", "ready": false, "starting": { "workers": workers }, "error": error }),
        );
        reply.headers.insert(RETRY_AFTER, 1.into());
        reply
    }
}

impl Site for Starting {
    fn is_public(&self, _: &Head) -> bool {
        true
    }

    fn permit(&self, _: &Head, _: &Caller) -> Result<(), Problem> {
        Ok(())
    }

    fn answer(&self, _: Request) -> BoxFuture<'_, Reply> {
        Box::pin(async move { self.reply() })
    }

    fn refuse(&self, _: &Head, _: &Caller, problem: &Problem) -> Reply {
        respond::problem(problem)
    }
}
