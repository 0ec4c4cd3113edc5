//! Who may do what, and how much, beyond the one token: certificates, named tokens of a script, limits of both modes.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use tokio::time::Instant;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto};

use crate::need_pwsh;
use crate::support::http::{Client, Response, exchange};
use crate::support::server::{Builder, Server};
use crate::support::{SOON, free_port, wait_until};

const OWNER: &str = "owner-0123456789abcdef";
const CI: &str = "ci-0123456789abcdef-ci";

// === certificates ===

/// An authority, and certificates of it.
struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Authority { certificate, issuer: Issuer::new(params, key) }
    }

    fn issue(&self, common_name: &str, names: &[&str]) -> (Certificate, KeyPair) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names =
            names.iter().map(|name| SanType::DnsName((*name).try_into().unwrap())).collect();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate, key)
    }
}

/// A request over TLS, with a certificate of the caller's own if there is one.
fn ask(
    server: &Server,
    roots: &Authority,
    own: Option<&(Certificate, KeyPair)>,
    path: &str,
) -> std::io::Result<Response> {
    let mut store = RootCertStore::empty();
    store.add(roots.certificate.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(store);
    let config = match own {
        None => config.with_no_client_auth(),
        Some((certificate, key)) => {
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
            let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
            config.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let stream: TcpStream = server.connect()?;
    exchange(StreamOwned::new(connection, stream), &server.request("GET", path, &[], b""))
}

#[test]
fn a_caller_is_known_by_its_certificates_subject_or_name_and_a_stranger_is_none() {
    let (authority, other) = (Authority::new("ours"), Authority::new("another"));
    let builder = Builder::new();
    let (certificate, key) = authority.issue("localhost", &["localhost"]);
    builder.file("c.pem", certificate.pem());
    builder.file("k.pem", key.serialize_pem());
    builder.file("ca.pem", authority.certificate.pem());
    let config = "[[listeners]]\naddress = \"127.0.0.1:0\"\n\
        tls = { certificate = \"c.pem\", key = \"k.pem\", client_ca = \"ca.pem\" }\n\
        [[certificates]]\nname = \"ops\"\nsubject = \"CN=ops\"\nallow = [\"* mine\"]\n\
        [[certificates]]\nname = \"backup\"\nsan = \"backup.example\"\nallow = [\"read mine/db-*\"]\n\
        [vaults.mine]\nlocal = true\nfolder = \"data\"\nexpose = true\n";
    let server = builder.config(config).start();
    let status = |own: Option<&(Certificate, KeyPair)>, path: &str| {
        ask(&server, &authority, own, path).map(|answer| (answer.status, answer.text().to_owned()))
    };
    let ops = authority.issue("ops", &[]);
    let backup = authority.issue("anything", &["other.example", "backup.example"]);
    let unknown = authority.issue("unknown", &["unknown.example"]);
    let forged = other.issue("ops", &["backup.example"]);
    let secret = |key: &str| format!("/vaults/mine/secrets/{key}");
    assert_eq!(status(Some(&ops), &secret("none")).unwrap().0, 404);
    assert_eq!(status(Some(&ops), "/vaults/mine/secrets").unwrap().0, 200);
    assert_eq!(status(Some(&backup), &secret("db-none")).unwrap().0, 404);
    let (refused, words) = status(Some(&backup), &secret("other")).unwrap();
    assert_eq!((refused, words), status(Some(&backup), "/vaults/none/secrets/x").unwrap());
    assert_eq!(refused, 403);
    for own in [Some(&unknown), None] {
        assert_eq!(status(own, &secret("db-none")).unwrap().0, 401);
    }
    // One of another authority is no certificate at all, whatever stands in it.
    let forged = status(Some(&forged), &secret("db-none"));
    assert!(forged.as_ref().map_or(true, |(status, _)| *status == 401), "{forged:?}");
}

// === limits of serve ===

#[test]
fn each_caller_and_each_address_of_a_server_has_its_own_limit() {
    let config = |limits: &str| {
        format!(
            "listen = [\"127.0.0.1:0\"]\nauth.token_file = \"owner.token\"\n{limits}\n\
             [[tokens]]\nname = \"ci\"\nfile = \"ci.token\"\nallow = [\"list mine\"]\n\
             [vaults.mine]\nlocal = true\nfolder = \"data\"\nexpose = true\n"
        )
    };
    let start = |limits: &str| {
        let builder = Builder::new();
        builder.file("owner.token", OWNER);
        builder.file("ci.token", CI);
        builder.config(&config(limits)).start()
    };
    let server = start("limits.rate_per_caller = 5");
    assert_limited(&server.with_token(CI), "/vaults/mine/secrets", 200);
    assert_eq!(server.with_token(OWNER).get("/vaults").status, 200, "another caller has a limit of its own");
    let server = start("limits.rate_per_address = 5");
    assert_limited(&server.with_token(CI), "/vaults/mine/secrets", 200);
    assert_eq!(get_from("127.0.0.2", &server.with_token(OWNER), "/vaults"), 200, "as has another address");
}

/// Asks until it is one request too many. Limits are low: five a second are more than any machine needs for that.
#[track_caller]
fn assert_limited(client: &Client, path: &str, status: u16) {
    let mut last = client.get(path);
    assert_eq!(last.status, status, "{}", last.text());
    wait_until("one is too many", SOON, || {
        last = client.get(path);
        last.status == 429
    });
    let after = last.header("Retry-After").expect("it says when to come back");
    assert!(after.parse::<u32>().is_ok_and(|seconds| seconds >= 1), "{after}");
}

/// A request from another address of this machine.
fn get_from(address: &str, client: &Client, path: &str) -> u16 {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let from: std::net::SocketAddr = (address.parse::<std::net::IpAddr>().unwrap(), 0).into();
    socket.bind(&from.into()).unwrap();
    socket.connect(&client.address.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(client.timeout)).unwrap();
    exchange(stream, &client.request("GET", path, &[], b"")).unwrap().status
}

// === a script ===

const SCRIPT: &str = r#"
Start-PodeServer {
    Add-PodeEndpoint -Address localhost -Port PORT -Protocol Http
    Add-PodeRoute -Method Get -Path '/one' -ScriptBlock { Write-PodeTextResponse -Value 'one' }
    Add-PodeRoute -Method Get -Path '/two' -ScriptBlock { Write-PodeTextResponse -Value 'two' }
}
"#;

fn run(builder: Builder, more: &[&str]) -> Server {
    let script = builder.file("server.ps1", SCRIPT.replace("PORT", &free_port().to_string()));
    let owner = builder.file("owner.token", OWNER);
    builder.file("ci.token", CI);
    let tokens = "[[tokens]]\nname = \"ci\"\nfile = \"ci.token\"\nallow = [\"read /one\"]\n";
    let tokens = builder.file("tokens.toml", tokens);
    let builder = builder.arg("run").args(more);
    let given = |builder: Builder, file: &Path| builder.arg("--token-file").arg(file);
    given(given(builder, &owner), &tokens).arg(script).start()
}

#[test]
fn a_scripts_callers_do_what_their_rules_allow_whether_the_route_is_there_or_not() {
    let pwsh = need_pwsh!();
    let server = run(Builder::new().pwsh(pwsh), &["--rate-per-caller", "5"]);
    let (owner, ci) = (server.with_token(OWNER), server.with_token(CI));
    assert_eq!((ci.get("/one").status, owner.get("/two").status, owner.get("/none").status), (200, 200, 404));
    let told = |client: &Client, path: &str| {
        let answer = client.get(path);
        (answer.status, answer.text().replace(path, "/"))
    };
    assert_eq!(told(&ci, "/two"), told(&ci, "/none"), "there or not");
    assert_eq!(told(&ci, "/none").0, 403);
    let stranger = server.client();
    assert_eq!(told(&stranger, "/one"), told(&stranger, "/none"));
    assert_eq!(told(&stranger, "/none").0, 401);
    assert_limited(&owner, "/none", 404);

    let wrong = server.with_token("wrong-0123456789abcdef");
    let begun = Instant::now();
    assert!((0..13).all(|_| wrong.get("/one").status == 401));
    assert!(begun.elapsed() >= Duration::from_millis(900), "{:?}", begun.elapsed());
}

#[test]
fn idle_connections_of_one_address_do_not_silence_a_script() {
    let pwsh = need_pwsh!();
    let builder = Builder::new().pwsh(pwsh);
    let socket = builder.folder().join("admin.sock");
    let server = run(builder, &["--admin-listen", &format!("unix:{}", socket.display())]);
    let owner = server.with_token(OWNER);
    // More than one address may have; the client's own limit of open files lets that many be.
    let open = |_| {
        let mut stream = server.connect().ok()?;
        stream.write_all(b"GET /one HTTP/1.1\r\n").ok()?;
        Some(stream)
    };
    let held: Vec<_> = (0..600).map_while(open).collect();
    assert!(held.len() > 512, "only {} connections could be made", held.len());
    assert_eq!(owner.get("/one").text(), "one", "whoever waits longest makes room");
    assert_eq!(get_from("127.0.0.2", &owner, "/one"), 200);
    let mut stream = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    drop(held);
}
