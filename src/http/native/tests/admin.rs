//! Metadata, members, locks, mounts and the cache.

use super::*;

async fn metadata_of(native: &Gate, key: &str) -> Value {
    let listed = json_of(&call(native, "GET", "/vaults/open/secrets", "").await);
    let all = listed["Secrets"].as_array().unwrap().clone();
    all.into_iter().find(|secret| secret["Name"] == key).unwrap()["Metadata"].take()
}

async fn send_json(native: &Gate, method: &str, path: &str, body: Value) -> Reply {
    call_with(native, method, path, &[("content-type", "application/json")], body.to_string()).await
}

#[tokio::test]
async fn metadata_is_replaced_and_the_value_stays() {
    let native = service(&memory());
    let new = json!({ "Metadata": { "Owner": "dba", "n": 5 } });
    let reply = send_json(&native, "PATCH", "/vaults/open/secrets/Key", new).await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT);
    assert_eq!(metadata_of(&native, "Key").await, json!({ "Owner": "dba", "n": 5 }));
    assert_eq!(json_of(&call(&native, "GET", "/vaults/open/secrets/key", "").await)["Value"], "text");
    for (path, body, answer) in [
        ("/vaults/open/secrets/none", json!({ "Metadata": {} }), failed(404, "secret_not_found")),
        ("/vaults/fixed/secrets/k", json!({ "Metadata": {} }), failed(403, "read_only")),
        ("/vaults/open/secrets/Key", json!({ "Metadata": [] }), failed(400, "bad_body")),
        ("/vaults/open/secrets/Key", json!({}), failed(400, "bad_body")),
        ("/vaults/open/secrets/Key", json!({ "Metadata": {}, "Value": "x" }), failed(400, "bad_body")),
    ] {
        assert_eq!(outcome(&send_json(&native, "PATCH", path, body).await), answer, "{path}");
    }
}

#[tokio::test]
async fn one_member_is_written_and_its_siblings_are_kept() {
    let memory = memory();
    let native = service(&memory);
    let table = json!({ "Value": { "user": "sa", "pass": "old" } });
    assert_eq!(send_json(&native, "PUT", "/vaults/open/secrets/login", table).await.status, 204);
    let bearer = format!("Bearer {TOKEN}");
    let mut head = head("PUT", "/vaults/open/secrets/login", &[("authorization", &bearer)]);
    head.query = Some("property=pass".to_owned());
    assert_eq!(send(&native, head, "new").await.status, StatusCode::NO_CONTENT);
    let (value, _) = memory.kept("open", "login").unwrap();
    assert_eq!(value.to_json(), json!({ "user": "sa", "pass": "new" }));
}

#[tokio::test]
async fn mounts_are_named_and_read_and_written_only_where_their_vault_is_exposed() {
    let mut plan = plan();
    plan.mounts.push(Mount { vault: "Open".to_owned(), ..mount("three", "Key") });
    let memory = Memory::new(plan);
    memory.put("hidden", "key1", SecretValue::string("v1"), Metadata::new());
    memory.put("open", "Key", SecretValue::string("v3"), Metadata::new());
    let native = without_default(&memory);
    let listed = json_of(&call(&native, "GET", "/mounts", "").await);
    assert_eq!(listed["Mounts"][0], json!({ "Name": "one", "Vault": "hidden", "Key": "key1" }));
    assert_eq!(json_of(&call(&native, "GET", "/mounts/ONE", "").await)["Value"], "v1");
    assert_eq!(outcome(&call(&native, "PUT", "/mounts/one", "x").await), failed(403, "read_only"));
    assert_eq!(outcome(&call(&native, "DELETE", "/mounts/one", "").await), failed(403, "read_only"));
    assert_eq!(call(&native, "PUT", "/mounts/three", "x").await.status, 204);
    assert_eq!(memory.kept("open", "Key").unwrap().0.as_text(), Some("x"));
    assert_eq!(outcome(&call(&native, "GET", "/mounts/nobody", "").await), failed(404, "unknown_mount"));
}

#[tokio::test]
async fn vaults_are_locked_and_unlocked_and_the_cache_is_cleared() {
    let memory = memory();
    let native = service(&memory);
    for path in ["/vaults/open/unlock", "/vaults/open/lock", "/admin/cache/clear"] {
        assert_eq!(call(&native, "POST", path, "").await.status, StatusCode::NO_CONTENT, "{path}");
        let stranger = send(&native, head("POST", path, &[]), "").await;
        assert_eq!(outcome(&stranger), failed(401, "token_missing"), "{path}");
    }
    let said = ["unlock Open with its own", "lock Open", "clear the cache"];
    assert_eq!(memory.administered(), said);
    let reply = send_json(&native, "POST", "/vaults/open/unlock", json!({ "Password": "pw" })).await;
    assert_eq!((reply.status.as_u16(), memory.administered()), (204, vec!["unlock Open with pw".to_owned()]));
    call(&native, "POST", "/vaults/open/unlock", "pw2").await;
    assert_eq!(memory.administered(), ["unlock Open with pw2"]);
    assert_eq!(
        outcome(&call(&native, "POST", "/vaults/nowhere/lock", "").await),
        failed(404, "unknown_vault")
    );
    assert!(memory.administered().is_empty());
}

#[tokio::test]
async fn the_default_vault_is_named_as_such() {
    let native = service(&memory());
    let listed = json_of(&call(&native, "GET", "/vaults", "").await);
    assert_eq!(listed["Vaults"][0], json!({ "Name": "hidden", "ReadOnly": false, "Default": true }));
    assert_eq!(json_of(&call(&native, "GET", "/vaults/hidden/secrets/key1", "").await)["Value"], "v1");
}

#[tokio::test]
async fn a_notice_renews_what_is_read_and_counts_what_is_not() {
    let memory = memory();
    memory.put("Open", "db", SecretValue::string("v"), Metadata::new());
    let native = service(&memory);
    let ours = r#"{"secrets":[{"vault":"Open","key":"db"},{"vault":"Open","key":"nobody"}]}"#;
    let reply = call(&native, "POST", "/admin/cache/refresh", ours).await;
    assert_eq!((reply.status.as_u16(), json_of(&reply)), (202, json!({ "Renewed": 1, "Unknown": 1 })));
    let grid = r#"[{"eventType":"Microsoft.KeyVault.SecretNewVersionCreated","data":{"VaultName":"in-azure","ObjectName":"db"}}]"#;
    let reply = call(&native, "POST", "/admin/cache/refresh", grid).await;
    assert_eq!(json_of(&reply), json!({ "Renewed": 1, "Unknown": 0 }));
    let handshake = r#"[{"eventType":"Microsoft.EventGrid.SubscriptionValidationEvent","data":{"validationCode":"512d"}}]"#;
    let reply = call(&native, "POST", "/admin/cache/refresh", handshake).await;
    assert_eq!(json_of(&reply), json!({ "validationResponse": "512d" }));
    let bad = call(&native, "POST", "/admin/cache/refresh", "{}").await;
    assert_eq!(outcome(&bad), failed(400, "bad_body"));
    assert_eq!(memory.renewed().len(), 3, "a body that is none of these renews nothing");
}

#[tokio::test]
async fn the_status_page_is_for_all_and_holds_nothing_and_its_events_are_for_callers() {
    let native = service(&memory());

    let page = send(&native, head("GET", "/status", &[]), "").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.headers[CONTENT_TYPE].to_str().unwrap().starts_with("text/html"));
    let events = send(&native, head("GET", "/status/events", &[]), "").await;
    assert_eq!((events.status, events.stream.is_some()), (StatusCode::UNAUTHORIZED, false));
    let mut events = call(&native, "GET", "/status/events", "").await.stream.unwrap();
    let first = String::from_utf8(events.recv().await.unwrap().to_vec()).unwrap();
    assert!(first.starts_with("data: {") && first.ends_with("\n\n"), "{first}");
}
