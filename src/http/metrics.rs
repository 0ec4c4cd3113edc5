//! Health as Prometheus reads it. Names vaults, never keys or values.

use crate::bridge::{Health, VaultHealth, VaultState};
use crate::metrics::{self, MetricsText};
use crate::pool::RETIRED;
use crate::worker::Broken;

/// States of workers that are counted, whether there is one or not.
const STATES: [&str; 4] = ["starting", "ready", "busy", "backing_off"];

/// The bridge's part of `/metrics`.
pub fn text(health: &Health) -> String {
    let mut out = MetricsText::default();
    bridge(&mut out, health);
    workers(&mut out, health);
    vault_states(&mut out, &health.vaults);
    vault_changes(&mut out, &health.vaults);
    out.0 + &metrics::vault_calls(health.vaults.iter().map(|vault| (vault.name.as_str(), &*vault.calls)))
}

fn bridge(out: &mut MetricsText, health: &Health) {
    let cache = &health.cache;
    for (name, kind, help, value) in [
        ("ready", "gauge", "Requests can be served.", health.ready.into()),
        ("waiting", "gauge", "Requests that wait for a worker.", health.waiting as u64),
        ("cache_hits_total", "counter", "Look-ups answered from the cache.", cache.hits),
        ("cache_misses_total", "counter", "Look-ups that were not.", cache.misses),
        (
            "cache_stale_total",
            "counter",
            "Values served beyond their time, because the vault failed.",
            cache.stale,
        ),
        ("cache_entries", "gauge", "Values that are kept.", cache.entries as u64),
        ("cache_bytes", "gauge", "Bytes of the values that are kept.", cache.bytes as u64),
    ] {
        out.head(name, kind, help);
        out.line(name, &[], value);
    }
}

fn workers(out: &mut MetricsText, health: &Health) {
    out.head("worker_restarts_total", "counter", "Workers whose place another took, by why.");
    // Those that did not happen too: a series that begins at 1 has no increase.
    for cause in Broken::CAUSES.into_iter().chain([RETIRED]) {
        let count = health.restart_causes.get(cause).copied().unwrap_or_default();
        out.line("worker_restarts_total", &[("cause", cause)], count);
    }
    out.head("workers", "gauge", "Workers by state.");
    for state in STATES {
        let count = health.workers.iter().filter(|worker| worker.state == state).count();
        out.line("workers", &[("state", state)], count);
    }
}

fn vault_states(out: &mut MetricsText, vaults: &[VaultHealth]) {
    out.head("vault_ok", "gauge", "The vault's last calls showed that it serves.");
    for vault in vaults {
        out.line("vault_ok", &[("vault", &vault.name)], u8::from(vault.condition.state.serves()));
    }
    out.head("vault_state", "gauge", "1 for the state that the vault's last calls showed, 0 for the others.");
    for vault in vaults {
        for state in VaultState::ALL {
            let labels = [("vault", vault.name.as_str()), ("state", state.word())];
            out.line("vault_state", &labels, u8::from(vault.condition.state == state));
        }
    }
    out.head(
        "vault_locked",
        "gauge",
        "The vault is locked: it could not be unlocked, or somebody has locked it.",
    );
    for vault in vaults {
        let shut =
            vault.closed || matches!(vault.condition.state, VaultState::Locked | VaultState::LockedOut);
        out.line("vault_locked", &[("vault", &vault.name)], u8::from(shut));
    }
}

fn vault_changes(out: &mut MetricsText, vaults: &[VaultHealth]) {
    out.head("foreign_changes_total", "counter", "Changes to the vault's store by other programs.");
    for vault in vaults {
        out.line("foreign_changes_total", &[("vault", &vault.name)], vault.foreign_changes);
    }
    out.head("vanished_keys", "gauge", "Keys that another program has erased and that are not back.");
    for vault in vaults {
        out.line("vanished_keys", &[("vault", &vault.name)], vault.vanished.len());
    }
}
