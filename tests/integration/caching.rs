//! The cache as callers meet it: how long, how much, ahead of time, beyond its time, anew, and told from elsewhere.
//!
//! What a vault was asked is what the stand-in's log says.

use std::fs;

use serde_json::{Value, json};

use crate::need_pwsh;
use crate::support::http::{Client, Response};
use crate::support::server::{Builder, Server};
use crate::support::stand_in::StandIn;
use crate::support::{SOON, fixture, free_port, wait_until};

/// A server of one worker over stand-ins that know any name.
fn serve(stand_in: &StandIn, plan: &str) -> Server {
    let head = "listen = \"127.0.0.1:0\"\nauth.open = true\npool = { min = 1, max = 1 }\n";
    Builder::new().config(&format!("{head}{plan}")).stand_in(stand_in).start()
}

fn vault(name: &str, more: &str) -> String {
    format!("[vaults.{name}]\nmodule = \"Vault.{name}\"\nexpose = true\nverify = false\n{more}\n")
}

fn any() -> StandIn {
    StandIn::with(&json!({ "derived": true }))
}

/// How often a name was read.
fn reads(stand_in: &StandIn, name: &str) -> usize {
    stand_in.events("call").iter().filter(|call| call["op"] == "get" && call["name"] == name).count()
}

fn get(server: &Client, key: &str) -> Response {
    server.get(&format!("/vaults/v/secrets/{key}"))
}

/// Where the answer comes from, in a word: `hit`, `fwd=miss`, `fwd=bypass`.
#[track_caller]
fn from(answer: &Response) -> String {
    let status = answer.header("Cache-Status").expect("each value says where it comes from");
    assert!(answer.header("Age").expect("each value says its age").parse::<u64>().is_ok());
    status.split("; ").nth(1).unwrap().to_owned()
}

#[test]
fn a_value_is_kept_as_long_as_its_vault_or_mount_says() {
    let stand_in = any();
    let mounts = "[secrets.Kept]\nvault = \"w\"\nkey = \"kept\"\ncache_ttl = \"1h\"\n[[routes]]\npath = \"/kept\"\nsecret = \"Kept\"\n\
        [secrets.Not]\nvault = \"v\"\nkey = \"not\"\ncache_ttl = \"0s\"\n[[routes]]\npath = \"/not\"\nsecret = \"Not\"\n";
    let plan = vault("v", "cache_ttl = \"1h\"") + &vault("w", "") + mounts;
    let server = serve(&stand_in, &plan);
    for (path, name, words, calls) in [
        ("/vaults/v/secrets/a", "a", ["fwd=miss", "hit"], 1),
        ("/vaults/w/secrets/b", "b", ["fwd=bypass", "fwd=bypass"], 2),
        ("/kept", "kept", ["fwd=miss", "hit"], 1),
        ("/not", "not", ["fwd=bypass", "fwd=bypass"], 2),
    ] {
        assert_eq!([server.get(path), server.get(path)].map(|answer| from(&answer)), words, "{path}");
        assert_eq!(reads(&stand_in, name), calls, "{path}");
    }
    // Anew, where that is asked for, and for all who read later.
    assert_eq!(from(&server.get("/vaults/v/secrets/a?refresh=true")), "fwd=miss");
    assert_eq!((from(&get(&server, "a")).as_str(), reads(&stand_in, "a")), ("hit", 2));
    // A write is seen at once.
    assert_eq!(server.put("/vaults/v/secrets/a", "text/plain", "new").status, 204);
    assert_eq!(get(&server, "a").json()["Value"], "new");
    // Cleared.
    let before = reads(&stand_in, "a");
    assert_eq!(server.send("POST", "/admin/cache/clear", &[], b"").status, 204);
    assert_eq!(server.get("/health").json()["cache"]["entries"], 0);
    assert_eq!((from(&get(&server, "a")).as_str(), reads(&stand_in, "a")), ("fwd=miss", before + 1));
}

#[test]
fn that_a_secret_is_not_there_is_kept_for_a_short_time_and_not_beyond_a_write() {
    let stand_in = StandIn::scenario("ok");
    let server = serve(&stand_in, &vault("v", "cache_ttl = \"1h\"\nnegative_ttl = \"1h\""));
    assert_eq!([get(&server, "none").status, get(&server, "none").status], [404, 404]);
    assert_eq!(reads(&stand_in, "none"), 1);
    assert_eq!(server.put("/vaults/v/secrets/none", "text/plain", "there").status, 204);
    assert_eq!(get(&server, "none").json()["Value"], "there");
    // A second where nothing says otherwise, and never without a cache.
    let stand_in = StandIn::scenario("ok");
    let server = serve(&stand_in, &vault("v", "cache_ttl = \"1h\""));
    wait_until("it is asked again", SOON, || {
        assert_eq!(get(&server, "none").status, 404);
        reads(&stand_in, "none") >= 2
    });
}

#[test]
fn it_holds_no_more_than_its_bounds() {
    for (limits, most) in [("max_entries = 3", 3), ("max_bytes = 1000", 8)] {
        let stand_in = any();
        let server = serve(&stand_in, &format!("[cache]\n{limits}\n{}", vault("v", "cache_ttl = \"1h\"")));
        for key in 0..20 {
            assert_eq!(get(&server, &format!("key{key}")).status, 200);
        }
        let cache = server.get("/health").json()["cache"].clone();
        let (entries, bytes) = (cache["entries"].as_u64().unwrap(), cache["bytes"].as_u64().unwrap());
        assert!((1..=most).contains(&entries), "{limits}: {cache}");
        assert!(limits.starts_with("max_entries") || bytes <= 1000, "{limits}: {cache}");
    }
}

#[test]
fn a_value_is_loaded_ahead_of_its_end_and_a_mount_at_the_start() {
    let stand_in = any();
    let mount = "[secrets.Pre]\nvault = \"v\"\nkey = \"pre\"\nprefetch = true\n[[routes]]\npath = \"/pre\"\nsecret = \"Pre\"\n";
    // From its first moment it is near its end: each read begins the next load, and waits for none.
    let plan = vault("v", "cache_ttl = \"1h\"\nrefresh_ahead = \"1h\"") + mount;
    let server = serve(&stand_in, &plan);
    wait_until("it is read at the start", SOON, || server.get("/health").json()["cache"]["entries"] == 1);
    assert_eq!(reads(&stand_in, "pre"), 1);
    wait_until("it is read ahead", SOON, || {
        assert_eq!(from(&server.get("/pre")), "hit");
        reads(&stand_in, "pre") >= 3
    });
}

#[test]
fn where_the_vault_fails_a_value_is_served_beyond_its_time_where_the_plan_says_so_and_it_is_told() {
    let gone = json!({ "op": "get", "name": "k", "do": { "fault": { "id": "X", "kind": "System.Exception", "message": "gone" } } });
    let late = |nth: u64| {
        let mut rule = gone.clone();
        rule["nth"] = json!(nth);
        rule
    };
    let rules: Vec<Value> = (2..400).map(late).collect();
    for (more, is_served) in [("max_stale = \"1h\"", true), ("", false)] {
        let stand_in = StandIn::with(&json!({ "derived": true, "rules": rules }));
        let plan = format!(
            "[audit]\nfile = \"audit.jsonl\"\n{}",
            vault("v", &format!("cache_ttl = \"1s\"\n{more}"))
        );
        let server = serve(&stand_in, &plan);
        assert_eq!(get(&server, "k").status, 200);
        wait_until("its time is over", SOON, || {
            let answer = get(&server, "k");
            let is_stale = answer.header("Cache-Status").is_some_and(|status| status.contains("hit; ttl=-"));
            assert!(!is_stale || is_served);
            if is_served { is_stale } else { answer.status == 502 }
        });
        let audit = || fs::read_to_string(server.folder().join("audit.jsonl")).unwrap_or_default();
        if is_served {
            wait_until("the trail says so", SOON, || audit().contains("\"outcome\":\"stale\""));
            assert_eq!(server.get("/vaults/v/secrets/k?refresh=true").status, 200, "it asks, in vain");
        }
    }
}

// === told from elsewhere ===

/// What Event Grid sends for a secret of a vault of Azure.
fn grid(vault: &str, name: &str) -> String {
    json!([{
        "id": "1", "topic": "/subscriptions/s", "subject": name, "eventTime": "2026-11-30T10:00:00Z",
        "eventType": "Microsoft.KeyVault.SecretNewVersionCreated", "dataVersion": "1", "metadataVersion": "1",
        "data": { "Id": format!("https://{vault}.vault.azure.net/secrets/{name}/1"), "VaultName": vault,
            "ObjectType": "Secret", "ObjectName": name, "Version": "1", "NBF": null, "EXP": null },
    }])
    .to_string()
}

fn cloud(vault: &str, name: &str) -> String {
    json!({
        "specversion": "1.0", "type": "Microsoft.KeyVault.SecretNewVersionCreated", "source": "/s", "id": "1",
        "data": { "VaultName": vault, "ObjectName": name },
    })
    .to_string()
}

fn handshake() -> String {
    json!([{
        "id": "1", "topic": "/t", "subject": "", "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
        "eventTime": "2026-11-30T10:00:00Z", "metadataVersion": "1", "dataVersion": "2",
        "data": { "validationCode": "512d38b6", "validationUrl": "https://example.invalid/validate" },
    }])
    .to_string()
}

/// Tells a server of changes in each form; `count` says how often `db` was read so far.
fn tell(server: &Client, friendly: &str, count: &dyn Fn() -> usize) {
    let told = |body: &str| server.post("/admin/cache/refresh", "application/json", body);
    let answer = told(&handshake());
    assert_eq!((answer.status, answer.json()), (200, json!({ "validationResponse": "512d38b6" })));
    let asked = [("WebHook-Request-Origin", "eventgrid.azure.net"), ("WebHook-Request-Rate", "120")];
    let answer = server.send("OPTIONS", "/admin/cache/refresh", &asked, b"");
    assert_eq!((answer.status, answer.header("WebHook-Allowed-Origin")), (200, Some("eventgrid.azure.net")));

    let ours = |key: &str| json!({ "secrets": [{ "vault": friendly, "key": key }] }).to_string();
    for body in [ours("DB"), grid("team", "db"), cloud("TEAM", "db")] {
        let before = count();
        let answer = told(&body);
        assert_eq!((answer.status, answer.json()), (202, json!({ "Renewed": 1, "Unknown": 0 })), "{body}");
        wait_until("it is read anew, though nobody asks", SOON, || count() == before + 1);
    }
    let before = count();
    for body in [ours("nobody"), grid("team", "nobody"), grid("other", "db"), cloud("other", "db")] {
        let answer = told(&body);
        assert_eq!((answer.status, answer.json()), (202, json!({ "Renewed": 0, "Unknown": 1 })), "{body}");
    }
    assert_eq!(told("{}").status, 400);
    assert_eq!(count(), before);
}

#[test]
fn a_notice_renews_what_is_kept_and_unknown_names_cost_no_call() {
    let stand_in = any();
    let plan = vault("v", "cache_ttl = \"1h\"\nparameters = { AZKVaultName = \"Team\" }");
    let server = serve(&stand_in, &plan);
    assert_eq!(get(&server, "db").status, 200);
    tell(&server, "v", &|| reads(&stand_in, "db"));
    assert_eq!(stand_in.calls("get"), reads(&stand_in, "db"), "nothing else was asked for");
    assert_eq!(from(&get(&server, "db")), "hit");
}

#[test]
fn a_scripts_cache_is_told_renewed_and_cleared_on_the_admin_listener() {
    let pwsh = need_pwsh!();
    let (port, admin) = (free_port(), free_port());
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let text = format!(
        "Start-PodeServer {{
            Add-PodeEndpoint -Address localhost -Port {port} -Protocol Http
            Register-PodeSecretVault -Name Team -ModuleName '{module}' -VaultParameters @{{ Log = '{log}'; RetryAfter = 1; AZKVaultName = 'team' }}
            Mount-PodeSecret -Name Db -Vault Team -Key db -CacheTtl 60
            Add-PodeRoute -Method Get -Path /db -ScriptBlock {{ Write-PodeJsonResponse @{{ Value = $secret:Db }} }}
            Add-PodeRoute -Method Get -Path /block -ScriptBlock {{ $v = $secret:Db; Write-PodeTextResponse $v }}
        }}",
        module = fixture("vaults").join("Throttled").display(),
        log = log.display(),
    );
    let builder = Builder::new().pwsh(pwsh);
    let script = builder.file("server.ps1", text);
    let token = "0123456789abcdef0123";
    let file = builder.file("admin.token", token);
    let server = builder
        .args(["run", "--admin-listen", &format!("127.0.0.1:{admin}"), "--admin-token-file"])
        .arg(file)
        .arg(script)
        .start();
    let admin = Client::new(([127, 0, 0, 1], admin).into()).with_token(token);
    let count =
        || fs::read_to_string(&log).unwrap_or_default().lines().filter(|line| line.ends_with(" db")).count();
    for path in ["/db", "/block", "/db"] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    assert_eq!(count(), 1);
    tell(&admin, "Team", &count);
    let before = count();
    assert_eq!(server.get("/db").status, 200);
    assert_eq!(count(), before, "it is kept");
    assert_eq!(admin.send("POST", "/admin/cache/clear", &[], b"").status, 204);
    assert_eq!((server.get("/block").status, count()), (200, before + 1));
    let entries = admin.get("/health").json()["cache"]["entries"].clone();
    assert_eq!(entries, 1);
}
