//! Who gets in: web pages, named tokens, users of the machine, limits, and what a reload puts in force.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::Instant;

use crate::need_pwsh;
use crate::support::http::Client;
use crate::support::server::{Builder, Server};
use crate::support::{SOON, free_port, wait_until};

const FORM: &str = "application/x-www-form-urlencoded";
const EVIL: &str = "https://evil.example";
const OWNER: &str = "owner-0123456789abcdef";
const CI: &str = "ci-0123456789abcdef-ci";

/// A local vault under `/vaults/mine`, and routes to one of its secrets.
const PLAN: &str = r#"
[vaults.mine]
local = true
folder = "data"
expose = true

[secrets.Password]
vault = "mine"
key = "db-password"

[[routes]]
method = "GET"
path = "/secret"
secret = "Password"

[[routes]]
method = "POST"
path = "/secret"
secret = "Password"
"#;

fn plan(more: &str) -> String {
    format!("listen = \"127.0.0.1:0\"\n{more}\n{PLAN}")
}

fn open(more: &str) -> Server {
    Builder::new().config(&plan(&format!("[auth]\nopen = true\n{more}"))).start()
}

/// As an editor writes: never half a file, mode 0600.
fn replace(path: &Path, content: &str) {
    use std::os::unix::fs::OpenOptionsExt as _;
    let new = path.with_extension("new");
    let _ = fs::remove_file(&new);
    let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(&new).unwrap();
    file.write_all(content.as_bytes()).unwrap();
    fs::rename(&new, path).unwrap();
}

fn set(client: &Client, key: &str, value: &str) {
    assert_eq!(client.put(&format!("/vaults/mine/secrets/{key}"), "text/plain", value).status, 204);
}

/// The status of a request that a browser would send for a page: with its own `Host`, if any is given.
fn page(client: &Client, method: &str, path: &str, host: Option<&str>, fields: &str, body: &str) -> u16 {
    let host = host.map_or_else(|| client.address.to_string(), str::to_owned);
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}Content-Type: {FORM}\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    client.raw(request.as_bytes()).expect("an answer").status
}

/// Everything that a page of another origin may try with routes that show and write a secret.
fn assert_closed_to_pages(client: &Client) {
    let origin = format!("Origin: {EVIL}\r\n");
    for (method, host, fields) in [
        ("POST", None, origin.as_str()),
        ("POST", None, "Origin: null\r\n"),
        ("POST", None, "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n"),
        ("POST", None, "Referer: https://evil.example/page\r\n"),
        ("GET", None, origin.as_str()),
        ("GET", None, "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: image\r\n"),
        ("GET", None, "Referer: https://evil.example/page\r\n"),
        ("GET", Some("evil.example"), ""),
        ("GET", Some("evil.example:8080"), ""),
        ("GET", Some("evil.example"), "X-Forwarded-Host: localhost\r\n"),
        ("POST", Some("evil.example"), "Origin: http://evil.example\r\n"),
        ("GET", None, "Origin: https://evil.example\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"),
        (
            "OPTIONS",
            None,
            "Origin: https://evil.example\r\nAccess-Control-Request-Method: POST\r\n\
             Access-Control-Request-Private-Network: true\r\n",
        ),
    ] {
        let status = page(client, method, "/secret", host, fields, "Value=stolen");
        assert_eq!(status, 403, "{method} {host:?} {fields}");
    }
    let two = format!(
        "GET /secret HTTP/1.1\r\nHost: {}\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
        client.address
    );
    assert_eq!(client.raw(two.as_bytes()).unwrap().status, 400, "two Host fields");
}

/// What worked before and has to go on working.
fn assert_open_to_programs(client: &Client) {
    let port = client.address.port();
    let own = format!("Origin: http://{}\r\n", client.address);
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    for (method, host, fields) in [
        ("POST", None, ""),
        ("POST", None, own.as_str()),
        ("POST", None, "Sec-Fetch-Site: same-origin\r\n"),
        ("GET", None, "Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\n"),
        (
            "GET",
            None,
            "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n",
        ),
        ("GET", Some(format!("localhost:{port}")), ""),
        ("GET", Some(format!("{machine}:{port}")), ""),
        ("GET", Some(machine.to_uppercase()), ""),
        ("GET", Some("192.0.2.9:8080".to_owned()), ""),
    ] {
        let status = page(client, method, "/secret", host.as_deref(), fields, "Value=new");
        assert_eq!(status, 200, "{method} {host:?} {fields}");
    }
}

#[test]
fn an_open_server_is_closed_to_pages_of_other_origins_and_open_to_programs() {
    let server = open("");
    set(&server, "db-password", "kept");
    assert_closed_to_pages(&server);
    assert_eq!(server.get("/secret").json()["Value"], "kept");
    assert_open_to_programs(&server);
    assert!(server.stderr().contains("refused: web pages of other origins"), "{}", server.stderr());
}

#[test]
fn hosts_and_origins_are_opened_by_name() {
    let server = open("allow_host = [\"secrets.example\"]\nallow_origin = \"https://app.example\"\n");
    set(&server, "db-password", "kept");
    assert_eq!(page(&server, "GET", "/secret", Some("secrets.example"), "", ""), 200);
    assert_eq!(page(&server, "GET", "/secret", Some("other.example"), "", ""), 403);
    let preflight = server.send(
        "OPTIONS",
        "/secret",
        &[
            ("Origin", "https://app.example"),
            ("Access-Control-Request-Method", "PUT"),
            ("Access-Control-Request-Headers", "authorization"),
            ("Access-Control-Request-Private-Network", "true"),
        ],
        b"",
    );
    assert_eq!(preflight.status, 204);
    for (name, value) in [
        ("Access-Control-Allow-Origin", "https://app.example"),
        ("Access-Control-Allow-Methods", "PUT"),
        ("Access-Control-Allow-Headers", "authorization"),
        ("Access-Control-Allow-Private-Network", "true"),
    ] {
        assert_eq!(preflight.header(name), Some(value));
    }
    let read = server.send("GET", "/secret", &[("Origin", "https://app.example")], b"");
    assert_eq!((read.status, read.header("Access-Control-Allow-Origin")), (200, Some("https://app.example")));
    assert_eq!(page(&server, "GET", "/secret", None, "Origin: https://app.example.evil\r\n", ""), 403);
}

/// `Start-PodeServer` with one route that shows and writes a table's member, and one that says for itself what
/// may be kept.
const SCRIPT: &str = r#"
Start-PodeServer {
    Add-PodeEndpoint -Address 127.0.0.1 -Port PORT -Protocol Http
    Set-PodeState -Name 'kept' -Value @{ Value = 'kept' } | Out-Null
    Add-PodeRoute -Method Get -Path '/secret' -ScriptBlock { Write-PodeJsonResponse (Get-PodeState -Name 'kept') }
    Add-PodeRoute -Method Post -Path '/secret' -ScriptBlock {
        Set-PodeState -Name 'kept' -Value @{ Value = $WebEvent.Data.Value } | Out-Null
    }
    Add-PodeRoute -Method Get -Path '/kept' -ScriptBlock {
        Set-PodeHeader -Name 'Cache-Control' -Value 'max-age=60'
        Write-PodeTextResponse 'public'
    }
}
"#;

#[test]
fn a_script_without_a_token_is_closed_to_pages_and_watched_on_a_listener_of_its_own() {
    let pwsh = need_pwsh!();
    let admin = free_port();
    let builder = Builder::new().pwsh(pwsh);
    let script = builder.file("server.ps1", SCRIPT.replace("PORT", &free_port().to_string()));
    let token = builder.file("admin.token", OWNER);
    let server = builder
        .arg("run")
        .args(["--admin-listen", &format!("127.0.0.1:{admin}"), "--admin-token-file"])
        .arg(token)
        .arg(script)
        .start();
    assert_closed_to_pages(&server);
    assert_eq!(server.get("/secret").json()["Value"], "kept");
    assert_open_to_programs(&server);
    // Values are kept nowhere, unless the script says so.
    assert_eq!(server.get("/secret").header("Cache-Control"), Some("no-store"));
    assert_eq!(server.get("/none").header("Cache-Control"), Some("no-store"));
    assert_eq!(server.get("/kept").header("Cache-Control"), Some("max-age=60"));
    // The long s is no s: .NET, and so every vault, tells them apart.
    assert_eq!((server.get("/SECRET").status, server.get("/%C5%BFecret").status), (200, 404));

    let watch = Client { address: ([127, 0, 0, 1], admin).into(), ..server.client() };
    for (path, status) in
        [("/livez", 200), ("/readyz", 200), ("/health", 200), ("/metrics", 401), ("/secret", 401)]
    {
        assert_eq!(watch.get(path).status, status, "{path}");
    }
    assert!(watch.get("/health").json()["workers"].is_null(), "a stranger learns little");
    let watch = watch.with_token(OWNER);
    assert!(watch.get("/metrics").text().contains("secretbridge_ready 1"));
    assert!(watch.get("/health").json()["workers"].is_array());
    assert_eq!(
        (watch.get("/secret").status, server.get("/health").status),
        (404, 404),
        "apart from each other"
    );
}

#[test]
fn from_the_moment_that_it_is_bound_a_port_says_that_the_server_starts() {
    let pwsh = need_pwsh!();
    let admin = free_port();
    let builder = Builder::new().pwsh(pwsh);
    let go = builder.folder().join("go");
    let wait = format!("while (-not (Test-Path '{}')) {{ Start-Sleep -Milliseconds 50 }}\n", go.display());
    let script = builder.file("server.ps1", wait + &SCRIPT.replace("PORT", &free_port().to_string()));
    let (process, _folder) =
        builder.arg("run").args(["--admin-listen", &format!("127.0.0.1:{admin}")]).arg(script).launch();
    let watch = Client::new(([127, 0, 0, 1], admin).into());
    let get = |path: &str| watch.try_send("GET", path, &[], b"").ok();
    wait_until("the port is bound", SOON, || get("/readyz").is_some());
    for (path, status) in [("/livez", 503), ("/readyz", 503), ("/health", 503), ("/metrics", 503)] {
        let answer = get(path).unwrap();
        assert_eq!((answer.status, &answer.json()["status"]), (status, &"starting".into()), "{path}");
        assert!(answer.json()["starting"]["workers"]["of"].is_number());
    }
    fs::write(&go, "").unwrap();
    wait_until("it serves", SOON * 4, || get("/readyz").is_some_and(|answer| answer.status == 200));
    drop(process);
}

#[test]
fn a_token_may_do_what_its_rules_allow_whether_the_key_is_there_or_not() {
    let builder = Builder::new();
    builder.file("owner.token", OWNER);
    builder.file("ci.token", CI);
    let auth = "[auth]\ntoken_file = \"owner.token\"\n\
        [[tokens]]\nname = \"ci\"\nfile = \"ci.token\"\nallow = [\"read,list mine/db-*\", \"write /secret\"]\n";
    let server = builder.config(&plan(auth)).start();
    let (owner, ci) = (server.with_token(OWNER), server.with_token(CI));
    set(&owner, "db-password", "one");
    set(&owner, "other", "two");
    for (method, path, status) in [
        ("GET", "/vaults/mine/secrets/db-password", 200),
        ("GET", "/vaults/MINE/secrets/DB-PASSWORD", 200),
        ("GET", "/vaults/mine/secrets/db-none", 404),
        ("GET", "/vaults/mine/secrets/other", 403),
        ("GET", "/vaults/mine/secrets/none", 403),
        ("GET", "/vaults/none/secrets/db-password", 403),
        ("PUT", "/vaults/mine/secrets/db-password", 403),
        ("DELETE", "/vaults/mine/secrets/db-none", 403),
        // By the secret behind the route, and by the route itself.
        ("GET", "/secret", 200),
        ("POST", "/secret", 200),
        ("GET", "/metrics", 403),
    ] {
        let answer =
            ci.send(method, path, &[("Content-Type", FORM)], if method == "POST" { b"Value=x" } else { b"" });
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
    }
    let refused = |key: &str| ci.get(&format!("/vaults/mine/secrets/{key}")).text().to_owned();
    assert_eq!(refused("other"), refused("none"), "the same words");
    let listed = ci.get("/vaults/mine/secrets").text().to_owned();
    assert!(listed.contains("db-password") && !listed.contains("other"), "{listed}");
    assert_eq!(server.get("/secret").status, 401);
    assert_eq!(server.with_token("0123456789abcdef").get("/secret").status, 401);
}

#[test]
fn named_tokens_alone_let_in_nobody_else_and_are_kept_as_hashes() {
    let hash = {
        let output = Builder::new().args(["token", "new"]).run(SOON);
        let text = String::from_utf8(output.stdout).unwrap();
        let word =
            |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
        (word("token"), word("hash"))
    };
    // Somebody gives the token where its file is meant: it is not printed.
    let mistaken = Builder::new().args(["token", "hash", &hash.0]).run(SOON);
    let told = String::from_utf8(mistaken.stderr).unwrap();
    assert_eq!(mistaken.status.code(), Some(64), "{told}");
    assert!(told.contains("may be a token") && !told.contains(&hash.0), "{told}");
    let tokens = format!("[[tokens]]\nname = \"ci\"\nhash = \"{}\"\nallow = [\"* mine\"]\n", hash.1);
    let server = Builder::new().config(&plan(&tokens)).start();
    set(&server.with_token(&hash.0), "k", "v");
    assert_eq!((server.get("/vaults").status, server.with_token(&hash.1).get("/vaults").status), (401, 401));
    assert!(!server.home().join(".local/share/secretbridge/token").exists(), "no other token is made");
}

#[test]
fn a_user_of_the_machine_is_known_by_its_socket() {
    let us = rustix::process::geteuid().as_raw();
    for (uid, status) in [(us, "200"), (us + 1, "401")] {
        let peers = format!("[[peers]]\nname = \"us\"\nuid = {uid}\nallow = [\"list mine\"]\n");
        let builder = Builder::new();
        let socket = builder.folder().join("s");
        let text = plan(&peers)
            .replace("\"127.0.0.1:0\"", &format!("[\"127.0.0.1:0\", \"unix:{}\"]", socket.display()));
        let server = builder.config(&text).start();
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream
            .write_all(b"GET /vaults/mine/secrets HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{uid}: {answer}");
        assert_eq!(server.get("/vaults/mine/secrets").status, 401, "not by TCP");
    }
}

#[test]
fn limits_answer_429_and_wrong_tokens_are_slowed() {
    let server = open("[limits]\nrate_per_address = 5\n");
    let statuses: Vec<_> = (0..8).map(|_| server.get("/vaults")).collect();
    let over = statuses.iter().find(|answer| answer.status == 429).expect("one too many");
    assert!(over.header("Retry-After").is_some());
    assert!(statuses[..5].iter().all(|answer| answer.status == 200));

    let builder = Builder::new();
    builder.file("owner.token", OWNER);
    let server = builder.config(&plan("[auth]\ntoken_file = \"owner.token\"\n")).start();
    let wrong = server.with_token("wrong-0123456789abcdef");
    let begun = Instant::now();
    assert!((0..13).all(|_| wrong.get("/vaults").status == 401));
    assert!(begun.elapsed() >= Duration::from_millis(900), "{:?}", begun.elapsed());
    assert_eq!(server.with_token(OWNER).get("/vaults").status, 200, "the right one does not wait");
}

#[test]
fn a_changed_token_is_in_force_and_the_old_one_is_not() {
    let builder = Builder::new();
    builder.file("owner.token", OWNER);
    let server = builder.config(&plan("[auth]\ntoken_file = \"owner.token\"\n")).start();
    let (old, new) = (server.with_token(OWNER), server.with_token("next-0123456789abcdef"));
    assert_eq!(old.get("/vaults").status, 200);
    replace(&server.folder().join("owner.token"), "next-0123456789abcdef");
    wait_until("the new token is in force", SOON, || new.get("/vaults").status == 200);
    assert_eq!(old.get("/vaults").status, 401);
    wait_until("the log says so", SOON, || server.stderr().contains("changed tokens are in force"));
    assert!(!server.stderr().contains("the changed configuration is in force"), "it did not change");
}

#[test]
fn a_reload_that_opens_or_adds_is_one_swap_and_what_needs_a_restart_is_refused_whole() {
    let builder = Builder::new();
    builder.file("owner.token", OWNER);
    let locked = "[auth]\ntoken_file = \"owner.token\"\n";
    let server = builder.config(&plan("[auth]\nopen = true\n")).start();
    let file = server.folder().join("secretbridge.toml");
    assert_eq!(server.get("/vaults").status, 200);
    // Closed, with a vault more: whoever sees the vault has shown the token.
    let more = "\n[vaults.second]\nlocal = true\nfolder = \"second\"\nexpose = true\n";
    replace(&file, &(plan(locked) + more));
    server.signal(Signal::HUP);
    wait_until("it is closed", SOON, || {
        let answer = server.get("/vaults");
        assert!(answer.status == 401 || !answer.text().contains("second"), "{}", answer.text());
        answer.status == 401
    });
    assert!(server.with_token(OWNER).get("/vaults").text().contains("second"));
    // Opened again, but on another listener: nothing of it is in force.
    replace(&file, &plan("[auth]\nopen = true\n").replace("127.0.0.1:0", "127.0.0.2:0"));
    server.signal(Signal::HUP);
    wait_until("it is refused by name", SOON, || server.stderr().contains("needs a restart: listen"));
    assert_eq!(server.get("/vaults").status, 401);
    assert_eq!(server.stderr().matches("the changed configuration is in force").count(), 1);
}

#[test]
fn a_pipe_in_place_of_a_file_ends_the_start_with_its_name() {
    let builder = Builder::new();
    let pipe = builder.folder().join("pipe");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let output = builder.args(["serve", "--config"]).arg(&pipe).run(SOON);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(64), "{told}");
    assert!(told.contains("pipe") && told.contains("not a regular file"), "{told}");
    let builder = Builder::new();
    builder.file("k.pem", "x");
    let tls =
        "[[listeners]]\naddress = \"127.0.0.1:0\"\ntls = { certificate = \"/dev/zero\", key = \"k.pem\" }\n";
    let output = builder.config(&format!("{tls}{PLAN}")).run(SOON);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && told.contains("/dev/zero"), "{told}");
}
