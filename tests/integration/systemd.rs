//! What a service manager hears from the server, and gives it.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::need_pwsh;
use crate::support::http::Client;
use crate::support::process::Process;
use crate::support::pwsh::say;
use crate::support::server::Builder;
use crate::support::stand_in::StandIn;
use crate::support::{SOON, free_port, wait_until};

const TOKEN: &str = "0123456789abcdef0123";
const CI: &str = "abcdef0123456789abcd";

const SCRIPT: &str = "Start-PodeServer {
    Add-PodeEndpoint -Address localhost -Port PORT -Protocol Http
    Add-PodeRoute -Method Get -Path /one -ScriptBlock { Write-PodeTextResponse -Value 'one' }
}
";

fn heard(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 1024];
    let length = socket.recv(&mut buffer).expect("the server says something in time");
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

/// The next message that is no sign of life.
fn news(socket: &UnixDatagram) -> String {
    loop {
        let text = heard(socket);
        if text.trim() != "WATCHDOG=1" {
            return text;
        }
    }
}

/// A server that has a manager to tell, told the whole way.
fn tells_its_manager(builder: Builder) {
    let path = builder.folder().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(SOON * 3)).unwrap();
    let server = builder.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "300000").start();
    assert_eq!(news(&socket).trim(), "READY=1");
    assert_eq!(heard(&socket).trim(), "WATCHDOG=1");
    server.signal(Signal::HUP);
    let reloading = news(&socket);
    assert!(reloading.contains("RELOADING=1") && reloading.contains("MONOTONIC_USEC="), "{reloading}");
    assert_eq!(news(&socket).trim(), "READY=1");
    server.signal(Signal::TERM);
    assert_eq!(news(&socket).trim(), "STOPPING=1");
}

#[test]
fn the_manager_hears_of_the_start_of_life_of_a_reload_and_of_the_end() {
    let plan = "listen = \"127.0.0.1:0\"\n[vaults.local]\nlocal = true\nexpose = true\n";
    tells_its_manager(Builder::new().config(plan));
}

#[test]
fn the_manager_of_a_script_hears_the_same() {
    let pwsh = need_pwsh!();
    let builder = Builder::new().pwsh(pwsh);
    let script = builder.file("server.ps1", SCRIPT.replace("PORT", &free_port().to_string()));
    tells_its_manager(builder.arg("run").arg(script));
}

#[test]
fn a_state_is_logged_when_it_is_asked_for_and_the_server_goes_on() {
    let server = Builder::new().args(["serve", "--listen", "127.0.0.1:0"]).start();
    server.signal(Signal::USR1);
    wait_until("the state is logged", SOON, || server.stderr().contains("as SIGUSR1 asked"));
    assert!(server.stderr().contains(r#""ready":true"#), "{}", server.stderr());
    assert_eq!(server.get("/health").status, 200);
}

#[test]
fn a_state_that_is_asked_for_while_the_server_starts_is_told_and_the_start_goes_on() {
    let wait = serde_json::json!({ "op": "register", "do": { "wait_for_file": { "path": "go" } } });
    let stand_in = StandIn::with(&serde_json::json!({ "rules": [wait] }));
    let plan = "listen = \"127.0.0.1:0\"\nauth.open = true\npool = { min = 1, max = 1 }\n\
        [vaults.v]\nmodule = \"Some.Vault\"\nexpose = true\n";
    let (mut process, _folder) = Builder::new().stand_in(&stand_in).config(plan).launch();
    wait_until("a worker starts", SOON, || stand_in.calls("register") > 0);
    process.signal(Signal::USR1);
    wait_until("it is told", SOON, || process.stderr.text().contains("as SIGUSR1 asked: the server starts"));
    assert!(process.exited().is_none());
    stand_in.release("go");
    wait_until("it serves", SOON, || process.stderr.text().contains("listening on "));
}

/// As systemd does it: the socket is number 3, and the variables name the process.
fn activated(socket: TcpListener, folder: &Path, address: &str) -> Process {
    let give = r#"exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@""#;
    let mut command = Command::new("/bin/sh");
    command.args(["-c", give, "sh", env!("CARGO_BIN_EXE_secretbridge"), "serve", "--listen", address]);
    command.env_clear().env("HOME", folder.join("home")).env("TMPDIR", folder.join("tmp"));
    Process::start_with(command, Stdio::from(OwnedFd::from(socket)))
}

#[test]
fn a_socket_that_the_manager_has_bound_is_served() {
    let builder = Builder::new();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let process = activated(socket, builder.folder(), &address.to_string());
    // Nobody else can have bound it: the manager's socket stays open all the while.
    wait_until("it listens", SOON, || {
        process.stderr.text().contains(&format!("listening on http://{address}"))
    });
    let client = Client::new(address);
    wait_until("it serves", SOON, || {
        client.try_send("GET", "/readyz", &[], b"").is_ok_and(|answer| answer.status == 200)
    });
}

/// Standard error is the journal where `JOURNAL_STREAM` says so: level, target and fields are then the journal's own.
#[test]
fn in_the_journal_an_event_has_native_fields() {
    use std::os::unix::fs::MetadataExt as _;
    if !crate::support::server::disks_can_be_made() {
        say("SKIPPED (nothing can be mounted): in_the_journal_an_event_has_native_fields");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let journal = UnixDatagram::bind(folder.path().join("socket")).unwrap();
    journal.set_read_timeout(Some(SOON)).unwrap();
    let stderr = std::fs::File::create(folder.path().join("stderr")).unwrap();
    let stream = stderr.metadata().map(|found| format!("{}:{}", found.dev(), found.ino())).unwrap();
    let script = "mount -t tmpfs none /run && mkdir -p /run/systemd/journal && mount --bind \"$1\" /run/systemd/journal \
                  && shift && exec \"$@\"";
    let mut child = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .arg(folder.path())
        .arg(env!("CARGO_BIN_EXE_secretbridge"))
        .args(["serve", "--listen", "127.0.0.1:0", "--log", "debug"])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", folder.path())
        .env("JOURNAL_STREAM", stream)
        .stdin(Stdio::null())
        .stderr(stderr)
        .spawn()
        .unwrap();
    let mut buffer = vec![0; 64 * 1024];
    // The first is empty: it asks whether somebody listens.
    let entry = std::iter::repeat_with(|| journal.recv(&mut buffer).map(|length| buffer[..length].to_vec()))
        .find(|entry| entry.as_ref().map_or(true, |entry| !entry.is_empty()))
        .expect("it goes on for ever");
    let _ = child.kill();
    let _ = child.wait();
    let entry = String::from_utf8_lossy(&entry.expect("an entry")).into_owned();
    for field in ["PRIORITY\n", "MESSAGE\n", "TARGET\n", "SYSLOG_IDENTIFIER\n", "SECRETBRIDGE_HARDENED\n"] {
        assert!(entry.contains(field), "{field}: {entry}");
    }
}

// === credentials ===

/// A folder as systemd makes it for what `LoadCredential=` and `LoadCredentialEncrypted=` name, which look the same there.
fn hand_over(builder: &Builder, credentials: &[(&str, &str)]) -> PathBuf {
    let folder = builder.folder().join("credentials");
    std::fs::create_dir(&folder).unwrap();
    for (name, text) in credentials {
        let path = builder.file(&format!("credentials/{name}"), text);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o400)).unwrap();
    }
    folder
}

const HANDED_OVER: &str = "listen = \"127.0.0.1:0\"\nauth.token_file = \"credential:token\"\n\
    [[tokens]]\nname = \"ci\"\nfile = \"credential:ci\"\nallow = [\"read mine/*\"]\n\
    [vaults.mine]\nlocal = true\nfolder = \"data\"\nkey = \"credential:local-key\"\nexpose = true\n\
    [vaults.store]\nmodule = \"Some.Vault\"\nexpose = true\nunlock = { file = \"credential:store\" }\n";

#[test]
fn tokens_passwords_and_the_local_vaults_key_are_handed_over_as_credentials() {
    use age::secrecy::ExposeSecret as _;
    let key = age::x25519::Identity::generate().to_string();
    let all = [("token", TOKEN), ("ci", CI), ("store", "open sesame\n"), ("local-key", key.expose_secret())];
    let stand_in = StandIn::with(&serde_json::json!({ "derived": true, "password": "open sesame" }));
    let builder = Builder::new().stand_in(&stand_in);
    let folder = hand_over(&builder, &all);
    let mut server = builder.config(HANDED_OVER).env("CREDENTIALS_DIRECTORY", &folder).start();
    assert_eq!(server.get("/vaults/mine/secrets/k").status, 401);
    server.set_token(TOKEN);
    assert_eq!(server.put("/vaults/mine/secrets/k", "text/plain", "kept").status, 204);
    assert_eq!(server.with_token(CI).get("/vaults/mine/secrets/k").json()["Value"], "kept");
    assert_eq!(server.with_token(CI).get("/vaults/store/secrets/k").status, 403);
    assert_eq!(server.get("/vaults/store/secrets/k").status, 200, "unlocked: {}", server.stderr());
    assert!(!server.folder().join("data/key.txt").exists(), "no second key");
    // The key opens what is there, by the `age` program too.
    let sealed = std::fs::read(server.folder().join("data/vault.age")).unwrap();
    let identity: age::x25519::Identity = key.expose_secret().parse().unwrap();
    assert!(age::decrypt(&identity, &sealed).is_ok());
    server.assert_never_wrote(&[TOKEN, CI, "open sesame", key.expose_secret()]);
}

#[test]
fn a_credential_that_is_not_handed_over_is_told_with_the_line_that_the_unit_lacks() {
    use age::secrecy::ExposeSecret as _;
    let key = age::x25519::Identity::generate().to_string();
    let all = [("token", TOKEN), ("ci", CI), ("store", "p"), ("local-key", key.expose_secret())];
    for missing in ["token", "ci", "store", "local-key"] {
        let stand_in = StandIn::scenario("ok");
        let builder = Builder::new().stand_in(&stand_in);
        let some: Vec<_> = all.into_iter().filter(|(name, _)| *name != missing).collect();
        let folder = hand_over(&builder, &some);
        let output = builder.config(HANDED_OVER).env("CREDENTIALS_DIRECTORY", &folder).run(SOON * 2);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(64), "{missing}: {stderr}");
        assert!(stderr.contains(&format!("LoadCredential={missing}:")), "{missing}: {stderr}");
    }
    // Whoever looks from outside of the service is told that it was not looked at.
    let builder = Builder::new();
    let file = builder.file("secretbridge.toml", HANDED_OVER);
    let output = builder.arg("check").arg("--config").arg(file).run(SOON * 2);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    for name in ["token", "ci", "store", "local-key"] {
        let told =
            |line: &str| line.starts_with("not looked at: ") && line.contains(&format!("credential:{name},"));
        assert!(stderr.lines().any(told), "{name}: {stderr}");
    }
}

#[test]
fn a_script_takes_its_tokens_from_credentials() {
    let pwsh = need_pwsh!();
    let (port, admin) = (free_port(), free_port());
    let builder = Builder::new().pwsh(pwsh);
    let folder = hand_over(&builder, &[("token", TOKEN), ("admin", CI)]);
    let script = builder.file("server.ps1", SCRIPT.replace("PORT", &port.to_string()));
    let server = builder
        .arg("run")
        .args(["--token-file", "credential:token", "--admin-token-file", "credential:admin"])
        .args(["--admin-listen", &format!("127.0.0.1:{admin}")])
        .arg(script)
        .env("CREDENTIALS_DIRECTORY", &folder)
        .start();
    let watch = Client::new(([127, 0, 0, 1], admin).into());
    assert_eq!((server.get("/one").status, server.with_token(TOKEN).get("/one").status), (401, 200));
    assert_eq!((watch.get("/metrics").status, watch.with_token(CI).get("/metrics").status), (401, 200));
}

// === units ===

/// Whether systemd's tool finds no fault with a unit, of one user or of the system; or word that it is skipped.
#[track_caller]
pub fn verify(unit: &Path, of_user: bool) {
    let Some(version) = systemd("verify a unit") else { return };
    let runtime = tempfile::tempdir().unwrap();
    let mut command = Command::new("systemd-analyze");
    command.args(of_user.then_some("--user")).args(["verify", "--man=no"]).arg(unit);
    let output = command.env("XDG_RUNTIME_DIR", runtime.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // What a unit says for newer ones, an older one ignores, and says so.
    let newer = |line: &&str| version >= 253 || !line.ends_with("ignoring: notify-reload");
    let faults: Vec<_> = said.lines().filter(newer).filter(|line| !line.trim().is_empty()).collect();
    assert!(output.status.success() && faults.is_empty(), "{}: {said}", unit.display());
}

/// The version of systemd's tools.
fn systemd(test: &str) -> Option<u32> {
    let output = Command::new("systemd-analyze").arg("--version").output();
    let version = output.ok().and_then(|output| {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.split_whitespace().nth(1)?.parse().ok()
    });
    if version.is_none() {
        say(&format!("SKIPPED (no systemd-analyze, which is in Debian's package systemd): {test}"));
    }
    version
}

/// Of a hundred, as `systemd-analyze security` counts; what it leaves open is said in the unit.
const EXPOSURE: &str = "--threshold=20";

#[test]
fn systemd_finds_no_fault_with_the_units_and_little_exposure() {
    let folder = tempfile::tempdir().unwrap();
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/systemd");
    for name in ["secretbridge.service", "secretbridge.socket", "user.service"] {
        let text = std::fs::read_to_string(units.join(name)).unwrap();
        // The tool looks whether the program is there.
        let text = text.replace("/usr/bin/secretbridge", env!("CARGO_BIN_EXE_secretbridge"));
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    for (name, of_user) in
        [("secretbridge.service", false), ("secretbridge.socket", false), ("user.service", true)]
    {
        verify(&folder.path().join(name), of_user);
    }
    if systemd("how exposed the unit is").is_some() {
        let mut command = Command::new("systemd-analyze");
        command.args(["security", "--offline=true", "--no-pager", EXPOSURE]);
        let output = command.arg(folder.path().join("secretbridge.service")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}
