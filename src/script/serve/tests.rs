use std::time::Duration;

use serde_json::{Value, json};

use hyper::http::header::{ALLOW, WWW_AUTHENTICATE};

use super::exchange::context_id;
use super::*;
use crate::access::{AccessPolicy, Token};
use crate::http::{Gate, Service as _};
use crate::script::run::RunOptions;
use crate::script::tests::{
    Running, block, custom, declared, get, head, mount, request, route, running, script,
};

fn lifted(method: &str, path: &str, steps: Value, lift: Value) -> Value {
    json!({ "do": "route-add", "methods": [method], "path": path, "block": block(steps), "lift": lift })
}

fn value_of(name: &str) -> Value {
    json!({ "respond": { "object": [["Value", { "secret": name }]] } })
}

fn tutorial() -> Vec<Value> {
    vec![
        mount("m", "v", "k"),
        lifted("GET", "/secret", json!([get("m")]), value_of("m")),
        lifted(
            "POST",
            "/secret",
            json!([{ "do": "secret-set", "name": "m", "value": { "t": "string", "v": "by-block" } }]),
            json!({ "update": { "secret": "m", "field": "Value" } }),
        ),
    ]
}

fn blocks_run(running: &Running) -> usize {
    running.world.count(&["invoke", "route"])
}

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

#[tokio::test(start_paused = true)]
async fn a_lifted_route_answers_and_updates_without_a_block() {
    let running = running(script(1, "Az.KeyVault", tutorial())).await;
    running.world.put("v", "k", "a<b");
    let reply = running.ask("GET", "/secret", &[], "").await;
    assert_eq!((reply.status, &reply.body[..]), (StatusCode::OK, &br#"{"Value":"a<b"}"#[..]));
    assert_eq!(reply.headers[CONTENT_TYPE], "application/json; charset=utf-8");
    assert_eq!(reply.headers[SERVER], "Pode");
    let reply = running.ask("POST", "/secret", &[FORM], "Value=new+one").await;
    assert_eq!((reply.status, reply.body.len(), reply.headers.get(CONTENT_TYPE)), (StatusCode::OK, 0, None));
    assert_eq!(running.world.value("v", "k").as_deref(), Some("new one"));
    assert_eq!(blocks_run(&running), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_plain_goes_to_the_block() {
    let running = running(script(1, "My.Vault", tutorial())).await;
    let table = json!({ "t": "hashtable", "v": { "a": { "t": "string", "v": "b" } } });
    running.world.secrets.lock().unwrap().insert(("v".into(), "k".into()), table);
    running.ask("GET", "/secret", &[], "").await;
    assert_eq!(blocks_run(&running), 1, "a table");
    running.ask("POST", "/secret", &[FORM], "Other=x").await;
    assert_eq!((blocks_run(&running), running.world.value("v", "k").as_deref()), (2, Some("by-block")));
    let packed = [FORM, ("content-encoding", "gzip")];
    running.ask("POST", "/secret", &packed, "Value=x").await;
    assert_eq!((blocks_run(&running), running.world.value("v", "k").as_deref()), (3, Some("by-block")));
    running.world.secrets.lock().unwrap().clear();
    assert_eq!(running.ask("GET", "/secret", &[], "").await.status, 500, "the block fails in its own words");
    assert_eq!(blocks_run(&running), 4);
}

#[tokio::test(start_paused = true)]
async fn a_custom_vault_and_no_lift_always_take_the_block() {
    let steps = vec![
        custom("c", json!({ "read": block(json!([{ "do": "~value", "value": { "t": "int", "v": 7 } }])) })),
        mount("n", "c", "k"),
        lifted("GET", "/n", json!([get("n")]), value_of("n")),
    ];
    let running = running(script(1, "Az.KeyVault", steps)).await;
    let reply = running.ask("GET", "/n", &[], "").await;
    let value: Value = serde_json::from_slice(&reply.body).unwrap();
    assert!(value["t"] == "clixml" && value["v"].as_str().unwrap().contains("<I32>7</I32>"), "{value}");
    let options = RunOptions { no_lift: true, ..RunOptions::default() };
    let plain = declared(script(1, "Az.KeyVault", tutorial()), options).await.unwrap();
    plain.declared.start_workers().await.unwrap();
    plain.world.put("v", "k", "x");
    plain.ask("GET", "/secret", &[], "").await;
    assert_eq!(blocks_run(&plain), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_is_a_page_in_the_clients_form() {
    let running = running(script(1, "Az.KeyVault", tutorial())).await;
    let reply = running.ask("GET", "/<none>", &[], "").await;
    assert_eq!(
        (reply.status.as_u16(), reply.headers[CONTENT_TYPE].to_str().unwrap()),
        (404, "text/html; charset=utf-8")
    );
    assert!(!String::from_utf8_lossy(&reply.body).contains("<none>"));
    let reply = running.ask("PUT", "/secret", &[("accept", "application/json")], "").await;
    assert_eq!((reply.status.as_u16(), reply.headers[ALLOW].to_str().unwrap()), (405, "GET, POST"));
    let page: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!((&page["Status"]["Code"], &page["Url"]), (&json!(405), &json!("http://localhost/secret")));
    assert_eq!(running.ask("GET", "/secret%2Fx", &[], "").await.status, 404);
    assert_eq!(running.ask("HEAD", "/secret", &[], "").await.status, 405);
}

#[tokio::test(start_paused = true)]
async fn only_http_1_0_may_leave_the_host_out() {
    let running = running(script(1, "Az.KeyVault", tutorial())).await;
    running.world.put("v", "k", "x");
    let service = ScriptSite::new(running.declared.core().clone());
    for (version, status) in [(Version::HTTP_10, 200), (Version::HTTP_11, 400)] {
        let mut head = head("GET", "/secret", &[]);
        head.headers.remove(HOST);
        head.version = version;
        let reply = service.answer(request(head, "")).await;
        assert_eq!(reply.status.as_u16(), status, "{version:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_block_that_throws_is_a_500_that_keeps_its_words_to_the_log() {
    let running = running(script(1, "Az.KeyVault", vec![route("GET", "/x", json!([get("canary")]))])).await;
    let reply = running.ask("GET", "/x", &[("accept", "application/json")], "").await;
    let page: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!((reply.status.as_u16(), &page["Exception"]), (500, &Value::Null));
    assert_eq!(running.ask("GET", "/x", &[], "").await.status, 500, "the worker goes on");
    assert_eq!(running.declared.bridge().health().restarts, 0);
}

#[tokio::test(start_paused = true)]
async fn with_a_token_only_its_bearer_is_let_in() {
    let running = running(script(1, "Az.KeyVault", tutorial())).await;
    let access = AccessPolicy::token(&Token::from_text("t0ken-t0ken-t0ken-t0ken").unwrap());
    let gate = Gate::new(Arc::new(access), Arc::new(ScriptSite::new(running.declared.core().clone())));
    for (shown, may) in [
        (None, false),
        (Some("Bearer t0ken-t0ken-t0ken-t0ken"), true),
        (Some("bearer t0ken-t0ken-t0ken-t0ken"), true),
        (Some("Bearer t0ke"), false),
        (Some("Bearer"), false),
        (Some("Basic t0ken-t0ken-t0ken-t0ken"), false),
    ] {
        let headers: Vec<_> = shown.map(|shown| ("authorization", shown)).into_iter().collect();
        let admitted = gate.admit(&head("GET", "/none", &headers));
        assert_eq!(admitted.is_ok(), may, "{shown:?}");
        if let Err(refused) = admitted {
            let reply = refused.answer().await;
            assert_eq!(reply.status.as_u16(), 401);
            assert!(reply.headers[WWW_AUTHENTICATE].to_str().unwrap().starts_with("Bearer "));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_warning_names_address_routes_and_remedy_and_loopback_ends_it() {
    let steps = || script(1, "Az.KeyVault", [tutorial(), vec![route("GET", "/plain", json!([]))]].concat());
    let open = declared(steps(), RunOptions::default()).await.unwrap();
    let warning = crate::script::run::warning(open.declared.core()).unwrap();
    for part in ["http://0.0.0.0:8080", "GET /secret, POST /secret", "--token-file", "--loopback"] {
        assert!(warning.contains(part), "{warning}");
    }
    assert!(!warning.contains("/plain"));
    let closed = declared(steps(), RunOptions { loopback: true, ..RunOptions::default() }).await.unwrap();
    assert_eq!(crate::script::run::warning(closed.declared.core()), None);
    assert_eq!(
        closed.declared.core().endpoints.listeners()[0].bind,
        crate::plan::Bind::Tcp("127.0.0.1:8080".parse().unwrap())
    );
}

#[tokio::test(start_paused = true)]
async fn a_lifted_route_keeps_to_its_deadline() {
    let running = running(script(
        1,
        "My.Vault",
        [tutorial(), vec![route("GET", "/hang", json!([{ "do": "~hang" }]))]].concat(),
    ))
    .await;
    running.world.put("v", "k", "x");
    let mut late = head("GET", "/secret", &[]);
    late.deadline = tokio::time::Instant::now() + Duration::from_secs(1);
    let service = ScriptSite::new(running.declared.core().clone());
    let hanging = running.ask("GET", "/hang", &[], "");
    let waiting = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        service.answer(request(late, "")).await
    };
    let (hanging, waiting) = tokio::join!(hanging, waiting);
    assert_eq!((hanging.status.as_u16(), waiting.status.as_u16()), (504, 504));
}

#[test]
fn a_context_id_is_a_random_uuid() {
    let (a, b) = (context_id(), context_id());
    assert_ne!(a, b);
    assert_eq!((a.len(), a.as_bytes()[14]), (36, b'4'));
    assert!(matches!(a.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{a}");
}

#[tokio::test(start_paused = true)]
async fn a_block_never_waits_for_a_load_that_waits_for_its_worker() {
    let steps = vec![mount("slow", "v", "slow"), route("GET", "/block", json!([get("slow"), get("m")]))];
    let running = running(script(1, "Az.KeyVault", [tutorial(), steps].concat())).await;
    running.world.put("v", "k", "x");
    running.world.put("v", "slow", "y");
    // The lifted route's load is queued while the block is busy with its first read.
    let (block, lifted) = tokio::join!(running.get("/block"), running.ask("GET", "/secret", &[], ""));
    assert_eq!((block, lifted.status.as_u16()), ((200, "x".into()), 200));
    assert_eq!(running.declared.bridge().health().restarts, 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_would_keep_a_worker_busy_takes_none() {
    let running = running(script(1, "My.Vault", tutorial())).await;
    let form = "a&".repeat(200_000);
    let json = format!("{{\"Value\":{}}}", "9".repeat(100_000));
    let multipart = "--b\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n".repeat(50_000);
    let query = "&".repeat(20_000);
    for (query, media, body, status, named) in [
        ("", FORM.1, form.as_str(), 413, "max_fields"),
        ("", "application/json", json.as_str(), 400, "max_digits"),
        ("", "multipart/form-data; boundary=b", multipart.as_str(), 413, "max_parts"),
        (query.as_str(), FORM.1, "Value=x", 413, "max_fields"),
    ] {
        let mut head = head("POST", "/secret", &[("content-type", media)]);
        head.query = Some(query.to_owned()).filter(|query| !query.is_empty());
        let service = ScriptSite::new(running.declared.core().clone());
        let reply = service.answer(request(head, body)).await;
        assert_eq!(reply.status, status, "{media}");
        assert!(String::from_utf8_lossy(&reply.body).contains(named), "the page names {named}");
    }
    assert_eq!(
        (blocks_run(&running), running.world.value("v", "k")),
        (0, None),
        "nothing was run or written"
    );
}
