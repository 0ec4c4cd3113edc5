//! The audit trail of the binary: both modes, whole, in order, and checked by its own command.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::need_pwsh;
use crate::support::free_port;
use crate::support::server::Builder;

const SOON: Duration = Duration::from_secs(60);

fn lines(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).expect("a trail");
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON object")).collect()
}

/// Method, path, status, outcome and key of the lines of requests.
fn requests(lines: &[Value]) -> Vec<(String, String, u64, String, String)> {
    let text = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
    lines
        .iter()
        .filter(|line| line["event"] == "access" || line["event"] == "request")
        .map(|line| {
            let status = line["status"].as_u64().expect("a status");
            (text(line, "method"), text(line, "path"), status, text(line, "outcome"), text(line, "key"))
        })
        .collect()
}

fn row(
    method: &str,
    path: &str,
    status: u64,
    outcome: &str,
    key: &str,
) -> (String, String, u64, String, String) {
    (method.to_owned(), path.to_owned(), status, outcome.to_owned(), key.to_owned())
}

#[test]
fn every_request_to_serve_has_its_line_and_the_chain_holds() {
    let builder = Builder::new();
    let file = builder.folder().join("audit.jsonl");
    let plan = format!(
        "listen = \"127.0.0.1:0\"\nlimits = {{ max_body = 1000 }}\naudit = {{ file = \"{}\", chain = true }}\n\
         [vaults.v]\nlocal = true\nfolder = \"vault\"\nexpose = true\n",
        file.display()
    );
    let token = builder.file("token", "0123456789abcdef0123456789abcdef\n");
    let mut server = builder.config(&plan).arg("--token-file").arg(token).start();
    let at = "/vaults/v/secrets/k";
    server.get(at);
    server.set_token("0123456789abcdef0123456789abcdef");
    let large = vec![b'x'; 2000];
    for (method, path, body) in [
        ("PUT", at, &b"hidden value"[..]),
        ("GET", at, b""),
        ("GET", "/vaults/v/secrets/none?a=query", b""),
        ("GET", "/vaults/v/secrets", b""),
        ("GET", "/vaults", b""),
        ("POST", at, b""),
        ("GET", "/nowhere%0a", b""),
        ("PUT", at, &large),
        ("DELETE", at, b""),
    ] {
        server.send(method, path, &[("Content-Type", "text/plain")], body);
    }
    assert!(server.stop(SOON).success(), "{}", server.stderr());
    let all = lines(&file);
    let expected = [
        row("GET", at, 401, "token_missing", ""),
        row("PUT", at, 204, "ok", "k"),
        row("GET", at, 200, "ok", "k"),
        row("GET", "/vaults/v/secrets/none", 404, "secret_not_found", "none"),
        row("GET", "/vaults/v/secrets", 200, "ok", ""),
        row("GET", "/vaults", 200, "ok", ""),
        row("POST", at, 405, "method_not_allowed", ""),
        row("GET", "/nowhere%0a", 404, "unknown_route", ""),
        row("PUT", at, 413, "body_too_large", ""),
        row("DELETE", at, 204, "ok", "k"),
    ];
    assert_eq!(requests(&all), expected);
    for hidden in ["hidden value", "0123456789abcdef", "query"] {
        assert!(!std::fs::read_to_string(&file).expect("a trail").contains(hidden), "{hidden}");
    }
    let verify = |file: &Path| Builder::new().args(["audit", "verify"]).arg(file).run(SOON);
    let good = verify(&file);
    assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stderr));
    let text = std::fs::read_to_string(&file).expect("a trail").replace("\"status\":401", "\"status\":200");
    std::fs::write(&file, text).expect("written");
    let bad = verify(&file);
    assert_eq!(bad.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&bad.stderr).contains("audit.jsonl:2: its link is wrong"), "{bad:?}");
}

#[test]
fn every_request_to_a_script_has_its_line_too() {
    let pwsh = need_pwsh!();
    let builder = Builder::new().pwsh(pwsh);
    let file = builder.folder().join("audit.jsonl");
    let script = builder.file(
        "server.ps1",
        "Start-PodeServer {
            Add-PodeEndpoint -Address localhost -Port PORT -Protocol Http
            Register-PodeSecretVault -Name mem -ScriptBlock { param($config, $key) \"held-$key\" }
            Mount-PodeSecret -Name One -Vault mem -Key one
            Add-PodeRoute -Method Get -Path /one -ScriptBlock { Write-PodeTextResponse -Value (Get-PodeSecret -Name One) }
            Add-PodeRoute -Method Get -Path /fails -ScriptBlock { throw \"a`n{}\" }
        }"
        .replace("PORT", &free_port().to_string()),
    );
    let mut server = builder.args(["run", "--audit-file"]).arg(&file).arg(&script).start();
    for path in ["/one", "/fails", "/nowhere"] {
        server.get(path);
    }
    server.send("PUT", "/one", &[], b"");
    assert!(server.stop(SOON).success(), "{}", server.stderr());
    let all = lines(&file);
    let expected = [
        row("GET", "/one", 200, "ok", "one"),
        row("GET", "/fails", 500, "failed", ""),
        row("GET", "/nowhere", 404, "unknown_route", ""),
        row("PUT", "/one", 405, "method_not_allowed", ""),
    ];
    assert_eq!(requests(&all), expected, "{all:#?}");
    assert!(!std::fs::read_to_string(&file).expect("a trail").contains("held-"));
}

/// Names that would break a line, reverse it, close it or open another one, as a client can send them in a path.
const FORGERIES: &[&str] = &[
    "a%0a%7B%22seq%22:1%7D",
    "a%0d%0ab",
    "a%E2%80%A8b",
    "a%E2%80%A9b",
    "a%C2%85b",
    "a%E2%80%AEb",
    "a%ff%feb",
    "a%00b",
    "a%22,%22who%22:%22root",
    "a%5C",
    "a%1b%5B2Jb",
];

/// Each line is one JSON object of printable characters, numbered without a gap, and nobody has become another.
fn assert_unforged(file: &Path, least: usize) {
    let bytes = std::fs::read(file).expect("a trail");
    let text = String::from_utf8(bytes).expect("text");
    let strange =
        |c: char| c != '\n' && (c.is_control() || "\u{2028}\u{2029}\u{202a}\u{202e}\u{2066}".contains(c));
    assert!(!text.contains(strange), "{text:?}");
    let all = lines(file);
    assert!(all.len() >= least, "{} lines", all.len());
    for (line, next) in all.iter().zip(all.iter().skip(1)) {
        assert_eq!(line["seq"].as_u64().map(|seq| seq + 1), next["seq"].as_u64(), "{line} {next}");
    }
    assert!(all.iter().all(|line| line["who"] != "root"), "{text}");
    let output = Builder::new().args(["audit", "verify"]).arg(file).run(SOON);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn nothing_that_a_client_sends_to_serve_forges_or_splits_a_line_and_a_flood_is_counted() {
    let builder = Builder::new();
    let file = builder.folder().join("audit.jsonl");
    let plan = format!(
        "listen = \"127.0.0.1:0\"\nauth.open = true\naudit = {{ file = \"{}\", chain = true }}\n\
         [vaults.v]\nlocal = true\nfolder = \"vault\"\nexpose = true\n",
        file.display()
    );
    let mut server = builder.config(&plan).start();
    for name in FORGERIES {
        for path in [format!("/vaults/v/secrets/{name}"), format!("/{name}"), format!("/vaults?{name}")] {
            let fields = [("traceparent", "00-\u{2028}\t{}-00"), ("User-Agent", "x\",\"who\":\"root")];
            let _ = server.try_send("GET", &path, &fields, b"");
        }
    }
    // Methods are the client's own words too.
    let _ = server.raw(b"\"who\":\"root\" / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let floods = 300;
    for _ in 0..floods {
        assert_eq!(server.get("/flood").status, 404);
    }
    assert!(server.stop(SOON).success(), "{}", server.stderr());
    assert_unforged(&file, FORGERIES.len() * 2);
    let all = lines(&file);
    let of_flood = all.iter().filter(|line| line["path"] == "/flood").count();
    let folded: u64 = all
        .iter()
        .filter(|line| line["event"] == "folded" && line["outcome"] == "unknown_route")
        .filter_map(|line| line["count"].as_u64())
        .sum();
    assert!(folded > 0 && of_flood as u64 + folded >= floods, "{of_flood} lines and {folded} folded");
}

#[test]
fn nothing_that_a_client_sends_to_a_script_or_its_block_throws_forges_or_splits_a_line() {
    let pwsh = need_pwsh!();
    let builder = Builder::new().pwsh(pwsh);
    let file = builder.folder().join("audit.jsonl");
    let script = builder.file(
        "server.ps1",
        "Start-PodeServer {
            Add-PodeEndpoint -Address localhost -Port PORT -Protocol Http
            Register-PodeSecretVault -Name mem -ScriptBlock { param($config, $key) throw \"no `n{`\"seq`\":1}$([char]0x2028)$key\" }
            Add-PodeRoute -Method Get -Path '/of/:key' -ScriptBlock { Get-PodeSecret -Name $WebEvent.Parameters.key }
            Add-PodeRoute -Method Get -Path '/read/:key' -ScriptBlock { Read-PodeSecret -Vault mem -Key $WebEvent.Parameters.key }
            Add-PodeRoute -Method Get -Path '/throws' -ScriptBlock { throw [System.Exception]::new(\"a`r`n{`\"who`\":`\"root`\"}$([char]0x2029)\") }
        }"
        .replace("PORT", &free_port().to_string()),
    );
    let mut server = builder.args(["run", "--audit-chain", "--audit-file"]).arg(&file).arg(&script).start();
    for name in FORGERIES {
        for path in [format!("/of/{name}"), format!("/read/{name}"), format!("/{name}")] {
            let _ = server.try_send("GET", &path, &[], b"");
        }
    }
    server.get("/throws");
    assert!(server.stop(SOON).success(), "{}", server.stderr());
    assert_unforged(&file, FORGERIES.len() * 2);
}
