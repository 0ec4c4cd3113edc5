//! The golden lines of script mode, from the core's side. `tests/pwsh/Pode.Protocol.Tests.ps1` holds the worker to the
//! same two files: one conversation, in which answer N is the answer to ask N.

use serde::de::DeserializeOwned;
use serde_json::json;

use super::ask::LookBy;
use super::call::{
    CustomCall, CustomInvoke, CustomReply, Load, Member, MergeReply, NumberedBlock, PlanCall, PlanReply,
    RouteCall, RouteReply, SetVariable, WebEvent, WebEventEndpoint, WebEventRoute,
};
use super::shape::{Block, ChangedObject, Function, Variable, VaultType};
use super::*;
use crate::plan::BlockKind;
use crate::protocol::{AnswerLine, CallLine, CoreLine, MetadataValue, WorkerLine};
use crate::secret::{Bytes, SecretType, SecretValue, Text};

const CORE: &str = include_str!("../../../fixtures/protocol/script-core.jsonl");
const WORKER: &str = include_str!("../../../fixtures/protocol/script-worker.jsonl");

fn portable(value: serde_json::Value) -> Portable {
    serde_json::from_value(value).unwrap()
}

fn string(text: &str) -> Portable {
    Portable::from(&SecretValue::string(text))
}

fn block(text: &str, line: u32) -> Block {
    Block { text: text.into(), file: Some("/srv/app/server.ps1".into()), line, using: Vec::new() }
}

fn given(id: Id, version: u64, value: Option<&str>) -> GivenObject {
    GivenObject { id, version, value: value.map(Text::from) }
}

fn vault(name: &str, kind: VaultType) -> VaultShown {
    VaultShown {
        name: name.into(),
        kind,
        module: None,
        vault_name: None,
        auto_imported: false,
        interval: 0,
        cache_ttl: 0,
        unlock: false,
        expiry: None,
        table: None,
    }
}

/// What the core says to each ask, in the order in which the worker asks.
fn answers() -> Vec<AskReply> {
    let done = AskReply::done;
    let value = |value| AskReply::Value { value, expand: None, property: None };
    let object = |id| AskReply::Object { id: Some(id), version: Some(1) };
    let real = || VaultShown {
        module: Some("My.Vault".into()),
        vault_name: Some("Real".into()),
        interval: 5,
        cache_ttl: 1,
        unlock: true,
        expiry: Some("2026-11-23T10:00:00.0000000Z".into()),
        table: Some(1),
        ..vault("mine", VaultType::SecretManagement)
    };
    let login = |name: &str| Some((name.to_owned(), SecretValue::string("in")));
    let members = SecretValue::Hashtable(login("User").into_iter().collect());
    let clixml =
        "<Objs Version=\"1.1.0.1\" xmlns=\"http://schemas.microsoft.com/powershell/2004/04\"><Nil /></Objs>";
    vec![
        done(),                                    // server
        done(),                                    // variable-add
        done(),                                    // function-add
        done(),                                    // endpoint-add
        object(1),                                 // shared-add
        done(),                                    // vault-add, a module
        object(2),                                 // shared-add
        done(),                                    // vault-add, blocks
        AskReply::Vaults { vaults: vec![real()] }, // vault-get
        AskReply::Shared(given(1, 1, None)),       // shared-get
        AskReply::Vaults { vaults: Vec::new() },   // vault-get
        done(),                                    // vault-unlock
        done(),                                    // vault-export
        done(),                                    // mount
        done(),                                    // mount
        AskReply::Mounted { mounted: true },       // mount-test
        value(string("a \"value\" é")),            // secret-get
        AskReply::Value {
            value: Portable::from(&members),
            expand: None,
            property: Some(vec!["User".into()]),
        },
        done(), // secret-set
        AskReply::Value {
            value: portable(json!({ "t": "clixml", "v": clixml })),
            expand: Some("A".into()),
            property: None,
        },
        done(),                                    // set
        done(),                                    // remove
        done(),                                    // dismount
        AskReply::Vaults { vaults: vec![real()] }, // vault-get, by registry
        AskReply::Secrets {
            secrets: vec![SecretInfo {
                name: "k".into(),
                kind: SecretType::String,
                metadata: [("Owner".to_owned(), MetadataValue::String("me".into()))].into(),
            }],
        },
        done(),    // state-set, a value
        object(3), // state-set, an object
        AskReply::State {
            found: true,
            value: portable(json!({ "t": "int", "v": 5 })),
            scope: vec!["s".into()],
        },
        AskReply::Names { names: vec!["list".into(), "n".into()] },
        done(), // state-remove
        AskReply::State { found: false, value: Portable::null(), scope: Vec::new() },
        AskReply::Locked { locked: true },
        AskReply::Shared(given(1, 1, None)), // shared-get, once a lock is had
        AskReply::Shared(given(2, 1, None)),
        AskReply::Shared(given(3, 1, None)),
        done(),                                          // unlock
        done(),                                          // route-add
        done(),                                          // route-add, lifted
        done(),                                          // route-add, lifted
        done(),                                          // route-remove
        AskReply::Exists { exists: true },               // route-test
        done(),                                          // logging
        done(),                                          // log
        AskReply::Object { id: Some(3), version: None }, // shared-add, one that is to stay
        done(),                                          // mount
        done(),                                          // vault-remove
        done(),                                          // module-add
        AskReply::State { found: true, value: Portable::of_shared(3), scope: Vec::new() },
        AskReply::Shared(given(3, 1, Some("[\"table\",\"hashtable\",\"A\",1]"))),
        AskReply::Shared(given(3, 2, None)), // shared-set, taken
        done(),                              // close
        done(),                              // trust, of a file that only the script can name
        done(),                              // server, of the check
        done(),                              // variable-add, a stand-in for a parameter
    ]
}

fn event() -> WebEvent {
    WebEvent {
        method: "post".into(),
        path: "/a/7".into(),
        query: "q=1".into(),
        parameters: [("id".to_owned(), json!("7"))].into_iter().collect(),
        headers: vec![
            ("Host".into(), "localhost".into()),
            ("Content-Type".into(), "application/json".into()),
        ],
        body: Bytes::new("{\"Value\":\"v\"}"),
        endpoint: WebEventEndpoint { protocol: "http", address: "localhost".into(), name: "web".into() },
        route: WebEventRoute {
            path: "/a/:id".into(),
            method: "POST".into(),
            content_type: Some("application/json".into()),
            error_content_type: None,
        },
        context: "c1".into(),
        remote: "127.0.0.1:5".into(),
        version: "1.1",
        timestamp: "2026-11-24T00:00:00.0000000Z".into(),
    }
}

/// Every call, with all its fields somewhere.
fn calls() -> Vec<CoreLine> {
    let mut ops = Vec::new();
    let mut push = |invoke: Invoke<'_>| ops.push(invoke.op().unwrap());
    let arguments = ["-Word".to_owned(), "x".to_owned()];
    push(Invoke::Plan(PlanCall { script: "/srv/app/server.ps1", arguments: &arguments, check: false }));
    let blocks = [
        block(
            "param($n) $list = Get-PodeState -Name list; $list.A += $n; Write-PodeJsonResponse @{ A = $list.A }",
            30,
        ),
        block("Close-PodeServer; throw 'no good'", 40),
        block("param($c, $key, $more) $c.Count++; \"$key $more $($c.Count)\"", 50),
        block("param($c, $secret) [datetime]::new(2026, 11, 23, 10, 0, 0, [System.DateTimeKind]::Utc)", 51),
        block(
            "param($c, $key, $value, $metadata) if ($value.Pass -cne 'new' -or $metadata.Owner -cne 'me') { throw 'lost' }",
            52,
        ),
        block("param($c, $key) throw \"no $key\"", 53),
    ];
    let config = portable(json!({ "t": "hashtable", "v": { "Mine": { "t": "string", "v": "m" } } }));
    let variable = Variable { name: "Word".into(), value: string("x") };
    let function = Function {
        name: "Get-Mine".into(),
        text: "function Get-Mine { 'mine' }".into(),
        file: None,
        line: 2,
    };
    let changed = SetVariable { name: "SB_GOLDEN".into(), value: Some("set".into()) };
    push(Invoke::Load(Load {
        root: Some("/srv/app"),
        script: Some("/srv/app/server.ps1"),
        config: Some(&config),
        environment: vec![&changed],
        variables: vec![&variable],
        modules: vec!["/srv/app/Mine.psm1"],
        functions: vec![&function],
        blocks: blocks.iter().zip(1..).map(|(block, id)| NumberedBlock { id, block }).collect(),
    }));
    let one = [portable(json!({ "t": "int", "v": 1 }))];
    push(Invoke::Route(RouteCall { block: 1, arguments: &one, event: event() }));
    push(Invoke::Route(RouteCall { block: 2, arguments: &[], event: event() }));
    let mut custom = |block, table, reads, local, call: CustomCall<'_>| {
        push(Invoke::Custom(CustomInvoke { vault: "own", block, table, reads, local, call: &call }));
    };
    let table = || Some(given(9, 1, Some("[\"table\",\"hashtable\",\"Count\",1]")));
    let read = |key| CustomCall { kind: BlockKind::Read, key: Some(key), ..CustomCall::default() };
    custom(3, table(), false, false, CustomCall { arguments: &one, ..read("k") });
    custom(3, Some(given(9, 2, None)), true, false, CustomCall { arguments: &one, ..read("k") });
    let secret = Text::from("open");
    let unlock = CustomCall { kind: BlockKind::Unlock, secret: Some(&secret), ..CustomCall::default() };
    custom(4, None, false, true, unlock);
    let whole = SecretValue::Hashtable([("User".to_owned(), SecretValue::string("in"))].into());
    let value = SecretValue::string("new");
    let metadata = [("Owner".to_owned(), MetadataValue::String("me".into()))].into();
    let set = CustomCall {
        kind: BlockKind::Set,
        key: Some("k"),
        value: Some(&value),
        member: Some(Member { name: "Pass", whole: &whole }),
        metadata: Some(&metadata),
        ..CustomCall::default()
    };
    custom(5, None, false, false, set);
    custom(6, None, false, false, read("k"));
    push(Invoke::Merge(given(9, 3, Some("[\"table\",\"hashtable\",\"Count\",2,\"Other\",true]"))));
    push(Invoke::Plan(PlanCall { script: "/srv/app/problem.ps1", arguments: &[], check: false }));
    push(Invoke::Plan(PlanCall { script: "/srv/app/check.ps1", arguments: &[], check: true }));
    ops.into_iter().zip(1..).map(|(op, id)| CoreLine::Call(CallLine { id, op })).collect()
}

#[test]
fn the_core_writes_its_golden_lines_to_the_byte() {
    let answers = answers().into_iter().zip(1..).map(|(answer, seq)| {
        let ok = Some(serde_json::value::to_raw_value(&answer).unwrap());
        CoreLine::Answer(AnswerLine { seq, ok, fault: None })
    });
    let lines: Vec<String> =
        calls().into_iter().chain(answers).map(|line| serde_json::to_string(&line).unwrap()).collect();
    let golden: Vec<&str> = CORE.lines().collect();
    for (line, golden) in lines.iter().zip(&golden) {
        assert_eq!(line, golden);
    }
    assert_eq!(lines.len(), golden.len());
}

fn worker_lines() -> Vec<WorkerLine> {
    WORKER.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// The worker's asks with their names, in order.
fn asks() -> Vec<(String, Box<RawValue>)> {
    let asks = worker_lines().into_iter().filter_map(|line| line.ask);
    let named = asks.zip(1..).map(|(ask, seq)| {
        assert_eq!(ask.seq, seq, "answer N is the answer to ask N");
        let value: serde_json::Value = serde_json::from_str(ask.what.get()).unwrap();
        (value["do"].as_str().unwrap().to_owned(), ask.what)
    });
    named.collect()
}

/// A field that the core does not know would be a word in the wind: a wrong name, or one left over.
#[test]
fn every_ask_of_the_worker_is_read_with_all_its_fields() {
    for (name, what) in asks() {
        let mut ignored = Vec::new();
        let mut text = serde_json::Deserializer::from_str(what.get());
        let mut note = |path: serde_ignored::Path<'_>| ignored.push(path.to_string());
        let fields = serde_ignored::Deserializer::new(&mut text, &mut note);
        Ask::of(&name, fields).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(ignored, ["do"], "{name}");
    }
    assert_eq!(asks().len(), answers().len());
}

#[test]
fn there_is_a_golden_line_of_every_ask() {
    let asked = asks();
    for name in Ask::NAMES {
        assert!(asked.iter().any(|(asked, _)| asked == name), "{name}");
    }
}

#[test]
fn asks_say_what_the_worker_meant() {
    let all: Vec<Ask> = asks().iter().map(|(_, what)| Ask::read(what).ok().unwrap()).collect();
    let add = all.iter().find_map(|ask| match ask {
        Ask::VaultAdd(add) if add.kind == VaultType::Custom => Some(add),
        _ => None,
    });
    let add = add.unwrap();
    assert_eq!(add.blocks.keys().map(|kind| kind.word()).collect::<Vec<_>>(), ["read", "set", "unlock"]);
    assert_eq!((add.unlock.as_ref().and_then(SecretValue::as_text), add.table), (Some("open"), Some(2)));
    let by = all.iter().filter_map(|ask| match ask {
        Ask::VaultGet(get) => Some(get.by),
        _ => None,
    });
    assert_eq!(by.collect::<Vec<_>>(), [None, None, Some(LookBy::Registry)]);
    let lifts = all.iter().filter(|ask| matches!(ask, Ask::RouteAdd(add) if add.lift.is_some()));
    assert_eq!(lifts.count(), 2);
    let changed = all.iter().find_map(|ask| match ask {
        Ask::SharedSet(ChangedObject { id, version, value }) => Some((*id, *version, value.expose())),
        _ => None,
    });
    assert_eq!(changed, Some((3, 1, "[\"table\",\"hashtable\",\"A\",2]")));
}

/// The reply to a call, all of whose fields are known.
fn reply<T: DeserializeOwned>(id: u64) -> T {
    let found = worker_lines().into_iter().filter_map(|line| line.reply).find(|reply| reply.id == id);
    let ok = found.unwrap().ok.unwrap();
    let mut ignored = Vec::new();
    let mut text = serde_json::Deserializer::from_str(ok.get());
    let reply = serde_ignored::deserialize(&mut text, |path| ignored.push(path.to_string())).unwrap();
    assert!(ignored.is_empty(), "reply {id}: {ignored:?}");
    reply
}

#[test]
fn replies_to_calls_are_read_with_all_their_fields() {
    let planned: PlanReply = reply(1);
    assert!(planned.served && planned.problems.is_empty());
    let Empty {} = reply(2);
    let RouteReply { response } = reply(3);
    assert_eq!((response.status, response.body.unwrap().expose()), (200, &b"{\"A\":2}"[..]));
    let RouteReply { response } = reply(4);
    assert_eq!((response.status, response.failed.unwrap().message.as_str()), (500, "no good"));
    assert_eq!(response.page.unwrap().exception.unwrap().message, "no good");
    let read: CustomReply = reply(5);
    assert_eq!(read.value, Some(string("k 1 2")));
    let table = read.table.unwrap();
    assert_eq!(
        (table.id, table.version, table.value.expose()),
        (9, 1, "[\"table\",\"hashtable\",\"Count\",2]")
    );
    assert!(reply::<CustomReply>(6).table.is_none(), "a block that only reads gives no table back");
    assert_eq!(reply::<CustomReply>(7).expiry.as_deref(), Some("2026-11-23T10:00:00.0000000Z"));
    assert!(reply::<CustomReply>(8).failed.is_none());
    assert_eq!(reply::<CustomReply>(9).failed.unwrap().message, "no k");
    let MergeReply { table } = reply(10);
    assert_eq!((table.id, table.version), (9, 3));
    let refused: PlanReply = reply(11);
    assert_eq!((refused.served, refused.problems[0].position.as_ref().map(|at| at.line)), (false, Some(2)));
    let checked: PlanReply = reply(12);
    assert_eq!(
        (checked.needs.environment[0].name.as_str(), checked.needs.environment[0].set),
        ("MINE", false)
    );
    assert_eq!(checked.needs.files, ["/srv/app/token.txt"]);
    assert_eq!(checked.needs.parameters, ["VaultName"]);
}

#[test]
fn what_is_not_known_is_refused_and_no_value_is_shown() {
    let read = |text: &str| Ask::read(&RawValue::from_string(text.into()).unwrap()).err().unwrap();
    assert_eq!(read(r#"{"do":"nope","value":"canary"}"#), BadAsk::Unknown("nope".into()));
    assert!(matches!(read(r#"{"name":"canary"}"#), BadAsk::Field(_)));
    for text in [
        r#"{"do":"secret-set","name":"a","value":"canary"}"#,
        r#"{"do":"lock","name":["canary"]}"#,
        r#"{"do":"vault-add","name":"v","type":"canary"}"#,
        r#"{"do":"state-set","name":"a","shared":"canary"}"#,
    ] {
        let error = read(text);
        assert!(matches!(error, BadAsk::Field(_)) && !error.to_string().contains("canary"), "{error}");
    }
}

#[test]
fn debug_shows_no_value() {
    let value = SecretValue::string("canary");
    let (arguments, secret) = ([Portable::from(&value)], Text::from("canary"));
    let call = CustomCall {
        value: Some(&value),
        member: Some(Member { name: "m", whole: &value }),
        arguments: &arguments,
        secret: Some(&secret),
        ..CustomCall::default()
    };
    let reply = CustomReply { value: Some(Portable::from(&value)), ..CustomReply::default() };
    let given = given(1, 1, Some("canary"));
    let changed = ChangedObject { id: 1, version: 1, value: "canary".into() };
    assert!(!format!("{call:?} {reply:?} {given:?} {changed:?}").contains("canary"));
    let server: ask::ServerAsk = serde_json::from_value(json!({
        "config": { "t": "string", "v": "canary" },
        "registered": [{ "name": "v", "module": "m", "parameters": { "ApiKey": "canary" } }],
    }))
    .unwrap();
    let shown = format!("{server:?}");
    assert!(shown.contains("ApiKey") && !shown.contains("canary"), "{shown}");
}

#[test]
fn debug_of_a_route_and_of_its_answer_shows_neither_headers_query_arguments_nor_body() {
    let arguments = [Portable::from(&SecretValue::string("canary"))];
    let event = WebEvent {
        query: "token=canary".into(),
        headers: vec![("authorization".into(), "Bearer canary".into())],
        body: Bytes::new("canary"),
        ..event()
    };
    let shown = format!("{:?}", RouteCall { block: 1, arguments: &arguments, event });
    assert_eq!(shown, "RouteCall { block: 1, arguments: [Portable(…)], event: Event(post /a/7, 6 bytes) }");
    let response = json!({ "status": 200, "headers": [["Set-Cookie", "canary"]], "body": "Y2FuYXJ5" });
    let reply: RouteReply = serde_json::from_value(json!({ "response": response })).unwrap();
    assert_eq!(format!("{reply:?}"), "RouteReply { response: Response(200, 6 bytes) }");
}
