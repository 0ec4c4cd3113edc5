//! What SecretStore does when its own threads meet its commands, by a stand-in that does it on request.

use std::thread;

use crate::need_pwsh;
use crate::support::fixture;
use crate::support::pwsh::Pwsh;
use crate::support::server::{Builder, Server};

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

#[test]
fn a_store_that_locks_itself_between_any_two_steps_of_a_first_start_is_opened_all_the_same() {
    let pwsh = need_pwsh!();
    let next = std::sync::atomic::AtomicUsize::new(1);
    let one = |steps: &str| {
        let server = builder(pwsh).env("STORE_LOCKS_AT", steps).start();
        put(&server, "k", steps);
        assert_has(&server, "k", steps);
        server.assert_never_wrote(&["made up"]);
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
