//! The golden lines of `fixtures/protocol`, from the core's side. `tests/pwsh/Worker.Tests.ps1` reads
//! and writes the same files from the worker's.

use serde_json::json;

use super::*;
use crate::secret::{Bytes, Credential, Text};

const CORE: &str = include_str!("../../fixtures/protocol/core.jsonl");
const WORKER: &str = include_str!("../../fixtures/protocol/worker.jsonl");

/// Every character that is special in JSON, in lines, or in UTF-16.
const ODD: &str = "\u{0}\u{1f}\"\\/\u{8}\u{c}\n\r\t\u{7f}\u{85}\u{2028}\u{2029}é😀";

fn string(text: &str) -> SecretValue {
    SecretValue::string(text)
}

fn secure(text: &str) -> SecretValue {
    SecretValue::SecureString(text.into())
}

fn bytes(bytes: &[u8]) -> SecretValue {
    SecretValue::Bytes(Bytes::new(bytes))
}

fn table<const N: usize>(members: [(&str, SecretValue); N]) -> SecretValue {
    SecretValue::Hashtable(members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn credential(user: &str, password: &str) -> SecretValue {
    SecretValue::Credential(Credential { user: user.to_owned(), password: password.into() })
}

fn parameters(value: serde_json::Value) -> Parameters {
    match value {
        serde_json::Value::Object(map) => Parameters(map),
        other => panic!("{other} is no object"),
    }
}

fn set(value: SecretValue) -> Set {
    Set {
        vault: "store".to_owned(),
        name: "k".to_owned(),
        value,
        metadata: None,
        refresh: false,
        keep_metadata: false,
        metadata_only: false,
    }
}

fn get(name: &str, refresh: bool, detail: bool) -> Op {
    Op::Get(Get { vault: "store".to_owned(), name: name.to_owned(), refresh, detail })
}

fn remove(refresh: bool) -> Op {
    Op::Remove(Remove { vault: "store".to_owned(), name: "k".to_owned(), refresh })
}

fn unlock(password: Option<SecretValue>) -> Op {
    Op::Unlock(Unlock { vault: "store".to_owned(), password })
}

fn set_up_ops() -> Vec<Op> {
    let azure = json!({
        "AZKVaultName": "prod", "int": 42, "long": 5_000_000_000_i64, "double": 2.5, "flag": true,
        "nothing": null, "list": [1, "two", []], "Nested": { "Count": 0 },
    });
    let configured = json!({ "Authentication": "Password", "PasswordTimeout": 3600, "Interaction": "None" });
    vec![
        Op::Hello(Hello {
            protocol: PROTOCOL_VERSION,
            registry: "/run/user/1000/secretbridge/w1".to_owned(),
        }),
        Op::Init(Init { script: Some("Connect-AzAccount -Identity # 'quoted'\n".to_owned()), file: None }),
        Op::Init(Init { script: None, file: Some("/etc/secret bridge/it's.ps1".to_owned()) }),
        Op::Register(Register {
            vault: "azure".to_owned(),
            module: "Az.KeyVault".to_owned(),
            parameters: parameters(azure),
            new: false,
        }),
        Op::Register(Register {
            vault: "store".to_owned(),
            module: "Microsoft.PowerShell.SecretStore".to_owned(),
            parameters: Parameters::default(),
            new: true,
        }),
        Op::Unregister(VaultName { vault: "store".to_owned() }),
        Op::Configure(Configure { parameters: parameters(configured), password: Some(secure("pässword")) }),
        Op::Configure(Configure { parameters: Parameters::default(), password: None }),
        unlock(Some(string("p"))),
        unlock(None),
    ]
}

fn written_values() -> Vec<SecretValue> {
    vec![
        string(ODD),
        string(""),
        string("2026-11-23T10:00:00Z"),
        string(r#"{"a":[1]}"#),
        string("null"),
        secure(""),
        secure("s"),
        bytes(&[]),
        bytes(&[0]),
        bytes(&[0, 1, 2, 128, 255]),
        table([]),
        table([
            ("", string("no name")),
            ("Count", string("3")),
            ("b", bytes(&[1])),
            ("c", credential("u", "")),
            ("h", table([("x", string("y"))])),
            ("s", secure("z")),
        ]),
        credential("DOMAIN\\user", "p\"w"),
    ]
}

fn core_lines() -> Vec<CoreLine> {
    let metadata: Metadata = [
        ("d".to_owned(), MetadataValue::Date("2026-11-23T10:00:00.0000000Z".to_owned())),
        ("i".to_owned(), MetadataValue::Int(-7)),
        ("s".to_owned(), MetadataValue::String(String::new())),
    ]
    .into();
    let block = r#"{"block":1,"data":[null,{"deep":[[]]}]}"#;
    let mut ops = set_up_ops();
    ops.extend([get("db", false, false), get(ODD, true, true)]);
    ops.extend(written_values().into_iter().map(|value| Op::Set(set(value))));
    ops.extend([
        Op::Set(Set { metadata: Some(metadata), refresh: true, ..set(string("v")) }),
        Op::Set(Set { metadata: Some(Metadata::new()), metadata_only: true, ..set(string("v")) }),
        Op::Set(Set { refresh: true, keep_metadata: true, ..set(string("v")) }),
        remove(false),
        remove(true),
        Op::Info(Info { vault: "store".to_owned(), name: None, refresh: false }),
        Op::Info(Info { vault: "store".to_owned(), name: Some("a[1]*".to_owned()), refresh: true }),
        Op::Test(VaultName { vault: "store".to_owned() }),
        Op::Invoke(RawValue::from_string(block.to_owned()).expect("is JSON")),
        Op::Ping(Empty {}),
        Op::Shutdown(Empty {}),
    ]);
    let mut lines: Vec<CoreLine> =
        ops.into_iter().zip(1..).map(|(op, id)| CoreLine::Call(CallLine { id, op })).collect();
    let fault =
        Fault { id: "secret_not_found".to_owned(), message: "no secret 'x'".to_owned(), ..Fault::default() };
    let ok =
        serde_json::value::to_raw_value(&json!({ "value": { "t": "string", "v": "v" } })).expect("encodes");
    lines.push(CoreLine::Answer(AnswerLine { seq: 1, ok: Some(ok), fault: None }));
    lines.push(CoreLine::Answer(AnswerLine { seq: 2, ok: None, fault: Some(fault) }));
    lines
}

#[test]
fn the_core_writes_its_golden_lines_to_the_byte() {
    let golden: Vec<&str> = CORE.lines().collect();
    let lines = core_lines();
    assert_eq!(lines.len(), golden.len());
    for (line, golden) in lines.iter().zip(golden) {
        assert_eq!(serde_json::to_string(line).expect("encodes"), golden);
    }
}

#[test]
fn the_core_s_golden_lines_are_read_back_the_same() {
    for golden in CORE.lines() {
        let line: CoreLine = serde_json::from_str(golden).expect(golden);
        assert_eq!(serde_json::to_string(&line).expect("encodes"), golden);
    }
}

#[test]
fn every_worker_line_is_exactly_one_of_reply_ask_and_log() {
    for golden in WORKER.lines() {
        let line: WorkerLine = serde_json::from_str(golden).expect(golden);
        let set = [line.reply.is_some(), line.ask.is_some(), line.log.is_some()];
        assert_eq!(set.iter().filter(|set| **set).count(), 1, "{golden}");
        if let Some(reply) = line.reply {
            assert!(reply.ok.is_some() != reply.fault.is_some(), "{golden}");
        }
    }
}

/// The reply with this id, its `ok` as the type of its call.
fn ok<T: serde::de::DeserializeOwned>(id: u64) -> T {
    let reply = reply(id);
    serde_json::from_str(reply.ok.expect("an ok").get()).expect("is the call's type")
}

fn reply(id: u64) -> ReplyLine {
    WORKER
        .lines()
        .filter_map(|line| serde_json::from_str::<WorkerLine>(line).expect(line).reply)
        .find(|reply| reply.id == id)
        .expect("there is such a reply")
}

#[test]
fn replies_to_set_up_calls_are_read() {
    let hello: HelloReply = ok(1);
    assert_eq!((hello.protocol, hello.pid, hello.guarded), (PROTOCOL_VERSION, 4711, true));
    assert_eq!(hello.secret_management.as_deref(), Some("1.1.2"));
    assert_eq!(ok::<HelloReply>(2).secret_management, None);
    let Empty {} = ok(3);
    let register: RegisterReply = ok(4);
    assert_eq!((register.module.as_str(), register.metadata), ("Az.KeyVault", false));
    let store =
        StoreReply { authentication: Some("Password".to_owned()), password_timeout: Some(-1), written: true };
    assert_eq!(ok::<StoreReply>(5), store);
    assert_eq!(ok::<StoreReply>(6), StoreReply::default());
    assert_eq!(ok::<PingReply>(7).heap, 9_634_048);
}

#[test]
fn values_arrive_as_the_worker_sent_them() {
    let expected = [
        string(ODD),
        string(""),
        string("2026-11-23T10:00:00Z"),
        secure("s"),
        bytes(&[]),
        bytes(&[0, 1, 2, 128, 255]),
        table([
            ("", string("no name")),
            ("Count", string("3")),
            ("b", bytes(&[1])),
            ("n", table([("x", secure("y"))])),
        ]),
        credential("DOMAIN\\user", "p\"w"),
    ];
    for (expected, id) in expected.into_iter().zip(8..) {
        let got: GetReply = ok(id);
        assert!(got.value == expected, "reply {id}");
        assert!(got.metadata.is_empty());
    }
}

#[test]
fn listings_arrive_with_types_and_metadata() {
    let listing: InfoReply = ok(16);
    let names: Vec<&str> = listing.secrets.iter().map(|info| info.name.as_str()).collect();
    assert_eq!(names, ["a[1]*", "é"]);
    assert_eq!(listing.secrets[0].kind, SecretType::String);
    assert_eq!(listing.secrets[1].kind, SecretType::Unknown);
    assert_eq!(listing.secrets[0].metadata["i"], MetadataValue::Int(-7));
    let date = MetadataValue::Date("2026-11-23T10:00:00.0000000Z".to_owned());
    assert_eq!(listing.secrets[0].metadata["d"], date);
    assert!(ok::<InfoReply>(17).secrets.is_empty());
}

#[test]
fn faults_arrive_with_inner_and_further_errors() {
    let fault = |id| reply(id).fault.expect("a fault");
    assert_eq!(fault(18).id, "ProtocolMismatch");
    assert_eq!(fault(19).target.as_deref(), Some("nope"));
    let unlock = fault(20);
    assert_eq!(unlock.id, "SecretStoreUnlockFailed");
    assert_eq!(unlock.kind, "System.Security.Authentication.AuthenticationException");
    assert_eq!(unlock.inner[0].kind, "System.IO.IOException");
    assert_eq!(unlock.more[0].id, "GetSecretNotFound");
}

#[test]
fn asks_and_log_lines_are_read() {
    let lines: Vec<WorkerLine> = WORKER.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let asks: Vec<&AskLine> = lines.iter().filter_map(|line| line.ask.as_ref()).collect();
    let what: serde_json::Value = serde_json::from_str(asks[0].what.get()).expect("is JSON");
    assert_eq!((asks[0].seq, what["read"]["key"].as_str()), (1, Some(ODD)));
    let levels: Vec<LogLevel> =
        lines.iter().filter_map(|line| line.log.as_ref()).map(|log| log.level).collect();
    use LogLevel::{Debug, Error, Information, Verbose, Warning};
    assert_eq!(levels, [Error, Warning, Information, Verbose, Debug]);
}

#[test]
fn debug_of_a_call_shows_no_value() {
    let secret = Text::from("canary-7d1f");
    let password = Some(SecretValue::SecureString(secret.clone()));
    let parameters = parameters(json!({ "Token": "canary-7d1f" }));
    let set = set(SecretValue::String(secret));
    let unlock = Unlock { vault: "v".to_owned(), password: password.clone() };
    let register = Register {
        vault: "v".to_owned(),
        module: "m".to_owned(),
        parameters: parameters.clone(),
        new: false,
    };
    let configure = Configure { parameters, password };
    let shown = format!("{set:?} {unlock:?} {register:?} {configure:?}");
    assert!(shown.contains("Token") && !shown.contains("canary"), "{shown}");
}

#[test]
fn a_fault_tells_its_cause_where_the_message_does_not() {
    let inner = |messages: &[&str]| {
        messages.iter().map(|text| InnerFault { kind: "k".into(), message: (*text).into() }).collect()
    };
    let fault = |message: &str, causes: &[&str]| Fault {
        id: "Id".into(),
        message: message.into(),
        inner: inner(causes),
        ..Fault::default()
    };
    for (fault, expected) in [
        (fault("no", &[]), "no (Id)"),
        (fault("Unable to get k", &["wrapped", "log in first"]), "Unable to get k (Id): log in first"),
        (fault("failed: log in first", &["log in first"]), "failed: log in first (Id)"),
        (fault("no", &[" "]), "no (Id)"),
    ] {
        assert_eq!(fault.to_string(), expected);
    }
}

#[test]
fn texts_are_starred_out_of_all_that_people_read() {
    let mut fault = Fault {
        id: "secret-token".into(),
        message: "bad secret-token".into(),
        target: Some("secret-token".into()),
        inner: vec![InnerFault { kind: "k".into(), message: "a secret-token, an abc".into() }],
        more: vec![Fault { message: "secret-token!".into(), ..Fault::default() }],
        ..Fault::default()
    };
    fault.hide(&["secret-token", "abc"]);
    assert_eq!(fault.message, "bad ***");
    assert_eq!(fault.target.as_deref(), Some("***"));
    assert_eq!(fault.inner[0].message, "a ***, an abc", "what is short stays");
    assert_eq!(fault.more[0].message, "***!");
    assert_eq!(fault.id, "secret-token", "the core decides by it");
}
