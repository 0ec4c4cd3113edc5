use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use hyper::{HeaderMap, Version};
use tempfile::TempDir;

use super::*;
use crate::bridge::Options;
use crate::http::message::Peer;
use crate::plan::{AutoImport, Mount, Plan, Projection, Route as PlanRoute, Vault, VaultKind};

const TOKEN: &str = "0123456789abcdef";

/// A served local vault, with `/secret` mounted on its key `db`.
struct Fixture {
    native: Native,
    _folder: TempDir,
}

async fn fixture(token: Option<&str>) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let local = |name: &str, exposed, read_only| {
        let folder = Some(folder.path().join(name));
        Vault { exposed, read_only, ..Vault::new(name, VaultKind::Local { folder }) }
    };
    let route = |method: &str, action| PlanRoute { method: method.into(), path: "/secret".into(), action };
    let plan = Plan {
        vaults: vec![local("local", false, false), local("shown", true, true)],
        mounts: vec![Mount {
            name: "Db".into(),
            vault: "local".into(),
            key: "db".into(),
            projection: Projection::Whole,
            cache_ttl: None,
        }],
        routes: vec![
            route(
                "GET",
                Action::Respond(Template::Object(vec![("Value".into(), Template::Secret("Db".into()))])),
            ),
            route("POST", Action::Update { secret: "Db".into(), field: "Value".into() }),
        ],
        auto_import: AutoImport { enabled: false, expose: Vec::new() },
        ..Plan::default()
    };
    let bridge = Bridge::start(plan, &Options::default(), |_, _| {}).await.unwrap();
    let token = token.map(|text| Token::from_text(text).unwrap());
    Fixture { native: Native::new(bridge, token, Some("local".into())), _folder: folder }
}

impl Fixture {
    async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&'static str, &str)],
        body: &'static str,
    ) -> Reply {
        let received = Instant::now();
        let head = Head {
            id: 1,
            method: method.parse().unwrap(),
            path: path.into(),
            query: None,
            headers: HeaderMap::from_iter(
                headers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())),
            ),
            version: Version::HTTP_11,
            peer: Peer::Tcp(SocketAddr::from(([127, 0, 0, 1], 1))),
            listener: 0,
            listener_name: None,
            received,
            deadline: received + Duration::from_secs(10),
        };
        if let Err(reply) = self.native.admit(&head) {
            return *reply;
        }
        self.native.answer(Request { head: Arc::new(head), body: Bytes::from_static(body.as_bytes()) }).await
    }
}

fn code(reply: &Reply) -> String {
    let document: Value = serde_json::from_slice(&reply.body).unwrap();
    document["error"]["code"].as_str().unwrap_or_default().to_owned()
}

fn text(reply: &Reply) -> &str {
    std::str::from_utf8(&reply.body).unwrap()
}

#[tokio::test]
async fn a_mounted_secret_is_read_and_written_as_the_tutorial_has_it() {
    let fixture = fixture(None).await;
    let missing = fixture.ask("GET", "/secret", &[], "").await;
    assert_eq!((missing.status.as_u16(), code(&missing).as_str()), (404, "secret_not_found"));
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let posted = fixture.ask("POST", "/secret", &form, "Value=one").await;
    assert_eq!((posted.status.as_u16(), posted.body.len()), (200, 0));
    assert!(!posted.headers.contains_key(CONTENT_TYPE));
    let got = fixture.ask("GET", "/secret", &[], "").await;
    assert_eq!(text(&got), r#"{"Value":"one"}"#);
    assert_eq!(got.headers[CONTENT_TYPE], "application/json; charset=utf-8");
    let bad = fixture.ask("POST", "/secret", &form, "Other=1").await;
    assert_eq!((bad.status.as_u16(), code(&bad).as_str()), (400, "bad_input"));
    assert_eq!(
        text(&fixture.ask("GET", "/secret", &[], "").await),
        r#"{"Value":"one"}"#,
        "the old value is kept"
    );
}

#[tokio::test]
async fn the_token_guards_all_but_health() {
    let fixture = fixture(Some(TOKEN)).await;
    let with = [("authorization", "Bearer 0123456789abcdef")];
    for path in ["/secret", "/secrets", "/vaults", "/metrics", "/nowhere"] {
        assert_eq!(fixture.ask("GET", path, &[], "").await.status, 401, "{path}");
        assert_eq!(
            fixture.ask("GET", path, &[("authorization", "Bearer wrong-wrong-wrong")], "").await.status,
            401
        );
        assert_ne!(fixture.ask("GET", path, &with, "").await.status, 401, "{path}");
    }
    let bare = fixture.ask("GET", "/health", &[], "").await;
    assert_eq!((bare.status.as_u16(), text(&bare)), (200, r#"{"status":"ok","ready":true}"#));
    assert!(text(&fixture.ask("GET", "/health", &with, "").await).contains("shown"));
    assert_eq!(fixture.ask("GET", "/ready", &[], "").await.status, 200);
}

#[tokio::test]
async fn a_web_page_is_not_served_without_a_token() {
    let origin = [("origin", "http://evil.example")];
    assert_eq!(fixture(None).await.ask("GET", "/secrets", &origin, "").await.status, 403);
}

#[tokio::test]
async fn the_local_vault_is_under_secrets_whatever_the_name() {
    let fixture = fixture(None).await;
    for (path, name) in
        [("/secrets/db", "db"), ("/secrets/a%2Fb%20%E2%98%82", "a/b ☂"), ("/secrets/x/y", "x/y")]
    {
        assert_eq!(
            fixture.ask("PUT", path, &[("content-type", "text/plain")], "v").await.status,
            204,
            "{path}"
        );
        let got: Value = serde_json::from_slice(&fixture.ask("GET", path, &[], "").await.body).unwrap();
        assert_eq!((got["Name"].as_str(), got["Value"].as_str()), (Some(name), Some("v")));
        assert_eq!(fixture.ask("DELETE", path, &[], "").await.status, 204);
        assert_eq!(fixture.ask("GET", path, &[], "").await.status, 404);
    }
    assert_eq!(text(&fixture.ask("GET", "/secrets", &[], "").await), r#"{"Secrets":[]}"#);
    assert_eq!(fixture.ask("GET", "/secrets/%ff", &[], "").await.status, 400);
}

#[tokio::test]
async fn only_exposed_vaults_are_there_and_read_only_ones_are_not_written() {
    let fixture = fixture(None).await;
    assert_eq!(fixture.ask("GET", "/vaults/local/secrets/k", &[], "").await.status, 404);
    assert_eq!(fixture.ask("GET", "/vaults/SHOWN/secrets", &[], "").await.status, 200);
    let written = fixture.ask("PUT", "/vaults/shown/secrets/k", &[], "v").await;
    assert_eq!((written.status.as_u16(), code(&written).as_str()), (403, "read_only"));
    assert_eq!(
        text(&fixture.ask("GET", "/vaults", &[], "").await),
        r#"{"Vaults":[{"Name":"shown","Writable":false}]}"#
    );
}

#[tokio::test]
async fn other_methods_are_405_with_those_that_there_are() {
    let fixture = fixture(None).await;
    for (path, allow) in
        [("/secret", "GET, POST, HEAD, OPTIONS"), ("/secrets/k", "GET, HEAD, PUT, DELETE, OPTIONS")]
    {
        let reply = fixture.ask("PATCH", path, &[], "").await;
        assert_eq!((reply.status.as_u16(), reply.headers["allow"].to_str().unwrap()), (405, allow));
        let options = fixture.ask("OPTIONS", path, &[], "").await;
        assert_eq!((options.status.as_u16(), options.headers["allow"].to_str().unwrap()), (204, allow));
    }
    assert_eq!(code(&fixture.ask("GET", "/nowhere", &[], "").await), "no_route");
}

#[tokio::test]
async fn metrics_name_vaults_and_no_secrets() {
    let fixture = fixture(None).await;
    fixture.ask("PUT", "/secrets/canary-key", &[], "canary").await;
    let reply = fixture.ask("GET", "/metrics", &[], "").await;
    assert!(text(&reply).contains("secretbridge_vault_ok{vault=\"shown\"} 1"));
    assert!(!text(&reply).contains("canary"));
}
