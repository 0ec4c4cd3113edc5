//! Health as Prometheus reads it. Names vaults, never keys or values.

use std::fmt::Write as _;

use crate::bridge::Health;
use crate::metrics;

/// The text of `/metrics`.
pub fn text(health: &Health) -> String {
    let mut out = String::new();
    let mut simple = |name: &str, kind: &str, help: &str, value: u64| {
        // Writing to a string does not fail.
        let _ = write!(
            out,
            "# HELP secretbridge_{name} {help}\n# TYPE secretbridge_{name} {kind}\nsecretbridge_{name} {value}\n"
        );
    };
    simple("ready", "gauge", "Requests can be served.", health.ready.into());
    simple("waiting", "gauge", "Requests that wait for a worker.", health.waiting as u64);
    simple("worker_restarts_total", "counter", "Workers started again after one broke.", health.restarts);
    let cache = &health.cache;
    simple("cache_hits_total", "counter", "Look-ups answered from the cache.", cache.hits);
    simple("cache_misses_total", "counter", "Look-ups that were not.", cache.misses);
    simple(
        "cache_stale_total",
        "counter",
        "Values served beyond their time, because the vault failed.",
        cache.stale,
    );
    simple("cache_entries", "gauge", "Values that are kept.", cache.entries as u64);
    simple("cache_bytes", "gauge", "Bytes of the values that are kept.", cache.bytes as u64);
    let _ = writeln!(out, "# TYPE secretbridge_worker_ends_total counter");
    for (cause, count) in &health.restart_causes {
        let _ = writeln!(out, "secretbridge_worker_ends_total{{cause=\"{cause}\"}} {count}");
    }
    let _ = writeln!(out, "# TYPE secretbridge_workers gauge");
    for state in ["starting", "ready", "busy", "backing_off"] {
        let count = health.workers.iter().filter(|worker| worker.state == state).count();
        let _ = writeln!(out, "secretbridge_workers{{state=\"{state}\"}} {count}");
    }
    let _ = writeln!(
        out,
        "# TYPE secretbridge_vault_ok gauge\n# TYPE secretbridge_foreign_changes_total counter\n# TYPE secretbridge_vanished_keys gauge"
    );
    for vault in &health.vaults {
        let name = vault.name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = writeln!(
            out,
            "secretbridge_vault_ok{{vault=\"{name}\"}} {}",
            u8::from(vault.condition.state.serves())
        );
        let _ =
            writeln!(out, "secretbridge_foreign_changes_total{{vault=\"{name}\"}} {}", vault.foreign_changes);
        let _ = writeln!(out, "secretbridge_vanished_keys{{vault=\"{name}\"}} {}", vault.vanished.len());
    }
    out + &metrics::vault_calls(health.vaults.iter().map(|vault| (vault.name.as_str(), &*vault.calls)))
}
