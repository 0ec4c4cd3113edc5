//! What units of systemd load from the server's socket, with `LoadCredential=`.

use std::path::Path;

use crate::support::server::Builder;
use crate::support::{SOON, wait_until};

/// Loads a credential as systemd does: bound to an abstract name that tells unit and credential, its own side
/// ended, all that comes taken.
fn load_credential(socket: &Path, unit: &str, id: &str) -> Vec<u8> {
    use std::io::Read as _;
    let client = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    let random = tempfile::tempdir().unwrap();
    let random = random.path().file_name().unwrap().to_string_lossy().replace('.', "");
    let name = format!("\0{random}/unit/{unit}/{id}");
    client.bind(&socket2::SockAddr::unix(name).unwrap()).unwrap();
    client.connect(&socket2::SockAddr::unix(socket).unwrap()).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut credential = Vec::new();
    (&client).read_to_end(&mut credential).unwrap();
    credential
}

/// What systemd takes at most: CREDENTIAL_SIZE_MAX.
const LONGEST_CREDENTIAL: usize = 1024 * 1024;

#[test]
fn a_unit_loads_what_the_configuration_gives_it_and_nothing_else() {
    let builder = Builder::new();
    let socket = builder.folder().join("credentials.sock");
    let toml = format!(
        "listen = \"127.0.0.1:0\"\n[auth]\nopen = true\n[vaults.local]\nlocal = true\nexpose = true\n[audit]\nfile = \"audit.jsonl\"\n\
         [credentials]\nsocket = \"{}\"\n[credentials.units.\"app.service\"]\ndb-password = \"local/db\"\nkey = \"local/bytes\"\n\
         gone = \"local/nope\"\n[credentials.units.\"worker@.service\"]\ndb = \"local/db\"\n",
        socket.display()
    );
    let server = builder.config(&toml).start();
    for (key, body) in
        [("db", r#"{"Value":"hunter2 \u00fc\n"}"#), ("bytes", r#"{"Type":"ByteArray","Value":"AP8K"}"#)]
    {
        let reply = server.put(&format!("/vaults/local/secrets/{key}"), "application/json", body);
        assert!(reply.status < 300, "{}", reply.status);
    }
    let shown = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
    assert_eq!(shown(load_credential(&socket, "app.service", "db-password")), "hunter2 \u{fc}\n");
    assert_eq!(load_credential(&socket, "app.service", "key"), [0, 255, 10]);
    assert_eq!(load_credential(&socket, "worker@7.service", "db"), "hunter2 \u{fc}\n".as_bytes());
    // An empty answer would be an empty credential: a refusal is more than systemd takes.
    for (unit, id) in [("app.service", "other"), ("other.service", "db-password"), ("app.service", "gone")] {
        let refused = load_credential(&socket, unit, id);
        assert!(refused.len() > LONGEST_CREDENTIAL, "{unit}/{id}");
        assert!(refused.starts_with(b"secretbridge refuses: "), "{unit}/{id}");
        assert!(!refused.windows(7).any(|part| part == b"hunter2"), "{unit}/{id}");
    }
    let mut plain = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    let mut told = Vec::new();
    std::io::Read::read_to_end(&mut plain, &mut told).unwrap();
    assert!(told.len() > LONGEST_CREDENTIAL, "who tells no unit gets nothing");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&socket).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let trail = server.folder().join("audit.jsonl");
    wait_until("the trail has all of them", SOON, || {
        let text = std::fs::read_to_string(&trail).unwrap_or_default();
        let of = |what: &str| text.lines().filter(|line| line.contains(what)).count();
        of("peer:app.service") >= 3 && of("peer:worker@7.service") == 1 && of("forbidden") == 3
    });
    assert!(!std::fs::read_to_string(&trail).unwrap().contains("hunter2"));
}
