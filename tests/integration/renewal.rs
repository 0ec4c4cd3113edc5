//! What is in force after a reload or a watched change, in both modes: tokens, certificates, passwords; and what a reload
//! says of itself.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustix::process::Signal;
use serde_json::json;
use tokio_rustls::rustls;

use crate::need_pwsh;
use crate::support::http::Client;
use crate::support::server::{Builder, Server};
use crate::support::stand_in::StandIn;
use crate::support::{SOON, free_port, wait_until};

const OLD: &str = "old-0123456789abcdef";
const NEW: &str = "new-0123456789abcdef";
const READER: &str = "reader-0123456789abcdef";

/// As an editor writes: never half a file, mode 0600.
fn replace(path: &Path, content: &str) {
    use std::os::unix::fs::OpenOptionsExt as _;
    let new = path.with_extension("new");
    let _ = fs::remove_file(&new);
    let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(&new).unwrap();
    file.write_all(content.as_bytes()).unwrap();
    fs::rename(&new, path).unwrap();
}

// === certificates ===

/// Writes a new pair of certificate and key; gives the certificate.
fn write_pair(folder: &Path) -> Vec<u8> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    replace(&folder.join("k.pem"), &made.signing_key.serialize_pem());
    replace(&folder.join("c.pem"), &made.cert.pem());
    made.cert.der().to_vec()
}

/// Looks at what a server shows, and believes anything.
#[derive(Debug)]
struct Anything(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The certificate that a port shows.
fn shown(port: u16) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything(provider)))
        .with_no_client_auth();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let mut connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).unwrap();
    }
    connection.peer_certificates().unwrap()[0].to_vec()
}

fn port_of(server: &Server, scheme: &str) -> u16 {
    let of = |address: &String| {
        address.strip_prefix(scheme).map(|rest| rest.rsplit(':').next().unwrap().to_owned())
    };
    server.addresses().iter().find_map(of).unwrap().trim_end_matches('/').parse().unwrap()
}

#[test]
fn a_new_certificate_is_shown_after_a_signal_and_by_watch_and_its_end_is_measured() {
    let builder = Builder::new();
    let first = write_pair(builder.folder());
    let plan = "auth.open = true\n[[listeners]]\naddress = \"127.0.0.1:0\"\n[[listeners]]\naddress = \"127.0.0.1:0\"\n\
                tls = { certificate = \"c.pem\", key = \"k.pem\" }\n[vaults.mine]\nlocal = true\nfolder = \"data\"\nexpose = true\n";
    let server = builder.config(plan).start();
    let port = port_of(&server, "https://");
    assert_eq!(shown(port), first);
    // 4096-01-01: what rcgen gives by itself.
    let series = format!(
        "secretbridge_certificate_expiry_timestamp_seconds{{listener=\"https://127.0.0.1:{port}\"}} 67090118400"
    );
    let metrics = server.get("/metrics");
    assert!(metrics.text().contains(&series), "{}", metrics.text());
    let second = write_pair(server.folder());
    wait_until("by watch", SOON, || shown(port) == second);
    let third = write_pair(server.folder());
    server.signal(Signal::HUP);
    wait_until("after the signal", SOON, || shown(port) == third);
    // One that does not do is refused by name, and the old one stays.
    replace(&server.folder().join("c.pem"), "no certificate");
    server.signal(Signal::HUP);
    wait_until("it is refused", SOON, || {
        let log = server.stderr();
        log.contains("the reload is refused") && log.contains("c.pem")
    });
    assert_eq!(shown(port), third);
}

// === a script ===

const SCRIPT: &str = r#"
Start-PodeServer {
    Add-PodeEndpoint -Address localhost -Port PORT -Protocol Http
    TLS
    Register-PodeSecretVault -Name mem -ScriptBlock { param($config, $key) "held-$key" }
    Mount-PodeSecret -Name One -Vault mem -Key one
    Add-PodeRoute -Method Get -Path /one -ScriptBlock { Write-PodeTextResponse -Value (Get-PodeSecret -Name One) }
    Add-PodeRoute -Method Get -Path /two -ScriptBlock { Write-PodeTextResponse -Value 'two' }
}
"#;

#[test]
fn a_script_takes_new_tokens_and_certificates_and_says_that_it_runs_at_a_start_alone() {
    let pwsh = need_pwsh!();
    let (port, tls, admin) = (free_port(), free_port(), free_port());
    let builder = Builder::new().pwsh(pwsh);
    let first = write_pair(builder.folder());
    let endpoint = format!(
        "Add-PodeEndpoint -Address localhost -Port {tls} -Protocol Https -Certificate '{0}/c.pem' -CertificateKey '{0}/k.pem'",
        builder.folder().display()
    );
    let text = SCRIPT.replace("PORT", &port.to_string()).replace("TLS", &endpoint);
    let script = builder.file("server.ps1", &text);
    let owner = builder.file("owner.token", OLD);
    let named = |key: &str| {
        format!("[[tokens]]\nname = \"reader\"\nfile = \"reader.token\"\nallow = [\"read /{key}\"]\n")
    };
    builder.file("reader.token", READER);
    let tokens = builder.file("tokens.toml", named("one"));
    let watch = builder.file("admin.token", OLD);
    let audit = builder.folder().join("audit.jsonl");
    let server = builder
        .arg("run")
        .args(["--admin-listen", &format!("127.0.0.1:{admin}"), "--admin-token-file"])
        .arg(&watch)
        .args(["--token-file".into(), owner.clone(), "--token-file".into(), tokens.clone()])
        .arg("--audit-file")
        .arg(&audit)
        .arg(&script)
        .start();
    let client = |address: u16, token: &str| Client::new(([127, 0, 0, 1], address).into()).with_token(token);
    let status = |address: u16, token: &str, path: &str| client(address, token).get(path).status;
    // The token of the .toml file may use its route alone.
    assert_eq!((status(port, READER, "/one"), status(port, READER, "/two")), (200, 403));
    assert_eq!((status(port, OLD, "/two"), status(port, "wrong-0123456789abcdef", "/two")), (200, 401));
    assert_eq!(status(admin, OLD, "/metrics"), 200);
    assert_eq!(shown(tls), first);

    let second = write_pair(server.folder());
    for (file, content) in [(&owner, NEW), (&watch, NEW), (&tokens, &named("two"))] {
        replace(file, content);
    }
    server.signal(Signal::HUP);
    wait_until("the new token is in force", SOON, || status(port, NEW, "/two") == 200);
    assert_eq!((status(port, OLD, "/two"), status(admin, OLD, "/metrics")), (401, 401));
    assert_eq!((status(port, READER, "/one"), status(port, READER, "/two")), (403, 200));
    assert_eq!(status(admin, NEW, "/metrics"), 200);
    assert_eq!(shown(tls), second);
    // By watch too.
    replace(&owner, OLD);
    wait_until("the former token is back", SOON, || status(port, OLD, "/two") == 200);
    assert_eq!(status(port, NEW, "/two"), 401);
    // What is wrong changes nothing.
    replace(&tokens, "[[tokens]]\nname = \"reader\"\n");
    server.signal(Signal::HUP);
    wait_until("it is refused", SOON, || server.stderr().contains("the reload is refused"));
    assert_eq!(status(port, READER, "/two"), 200);
    replace(&script, &(text.clone() + "\n# changed"));
    server.signal(Signal::HUP);
    wait_until("the script is told of", SOON, || server.stderr().contains("the script has changed"));

    // Requests of both listeners are counted and in the trail; the counts are shown on the admin listener.
    let metrics = client(admin, NEW).get("/metrics");
    for series in [
        "secretbridge_requests_total{route=\"/two\",method=\"GET\",status=\"200\",caller=\"token:reader\"}",
        "secretbridge_requests_total{route=\"/metrics\",method=\"GET\",status=\"200\",caller=\"token\"}",
        "secretbridge_request_seconds_count{route=\"/one\"}",
        "secretbridge_errors_total{code=\"token_wrong\"}",
        &format!("secretbridge_connections_accepted_total{{listener=\"http://127.0.0.1:{admin}\"}}"),
        "secretbridge_vault_calls_total{vault=\"mem\",action=\"read\",outcome=\"ok\"} 1",
    ] {
        assert!(metrics.text().contains(series), "{series}\n{}", metrics.text());
    }
    wait_until("the admin listener's requests are in the trail", SOON, || {
        fs::read_to_string(&audit).unwrap_or_default().contains("\"route\":\"/metrics\"")
    });
}

// === what a reload says, and a stop in the middle of one ===

fn plan(vaults: &str) -> String {
    format!("listen = \"127.0.0.1:0\"\nauth.open = true\npool = {{ min = 1, max = 1 }}\n{vaults}")
}

const STORE: &str = "[vaults.store]\nmodule = \"TestVault\"\nexpose = true\n";

#[test]
fn a_reload_says_that_it_begins_what_has_changed_and_that_it_is_done() {
    let stand_in = StandIn::scenario("ok");
    let server =
        Builder::new().stand_in(&stand_in).config(&plan(STORE)).arg("--log-format").arg("json").start();
    let file = server.folder().join("secretbridge.toml");
    let other = "[vaults.other]\nmodule = \"TestVault\"\nparameters = { P = \"canary\" }\n";
    replace(&file, &plan(&format!("{STORE}{other}")));
    wait_until("it is done", SOON, || server.stderr().contains("the reload is done"));
    let log = server.stderr();
    let said: Vec<String> = log
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|_| panic!("not JSON: {line}"))
        })
        .filter_map(|line| Some(line["message"].as_str()?.to_owned()))
        .filter(|message| message.contains("reload"))
        .collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(
        said[0].starts_with("the reload begins, because of a change of ")
            && said[0].contains("secretbridge.toml")
    );
    assert!(said[1].ends_with("changed: vault other (new)"), "{said:?}");
    server.assert_never_wrote(&["canary"]);
}

#[test]
fn a_signal_to_stop_is_heeded_in_the_middle_of_a_reload() {
    // The worker of the reload never comes up.
    let stand_in = StandIn::with(&json!({ "rules": [{ "op": "start", "worker": 2, "do": "hang" }] }));
    let mut server = Builder::new().stand_in(&stand_in).config(&plan(STORE)).start();
    server.signal(Signal::HUP);
    wait_until("the worker of the reload has started", SOON, || stand_in.workers().len() == 2);
    assert!(server.stop(SOON).success(), "{}", server.stderr());
    assert!(!server.stderr().contains("the reload is done"));
}

#[test]
fn a_password_that_was_changed_in_the_store_and_in_its_file_is_in_force_after_a_signal() {
    let pwsh = need_pwsh!();
    let home = tempfile::tempdir().unwrap();
    let store = "$old = ConvertTo-SecureString -String old -AsPlainText -Force; \
        Set-SecretStoreConfiguration -Password $old -Interaction None -Confirm:$false; \
        Register-SecretVault -Name store -ModuleName Microsoft.PowerShell.SecretStore; \
        Unlock-SecretVault -Name store -Password $old; \
        Set-Secret -Name k -Secret v -Vault store";
    pwsh.output_of(store, home.path());
    let builder = Builder::new().pwsh(pwsh).home(home.path());
    builder.file("password", "old");
    let plan = plan(
        "[vaults.store]\nmodule = \"Microsoft.PowerShell.SecretStore\"\nexpose = true\nunlock = { file = \"password\" }\n",
    );
    let server = builder.config(&plan).start();
    let read = || server.get("/vaults/store/secrets/k");
    assert_eq!(read().status, 200, "{}", read().text());
    let change = "$old = ConvertTo-SecureString -String old -AsPlainText -Force; \
        $new = ConvertTo-SecureString -String new -AsPlainText -Force; \
        Unlock-SecretStore -Password $old; Set-SecretStorePassword -Password $old -NewPassword $new";
    pwsh.output_of(change, home.path());
    replace(&server.folder().join("password"), "new");
    server.signal(Signal::HUP);
    wait_until("the reload is done", SOON * 3, || server.stderr().contains("the reload is done"));
    assert_eq!(read().text(), r#"{"Name":"k","Type":"String","Value":"v"}"#, "{}", server.stderr());
    // And the old one is not: with it in the file no reload unlocks the store, and what answers says so.
    replace(&server.folder().join("password"), "old");
    server.signal(Signal::HUP);
    wait_until("the old password does not unlock", SOON * 3, || {
        server.stderr().contains("did not unlock") || server.stderr().contains("the reload is refused")
    });
    wait_until("nothing is read with the old one", SOON * 3, || {
        let answer = read();
        let refused = server.stderr().contains("the reload is refused");
        // A reload that is refused whole leaves the new one, which still reads, in force.
        answer.status == 503 || (refused && answer.status == 200)
    });
    // With the new one in the file again it is in force again.
    replace(&server.folder().join("password"), "new");
    server.signal(Signal::HUP);
    wait_until("the new password is back", SOON * 3, || {
        server.stderr().matches("the reload is done").count() >= 2 && read().status == 200
    });
}

#[test]
fn a_signal_to_stop_is_heeded_in_the_middle_of_a_start() {
    // No worker ever comes up; the port is bound before that.
    let stand_in = StandIn::with(&json!({ "rules": [{ "op": "start", "do": "hang" }] }));
    let builder = Builder::new().stand_in(&stand_in).config(&plan(STORE));
    let (mut process, folder) = builder.launch();
    wait_until("a worker was started", SOON, || !stand_in.workers().is_empty());
    process.signal(Signal::TERM);
    let status = process.wait_exit(SOON);
    assert!(status.success(), "{status}: {}", process.stderr.text());
    process.drain();
    let said = process.stderr.text();
    assert!(!said.contains("listening on"), "{said}");
    let left = fs::read_dir(folder.path().join("run")).unwrap().flatten();
    let left: Vec<_> = left.flat_map(|base| fs::read_dir(base.path()).unwrap().flatten()).collect();
    assert!(left.iter().all(|entry| !entry.file_name().to_string_lossy().starts_with("run-")), "{left:?}");
}

#[test]
fn a_signal_to_stop_is_heeded_while_a_script_declares() {
    let pwsh = need_pwsh!();
    let builder = Builder::new().pwsh(pwsh);
    let reached = builder.folder().join("reached");
    let script = builder.file(
        "server.ps1",
        format!(
            "[IO.File]::WriteAllText('{}', '')\nwhile ($true) {{ Start-Sleep -Milliseconds 50 }}\n",
            reached.display()
        ),
    );
    let (mut process, _folder) = builder.arg("run").arg(script).launch();
    wait_until("the script runs", SOON * 3, || reached.exists());
    process.signal(Signal::TERM);
    let status = process.wait_exit(SOON);
    assert!(status.success(), "{status}: {}", process.stderr.text());
}

// === connections ===

#[test]
fn a_unix_socket_answers_while_every_place_of_a_tcp_listener_is_taken() {
    use std::io::Read as _;
    let builder = Builder::new();
    let socket = builder.folder().join("s.sock");
    let text = format!(
        "listen = [\"127.0.0.1:0\", \"unix:{}\"]\nauth.open = true\nlimits = {{ max_connections = 4, deadline = \"60s\" }}\n\
         [vaults.mine]\nlocal = true\nfolder = \"data\"\nexpose = true\n",
        socket.display()
    );
    let server = builder.config(&text).start();
    // Each waits for a body that does not come, so none of them can be asked to leave.
    let busy = || {
        let mut stream = server.connect().unwrap();
        let head = "PUT /vaults/mine/secrets/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf";
        stream.write_all(head.as_bytes()).unwrap();
        stream
    };
    let ask = |path: &str| {
        let mut stream = std::os::unix::net::UnixStream::connect(&socket).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    // Those whose heads were not read yet make room for the next; at last one waits, and is counted.
    let full = format!("secretbridge_connections_full_total{{listener=\"http://{}\"}} 0", server.address);
    let mut held = Vec::new();
    wait_until("the listener is full", SOON, || {
        held.push(busy());
        !ask("/metrics").contains(&full)
    });
    wait_until("the log says so", SOON, || server.stderr().contains("max_connections"));
    for _ in 0..20 {
        assert!(ask("/vaults").starts_with("HTTP/1.1 200 "));
    }
    drop(held);
}
