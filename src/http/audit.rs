//! One line for each access to a secret, under the log target `audit`: who, what, how it went and how
//! long it took. Never the value, never a query.
//!
//! Names come from clients, so they are written quoted and escaped: a line break in one forges no line.

use hyper::StatusCode;

use super::message::Head;
use crate::access::Caller;

/// The log target.
pub const TARGET: &str = "audit";

/// What was accessed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Subject<'a> {
    pub(super) vault: Option<&'a str>,
    pub(super) key: Option<&'a str>,
    pub(super) mount: Option<&'a str>,
}

/// Writes the line.
pub(super) fn record(
    head: &Head,
    caller: &Caller,
    pattern: &str,
    subject: Subject<'_>,
    outcome: &'static str,
    status: StatusCode,
) {
    let latency = head.received.elapsed();
    tracing::info!(
        target: TARGET,
        request = head.id,
        %caller,
        peer = %head.peer,
        method = %head.method,
        route = ?pattern,
        vault = ?subject.vault.unwrap_or_default(),
        key = ?subject.key.unwrap_or_default(),
        mount = ?subject.mount.unwrap_or_default(),
        outcome,
        status = status.as_u16(),
        latency_ms = latency.as_micros() as f64 / 1000.0,
        "access"
    );
}
