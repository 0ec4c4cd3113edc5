//! The stand-in itself: a test that relies on it relies on these.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::thread;

use secretbridge::inside::protocol::PROTOCOL_VERSION;
use serde_json::{Value, json};

use crate::support::stand_in::{StandIn, derived};
use crate::support::{SOON, fixture, wait_until};

const STORE_MODULE: &str = "Microsoft.PowerShell.SecretStore";

/// One stand-in, driven as the core does.
struct Driven {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    last_id: u64,
}

impl Driven {
    fn start(stand_in: &StandIn) -> Driven {
        let mut command = stand_in.command();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the stand-in starts");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        Driven { child, input, output, last_id: 0 }
    }

    /// One that has greeted and registered the vault `v`, on a module of its own.
    fn ready(stand_in: &StandIn) -> Driven {
        let mut worker = Driven::start(stand_in);
        worker.ok(json!({ "hello": { "protocol": PROTOCOL_VERSION, "registry": "/nowhere" } }));
        worker.ok(json!({ "register": { "vault": "v", "module": "My.Vault", "parameters": {} } }));
        worker
    }

    fn send(&mut self, op: Value) -> u64 {
        self.last_id += 1;
        let line = json!({ "call": { "id": self.last_id, "op": op } });
        let input = self.input.as_mut().expect("not closed yet");
        input.write_all(format!("{line}\n").as_bytes()).expect("the stand-in reads");
        self.last_id
    }

    /// The next line, without its end; nothing at the end of the stream.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        (self.output.read_line(&mut line).expect("UTF-8") > 0).then_some(line)
    }

    fn reply(&mut self) -> Value {
        let line = self.line().expect("the stand-in answers");
        serde_json::from_str::<Value>(&line).expect("a line of the protocol")["reply"].take()
    }

    fn call(&mut self, op: Value) -> Value {
        let id = self.send(op);
        let reply = self.reply();
        assert_eq!(reply["id"], id);
        reply
    }

    #[track_caller]
    fn ok(&mut self, op: Value) -> Value {
        let mut reply = self.call(op);
        assert!(reply["fault"].is_null(), "{reply}");
        reply["ok"].take()
    }

    #[track_caller]
    fn fault(&mut self, op: Value) -> String {
        let reply = self.call(op);
        reply["fault"]["id"].as_str().unwrap_or_else(|| panic!("no fault: {reply}")).to_owned()
    }

    #[track_caller]
    fn text(&mut self, name: &str) -> String {
        self.ok(get(name))["value"]["v"].as_str().expect("text").to_owned()
    }

    /// Closes its input and waits for its end.
    fn close(&mut self) -> Option<i32> {
        self.input = None;
        self.child.wait().expect("ours").code()
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn get(name: &str) -> Value {
    json!({ "get": { "vault": "v", "name": name } })
}

fn set(name: &str, text: &str) -> Value {
    json!({ "set": { "vault": "v", "name": name, "value": { "t": "string", "v": text } } })
}

/// Ends the input after a get that follows so many good ones: the last call's id, and all that comes after it.
fn after_gets(scenario: &str, good: usize) -> (u64, String) {
    let stand_in = StandIn::scenario(scenario);
    let mut worker = Driven::ready(&stand_in);
    for _ in 0..good {
        assert_eq!(worker.text("one"), derived("v", "one"));
    }
    let id = worker.send(get("two"));
    worker.input = None;
    let mut rest = String::new();
    worker.output.read_to_string(&mut rest).expect("UTF-8");
    (id, rest)
}

#[test]
fn it_says_its_version_as_pwsh_does() {
    for (scenario, version) in [("ok", "PowerShell 7.4.6\n"), ("pwsh-too-old", "PowerShell 7.2.0\n")] {
        let output = StandIn::scenario(scenario).command().arg("--version").output().expect("it runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout), version);
    }
}

#[test]
fn every_scenario_file_is_one_that_it_understands() {
    let mut seen = 0;
    for entry in fs::read_dir(fixture("scenarios")).expect("the folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name").to_owned();
        let output = StandIn::scenario(&name).command().arg("--version").output().expect("it runs");
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        seen += 1;
    }
    assert!(seen > 15);
}

#[test]
fn a_scenario_with_a_mistake_is_refused() {
    let stand_in = StandIn::with(&json!({ "rules": [{ "opp": "get", "do": "hang" }] }));
    let output = stand_in.command().arg("--version").output().expect("it runs");
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("opp"));
}

#[test]
fn it_does_what_a_worker_does() {
    let stand_in = StandIn::scenario("ok");
    let mut worker = Driven::ready(&stand_in);
    assert_eq!(worker.fault(get("K")), "GetSecretNotFound");
    assert_eq!(worker.fault(json!({ "get": { "vault": "other", "name": "K" } })), "GetSecretVaultNotFound");
    worker.ok(set("K", "first"));
    let metadata = json!({ "m": { "t": "int", "v": 1 } });
    worker.ok(json!({ "set": {
        "vault": "V", "name": "k", "value": { "t": "securestring", "v": "second" }, "metadata": metadata,
    } }));
    let got = worker.ok(json!({ "get": { "vault": "v", "name": "k", "detail": true } }));
    assert_eq!(got, json!({ "value": { "t": "securestring", "v": "second" }, "metadata": metadata }));
    let listed = worker.ok(json!({ "info": { "vault": "v" } }));
    assert_eq!(listed, json!({ "secrets": [{ "name": "K", "type": "SecureString", "metadata": metadata }] }));
    worker.ok(json!({ "remove": { "vault": "v", "name": "K" } }));
    assert_eq!(
        worker.fault(json!({ "remove": { "vault": "v", "name": "K" } })),
        "SecretStoreRemoveSecretFailed"
    );
    worker.ok(json!({ "unregister": { "vault": "v" } }));
    worker.ok(json!({ "shutdown": {} }));
    assert_eq!(worker.child.wait().expect("ours").code(), Some(0));
}

#[test]
fn metadata_stays_only_if_it_is_asked_to() {
    let stand_in = StandIn::scenario("ok");
    let mut worker = Driven::ready(&stand_in);
    let metadata = json!({ "m": { "t": "string", "v": "x" } });
    let value = json!({ "t": "string", "v": "a" });
    worker.ok(json!({ "set": { "vault": "v", "name": "k", "value": value, "metadata": metadata } }));
    let mut after = |op: Value| {
        worker.ok(op);
        worker.ok(json!({ "get": { "vault": "v", "name": "k", "detail": true } }))["metadata"].take()
    };
    let keep = json!({ "set": { "vault": "v", "name": "k", "value": value, "keep_metadata": true } });
    assert_eq!(after(keep), metadata);
    assert_eq!(after(set("k", "b")), json!({}));
}

#[test]
fn workers_share_a_store_and_the_log_counts_their_calls() {
    let stand_in = StandIn::scenario("ok");
    let (mut one, mut two) = (Driven::ready(&stand_in), Driven::ready(&stand_in));
    one.ok(set("k", "canary-17"));
    assert_eq!(two.text("K"), "canary-17");
    assert_eq!(stand_in.stored("v", "k").as_deref(), Some("canary-17"));
    assert_eq!((stand_in.calls("set"), stand_in.calls("get"), stand_in.done("get", "K")), (1, 1, 1));
    assert_eq!(stand_in.workers(), [one.child.id(), two.child.id()]);
    assert_eq!(stand_in.events("start")[1]["worker"], 2);
    assert!(!fs::read_to_string(stand_in.path("log.jsonl")).expect("a log").contains("canary"));
}

#[test]
fn all_vaults_of_secret_store_are_one_store() {
    let stand_in = StandIn::scenario("ok");
    let mut worker = Driven::ready(&stand_in);
    for vault in ["a", "b"] {
        worker.ok(json!({ "register": { "vault": vault, "module": STORE_MODULE, "parameters": {} } }));
    }
    worker.ok(json!({ "set": { "vault": "a", "name": "k", "value": { "t": "string", "v": "x" } } }));
    assert_eq!(worker.ok(json!({ "get": { "vault": "b", "name": "k" } }))["value"]["v"], "x");
    assert_eq!(worker.fault(get("k")), "GetSecretNotFound");
    assert_eq!(stand_in.stored("secretstore", "k").as_deref(), Some("x"));
}

#[test]
fn writers_at_once_lose_nothing() {
    let stand_in = StandIn::scenario("ok");
    thread::scope(|scope| {
        for writer in 0..4 {
            let stand_in = &stand_in;
            scope.spawn(move || {
                let mut worker = Driven::ready(stand_in);
                for n in 0..10 {
                    worker.ok(set(&format!("k{writer}-{n}"), "x"));
                }
            });
        }
    });
    let all = Driven::ready(&stand_in).ok(json!({ "info": { "vault": "v" } }));
    assert_eq!(all["secrets"].as_array().map(Vec::len), Some(40));
}

#[test]
fn a_vault_with_a_password_is_locked_until_it_is_told() {
    let stand_in = StandIn::scenario("unlock-expires");
    let mut worker = Driven::ready(&stand_in);
    let required = "Microsoft.PowerShell.SecretManagement.PasswordRequiredException";
    let unlock =
        |text: &str| json!({ "unlock": { "vault": "v", "password": { "t": "securestring", "v": text } } });
    assert_eq!(worker.fault(get("k")), required);
    assert_eq!(worker.fault(json!({ "unlock": { "vault": "v" } })), "NoRememberedPassword");
    assert_eq!(worker.fault(unlock("wrong")), "SecretStoreUnlockFailed");
    assert_eq!(worker.ok(unlock("open sesame"))["password_timeout"], 900);
    assert_eq!(worker.text("k"), derived("v", "k"));
    assert_eq!(worker.fault(get("k")), required, "the scenario locks it in the third get");
    worker.ok(json!({ "unlock": { "vault": "v" } }));
    assert_eq!(worker.text("k"), derived("v", "k"));
}

#[test]
fn stale_copies_lose_what_others_wrote_until_they_refresh() {
    let stand_in = StandIn::scenario("stale-copies");
    let unlock = json!({ "unlock": { "vault": "v", "password": { "t": "string", "v": "open sesame" } } });
    let (mut one, mut two) = (Driven::ready(&stand_in), Driven::ready(&stand_in));
    one.ok(unlock.clone());
    two.ok(unlock);
    one.ok(set("a", "1"));
    assert_eq!(two.fault(get("a")), "GetSecretNotFound");
    two.ok(set("b", "2"));
    assert_eq!(stand_in.stored("v", "a"), None, "two wrote its whole copy back");
    one.ok(json!({ "set": {
        "vault": "v", "name": "a", "value": { "t": "string", "v": "3" }, "refresh": true,
    } }));
    assert_eq!((stand_in.stored("v", "a"), stand_in.stored("v", "b")), (Some("3".into()), Some("2".into())));
}

#[test]
fn a_controlled_get_has_read_before_it_is_let_go() {
    let stand_in = StandIn::with(&json!({ "rules": [
        { "op": "get", "name": "k", "nth": 1, "across": true, "at": "after",
          "do": { "wait_for_file": { "path": "go" } } },
    ] }));
    let (mut loads, mut writes) = (Driven::ready(&stand_in), Driven::ready(&stand_in));
    writes.ok(set("k", "old"));
    loads.send(get("k"));
    wait_until("the load has read", SOON, || stand_in.done("get", "k") == 1);
    writes.ok(set("k", "new"));
    stand_in.release("go");
    assert_eq!(loads.reply()["ok"]["value"]["v"], "old");
    assert_eq!(loads.text("k"), "new");
}

#[test]
fn a_death_in_mid_overwrite_leaves_neither_value() {
    let stand_in = StandIn::scenario("crash-in-overwrite");
    let mut worker = Driven::ready(&stand_in);
    worker.ok(set("k", "old"));
    worker.send(set("k", "new"));
    assert_eq!(worker.line(), None);
    assert_eq!(worker.child.wait().expect("ours").code(), None, "a signal killed it");
    assert_eq!(stand_in.stored("v", "k"), None);
    let mut next = Driven::ready(&stand_in);
    next.ok(set("k", "again"));
    next.ok(set("k", "and again"));
}

#[test]
fn a_worker_dies_on_its_nth_call_and_so_does_the_next() {
    let stand_in = StandIn::scenario("crash-on-nth");
    for _ in 0..2 {
        let mut worker = Driven::ready(&stand_in);
        worker.text("a");
        worker.text("b");
        worker.send(get("c"));
        assert_eq!(worker.line(), None);
    }
    assert_eq!((stand_in.events("crash").len(), stand_in.done("get", "c")), (2, 0));
}

#[test]
fn a_start_may_fail_for_all_or_for_the_first_alone() {
    for (scenario, codes) in
        [("exits-at-start", [Some(3), Some(3)]), ("first-exits-at-start", [Some(3), Some(0)])]
    {
        let stand_in = StandIn::scenario(scenario);
        assert_eq!(codes.map(|_| Driven::start(&stand_in).close()), codes, "{scenario}");
    }
}

#[test]
fn a_worker_that_hangs_stays_when_its_input_ends() {
    for scenario in ["hangs-at-start", "ignores-eof"] {
        let stand_in = StandIn::scenario(scenario);
        let mut worker = Driven::start(&stand_in);
        worker.input = None;
        wait_until("the end of input is seen or ignored", SOON, || {
            stand_in.log().iter().any(|line| line["event"] == "eof" || line["event"] == "hang")
        });
        assert!(worker.child.try_wait().expect("ours").is_none(), "{scenario}");
    }
}

#[test]
fn spoilt_replies_are_spoilt_as_their_names_say() {
    let (id, rest) = after_gets("wrong-id", 1);
    let reply: Value = serde_json::from_str(&rest).expect("one line");
    assert_eq!(reply["reply"]["id"], id + 1);
    assert_ne!(reply["reply"]["ok"]["value"]["v"], derived("v", "two"));

    let (_, rest) = after_gets("duplicate-reply", 1);
    let lines: Vec<&str> = rest.lines().collect();
    assert_eq!((lines.len(), lines.iter().collect::<HashSet<_>>().len()), (2, 1));

    let (_, rest) = after_gets("half-line", 1);
    assert!(rest.starts_with("{\"reply\":") && !rest.ends_with('\n'), "{rest}");

    let (_, rest) = after_gets("not-json", 1);
    assert!(rest.ends_with('\n') && serde_json::from_str::<Value>(&rest).is_err(), "{rest}");

    let (_, rest) = after_gets("huge-line", 1);
    assert_eq!(
        rest.len(),
        secretbridge::inside::protocol::MAX_LINE + 2,
        "one byte too many, and the line's end"
    );
}

#[test]
fn noise_and_pieces_come_with_a_good_reply() {
    let (id, rest) = after_gets("noise-on-stdout", 0);
    let lines: Vec<&str> = rest.lines().collect();
    assert_eq!(lines.len(), 4);
    let reply: Value = serde_json::from_str(lines[3]).expect("the reply comes last");
    assert_eq!(reply["reply"]["id"], id);

    let (_, rest) = after_gets("split-line", 1);
    let reply: Value = serde_json::from_str(&rest).expect("one line");
    assert_eq!(reply["reply"]["ok"]["value"]["v"], derived("v", "two"));
}

#[test]
fn a_late_reply_comes_with_the_next_call() {
    let stand_in = StandIn::scenario("late-reply");
    let mut worker = Driven::ready(&stand_in);
    let first = worker.send(get("one"));
    let second = worker.send(get("two"));
    let (late, next) = (worker.reply(), worker.reply());
    assert_eq!((&late["id"], &next["id"]), (&json!(first), &json!(second)));
    assert_eq!(late["ok"]["value"]["v"], derived("v", "one"));
}

#[test]
fn a_lying_vault_is_believed_by_the_protocol() {
    let stand_in = StandIn::scenario("lying-vault");
    let mut worker = Driven::ready(&stand_in);
    assert_eq!(worker.text("k1"), derived("v", "k2"));
    assert_eq!(worker.text("k3"), derived("v", "k3"));
}

#[test]
fn an_old_worker_greets_with_its_own_version() {
    let stand_in = StandIn::scenario("old-protocol");
    let mut worker = Driven::start(&stand_in);
    let hello = worker.ok(json!({ "hello": { "protocol": PROTOCOL_VERSION, "registry": "/nowhere" } }));
    assert_eq!(hello["protocol"], 0);
}

#[test]
fn dice_fall_alike_for_the_same_seed_and_differ_between_workers() {
    let scenario = json!({ "seed": 7, "derived": true, "rules": [
        { "op": "get", "chance": 0.5, "do": { "fault": { "id": "Dice" } } },
    ] });
    let throws = |worker: &mut Driven| -> Vec<bool> {
        (0..40).map(|_| worker.call(get("k"))["fault"].is_null()).collect()
    };
    let both = || {
        let stand_in = StandIn::with(&scenario);
        let (mut one, mut two) = (Driven::ready(&stand_in), Driven::ready(&stand_in));
        (throws(&mut one), throws(&mut two))
    };
    let (one, two) = both();
    assert_ne!(one, two);
    assert!(one.contains(&true) && one.contains(&false));
    assert_eq!(both(), (one, two));
}
