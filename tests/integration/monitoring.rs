//! What `/metrics` shows after a known load, and that dashboard and alert rules ask for what is there.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::process::children;
use crate::support::pwsh::say;
use crate::support::server::{Builder, Server};
use crate::support::stand_in::StandIn;
use crate::support::{SOON, wait_until};

const TOKEN: &str = "0123456789abcdef0123";

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/monitoring")
}

/// One worker, a vault that is cached, one that stays locked, and two listeners of which one has a certificate.
fn start(stand_in: &StandIn) -> Server {
    let builder = Builder::new();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    builder.file("c.pem", made.cert.pem());
    builder.file("k.pem", made.signing_key.serialize_pem());
    builder.file("t.token", TOKEN);
    let plan = "auth.token_file = \"t.token\"\npool = { min = 1, max = 1 }\n\
        limits = { deadline = \"20s\" }\n\
        [[listeners]]\naddress = \"127.0.0.1:0\"\n\
        [[listeners]]\naddress = \"127.0.0.1:0\"\ntls = { certificate = \"c.pem\", key = \"k.pem\" }\n\
        [vaults.v]\nmodule = \"My.Vault\"\nexpose = true\ncache_ttl = \"1s\"\nmax_stale = \"1h\"\nverify = false\n\
        [vaults.shut]\nmodule = \"My.Other\"\nexpose = true\nunlock = { env = \"PASSWORD\" }\n\
        [secrets.Mounted]\nvault = \"v\"\nkey = \"mounted\"\n\
        [[routes]]\npath = \"/mounted\"\nsecret = \"Mounted\"\n";
    let mut server = builder.config(plan).env("PASSWORD", "wrong").stand_in(stand_in).start();
    server.set_token(TOKEN);
    server
}

fn scenario() -> StandIn {
    let gone = json!({ "fault": { "id": "Gone", "kind": "System.Exception", "message": "no" } });
    let locked = "Microsoft.PowerShell.SecretManagement.PasswordRequiredException";
    StandIn::with(&json!({ "derived": true, "rules": [
        { "op": "unlock", "vault": "shut", "do": { "fault": { "id": locked, "kind": locked, "message": "wrong password" } } },
        { "op": "get", "vault": "shut", "do": { "fault": { "id": locked, "kind": locked, "message": "locked" } } },
        { "op": "get", "name": "none", "do": { "fault": { "id": "X", "kind": "System.Exception", "message": "broken" } } },
        // Once it answers, and then the vault fails.
        { "op": "get", "name": "old", "nth": 2, "do": gone }, { "op": "get", "name": "old", "nth": 3, "do": gone },
        { "op": "get", "name": "old", "nth": 4, "do": gone }, { "op": "get", "name": "old", "nth": 5, "do": gone },
        { "op": "get", "name": "slow", "do": { "wait_for_file": { "path": "go" } } },
        { "op": "get", "name": "crash", "nth": 1, "across": true, "do": "crash" },
    ] }))
}

/// The value of a series, which must be there.
#[track_caller]
fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in\n{text}")).parse().unwrap()
}

#[test]
fn a_known_load_is_counted() {
    let stand_in = scenario();
    let server = start(&stand_in);
    let status = |path: &str| server.get(path).status;
    let secret = |key: &str| status(&format!("/vaults/v/secrets/{key}"));
    // A miss, and one that is answered from the cache, unless a second has passed: then it is a miss again.
    assert_eq!((secret("old"), status("/mounted"), status("/nowhere"), secret("none")), (200, 200, 404, 502));
    assert_eq!(server.put("/vaults/v/secrets/new", "text/plain", "x").status, 204);
    assert_eq!(server.with_token("wrong-0123456789abcdef").get("/mounted").status, 401);
    assert_eq!(status("/vaults/shut/secrets/k"), 503);
    wait_until("a value is served beyond its time", SOON, || {
        let answer = server.get("/vaults/v/secrets/old");
        answer.header("Cache-Status").is_some_and(|status| status.contains("ttl=-"))
    });
    assert_eq!(secret("crash"), 200, "another worker reads it");
    // One call at a time: the others wait.
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let client = server.client();
            std::thread::spawn(move || client.get("/vaults/v/secrets/slow?refresh=true").status)
        })
        .collect();
    let other = server.client();
    let behind = std::thread::spawn(move || other.get("/vaults/v/secrets/behind").status);
    wait_until("one waits for the worker", SOON, || {
        value(server.get("/metrics").text(), "secretbridge_waiting") >= 1.0
    });
    let busy = server.get("/metrics").text().to_owned();
    assert_eq!(value(&busy, "secretbridge_workers{state=\"busy\"}"), 1.0);
    stand_in.release("go");
    assert!(waiting.into_iter().all(|one| one.join().unwrap() == 200) && behind.join().unwrap() == 200);

    let answer = server.get("/metrics");
    let text = answer.text();
    assert_eq!(answer.header("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let route = "/vaults/{vault}/secrets/{key}";
    for (series, expected) in [
        // By route, status, caller.
        ("requests_total{route=\"/mounted\",method=\"GET\",status=\"200\",caller=\"token\"}".into(), 1.0),
        ("requests_total{route=\"\",method=\"GET\",status=\"404\",caller=\"token\"}".into(), 1.0),
        ("requests_total{route=\"\",method=\"GET\",status=\"401\",caller=\"stranger\"}".into(), 1.0),
        (format!("requests_total{{route=\"{route}\",method=\"PUT\",status=\"204\",caller=\"token\"}}"), 1.0),
        (format!("requests_total{{route=\"{route}\",method=\"GET\",status=\"502\",caller=\"token\"}}"), 1.0),
        (format!("requests_total{{route=\"{route}\",method=\"GET\",status=\"503\",caller=\"token\"}}"), 1.0),
        ("request_seconds_count{route=\"/mounted\"}".into(), 1.0),
        ("request_seconds_bucket{route=\"/mounted\",le=\"+Inf\"}".into(), 1.0),
        // Errors by code.
        ("errors_total{code=\"unknown_route\"}".into(), 1.0),
        ("errors_total{code=\"token_wrong\"}".into(), 1.0),
        ("errors_total{code=\"vault_failed\"}".into(), 1.0),
        ("errors_total{code=\"locked\"}".into(), 1.0),
        // Calls to vaults, by what came of them.
        ("vault_calls_total{vault=\"v\",action=\"write\",outcome=\"ok\"}".into(), 1.0),
        ("worker_restarts_total{cause=\"ended\"}".into(), 1.0),
        ("worker_restarts_total{cause=\"timeout\"}".into(), 0.0),
        ("workers{state=\"ready\"}".into(), 1.0),
        ("workers{state=\"busy\"}".into(), 0.0),
        ("waiting".into(), 0.0),
        // Locks.
        ("vault_locked{vault=\"shut\"}".into(), 1.0),
        ("vault_locked{vault=\"v\"}".into(), 0.0),
        ("vault_ok{vault=\"shut\"}".into(), 0.0),
        ("ready".into(), 1.0),
        (format!("build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION")), 1.0),
    ] {
        assert_eq!(value(text, &format!("secretbridge_{series}")), expected, "{series}\n{text}");
    }
    let state = text
        .lines()
        .filter(|line| line.starts_with("secretbridge_vault_state{vault=\"shut\""))
        .filter(|line| line.ends_with(" 1"));
    assert!(state.clone().count() == 1 && state.clone().all(|line| line.contains("locked")), "{text}");
    assert!(value(text, "secretbridge_cache_stale_total") >= 1.0);
    let sum = |begin: &str| -> f64 {
        let series = text.lines().filter(|line| line.starts_with(begin));
        series.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    };
    // Each look-up is a hit or a miss, and each miss a call; what was made for a crash is made twice.
    let reads = sum("secretbridge_vault_calls_total{vault=\"v\",action=\"read\"");
    assert!(reads >= 6.0 && reads <= stand_in.calls("get") as f64, "{reads}\n{text}");
    let seconds = value(text, "secretbridge_vault_call_seconds_count{vault=\"v\"}");
    assert_eq!(seconds, sum("secretbridge_vault_calls_total{vault=\"v\""));
    let end = sum("secretbridge_certificate_expiry_timestamp_seconds{listener=\"https://127.0.0.1:");
    assert_eq!(end, 67_090_118_400.0, "4096-01-01, what the certificate says");
    server.assert_never_wrote(&[TOKEN, "wrong-0123456789abcdef"]);
    assert!(!children(server.pid()).is_empty());
}

/// The families of `/metrics`.
fn families(text: &str) -> BTreeSet<String> {
    let named = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    named.filter_map(|rest| Some(rest.split(' ').next()?.to_owned())).collect()
}

/// What a file asks for: words that begin as our series do.
fn asked(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("secretbridge_")).map(str::to_owned).collect()
}

fn family(series: &str) -> &str {
    ["_bucket", "_count", "_sum"].into_iter().find_map(|end| series.strip_suffix(end)).unwrap_or(series)
}

#[test]
fn dashboard_alerts_and_docs_name_each_series_and_no_other() {
    let stand_in = scenario();
    let server = start(&stand_in);
    let there = families(server.get("/metrics").text());
    let read = |path: PathBuf| asked(&fs::read_to_string(path).unwrap());
    let dashboard = read(examples().join("secretbridge-dashboard.json"));
    let alerts = read(examples().join("secretbridge-alerts.yml"));
    for series in dashboard.iter().chain(&alerts) {
        assert!(there.contains(family(series)) || there.contains(series), "{series} is nowhere in /metrics");
    }
    let shown: BTreeSet<_> = dashboard.iter().map(|series| family(series).to_owned()).collect();
    let docs = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md")).unwrap();
    let missing: Vec<_> =
        there.iter().filter(|name| !shown.contains(*name) && !dashboard.contains(*name)).collect();
    assert!(missing.is_empty(), "not in the dashboard: {missing:?}");
    let missing: Vec<_> = there.iter().filter(|name| !docs.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "not in docs/operations.md: {missing:?}");
}

/// Prometheus' own tool, or word that the test is skipped.
fn promtool(test: &str) -> Option<Command> {
    if Command::new("promtool").arg("--version").output().is_err() {
        say(&format!("SKIPPED (no promtool, which is in Debian's package prometheus): {test}"));
        return None;
    }
    Some(Command::new("promtool"))
}

#[track_caller]
fn succeeds(mut command: Command, fed: &str) {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(fed.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&said));
}

#[test]
fn promtool_finds_no_fault_with_metrics_rules_and_dashboard() {
    let Some(mut check) = promtool("promtool_finds_no_fault_with_metrics_rules_and_dashboard") else {
        return;
    };
    let stand_in = scenario();
    let server = start(&stand_in);
    for path in ["/mounted", "/vaults/v/secrets/none", "/nowhere"] {
        server.get(path);
    }
    check.args(["check", "metrics"]);
    succeeds(check, server.get("/metrics").text());

    let mut rules = Command::new("promtool");
    rules
        .args(["check", "rules", "--lint=all", "--lint-fatal"])
        .arg(examples().join("secretbridge-alerts.yml"));
    succeeds(rules, "");

    // What the dashboard asks, as rules: so the tool reads each question.
    let dashboard: Value =
        serde_json::from_slice(&fs::read(examples().join("secretbridge-dashboard.json")).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let questions = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let rules: Vec<Value> = questions
        .enumerate()
        .map(|(index, target)| json!({ "record": format!("dashboard:{index}"), "expr": target["expr"] }))
        .collect();
    assert!(rules.len() > 20);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dashboard.yml");
    // JSON is YAML.
    fs::write(&file, json!({ "groups": [{ "name": "dashboard", "rules": rules }] }).to_string()).unwrap();
    let mut command = Command::new("promtool");
    command.args(["check", "rules"]).arg(&file);
    succeeds(command, "");
}

#[test]
fn each_alert_is_raised_by_what_it_is_for_and_by_nothing_else() {
    let Some(mut test) = promtool("each_alert_is_raised_by_what_it_is_for_and_by_nothing_else") else {
        return;
    };
    test.args(["test", "rules"]).arg(crate::support::fixture("monitoring/alerts.test.yml"));
    succeeds(test, "");
    // Each alert has its case.
    let rules = fs::read_to_string(examples().join("secretbridge-alerts.yml")).unwrap();
    let cases = fs::read_to_string(crate::support::fixture("monitoring/alerts.test.yml")).unwrap();
    for name in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(cases.contains(&format!("alertname=\"{name}\"")), "{name}");
    }
}
