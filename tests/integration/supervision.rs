//! Workers that crash, hang and babble, under the real server.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use tokio::time::Instant;

use crate::support::process::alive;
use crate::support::server::{Builder, Server};
use crate::support::stand_in::{StandIn, derived};
use crate::support::{SOON, wait_until};

const VAULT: &str = r#"
listen = "127.0.0.1:0"
auth = { open = true }
limits = { deadline = "2s", write_grace = "1s" }
[pool]
min = 2
max = 2
[vaults.v]
module = "My.Vault"
parallel = true
expose = true
"#;

const STORE: &str = r#"
listen = "127.0.0.1:0"
auth = { open = true }
limits = { deadline = "3s", write_grace = "1s" }
[pool]
min = 2
max = 2
[vaults.store]
module = "Microsoft.PowerShell.SecretStore"
unlock = { env = "STORE_PASSWORD" }
expose = true
"#;

fn serve(toml: &str, stand_in: &StandIn) -> Server {
    Builder::new().config(toml).stand_in(stand_in).env("STORE_PASSWORD", "open sesame").start()
}

fn code(server: &Server, path: &str) -> (u16, String) {
    let answer = server.get(path);
    let code = answer.json()["error"]["code"].as_str().unwrap_or_default().to_owned();
    (answer.status, code)
}

#[test]
fn a_worker_that_breaks_is_replaced_and_others_go_on() {
    let cases = [
        ("crash", json!("crash"), 200),
        ("silent", json!("silent"), 504),
        ("hang", json!("hang"), 504),
        ("wrong id", json!("wrong_id"), 200),
        ("half line", json!("half_line"), 200),
        ("exit", json!({ "exit": { "code": 0 } }), 200),
        ("too long", json!({ "huge_line": { "bytes": 67_200_000 } }), 200),
    ];
    for (name, what, status) in cases {
        // Once among all workers: a read is tried again on another one.
        let rule = json!({ "op": "get", "name": "bad", "nth": 1, "across": true, "do": what });
        let stand_in = StandIn::with(&json!({ "derived": true, "rules": [rule] }));
        // Only what never answers is to meet its deadline: 64 MiB take their time on a busy machine.
        let deadline = if status == 200 { "30s" } else { "2s" };
        let toml = VAULT.replace("deadline = \"2s\"", &format!("deadline = \"{deadline}\""));
        let server = serve(&toml, &stand_in);
        let answer = server.get("/vaults/v/secrets/bad");
        assert_eq!(answer.status, status, "{name}: {} {}", answer.text(), server.stderr());
        if status == 200 {
            assert_eq!(answer.json()["Value"], derived("v", "bad"), "{name}");
        }
        for round in 0..4 {
            let key = format!("good{round}");
            let answer = server.get(&format!("/vaults/v/secrets/{key}"));
            assert_eq!(
                (answer.status, answer.json()["Value"].as_str()),
                (200, Some(derived("v", &key).as_str())),
                "{name}"
            );
        }
        wait_until(&format!("{name}: a worker takes its place"), SOON, || stand_in.workers().len() == 3);
        // Registered after it has started, so there is a moment without.
        wait_until(&format!("{name}: its vaults are registered again"), SOON, || {
            stand_in.calls("register") >= 3
        });
    }
}

#[test]
fn noise_and_a_flood_on_stderr_break_no_request() {
    for name in ["noise-on-stdout", "stderr-flood", "split-line", "slow"] {
        let stand_in = StandIn::scenario(name);
        // One call for each request: a write that is looked at before and after takes three times as long.
        let server = serve(&format!("{VAULT}verify = false\n"), &stand_in);
        for key in ["a", "b", "c"] {
            let answer = server.put(&format!("/vaults/v/secrets/{key}"), "text/plain", key);
            assert_eq!(answer.status, 204, "{name}: {}", answer.text());
            let answer = server.get(&format!("/vaults/v/secrets/{key}"));
            assert_eq!(
                (answer.status, answer.json()["Value"].as_str()),
                (200, Some(key)),
                "{name}: {}",
                answer.text()
            );
        }
        if name == "noise-on-stdout" {
            // What wrote to the channel once may write over an answer the next time.
            wait_until("each noisy worker is replaced", SOON, || stand_in.workers().len() >= 2 + 3);
        } else {
            assert_eq!(stand_in.workers().len(), 2, "{name}: no worker is to blame");
        }
    }
}

#[test]
fn an_overwrite_that_dies_half_way_loses_no_value() {
    let stand_in = StandIn::scenario("crash-in-overwrite");
    let server = serve(STORE, &stand_in);
    let path = "/vaults/store/secrets/k";
    assert_eq!(server.put(path, "text/plain", "old").status, 204);
    // What became of it is read by another worker, and it is done once more where it was not.
    let answer = server.put(path, "text/plain", "new");
    assert_eq!(answer.status, 204, "{}", answer.text());
    let value = server.get(path).json()["Value"].as_str().map(str::to_owned);
    assert_eq!(value.as_deref(), Some("new"), "{}", server.stderr());
}

#[test]
fn a_write_past_its_deadline_says_that_its_outcome_is_unknown() {
    let stand_in = StandIn::with(&json!({ "rules": [{ "op": "set", "do": "hang" }] }));
    let server = serve(STORE, &stand_in);
    let begun = Instant::now();
    let answer = server.put("/vaults/store/secrets/k", "text/plain", "v");
    assert_eq!(answer.status, 504);
    assert!(answer.text().contains("unknown"), "{}", answer.text());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn a_vault_that_wants_its_password_again_gets_it() {
    let stand_in = StandIn::scenario("unlock-expires");
    let server = serve(STORE, &stand_in);
    for round in 0..10 {
        let answer = server.put("/vaults/store/secrets/k", "text/plain", format!("v{round}"));
        assert_eq!(answer.status, 204, "{round}: {}", answer.text());
        let answer = server.get("/vaults/store/secrets/k");
        assert_eq!(
            (answer.status, answer.json()["Value"].as_str()),
            (200, Some(format!("v{round}").as_str()))
        );
    }
}

#[test]
fn a_full_queue_is_503_with_a_time_to_come_back() {
    let stand_in = StandIn::with(
        &json!({ "derived": true, "rules": [{ "op": "get", "do": { "delay": { "ms": 700 } } }] }),
    );
    let toml = VAULT.replace("max = 2", "max = 1\nqueue = 2").replace("min = 2", "min = 1");
    let server = serve(&toml, &stand_in);
    let answers: Vec<_> = (0..8)
        .map(|n| {
            let client = server.client();
            std::thread::spawn(move || client.get(&format!("/vaults/v/secrets/k{n}")))
        })
        .collect();
    let answers: Vec<_> = answers.into_iter().map(|answer| answer.join().unwrap()).collect();
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 503).collect();
    assert!(!refused.is_empty() && refused.len() < 8);
    assert!(refused.iter().all(|answer| answer.header("Retry-After").is_some()));
}

#[test]
fn a_start_that_cannot_succeed_says_why_and_ends() {
    for (name, word, exit) in [
        ("old-protocol", "protocol", 1),
        ("pwsh-too-old", "7.4", 69),
        ("exits-at-start", "did not come up", 1),
        ("no-secret-management", "SecretManagement", 1),
    ] {
        let stand_in = StandIn::scenario(name);
        let output = Builder::new().config(VAULT).stand_in(&stand_in).run(Duration::from_secs(30));
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(exit), "{name}: {stderr}");
        assert!(stderr.contains(word), "{name}: {stderr}");
        wait_until("no worker is left", SOON, || !stand_in.workers().iter().any(|pid| alive(*pid)));
    }
}

#[test]
fn a_step_of_the_start_that_hangs_is_named() {
    let stand_in = StandIn::with(&json!({ "rules": [{ "op": "init", "do": "hang" }] }));
    let toml = VAULT.replace("[pool]", "[pwsh]\ninit = 'Connect-AzAccount'\n[pool]\nstart_limit = '1s'");
    let output = Builder::new().config(&toml).stand_in(&stand_in).run(Duration::from_secs(30));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let last = stderr.lines().last().unwrap_or_default();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        last.contains("the init script: it did not answer in time") && last.contains("start_limit"),
        "{stderr}"
    );
    wait_until("no worker is left", SOON, || !stand_in.workers().iter().any(|pid| alive(*pid)));
}

#[test]
fn a_start_that_first_fails_is_tried_again() {
    let stand_in = StandIn::scenario("first-exits-at-start");
    let server = serve(VAULT, &stand_in);
    assert_eq!(server.put("/vaults/v/secrets/k", "text/plain", "v").status, 204);
}

#[test]
fn without_a_pwsh_the_exit_code_is_69_and_the_way_to_get_one_is_told() {
    let output = Builder::new().config(VAULT).run(SOON);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(69), "{stderr}");
    assert!(stderr.contains("--pwsh") && stderr.contains("install"), "{stderr}");
}

#[test]
fn workers_that_ignore_the_end_of_their_input_die_with_the_server() {
    for signal in [Signal::TERM, Signal::KILL] {
        let stand_in = StandIn::scenario("ignores-eof");
        let mut server = serve(VAULT, &stand_in);
        server.signal(signal);
        server.wait_exit(SOON);
        wait_until("no worker is left", Duration::from_secs(2), || {
            !stand_in.workers().iter().any(|pid| alive(*pid))
        });
    }
}

#[test]
fn a_vault_that_fails_has_its_status() {
    let fault = |name: &str, id: &str, kind: &str| json!({ "name": name, "do": { "fault": { "id": id, "kind": kind } } });
    let locked = "Microsoft.PowerShell.SecretManagement.PasswordRequiredException";
    let stand_in = StandIn::with(&json!({ "rules": [
        fault("locked", locked, locked),
        fault("odd", "GetSecretInvalidOperation", "System.Management.Automation.PSInvalidOperationException"),
    ] }));
    let server = serve(VAULT, &stand_in);
    assert_eq!(code(&server, "/vaults/v/secrets/nope"), (404, "secret_not_found".into()));
    assert_eq!(code(&server, "/vaults/v/secrets/locked"), (503, "locked".into()));
    assert_eq!(code(&server, "/vaults/v/secrets/odd"), (502, "vault_failed".into()));
    assert_eq!(code(&server, "/vaults/other/secrets/k").0, 404);
    assert_eq!(code(&server, "/nowhere").0, 404);
    let answer = server.send("POST", "/vaults/v/secrets/k", &[], b"");
    assert_eq!(answer.status, 405);
    assert!(answer.header("Allow").is_some_and(|allow| allow.contains("GET") && allow.contains("PUT")));
}

#[test]
fn passwords_reach_no_argument_and_no_environment_of_a_worker() {
    let stand_in = StandIn::scenario("ok");
    let server = serve(STORE, &stand_in);
    for start in stand_in.events("start") {
        assert!(!start["variables"].as_array().unwrap().iter().any(|name| name == "STORE_PASSWORD"));
    }
    for pid in server.pids_of_workers() {
        for place in ["cmdline", "environ"] {
            let bytes = std::fs::read(format!("/proc/{pid}/{place}")).unwrap();
            assert!(!String::from_utf8_lossy(&bytes).contains("STORE_PASSWORD=open"));
        }
    }
}

#[test]
fn a_vault_that_nobody_reads_is_asked_how_it_is_where_the_plan_says_so() {
    let stand_in = StandIn::with(&json!({ "password": "right" }));
    let vault = |name: &str, probe: &str| {
        format!(
            "[vaults.{name}]\nmodule = \"Vault.{name}\"\nexpose = true\nunlock = {{ env = \"P\" }}\n{probe}\n"
        )
    };
    let toml = "listen = \"127.0.0.1:0\"\nauth.open = true\n".to_owned()
        + &vault("asked", "probe = \"1s\"")
        + &vault("left", "")
        + &vault("never", "probe = false");
    let server = Builder::new().config(&toml).stand_in(&stand_in).env("P", "right").start();
    let probes = |name: &str| {
        let calls = stand_in.events("call");
        calls.iter().filter(|call| call["op"] == "test" && call["vault"] == name).count()
    };
    let state = |name: &str| {
        let health = server.get("/health").json();
        let vaults = health["vaults"].as_array().unwrap().clone();
        vaults.iter().find(|vault| vault["name"] == name).unwrap()["state"].as_str().unwrap().to_owned()
    };
    wait_until("it is asked again and again", SOON, || probes("asked") >= 3);
    wait_until("its state is known", SOON, || state("asked") == "ok");
    assert_eq!((state("left").as_str(), state("never").as_str()), ("unknown", "unknown"));
    assert_eq!((probes("left"), probes("never")), (0, 0));
    assert_eq!(stand_in.calls("get"), 0, "no secret is read");
    let metrics = server.get("/metrics");
    let counted = "secretbridge_vault_calls_total{vault=\"asked\",action=\"probe\",outcome=\"ok\"}";
    assert!(metrics.text().contains(counted), "{}", metrics.text());
}
