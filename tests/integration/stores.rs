//! What SecretStore does when its own threads meet its commands, by a stand-in that does it on request.

use std::thread;

use crate::need_pwsh;
use crate::support::pwsh::{Pwsh, say};
use crate::support::server::{Builder, Server};
use crate::support::{fixture, soaking};

/// A first start makes the store, writes what the plan names, and unlocks: fewer steps than this.
const STEPS: usize = 14;

const CONFIG: &str = r#"
listen = "127.0.0.1:0"
auth.open = true
pool = { min = 1, max = 1 }

[vaults.store]
module = "Microsoft.PowerShell.SecretStore"
parameters = { Interaction = "None", PasswordTimeout = 3600 }
unlock = { env = "STORE_PASSWORD" }
expose = true
"#;

fn builder(pwsh: &Pwsh) -> Builder {
    let path = fixture("stores");
    Builder::new()
        .config(&format!("{CONFIG}\n[pwsh]\nmodule_path = [\"{}\"]", path.display()))
        .pwsh(pwsh)
        .env("STORE_PASSWORD", "made up")
}

fn put(server: &Server, key: &str, value: &str) {
    let answer = server.client().put(&format!("/vaults/store/secrets/{key}"), "text/plain", value);
    assert_eq!(answer.status, 204, "{} {}", answer.text(), server.stderr());
}

fn assert_has(server: &Server, key: &str, value: &str) {
    let answer = server.get(&format!("/vaults/store/secrets/{key}"));
    assert_eq!(answer.status, 200, "{} {}", answer.text(), server.stderr());
    assert_eq!(answer.json()["Value"], value);
}

/// Nothing went wrong on the way that a later try mended.
fn assert_went_well(server: &Server, case: &str) {
    let log = server.stderr();
    assert!(!log.contains(" WARN ") && !log.contains(" ERROR "), "{case}: {log}");
    assert!(!log.contains("ended by itself"), "{case}: {log}");
}

#[test]
fn a_store_that_locks_itself_between_any_two_steps_of_a_first_start_is_opened_all_the_same() {
    let pwsh = need_pwsh!();
    let next = std::sync::atomic::AtomicUsize::new(1);
    let one = |steps: &str| {
        let server = builder(pwsh).env("STORE_LOCKS_AT", steps).start();
        put(&server, "k", steps);
        assert_has(&server, "k", steps);
        server.assert_never_wrote(&["made up"]);
        assert_went_well(&server, steps);
        let file = server.home().join(".secretmanagement/localstore/storeconfig");
        let configuration = std::fs::read_to_string(file).expect("the configuration of the store");
        let configuration: serde_json::Value = serde_json::from_str(&configuration).expect("JSON");
        assert_eq!(configuration["PasswordTimeout"], 3600, "{steps}");
    };
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let step = next.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    if step > STEPS {
                        break;
                    }
                    // Alone, and with the one after it.
                    one(&if step.is_multiple_of(2) {
                        format!("{step}")
                    } else {
                        format!("{step},{}", step + 1)
                    });
                }
            });
        }
    });
}

#[test]
fn a_worker_that_a_module_ends_from_another_thread_costs_no_client_an_answer() {
    let pwsh = need_pwsh!();
    for when in ["before", "after"] {
        let server = builder(pwsh).env("STORE_DIES", when).start();
        put(&server, "k", "v");
        assert!(server.home().join("died").exists(), "{when}: the worker was to end inside the write");
        assert_has(&server, "k", "v");
        let log = server.stderr();
        assert!(log.contains("pwsh ended by itself: signal: 6 (SIGABRT)"), "{when}: {log}");
        assert!(log.contains("wrote last: Unhandled exception."), "{when}: {log}");
        let traces = log.lines().filter(|line| line.trim_start().starts_with("at System.")).count();
        assert_eq!(traces, 0, "{when}: {log}");
    }
}

/// Each with a HOME of its own, as a new user's: the store is made with the password, brought to what the plan names,
/// written and read. By the store of the pwsh in use, so by the genuine one where that is what it has.
#[test]
fn first_starts_of_a_store_with_a_password_all_succeed() {
    let pwsh = need_pwsh!();
    let (all, at_once) = if soaking() { (200, 2) } else { (2, 2) };
    let next = std::sync::atomic::AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while next.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < all {
                    let server =
                        Builder::new().config(CONFIG).pwsh(pwsh).env("STORE_PASSWORD", "made up").start();
                    put(&server, "k", "v");
                    assert_has(&server, "k", "v");
                    assert_went_well(&server, "a first start");
                    let theirs = "(Get-SecretStoreConfiguration).PasswordTimeout; Get-Secret -Vault fresh k -AsPlainText";
                    let found = pwsh.in_store(server.home(), Some("made up"), theirs);
                    assert_eq!(found.lines().map(str::trim).collect::<Vec<_>>(), ["3600", "v"]);
                }
            });
        }
    });
    say(&format!("stores: {all} first starts with a password, 0 failed"));
}
