//! The log: JSON from its first byte to its last, a file that is opened anew, and how a worker ended.

use std::fs;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::need_pwsh;
use crate::support::server::{Builder, Server};
use crate::support::stand_in::StandIn;
use crate::support::{SOON, free_port, wait_until};

const PLAN: &str = "listen = \"127.0.0.1:0\"\nauth.open = true\npool = { min = 1, max = 1 }\n\
    [vaults.store]\nmodule = \"Some.Vault\"\nexpose = true\n";

/// All that was written, each line of which is an object of plain texts.
#[track_caller]
fn objects(server: &Server) -> Vec<Value> {
    let text = server.stderr();
    assert!(text.ends_with('\n'), "{text}");
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}")))
        .collect()
}

fn said(server: &Server, word: &str) -> bool {
    server.stderr().contains(word)
}

#[test]
fn the_log_of_a_server_is_json_from_first_to_last_and_its_fields_are_plain() {
    let fault = json!({ "fault": { "id": "Odd", "kind": "System.Exception", "message": "odd" } });
    let stand_in = StandIn::with(&json!({ "derived": true, "rules": [
        { "op": "get", "name": "bad", "do": fault },
        { "op": "get", "name": "end", "nth": 1, "across": true, "do": { "exit": { "code": 3 } } },
    ] }));
    let mut server = Builder::new().stand_in(&stand_in).config(PLAN).first(["--log-format", "json"]).start();
    for key in ["good", "bad", "end"] {
        server.get(&format!("/vaults/store/secrets/{key}"));
    }
    server.signal(Signal::USR1);
    wait_until("the state is told", SOON, || said(&server, "as SIGUSR1 asked"));
    server.signal(Signal::HUP);
    wait_until("the reload is done", SOON, || said(&server, "the reload is done"));
    assert!(server.stop(SOON).success());
    wait_until("all is written", SOON, || said(&server, "stopping"));
    let all = objects(&server);
    assert!(server.stdout().is_empty(), "{}", server.stdout());
    // A filter for the vault's name finds it: `"store"`, and not `"\"store\""`.
    let of_vault = |line: &&Value| line["vault"] == "store";
    assert!(all.iter().any(|line| of_vault(&line)), "{all:?}");
    for line in &all {
        for (name, value) in line.as_object().unwrap() {
            // The state is JSON in a text, which begins as an object.
            let is_quoted =
                value.as_str().is_some_and(|text| text.starts_with('"') || text.starts_with("Some("));
            assert!(!is_quoted, "{name}: {value}");
        }
    }
}

#[test]
fn the_log_of_a_script_is_json_from_first_to_last() {
    let pwsh = need_pwsh!();
    let builder = Builder::new().pwsh(pwsh);
    let text = format!(
        "Write-Host 'said by the script'
         Start-PodeServer {{
            Add-PodeEndpoint -Address localhost -Port {} -Protocol Http
            Add-PodeRoute -Method Get -Path /throws -ScriptBlock {{ throw 'boom' }}
            Add-PodeRoute -Method Get -Path /ends -ScriptBlock {{ [Environment]::Exit(7) }}
        }}",
        free_port()
    );
    let script = builder.file("server.ps1", text);
    let mut server = builder.args(["--log-format", "json", "run"]).arg(script).start();
    for path in ["/throws", "/ends"] {
        assert!(server.get(path).status >= 500, "{path}");
    }
    // How it ended, in so many words.
    wait_until("the worker's end is told", SOON, || said(&server, "exit status: 7"));
    server.signal(Signal::USR1);
    wait_until("the state is told", SOON, || said(&server, "as SIGUSR1 asked"));
    server.signal(Signal::HUP);
    wait_until("the reload is done", SOON, || said(&server, "the reload is done"));
    assert!(server.stop(SOON * 2).success());
    wait_until("the end is written", SOON, || server.stderr().ends_with('\n'));
    let all = objects(&server);
    assert!(
        all.iter()
            .any(|line| line["message"].as_str().is_some_and(|text| text.contains("said by the script")))
    );
}

#[test]
fn a_log_file_that_was_renamed_is_opened_anew_at_a_hangup() {
    let stand_in = StandIn::scenario("ok");
    let builder = Builder::new().stand_in(&stand_in);
    let (log, old) = (builder.folder().join("log"), builder.folder().join("log.1"));
    let server = builder.config(PLAN).arg("--log-file").arg(&log).start();
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    fs::rename(&log, &old).unwrap();
    server.signal(Signal::HUP);
    wait_until("it is there again", SOON, || read(&log).contains("the reload is done"));
    let before = read(&old);
    server.signal(Signal::USR1);
    wait_until("the state is told", SOON, || read(&log).contains("as SIGUSR1 asked"));
    assert_eq!(read(&old), before, "nothing goes to the old one");
    assert!(!said(&server, "the reload is done"), "and nothing to standard error");
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn how_a_worker_ended_is_told_with_its_code_or_signal_and_its_last_words() {
    for (what, told) in [
        (json!({ "exit": { "code": 3 } }), "exit status: 3, and wrote last: "),
        (json!("crash"), "signal: 9 (SIGKILL), and wrote last: "),
    ] {
        let words = json!({ "op": "get", "name": "k", "nth": 1, "across": true, "do": { "stderr": { "bytes": 40 } } });
        let end = json!({ "op": "get", "name": "k", "nth": 1, "across": true, "do": what });
        let stand_in = StandIn::with(&json!({ "derived": true, "rules": [words, end] }));
        let server = Builder::new().stand_in(&stand_in).config(PLAN).start();
        assert_eq!(server.get("/vaults/store/secrets/k").status, 200, "another one reads it");
        wait_until("its end is told", SOON, || said(&server, told));
    }
}
