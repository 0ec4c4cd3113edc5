//! What is counted of requests and connections, and how Prometheus reads it. Never keys or values.
//!
//! Requests are counted by the audit trail's writer, off their way: see [`crate::audit`].

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::Method;

use crate::access::Caller;
use crate::audit::{AuditName, Counts, Record, Trail};
pub use overview::Overview;
use overview::{Errors, Latency, RouteLatency};

mod overview;
pub mod traces;

/// Upper bounds of the latency histogram's buckets, in seconds.
const BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 30.0];

/// Tells when a certificate ends, in seconds since 1970.
type Expiry = dyn Fn() -> Option<i64> + Send;

/// The counts of a server.
#[derive(Default)]
pub struct Metrics {
    requests: Mutex<Requests>,
    listeners: Mutex<Vec<(String, Arc<Connections>)>>,
    certificates: Mutex<Vec<(String, Box<Expiry>)>>,
    trail: Mutex<Option<Trail>>,
}

#[derive(Default)]
struct Requests {
    /// Few, so they are looked through; that takes no memory.
    answered: Vec<(AnsweredRequest, u64)>,
    latency: BTreeMap<AuditName, Histogram>,
    errors: BTreeMap<&'static str, u64>,
    late: Errors,
}

struct AnsweredRequest {
    route: AuditName,
    method: Method,
    status: u16,
    caller: Caller,
}

#[derive(Default, Clone)]
struct Histogram {
    buckets: [u64; BUCKETS.len()],
    count: u64,
    sum: Duration,
}

/// The calls of a vault, by what was asked and what came of it.
#[derive(Default)]
pub struct Calls {
    counts: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    latency: Mutex<Histogram>,
}

/// Counts by a word.
#[derive(Debug, Default)]
pub struct Tally(Mutex<BTreeMap<&'static str, u64>>);

/// The connections of a listener.
#[derive(Debug, Default)]
pub struct Connections {
    /// Open now.
    pub open: AtomicU64,
    /// Accepted so far.
    pub accepted: AtomicU64,
    /// Closed at once, because the peer had as many as it may.
    pub refused: AtomicU64,
    /// Closed while they waited without a request, to make room for others.
    pub evicted: AtomicU64,
    /// How often a connection had to wait because the listener was full.
    pub full: AtomicU64,
}

// === impl Metrics ===

impl Metrics {
    /// The counts of one more listener.
    pub fn listener(&self, address: &str) -> Arc<Connections> {
        let counts = Arc::new(Connections::default());
        lock(&self.listeners).push((address.to_owned(), counts.clone()));
        counts
    }

    /// Tells when the certificate of one more listener ends, whichever is in force.
    pub fn certificate(&self, address: &str, expires: impl Fn() -> Option<i64> + Send + 'static) {
        lock(&self.certificates).push((address.to_owned(), Box::new(expires)));
    }

    /// The trail whose writer counts requests.
    pub fn use_trail(&self, trail: &Trail) {
        *lock(&self.trail) = Some(trail.clone());
    }

    /// Lets go of the trail, so that its writer can end.
    pub fn let_trail_go(&self) {
        lock(&self.trail).take();
    }

    /// The text of all of it, once what was answered before is counted.
    pub async fn text(&self) -> String {
        let trail = lock(&self.trail).clone();
        if let Some(trail) = &trail {
            trail.flush(Duration::from_millis(500)).await;
        }
        let mut out = MetricsText::default();
        out.head("build_info", "gauge", "The version that runs.");
        out.line("build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
        lock(&self.requests).write(&mut out);
        self.connections(&mut out);
        let name = "certificate_expiry_timestamp_seconds";
        out.head(name, "gauge", "When the certificate in force ends, in seconds since 1970.");
        for (address, expires) in lock(&self.certificates).iter() {
            if let Some(at) = expires() {
                out.line(name, &[("listener", address)], at);
            }
        }
        let (dropped, waited) = trail.map_or((0, 0), |trail| trail.pressure());
        out.head("audit_dropped_total", "counter", "Audit records that were given up.");
        out.line("audit_dropped_total", &[], dropped);
        out.head("audit_waited_total", "counter", "Requests that waited for room in the audit queue.");
        out.line("audit_waited_total", &[], waited);
        out.0
    }

    /// What the status page shows.
    pub fn overview(&self) -> Overview {
        lock(&self.requests).overview()
    }

    fn connections(&self, out: &mut MetricsText) {
        type Read = fn(&Connections) -> &AtomicU64;
        let all: [(&str, &str, &str, Read); 5] = [
            ("connections", "gauge", "Connections that are open.", |of| &of.open),
            ("connections_accepted_total", "counter", "Connections that were accepted.", |of| &of.accepted),
            ("connections_refused_total", "counter", "Connections of peers that had too many.", |of| {
                &of.refused
            }),
            ("connections_evicted_total", "counter", "Idle connections closed to make room.", |of| {
                &of.evicted
            }),
            ("connections_full_total", "counter", "Connections that waited for a full listener.", |of| {
                &of.full
            }),
        ];
        let listeners = lock(&self.listeners);
        for (name, kind, help, read) in all {
            out.head(name, kind, help);
            for (address, counts) in listeners.iter() {
                out.line(name, &[("listener", address)], read(counts).load(Ordering::Relaxed));
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in here panics half-way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Counts for Metrics {
    fn take(&self, records: &mut dyn Iterator<Item = &Record>) {
        let mut requests = lock(&self.requests);
        records.for_each(|record| {
            requests.count(record);
            traces::send(record);
        });
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

// === impl Calls, Tally ===

impl Calls {
    /// Counts a call that was made: not an answer from the cache.
    pub fn note(&self, action: &'static str, outcome: &'static str, took: Duration) {
        *lock(&self.counts).entry((action, outcome)).or_default() += 1;
        lock(&self.latency).add(took);
    }
}

impl std::fmt::Debug for Calls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Calls")
    }
}

impl Tally {
    /// One more.
    pub fn add(&self, word: &'static str) {
        *lock(&self.0).entry(word).or_default() += 1;
    }

    /// All so far.
    pub fn all(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.0).clone()
    }
}

/// The calls of vaults, by the vaults' names.
pub(crate) fn vault_calls<'a>(vaults: impl Iterator<Item = (&'a str, &'a Calls)>) -> String {
    let (mut out, vaults) = (MetricsText::default(), vaults.collect::<Vec<_>>());
    out.head("vault_calls_total", "counter", "Calls to vaults, by what was asked and what came of it.");
    for (vault, calls) in &vaults {
        for ((action, outcome), count) in lock(&calls.counts).iter() {
            let labels = [("vault", *vault), ("action", *action), ("outcome", *outcome)];
            out.line("vault_calls_total", &labels, *count);
        }
    }
    out.head(
        "vault_call_seconds",
        "histogram",
        "How long calls to vaults took, with their wait for a worker.",
    );
    for (vault, calls) in &vaults {
        lock(&calls.latency).write(&mut out, "vault_call_seconds", ("vault", vault));
    }
    out.0
}

// === impl Requests ===

impl Requests {
    fn overview(&self) -> Overview {
        let route = |(route, histogram): (&AuditName, &Histogram)| RouteLatency {
            route: route.to_string(),
            count: histogram.count,
            buckets: histogram.buckets.to_vec(),
        };
        Overview {
            latency: Latency { bounds: BUCKETS.to_vec(), routes: self.latency.iter().map(route).collect() },
            errors: self.late.0.iter().cloned().collect(),
        }
    }

    fn count(&mut self, record: &Record) {
        let method = known(&record.method);
        let is_same = |(of, _): &&mut (AnsweredRequest, u64)| {
            of.status == record.status
                && of.method == *method
                && of.route == record.route
                && of.caller == record.who
        };
        match self.answered.iter_mut().find(is_same) {
            Some((_, count)) => *count += 1,
            None => {
                let (route, caller) = (record.route.clone(), record.who.clone());
                let answered =
                    AnsweredRequest { route, method: method.clone(), status: record.status, caller };
                self.answered.push((answered, 1));
            }
        }
        match self.latency.get_mut(&record.route) {
            Some(histogram) => histogram.add(record.latency),
            None => self.latency.entry(record.route.clone()).or_default().add(record.latency),
        }
        if record.status >= 400 {
            *self.errors.entry(record.outcome).or_default() += 1;
            self.late.note(record);
        }
    }

    fn write(&self, out: &mut MetricsText) {
        out.head("requests_total", "counter", "Requests that were answered.");
        for (of, count) in &self.answered {
            let (status, route, caller) = (of.status.to_string(), &*of.route, of.caller.to_string());
            let method = if of.method == Method::TRACE { "other" } else { of.method.as_str() };
            let labels = [("route", route), ("method", method), ("status", &status), ("caller", &caller)];
            out.line("requests_total", &labels, *count);
        }
        out.head("errors_total", "counter", "Requests that were answered with an error, by its code.");
        for (code, count) in &self.errors {
            out.line("errors_total", &[("code", code)], *count);
        }
        let name = "request_seconds";
        out.head(name, "histogram", "From a request's head to its answer.");
        for (route, histogram) in &self.latency {
            histogram.write(out, name, ("route", route));
        }
    }
}

/// The method; what clients make up is one, TRACE, or they could make up any number of series.
fn known(method: &Method) -> &Method {
    const KNOWN: [Method; 7] = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
    ];
    if KNOWN.contains(method) { method } else { &Method::TRACE }
}

// === impl Histogram ===

impl Histogram {
    fn add(&mut self, time: Duration) {
        let seconds = time.as_secs_f64();
        if let Some(bucket) = BUCKETS.iter().position(|most| seconds <= *most) {
            self.buckets[bucket] += 1;
        }
        self.count += 1;
        self.sum += time;
    }

    fn write(&self, out: &mut MetricsText, name: &str, label: (&str, &str)) {
        let mut up_to = 0;
        for (most, count) in BUCKETS.iter().zip(self.buckets) {
            up_to += count;
            out.line(&format!("{name}_bucket"), &[label, ("le", &most.to_string())], up_to);
        }
        out.line(&format!("{name}_bucket"), &[label, ("le", "+Inf")], self.count);
        out.line(&format!("{name}_sum"), &[label], format!("{:.6}", self.sum.as_secs_f64()));
        out.line(&format!("{name}_count"), &[label], self.count);
    }
}

// === text ===

/// Lines as Prometheus reads them.
#[derive(Default)]
pub(crate) struct MetricsText(pub(crate) String);

impl MetricsText {
    /// Begins a metric.
    pub(crate) fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "# HELP secretbridge_{name} {help}\n# TYPE secretbridge_{name} {kind}");
    }

    /// A value of the metric.
    pub(crate) fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let _ = write!(self.0, "secretbridge_{name}");
        for (index, (label, text)) in labels.iter().enumerate() {
            let open = if index == 0 { '{' } else { ',' };
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{open}{label}=\"{text}\"");
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{close} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Peer;
    use crate::audit::{AuditSettings, AuditedAccesses, Destination};
    use tokio::time::Instant;

    fn record(route: &str, method: &str, status: u16, micros: u64) -> Record {
        Record {
            request: 1,
            who: Caller::Anyone,
            peer: Peer::Tcp(([127, 0, 0, 1], 1).into()),
            method: Method::from_bytes(method.as_bytes()).unwrap(),
            path: route.to_owned(),
            route: route.into(),
            accesses: AuditedAccesses::default(),
            outcome: if status < 400 { "ok" } else { "some_code" },
            status,
            received: Instant::now(),
            latency: Duration::from_micros(micros),
            trace: None,
        }
    }

    #[tokio::test]
    async fn a_known_load_is_counted_exactly() {
        let metrics = Arc::new(Metrics::default());
        let settings = AuditSettings { to: Destination::None, chain: false };
        let trail = Trail::start(&settings, Some(metrics.clone())).unwrap();
        metrics.use_trail(&trail);
        for (times, route, method, status, micros) in [
            (7, "/a", "GET", 200, 400),
            (3, "/a", "GET", 200, 40_000),
            (2, "/a", "POST", 404, 90),
            (4, "", "X1", 404, 90),
            (1, "", "X2", 404, 90),
        ] {
            for _ in 0..times {
                trail.record(record(route, method, status, micros)).await;
            }
        }
        metrics.listener("http://127.0.0.1:1").open.store(5, Ordering::Relaxed);
        metrics.certificate("https://127.0.0.1:2", || Some(1_800_000_000));
        let text = metrics.text().await;
        for line in [
            r#"secretbridge_requests_total{route="/a",method="GET",status="200",caller="anyone"} 10"#,
            r#"secretbridge_requests_total{route="/a",method="POST",status="404",caller="anyone"} 2"#,
            r#"secretbridge_requests_total{route="",method="other",status="404",caller="anyone"} 5"#,
            r#"secretbridge_errors_total{code="some_code"} 7"#,
            r#"secretbridge_request_seconds_bucket{route="/a",le="0.0005"} 9"#,
            r#"secretbridge_request_seconds_bucket{route="/a",le="0.05"} 12"#,
            r#"secretbridge_request_seconds_bucket{route="/a",le="+Inf"} 12"#,
            r#"secretbridge_request_seconds_count{route="/a"} 12"#,
            r#"secretbridge_request_seconds_sum{route="/a"} 0.122980"#,
            r#"secretbridge_connections{listener="http://127.0.0.1:1"} 5"#,
            "secretbridge_audit_dropped_total 0",
            r#"secretbridge_certificate_expiry_timestamp_seconds{listener="https://127.0.0.1:2"} 1800000000"#,
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
        }
        metrics.let_trail_go();
    }

    #[test]
    fn a_vaults_calls_are_counted_by_what_came_of_them() {
        let calls = Calls::default();
        for (action, outcome, millis) in [("read", "ok", 3), ("read", "ok", 40), ("write", "locked", 700)] {
            calls.note(action, outcome, Duration::from_millis(millis));
        }
        let text = vault_calls([("a\"b", &calls)].into_iter());
        for line in [
            r#"secretbridge_vault_calls_total{vault="a\"b",action="read",outcome="ok"} 2"#,
            r#"secretbridge_vault_calls_total{vault="a\"b",action="write",outcome="locked"} 1"#,
            r#"secretbridge_vault_call_seconds_bucket{vault="a\"b",le="0.05"} 2"#,
            r#"secretbridge_vault_call_seconds_count{vault="a\"b"} 3"#,
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
        }
    }

    /// What dashboards and alerts ask for is there: a series that nobody writes is a panel that stays empty.
    #[tokio::test]
    async fn dashboard_and_alerts_name_series_that_there_are() {
        let mut health = crate::bridge::Health::default();
        health.restart_causes.insert("timeout", 1);
        let metrics = Metrics::default();
        lock(&metrics.requests).count(&record("/a", "GET", 500, 10));
        let calls = Calls::default();
        calls.note("read", "ok", Duration::ZERO);
        let text = metrics.text().await
            + &crate::http::metrics::text(&health)
            + &vault_calls([("v", &calls)].into_iter());
        for file in ["secretbridge-dashboard.json", "secretbridge-alerts.yml"] {
            let path =
                std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/monitoring").join(file);
            let asked = std::fs::read_to_string(path).unwrap();
            let names: std::collections::BTreeSet<&str> = asked
                .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .filter(|word| word.starts_with("secretbridge_"))
                .collect();
            assert!(names.len() > 5, "{file}");
            for name in names {
                let series =
                    name.trim_end_matches("_bucket").trim_end_matches("_count").trim_end_matches("_sum");
                let there =
                    text.contains(&format!("# TYPE {series} ")) || text.contains(&format!("# TYPE {name} "));
                assert!(there, "{file}: {name}");
            }
        }
    }
}
