//! A vault's state is what its last calls showed, in `/health`, `/metrics` and `/readyz` alike.

use serde_json::{Value, json};

use crate::support::server::{Builder, Server};
use crate::support::stand_in::StandIn;
use crate::support::{SOON, wait_until};

/// A server of one vault that answers once, and then does this.
fn after_one_success(what: &Value, more: &str) -> (Server, StandIn) {
    let rules: Vec<Value> =
        ["get", "set"].iter().map(|op| json!({ "op": op, "name": "bad", "do": what })).collect();
    let stand_in = StandIn::with(&json!({ "derived": true, "rules": rules }));
    let plan = format!(
        "listen = \"127.0.0.1:0\"\nauth.open = true\npool = {{ min = 1, max = 1 }}\n\
         limits = {{ deadline = \"3s\", write_grace = \"1s\" }}\n\
         [vaults.v]\nmodule = \"Some.Vault\"\nexpose = true\nverify = false\nprobe = false\n{more}\n"
    );
    let server = Builder::new().config(&plan).stand_in(&stand_in).env("PASSWORD", "right").start();
    assert_eq!(server.get("/vaults/v/secrets/good").status, 200);
    (server, stand_in)
}

fn fault(more: Value) -> Value {
    let mut fault = json!({ "id": "Odd", "kind": "System.Exception", "message": "odd" });
    fault.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "fault": fault })
}

#[track_caller]
fn vault(server: &Server) -> Value {
    server.get("/health").json()["vaults"][0].clone()
}

#[test]
fn a_vault_is_as_its_last_call_showed_and_well_again_after_the_next_that_does() {
    let locked = "Microsoft.PowerShell.SecretManagement.PasswordRequiredException";
    let throttled = json!({ "status": 429, "retry_after": 1 });
    for (what, method, state, status, code) in [
        (fault(json!({ "id": locked, "kind": locked })), "GET", "locked", 503, "locked"),
        (fault(throttled), "GET", "throttled", 503, "throttled"),
        (json!("hang"), "GET", "hung", 504, "deadline"),
        (fault(json!({ "disk_full": true })), "PUT", "disk_full", 502, "vault_failed"),
        (
            fault(json!({ "id": "NoLogin", "message": "Run Connect-AzAccount to login." })),
            "GET",
            "failing",
            502,
            "vault_failed",
        ),
    ] {
        let (server, _stand_in) = after_one_success(&what, "");
        let well = vault(&server);
        assert_eq!((&well["state"], well["failures"].as_u64()), (&json!("ok"), Some(0)), "{state}");
        let body: &[u8] = if method == "PUT" { b"v" } else { b"" };
        let answer = server.send(method, "/vaults/v/secrets/bad", &[("Content-Type", "text/plain")], body);
        assert_eq!(
            (answer.status, &answer.json()["error"]["code"]),
            (status, &json!(code)),
            "{state}: {}",
            answer.text()
        );
        let shown = vault(&server);
        assert_eq!(shown["state"], state, "{shown}");
        assert_eq!((&shown["last_error"]["code"], &shown["failures"]), (&json!(code), &json!(1)), "{shown}");
        assert!(shown["last_success"].is_string() && shown["last_error"]["at"].is_string(), "{shown}");
        let metrics = server.get("/metrics");
        let series = |name: &str, state: &str, value: u8| {
            let line = format!("secretbridge_{name}{{vault=\"v\"{state}}} {value}");
            assert!(metrics.text().contains(&line), "{line}\n{}", metrics.text());
        };
        series("vault_ok", "", 0);
        series("vault_state", &format!(",state=\"{state}\""), 1);
        series("vault_state", ",state=\"ok\"", 0);
        series("vault_locked", "", u8::from(state == "locked"));
        // Of one vault that is locked nothing can be read; with others that fail the next call may be well. The worker of
        // the one that hung is replaced first.
        match state {
            "locked" => assert_eq!(server.get("/readyz").status, 503),
            _ => wait_until("it is ready", SOON, || server.get("/readyz").status == 200),
        }
        wait_until("it is well again", SOON, || {
            server.get("/vaults/v/secrets/good").status == 200 && vault(&server)["state"] == "ok"
        });
        assert_eq!(server.get("/readyz").status, 200);
    }
}

#[test]
fn the_id_of_the_last_error_is_told_and_a_missing_secret_is_none() {
    let (server, _stand_in) = after_one_success(&fault(json!({ "id": "ModuleSaysNo" })), "");
    assert_eq!(server.get("/vaults/v/secrets/bad").status, 502);
    assert_eq!(vault(&server)["last_error"]["id"], "ModuleSaysNo");
    // That a secret is not there is an answer.
    let stand_in = StandIn::scenario("ok");
    let plan = "listen = \"127.0.0.1:0\"\nauth.open = true\npool = { min = 1, max = 1 }\n[vaults.v]\nmodule = \"Some.Vault\"\nexpose = true\n";
    let server = Builder::new().config(plan).stand_in(&stand_in).start();
    assert_eq!(server.get("/vaults/v/secrets/none").status, 404);
    assert_eq!(vault(&server)["state"], "ok");
}

#[test]
fn a_local_vault_whose_file_was_written_over_is_damaged() {
    let plan = "listen = \"127.0.0.1:0\"\nauth.open = true\n[vaults.v]\nlocal = true\nfolder = \"data\"\nexpose = true\n";
    let server = Builder::new().config(plan).start();
    assert_eq!(server.put("/vaults/v/secrets/k", "text/plain", "v").status, 204);
    std::fs::write(server.folder().join("data/vault.age"), "something else").unwrap();
    let answer = server.get("/vaults/v/secrets/k");
    assert!(answer.status >= 500 && answer.text().contains("vault.age"), "{}", answer.text());
    assert_eq!(vault(&server)["state"], "damaged", "{}", vault(&server));
    assert!(
        server.get("/metrics").text().contains("secretbridge_vault_state{vault=\"v\",state=\"damaged\"} 1")
    );
}
