//! What is recorded of a request.

use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use smallvec::SmallVec;
use tokio::time::Instant;

use crate::access::{Caller, Peer};

/// What a request came to.
#[derive(Debug, Clone)]
pub struct Record {
    /// The request's number in this process.
    pub request: u64,
    /// Who called.
    pub who: Caller,
    /// From where.
    pub peer: Peer,
    /// The method.
    pub method: Method,
    /// The path as sent, without its query.
    pub path: String,
    /// The route's pattern; empty where none was found.
    pub route: Arc<str>,
    /// The secrets that it got at.
    pub accesses: AuditedAccesses,
    /// `ok`, or the error's code.
    pub outcome: &'static str,
    /// The answer's status.
    pub status: u16,
    /// When its head was complete.
    pub received: Instant,
    /// From then to the answer.
    pub latency: Duration,
    /// The caller's `traceparent`, where it is one.
    pub trace: Option<String>,
}

/// One access to a vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditedAccess {
    /// `read`, `write`, `remove`, `list`.
    pub action: &'static str,
    /// The vault's friendly name.
    pub vault: AuditName,
    /// The key; empty for a list.
    pub key: AuditName,
    /// The mounted secret's name; empty without one.
    pub mount: AuditName,
    /// `ok`, or the error's code.
    pub outcome: &'static str,
}

impl AuditedAccess {
    /// One that went well, to nothing yet.
    pub fn of(action: &'static str) -> AuditedAccess {
        let none = AuditName::default;
        AuditedAccess { action, vault: none(), key: none(), mount: none(), outcome: "ok" }
    }
}

/// The accesses of one request, which mostly are one.
pub type AuditedAccesses = SmallVec<[AuditedAccess; 1]>;

/// A name, shared with the plan where it is from there.
pub type AuditName = Arc<str>;

/// Whoever counts requests: told of each record once, by the writer's thread.
pub trait Counts: Send + Sync + 'static {
    /// Takes records in.
    fn take(&self, records: &mut dyn Iterator<Item = &Record>);
}
