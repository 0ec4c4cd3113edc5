use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};

mod admin;
mod thread_log;

use super::vaults::TEXT;
use super::*;
use crate::access::{AccessPolicy, Token};
use crate::http::testing::{Memory, head, request};
use crate::http::{Gate, Service as _};
use crate::plan::{Extension, Mount, Projection, Route, VaultKind};
use crate::protocol::{Fault, Metadata, MetadataValue};
use crate::secret::Credential;
use crate::secret::SecretValue;
use thread_log::{log_from_here, logged};

const TOKEN: &str = "0123456789abcdef";
const CANARY: &str = "canary-5f2d";

fn vault(name: &str, exposed: bool, read_only: bool) -> crate::plan::Vault {
    let kind = VaultKind::Extension(Extension::new(name, "Some.Module"));
    crate::plan::Vault { exposed, read_only, ..crate::plan::Vault::new(name, kind) }
}

fn mount(name: &str, key: &str) -> Mount {
    Mount {
        name: name.to_owned(),
        vault: "hidden".to_owned(),
        key: key.to_owned(),
        projection: Projection::Whole,
        cache_ttl: None,
        prefetch: false,
    }
}

fn route(method: &str, path: &str, action: Action) -> Route {
    Route { method: method.to_owned(), path: path.to_owned(), action }
}

fn plan() -> Plan {
    let secret = |name: &str| Template::Secret(name.to_owned());
    let pair = Template::Object(vec![
        ("z".to_owned(), secret("one")),
        ("a".to_owned(), Template::List(vec![secret("two"), secret("ONE"), Template::Literal(json!(null))])),
    ]);
    let value = Template::Object(vec![("Value".to_owned(), secret("one"))]);
    let update = Action::Update { secret: "one".to_owned(), field: "Value".to_owned() };
    Plan {
        vaults: vec![vault("hidden", false, false), vault("Open", true, false), vault("fixed", true, true)],
        mounts: vec![mount("one", "key1"), mount("two", "key2")],
        routes: vec![
            route("GET", "/secret", Action::Respond(value)),
            route("POST", "/secret", update),
            route("DELETE", "/secret", Action::Remove { secret: "one".to_owned() }),
            route("GET", "/pair", Action::Respond(pair)),
            route("GET", "/unmounted", Action::Respond(secret("nobody"))),
        ],
        ..Plan::default()
    }
}

fn memory() -> Memory {
    let memory = Memory::new(plan());
    memory.put("hidden", "key1", SecretValue::string("v1"), Metadata::new());
    memory.put("hidden", "key2", SecretValue::string("v2"), Metadata::new());
    memory.put("open", "Key", SecretValue::string("text"), Metadata::new());
    memory
}

fn behind<S: Secrets>(access: AccessPolicy, secrets: S) -> Gate {
    Gate::new(Arc::new(access), Arc::new(Native::new(secrets, Some("hidden".to_owned())).unwrap()))
}

/// One that has no default vault.
fn without_default(memory: &Memory) -> Gate {
    let access = AccessPolicy::token(&Token::from_text(TOKEN).unwrap());
    Gate::new(Arc::new(access), Arc::new(Native::new(memory.clone(), None).unwrap()))
}

fn service(memory: &Memory) -> Gate {
    behind(AccessPolicy::token(&Token::from_text(TOKEN).unwrap()), memory.clone())
}

/// As the door does it: admit, then answer.
async fn send(gate: &Gate, head: Head, body: impl Into<Bytes>) -> Reply {
    let admitted = match gate.admit(&head) {
        Ok(admitted) => admitted,
        Err(refused) => return refused.answer().await,
    };
    gate.answer(Request { admitted, ..request(head, body) }).await
}

async fn call_with(
    native: &Gate,
    method: &str,
    path: &str,
    fields: &[(&'static str, &str)],
    body: impl Into<Bytes>,
) -> Reply {
    let bearer = format!("Bearer {TOKEN}");
    let mut all = vec![("authorization", bearer.as_str())];
    all.extend(fields);
    send(native, head(method, path, &all), body).await
}

async fn call(native: &Gate, method: &str, path: &str, body: impl Into<Bytes>) -> Reply {
    call_with(native, method, path, &[], body).await
}

fn body(reply: &Reply) -> &str {
    std::str::from_utf8(&reply.body).unwrap()
}

fn json_of(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap()
}

fn outcome(reply: &Reply) -> (u16, String) {
    let code = json_of(reply)["error"]["code"].as_str().unwrap().to_owned();
    (reply.status.as_u16(), code)
}

fn failed(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test]
async fn a_route_answers_compact_json_in_the_templates_order() {
    let native = service(&memory());
    let reply = call(&native, "GET", "/secret", "").await;
    assert_eq!((reply.status, body(&reply)), (StatusCode::OK, r#"{"Value":"v1"}"#));
    assert_eq!(reply.headers[CONTENT_TYPE], "application/json; charset=utf-8");
    assert_eq!(reply.headers[CACHE_CONTROL], "no-store");
    assert_eq!(body(&call(&native, "GET", "/pair", "").await), r#"{"z":"v1","a":["v2","v1",null]}"#);
}

#[tokio::test]
async fn a_templates_secrets_are_read_at_the_same_time_each_once() {
    let memory = Memory::with_barrier(plan(), 2);
    memory.put("hidden", "key1", SecretValue::string("v1"), Metadata::new());
    memory.put("hidden", "key2", SecretValue::string("v2"), Metadata::new());
    let native = service(&memory);
    let reply = tokio::time::timeout(Duration::from_secs(5), call(&native, "GET", "/pair", "")).await;
    assert_eq!(reply.expect("the two reads meet").status, StatusCode::OK);
}

#[tokio::test]
async fn an_update_writes_the_field_and_answers_with_nothing() {
    let memory = memory();
    let native = service(&memory);
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let reply = call_with(&native, "POST", "/secret", &form, "Value=new").await;
    assert_eq!((reply.status, reply.body.len()), (StatusCode::OK, 0));
    assert!(!reply.headers.contains_key(CONTENT_TYPE));
    assert_eq!(memory.kept("hidden", "key1").unwrap().0, SecretValue::string("new"));
}

#[tokio::test]
async fn a_bad_body_keeps_the_old_value_and_is_not_repeated() {
    let memory = memory();
    let native = service(&memory);
    let reply = call(&native, "POST", "/secret", format!("{{\"Value\":[\"{CANARY}\"]}}")).await;
    assert_eq!(outcome(&reply), failed(400, "bad_body"));
    assert!(!body(&reply).contains(CANARY));
    assert_eq!(memory.kept("hidden", "key1").unwrap().0, SecretValue::string("v1"));
}

#[tokio::test]
async fn a_body_that_holds_too_much_is_refused_by_name_in_every_media_type() {
    let memory = memory();
    let native = service(&memory);
    for (method, path, media, text, expected) in [
        ("POST", "/secret", "application/x-www-form-urlencoded", "a&".repeat(2000), (413, "too_many_fields")),
        ("POST", "/secret", "application/json", "[".repeat(2000), (400, "too_deep")),
        ("PUT", "/vaults/Open/secrets/k", "application/json", "9".repeat(2000), (400, "too_many_digits")),
        ("PUT", "/vaults/Open/secrets/k", "text/plain", "9".repeat(2000), (204, "")),
    ] {
        let reply = call_with(&native, method, path, &[("content-type", media)], text).await;
        let code = serde_json::from_slice::<Value>(&reply.body)
            .map_or(String::new(), |body| body["error"]["code"].as_str().unwrap_or_default().to_owned());
        assert_eq!((reply.status.as_u16(), code.as_str()), expected, "{media}");
    }
}

#[tokio::test]
async fn a_removal_removes_and_then_finds_nothing() {
    let memory = memory();
    let native = service(&memory);
    let reply = call(&native, "DELETE", "/secret", "").await;
    assert_eq!((reply.status, reply.body.len()), (StatusCode::OK, 0));
    assert!(memory.kept("hidden", "key1").is_none());
    assert_eq!(outcome(&call(&native, "GET", "/secret", "").await), failed(404, "secret_not_found"));
}

#[tokio::test]
async fn unknown_routes_methods_and_mounts_are_told_apart() {
    let native = service(&memory());
    assert_eq!(outcome(&call(&native, "GET", "/nowhere", "").await), failed(404, "unknown_route"));
    assert_eq!(outcome(&call(&native, "GET", "/unmounted", "").await), failed(404, "unknown_mount"));
    let reply = call(&native, "PUT", "/secret", "").await;
    assert_eq!(outcome(&reply), failed(405, "method_not_allowed"));
    assert_eq!(reply.headers[ALLOW], "GET, HEAD, POST, DELETE, OPTIONS");
    let reply = call(&native, "OPTIONS", "/secret", "").await;
    assert_eq!((reply.status, reply.body.len()), (StatusCode::NO_CONTENT, 0));
    assert_eq!(reply.headers[ALLOW], "GET, HEAD, POST, DELETE, OPTIONS");
}

#[tokio::test]
async fn a_stranger_learns_nothing_about_routes() {
    let native = service(&memory());
    for (method, path) in [
        ("GET", "/secret"),
        ("GET", "/nowhere"),
        ("PUT", "/pair"),
        ("OPTIONS", "/secret"),
        ("GET", "/vaults"),
    ] {
        let reply = send(&native, head(method, path, &[]), "").await;
        assert_eq!(outcome(&reply), failed(401, "token_missing"), "{method} {path}");
    }
    let wrong = [("authorization", "Bearer 0123456789abcdeF")];
    assert_eq!(outcome(&send(&native, head("GET", "/secret", &wrong), "").await), failed(401, "token_wrong"));
}

#[tokio::test]
async fn an_open_service_lets_programs_in_and_web_pages_not() {
    let native = Native::new(memory(), None).unwrap();
    let native = Gate::new(Arc::new(AccessPolicy::open()), Arc::new(native));
    assert_eq!(send(&native, head("GET", "/secret", &[]), "").await.status, StatusCode::OK);
    let page = head("GET", "/secret", &[("origin", "https://evil.example")]);
    assert_eq!(outcome(&send(&native, page, "").await), failed(403, "browser_refused"));
}

#[tokio::test]
async fn health_and_readiness_need_no_token_and_tell_a_stranger_little() {
    let native = service(&memory());
    let health = send(&native, head("GET", "/health", &[]), "").await;
    assert_eq!(json_of(&health), json!({ "status": "ok", "ready": true }));
    assert_eq!(send(&native, head("GET", "/ready", &[]), "").await.status, StatusCode::OK);
    let native = service(&Memory::starting(plan()));
    let health = send(&native, head("GET", "/health", &[]), "").await;
    assert_eq!((health.status, json_of(&health)["status"].clone()), (StatusCode::OK, json!("not_ready")));
    let ready = send(&native, head("GET", "/ready", &[]), "").await;
    assert_eq!(outcome(&ready), failed(503, "not_ready"));
    assert!(ready.headers.contains_key(RETRY_AFTER));
}

#[tokio::test]
async fn only_exposed_vaults_are_listed_and_found() {
    let native = without_default(&memory());
    let listed = json_of(&call(&native, "GET", "/vaults", "").await);
    let shown = json!([{ "Name": "Open", "ReadOnly": false }, { "Name": "fixed", "ReadOnly": true }]);
    assert_eq!(listed, json!({ "Vaults": shown }));
    let texts: Vec<String> = [("hidden", "key1"), ("absent", "key1")]
        .iter()
        .map(|(vault, key)| format!("/vaults/{vault}/secrets/{key}"))
        .collect();
    for method in ["GET", "PUT", "DELETE"] {
        let hidden = call(&native, method, &texts[0], "x").await;
        let absent = call(&native, method, &texts[1], "x").await;
        assert_eq!(outcome(&hidden), failed(404, "unknown_vault"));
        assert_eq!(body(&hidden).replace("hidden", "absent"), body(&absent), "the two do not differ");
    }
}

#[tokio::test]
async fn an_answer_from_the_cache_says_its_age_and_what_is_left_of_its_time() {
    let memory = memory();
    let native = service(&memory);
    let text =
        |reply: &Reply, name: &str| reply.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    for (vault, key) in [("hidden", "key1"), ("hidden", "key2"), ("Open", "k")] {
        memory.put(vault, key, SecretValue::string("v"), Metadata::new());
    }
    let seconds = Duration::from_secs;
    memory.age("key1", Freshness { age: seconds(90), bound: seconds(60), kept: true });
    memory.age("key2", Freshness { age: seconds(5), bound: seconds(60), kept: true });
    memory.age("k", Freshness { age: seconds(12), bound: seconds(300), kept: true });
    let whole = call(&native, "GET", "/vaults/open/secrets/k", "").await;
    assert_eq!(text(&whole, "age").as_deref(), Some("12"));
    assert_eq!(text(&whole, "cache-status").as_deref(), Some("secretbridge; hit; ttl=288"));
    let pair = call(&native, "GET", "/pair", "").await;
    assert_eq!(text(&pair, "age").as_deref(), Some("90"), "that of the oldest value in it");
    assert_eq!(text(&pair, "cache-status").as_deref(), Some("secretbridge; hit; ttl=-31"));
    let mut asked = head("GET", "/vaults/open/secrets/k", &[("authorization", &format!("Bearer {TOKEN}"))]);
    asked.query = Some("refresh=true".to_owned());
    let new = native.answer(request(asked, "")).await;
    assert_eq!((new.status, text(&new, "age").as_deref()), (StatusCode::OK, Some("0")));
    assert_eq!(text(&new, "cache-status").as_deref(), Some("secretbridge; fwd=bypass; ttl=0"));
    // One that was waited for is as old as its load, and kept from now on.
    memory.age("k", Freshness { age: seconds(2), bound: seconds(300), kept: false });
    let waited = call(&native, "GET", "/vaults/open/secrets/k", "").await;
    assert_eq!(text(&waited, "age").as_deref(), Some("2"));
    assert_eq!(text(&waited, "cache-status").as_deref(), Some("secretbridge; fwd=miss; ttl=298"));
}

#[tokio::test]
async fn a_read_only_vault_is_not_written() {
    let memory = memory();
    memory.put("fixed", "k", SecretValue::string("old"), Metadata::new());
    let native = service(&memory);
    for method in ["PUT", "DELETE"] {
        let reply = call(&native, method, "/vaults/FIXED/secrets/k", "new").await;
        assert_eq!(outcome(&reply), failed(403, "read_only"));
    }
    // Whatever else is wrong with what was sent: it is not looked at.
    let odd = [("content-type", "application/x-odd")];
    let reply = call_with(&native, "PUT", "/vaults/fixed/secrets/k", &odd, "new").await;
    assert_eq!(outcome(&reply), failed(403, "read_only"));
    assert_eq!(memory.kept("fixed", "k").unwrap().0, SecretValue::string("old"));
    assert_eq!(call(&native, "GET", "/vaults/fixed/secrets/k", "").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_secret_is_written_read_listed_and_removed() {
    let memory = memory();
    let native = service(&memory);
    for base in ["/secrets", "/vaults/open/secrets"] {
        let path = format!("{base}/a%2Fb");
        let fields = [("content-type", "application/json")];
        let sent = r#"{"Value":"x","Type":"SecureString","Metadata":{"n":7}}"#;
        let reply = call_with(&native, "PUT", &path, &fields, sent).await;
        assert_eq!((reply.status, reply.body.len()), (StatusCode::NO_CONTENT, 0));
        assert_eq!(
            json_of(&call(&native, "GET", &path, "").await),
            json!({ "Name": "a/b", "Type": "SecureString", "Value": "x" })
        );
        let listed = json_of(&call(&native, "GET", base, "").await);
        let entry = json!({ "Name": "a/b", "Type": "SecureString", "Metadata": { "n": 7 } });
        assert!(listed["Secrets"].as_array().unwrap().contains(&entry), "{listed}");
        assert_eq!(call(&native, "DELETE", &path, "").await.status, StatusCode::NO_CONTENT);
        for method in ["GET", "DELETE"] {
            assert_eq!(outcome(&call(&native, method, &path, "").await), failed(404, "secret_not_found"));
        }
    }
    assert_eq!(memory.kept("open", "Key").unwrap().1, Metadata::new());
}

#[tokio::test]
async fn metadata_is_passed_on_as_it_was_sent() {
    let memory = memory();
    let native = service(&memory);
    let sent = json!({ "Value": "x", "Metadata": { "at": { "Type": "DateTime", "Value": "2026-11-23T10:00:00Z" } } });
    call_with(&native, "PUT", "/secrets/m", &[("content-type", "application/json")], sent.to_string()).await;
    let (_, metadata) = memory.kept("hidden", "m").unwrap();
    assert_eq!(metadata["at"], MetadataValue::Date("2026-11-23T10:00:00Z".to_owned()));
}

#[tokio::test]
async fn the_accept_header_picks_the_form() {
    let memory = memory();
    let credential = Credential { user: "u".to_owned(), password: "p".into() };
    memory.put("open", "cred", SecretValue::Credential(credential), Metadata::new());
    memory.put("open", "bytes", SecretValue::Bytes(crate::secret::Bytes::new(*b"\xff\0")), Metadata::new());
    let native = service(&memory);
    let get = async |key: &str, accept: &str| {
        call_with(&native, "GET", &format!("/vaults/open/secrets/{key}"), &[("accept", accept)], "").await
    };
    let text = get("key", "text/plain").await;
    assert_eq!((body(&text), text.headers[CONTENT_TYPE].to_str().unwrap()), ("text", TEXT));
    assert_eq!(&get("bytes", "application/octet-stream").await.body[..], b"\xff\0");
    assert_eq!(outcome(&get("cred", "text/plain").await), failed(406, "not_acceptable"));
    assert_eq!(get("cred", "text/plain, */*;q=0.1").await.status, StatusCode::OK);
}

#[tokio::test]
async fn every_method_of_head_and_get_reaches_the_same_route() {
    let native = service(&memory());
    let routes = Routes::build(&plan(), true).unwrap();
    assert_eq!(routes.find(&Method::HEAD, "/secret").unwrap().pattern.as_ref(), "/secret");
    assert_eq!(call(&native, "HEAD", "/secret", "").await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_bridges_errors_keep_their_code_and_wait() {
    let memory = memory();
    let fault = Fault { id: "X".to_owned(), message: "line one\nline two".to_owned(), ..Fault::default() };
    memory.fail(
        "key1",
        BridgeError::Vault { vault: "hidden".to_owned(), fault: Box::new(fault), outcome_unknown: false },
    );
    memory.fail("key2", BridgeError::Saturated);
    let native = service(&memory);
    log_from_here();
    let reply = call(&native, "GET", "/secret", "").await;
    assert_eq!(outcome(&reply), failed(502, "vault_failed"));
    assert!(body(&reply).contains("line one line two"), "{}", body(&reply));
    let lines = logged();
    let why = lines.iter().find(|line| line.contains("WARN"));
    assert!(why.is_some_and(|why| why.contains("line one line two") && why.contains("key1")), "{lines:#?}");
    let reply = call(&native, "GET", "/secrets/key2", "").await;
    assert_eq!(outcome(&reply), failed(503, "saturated"));
    assert_eq!(reply.headers[RETRY_AFTER], "1");
}

#[tokio::test]
async fn each_access_is_noted_without_the_value() {
    let memory = memory();
    memory.put("hidden", "key1", SecretValue::string(CANARY), Metadata::new());
    let native = service(&memory);
    let replies = [
        call(&native, "GET", "/pair", "").await,
        call(&native, "POST", "/secret", format!("Value={CANARY}")).await,
        call(&native, "PUT", "/secrets/a%0Aforged", CANARY).await,
        call(&native, "GET", "/vaults/absent/secrets/k", "").await,
        send(&native, head("GET", "/secret", &[("authorization", "Bearer token-canary-0123")]), "").await,
        send(&native, head("GET", "/health", &[]), "").await,
    ];
    let expected: [(&str, &str, &[[&str; 5]]); 6] = [
        ("/pair", "", &[["read", "hidden", "key1", "one", "ok"], ["read", "hidden", "key2", "two", "ok"]]),
        ("/secret", "", &[["write", "hidden", "key1", "one", "ok"]]),
        ("/secrets/{key}", "", &[["write", "hidden", "a\nforged", "", "ok"]]),
        ("/vaults/{vault}/secrets/{key}", "unknown_vault", &[["read", "absent", "k", "", "unknown_vault"]]),
        ("", "token_wrong", &[]),
        ("/health", "", &[]),
    ];
    for (reply, (route, code, accesses)) in replies.iter().zip(expected) {
        let note = &reply.note;
        let seen: Vec<[&str; 5]> =
            note.accesses.iter().map(|a| [a.action, &a.vault, &a.key, &a.mount, a.outcome]).collect();
        assert_eq!((&*note.route, note.code, seen.as_slice()), (route, code, accesses));
        assert!(!format!("{note:?}").contains("canary"), "{note:?}");
    }
    assert_eq!(replies[4].note.who, Some(Caller::Stranger));
}

#[tokio::test]
async fn over_a_socket_an_update_has_length_zero_and_no_type() {
    use crate::http::Door;
    use crate::plan::{Bind, Limits, Listener};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let bind = Bind::Tcp("127.0.0.1:0".parse().unwrap());
    let door = Door::bind(&[Listener { bind, tls: None, name: None }]).unwrap();
    let Bind::Tcp(address) = door.addresses()[0].bind else { unreachable!() };
    let native = Arc::new(service(&memory()));
    let server =
        tokio::spawn(async move { door.serve(native, &Limits::default(), std::future::pending()).await });
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let sent = format!(
        "POST /secret HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: 13\r\n\r\n{{\"Value\":\"x\"}}"
    );
    stream.write_all(sent.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let answer = answer.to_ascii_lowercase();
    assert!(
        answer.starts_with("http/1.1 200 ok\r\n") && answer.contains("content-length: 0\r\n"),
        "{answer}"
    );
    assert!(!answer.contains("content-type") && answer.contains("server: secretbridge\r\n"), "{answer}");
    server.abort();
}

/// A bridge over an embedded vault, which refuses and fails as a vault does.
async fn embedded(folder: &std::path::Path) -> crate::bridge::Bridge {
    let mut plan = plan();
    for vault in &mut plan.vaults {
        vault.kind = VaultKind::Local { folder: Some(folder.join(&vault.name)), key: None };
    }
    plan.auto_import.enabled = false;
    crate::bridge::Bridge::start(plan, &crate::bridge::Options::default(), |_, _| {}).await.unwrap()
}

/// What a client sends is no fault of the server's: it writes, reads and lists, or is told what is wrong.
#[test]
fn no_path_or_body_makes_a_500() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let bridge = runtime.block_on(embedded(folder.path()));
    let native = behind(AccessPolicy::token(&Token::from_text(TOKEN).unwrap()), bridge);
    let seen = RefCell::new(BTreeSet::new());
    let inputs = (
        "(GET|PUT|POST|DELETE|HEAD|OPTIONS)",
        "(/secret|/secrets|/secrets/.{0,8}|/vaults/.{0,8}/secrets/.{0,8}|/vaults/open/secrets/[a-c]|/.{0,12})",
        "(application/json|multipart/form-data; boundary=x|text/plain|application/octet-stream)",
        proptest::prelude::any::<Vec<u8>>(),
    );
    let mut runner = proptest::test_runner::TestRunner::default();
    let outcome = runner.run(&inputs, |(method, path, media, body)| {
        let reply = runtime.block_on(call_with(&native, &method, &path, &[("content-type", &media)], body));
        seen.borrow_mut().insert(reply.status.as_u16());
        proptest::prop_assert!(reply.status.as_u16() < 500, "{}", reply.status);
        Ok(())
    });
    outcome.unwrap();
    let seen = seen.into_inner();
    assert!([204, 400, 404].iter().all(|status| seen.contains(status)), "{seen:?}");
}
