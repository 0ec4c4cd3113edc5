//! Reads are fresh, few and never falsely refused.

use std::fs;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use tokio::time::Instant;

use super::history::History;
use super::{Authentication, Dice, count, must_put, report, store, together, value_in};
use crate::need_pwsh;
use crate::support::server::Builder;
use crate::support::stand_in::StandIn;
use crate::support::{SOON, fixture, wait_until};

/// Each read that begins after a write's acknowledgement shows it or something newer, through a second name of
/// the same store too, whose values are cached.
#[test]
fn a_reader_beside_a_writer_is_never_refused_and_never_behind() {
    let pwsh = need_pwsh!();
    for authentication in [Authentication::Password, Authentication::None] {
        beside_a_writer(pwsh, authentication);
    }
}

fn beside_a_writer(pwsh: &crate::support::pwsh::Pwsh, authentication: Authentication) {
    const NAMES: [&str; 2] = ["store", "cached"];
    let cached = format!(
        "[vaults.cached]\nmodule = \"Microsoft.PowerShell.SecretStore\"\nexpose = true\ncache_ttl = \"1h\"\n{}\n",
        super::keys(authentication)
    );
    let server = store(pwsh, authentication, count(2, 3), "", &cached).start();
    let at = |name: &str, key: &str| format!("/vaults/{name}/secrets/{key}");
    let (history, done) = (History::default(), AtomicBool::new(false));
    let write = |name: &str, key: &str, value: &str| {
        history.sent(key, value);
        let answer = server.put(&at(name, key), "text/plain", value);
        assert_eq!(answer.status, 204, "{}", answer.text());
        history.answered(key, value, true);
    };
    (0..3).for_each(|key| write("store", &format!("k{key}"), "first"));
    let writes = count(12, 300);
    let reads = together(5, |client| {
        if client == 0 {
            (0..writes).for_each(|round| {
                write(NAMES[round / 3 % 2], &format!("k{}", round % 3), &format!("v{round}"));
            });
            done.store(true, Ordering::Release);
            return 0;
        }
        let (mut reads, name, mut dice) = (0, NAMES[client % 2], Dice(client as u64));
        while !done.load(Ordering::Acquire) {
            let (key, begun) = (format!("k{}", dice.below(3)), Instant::now());
            let value = value_in(&server.get(&at(name, &key)));
            assert_eq!(history.fault_of(&key, Some(&value), begun), None, "{name}");
            reads += 1;
        }
        reads
    });
    let of = |first: usize| reads.iter().skip(first).step_by(2).sum::<usize>();
    report(&format!(
        "reads/beside a writer ({authentication:?}): {writes} writes, {} reads, {} of a vault with a cache, 0 refused, 0 stale",
        of(2),
        of(1)
    ));
}

/// Real workers, and a vault that logs its calls.
#[test]
fn a_hundred_clients_on_a_cold_secret_make_one_vault_call() {
    let pwsh = need_pwsh!();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = folder.path().join("calls");
    let toml = odd("one", folder.path(), &log, "cache_ttl = \"1h\"");
    let server = Builder::new().config(&(top(2) + &toml)).pwsh(pwsh).start();
    let rounds = count(2, 20);
    for round in 0..rounds {
        let (at, key) =
            (format!("/vaults/one/secrets/slow:{}", 300 + round), format!("slow:{}", 300 + round));
        let gate = Barrier::new(100);
        let values = together(100, |_| {
            gate.wait();
            value_in(&server.get(&at))
        });
        assert!(values.iter().all(|value| value == "done"));
        let calls = fs::read_to_string(&log).expect("the vault logs");
        assert_eq!(
            calls.lines().filter(|line| line.starts_with(&format!("get {key} "))).count(),
            1,
            "{calls}"
        );
    }
    report(&format!("reads/100 clients on a cold secret: {rounds} rounds, 1 vault call each"));
}

#[test]
fn two_vaults_read_by_many_clients_at_once_give_no_error() {
    let pwsh = need_pwsh!();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = folder.path().join("calls");
    let both = odd("one", &folder.path().join("one"), &log, "") + SECRET_STORE;
    let server =
        Builder::new().config(&(top(2) + &both)).pwsh(pwsh).env("STORE_PASSWORD", super::PASSWORD).start();
    for key in 0..10 {
        must_put(&server, &format!("k{key}"), &format!("store {key}"));
        let answer = server.put(&format!("/vaults/one/secrets/k{key}"), "text/plain", format!("one {key}"));
        assert_eq!(answer.status, 204, "{}", answer.text());
    }
    let (clients, requests) = (20, count(400, 20_000));
    together(clients, |client| {
        for request in 0..requests / clients {
            let (vault, key) = (["one", "store"][(client + request) % 2], (client + request) % 10);
            let value = value_in(&server.get(&format!("/vaults/{vault}/secrets/k{key}")));
            assert_eq!(value, format!("{vault} {key}"));
        }
    });
    report(&format!("reads/two vaults, {clients} clients: {requests} requests, 0 errors"));
}

/// *Load begins, write acknowledged, load returns*: what the load brings is not kept.
#[test]
fn a_load_begun_before_a_write_never_fills_the_cache_after_it() {
    let wait = json!({ "op": "get", "name": "k", "nth": 1, "across": true, "at": "after", "do": { "wait_for_file": { "path": "go" } } });
    let stand_in = StandIn::with(
        &json!({ "secrets": { "v": { "k": { "t": "string", "v": "old" } } }, "rules": [wait] }),
    );
    let toml =
        top(3) + "[vaults.v]\nmodule = \"My.Vault\"\nparallel = true\nexpose = true\ncache_ttl = \"1h\"\n";
    let server = Builder::new().config(&toml).stand_in(&stand_in).start();
    let at = "/vaults/v/secrets/k";
    std::thread::scope(|scope| {
        let first = scope.spawn(|| value_in(&server.get(at)));
        wait_until("the load has read", SOON, || stand_in.done("get", "k") == 1);
        assert_eq!(server.put(at, "text/plain", "new").status, 204);
        assert_eq!(value_in(&server.get(at)), "new", "it waits for no load of before");
        stand_in.release("go");
        // It began before the write; it may have either.
        let first = first.join().expect("answered");
        assert!(["old", "new"].contains(&first.as_str()), "{first}");
    });
    assert_eq!(value_in(&server.get(at)), "new");
}

fn top(workers: usize) -> String {
    format!("listen = \"127.0.0.1:0\"\nauth = {{ open = true }}\n[pool]\nmin = {workers}\nmax = {workers}\n")
        + &format!("[pwsh]\nmodule_path = [\"{}\"]\n", fixture("vaults").display())
}

const SECRET_STORE: &str = "[vaults.store]\nmodule = \"Microsoft.PowerShell.SecretStore\"\nunlock = { env = \"STORE_PASSWORD\" }\nexpose = true\n";

fn odd(name: &str, folder: &std::path::Path, log: &std::path::Path, extra: &str) -> String {
    format!(
        "[vaults.{name}]\nmodule = \"TestVault\"\nparallel = true\nexpose = true\nparameters = {{ Folder = \"{}\", Log = \"{}\" }}\n{extra}\n",
        folder.display(),
        log.display()
    )
}
