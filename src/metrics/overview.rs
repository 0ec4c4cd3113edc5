//! What the status page shows of requests: never a key, a path or a value.

use std::collections::VecDeque;

use serde::Serialize;
use time::format_description::well_known::Rfc3339;

use crate::audit::Record;
use crate::clock;

/// How many errors are remembered.
const REMEMBERED: usize = 20;

/// Latencies by route, and the last errors.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Overview {
    /// How long answers took.
    pub latency: Latency,
    /// The last errors, the newest first.
    pub errors: Vec<LateError>,
}

/// Latencies by route.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Latency {
    /// Upper bounds of the buckets, in seconds.
    pub bounds: Vec<f64>,
    /// By the route's pattern.
    pub routes: Vec<RouteLatency>,
}

/// How long a route's answers took.
#[derive(Debug, Clone, Serialize)]
pub struct RouteLatency {
    /// The pattern; empty for requests that no route was found for.
    pub route: String,
    /// Answers.
    pub count: u64,
    /// Answers within each bound and above the one before it.
    pub buckets: Vec<u64>,
}

/// An answer with an error status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LateError {
    /// When, in UTC.
    pub at: String,
    /// The route's pattern.
    pub route: String,
    /// The status.
    pub status: u16,
    /// The error's code.
    pub code: &'static str,
    /// The vault that it was about; empty without one.
    pub vault: String,
}

/// The last errors.
#[derive(Default)]
pub(super) struct Errors(pub(super) VecDeque<LateError>);

impl Errors {
    pub fn note(&mut self, record: &Record) {
        let at = clock::now().replace_nanosecond(0).unwrap_or_else(|_| clock::now());
        let vault = record.accesses.first().map_or_else(String::new, |access| access.vault.to_string());
        self.0.push_front(LateError {
            at: at.format(&Rfc3339).unwrap_or_default(),
            route: record.route.to_string(),
            status: record.status,
            code: record.outcome,
            vault,
        });
        self.0.truncate(REMEMBERED);
    }
}
