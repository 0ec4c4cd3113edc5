//! What a service manager hears from the server, and gives it.

use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::support::process::Process;
use crate::support::server::Builder;
use crate::support::{SOON, wait_until};

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

#[test]
fn the_manager_hears_of_the_start_of_life_of_a_reload_and_of_the_end() {
    let builder = Builder::new();
    let path = builder.folder().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let builder = builder.config("listen = \"127.0.0.1:0\"\n[vaults.local]\nlocal = true\nexpose = true\n");
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
fn a_state_is_logged_when_it_is_asked_for_and_the_server_goes_on() {
    let server = Builder::new().args(["serve", "--listen", "127.0.0.1:0"]).start();
    server.signal(Signal::USR1);
    wait_until("the state is logged", SOON, || server.stderr().contains("as SIGUSR1 asked"));
    assert!(server.stderr().contains(r#""ready":true"#), "{}", server.stderr());
    assert_eq!(server.get("/health").status, 200);
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
    assert!(TcpStream::connect(address).is_ok());
}

/// Standard error is the journal where `JOURNAL_STREAM` says so: level, target and fields are then the journal's own.
#[test]
fn in_the_journal_an_event_has_native_fields() {
    use std::os::unix::fs::MetadataExt as _;
    use std::process::{Command, Stdio};
    if !crate::support::server::disks_can_be_made() {
        crate::support::pwsh::say(
            "SKIPPED (nothing can be mounted): in_the_journal_an_event_has_native_fields",
        );
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
