//! Disks that are full or read-only under the vaults: what was acknowledged stays, the error is clear, the
//! server goes on, and it works again when there is room. `docs/faults.md` tells what clients saw.

use std::fs;
use std::io::Write as _;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tokio::time::Instant;

use crate::need_pwsh;
use crate::support::pwsh::{Pwsh, say};
use crate::support::server::{Builder, Server, disks_can_be_made};

const PASSWORD: &str = "open sesame";

/// What stops writes, and lets them pass again.
enum Trouble {
    Full,
    ReadOnly,
    /// As a full disk, where no disk can be made: no file may grow past so many bytes.
    FileSize(u64),
}

impl Trouble {
    fn begin(&self, server: &Server) {
        match self {
            Trouble::Full => fill(server),
            Trouble::ReadOnly => server.set_read_only(true),
            Trouble::FileSize(bytes) => limit_file_size(server, Some(*bytes)),
        }
    }

    fn end(&self, server: &Server) {
        match self {
            Trouble::Full => fs::remove_file(server.home_on_disk().join("filler")).unwrap(),
            Trouble::ReadOnly => server.set_read_only(false),
            Trouble::FileSize(_) => limit_file_size(server, None),
        }
    }
}

/// Leaves not a byte.
fn fill(server: &Server) {
    let mut filler = fs::File::create(server.home_on_disk().join("filler")).unwrap();
    for size in [4096, 1] {
        while filler.write_all(&vec![b'x'; size]).is_ok() {}
    }
}

/// Of the server or, if it has some, of its workers.
fn limit_file_size(server: &Server, bytes: Option<u64>) {
    // A worker that starts under it does not come up; those that are there die when they meet it.
    let workers = server.pids_of_workers();
    for process in if workers.is_empty() { vec![server.pid()] } else { workers } {
        let pid = i32::try_from(process).ok().and_then(Pid::from_raw);
        prlimit(pid, Resource::Fsize, Rlimit { current: bytes, maximum: None }).expect("the child is ours");
    }
}

fn local() -> Builder {
    Builder::new()
        .config("listen = \"127.0.0.1:0\"\nauth = { open = true }\n[vaults.v]\nlocal = true\nexpose = true\n")
}

const WITH_PASSWORD: &str = "unlock = { env = \"STORE_PASSWORD\" }";
const WITHOUT_PASSWORD: &str = "parameters = { Authentication = \"None\" }";

fn store(pwsh: &Pwsh, protected: &str) -> Builder {
    let toml = format!(
        "listen = \"127.0.0.1:0\"\nauth = {{ open = true }}\n[pool]\nmin = 2\nmax = 2\n\
        [vaults.v]\nmodule = \"Microsoft.PowerShell.SecretStore\"\nexpose = true\n{protected}\n"
    );
    Builder::new().config(&toml).pwsh(pwsh).env("STORE_PASSWORD", PASSWORD)
}

fn path(key: &str) -> String {
    format!("/vaults/v/secrets/{key}")
}

fn put(server: &Server, key: &str, value: &str) -> u16 {
    server.put(&path(key), "text/plain", value).status
}

#[track_caller]
fn assert_holds(server: &Server, key: &str, value: &str) {
    let answer = server.get(&path(key));
    assert_eq!(answer.status, 200, "{key}: {}\n{}", answer.text(), server.stderr());
    assert_eq!(answer.json()["Value"], value, "{key}");
}

/// Writes until the trouble shows: a file has some room left in its last block.
fn nothing_is_lost(name: &str, server: &Server, trouble: &Trouble) {
    let large = "x".repeat(5_000);
    for key in ["kept", "overwritten", "removed"] {
        assert_eq!(put(server, key, "old"), 204, "{}", server.stderr());
    }
    trouble.begin(server);
    let begun = Instant::now();
    let refused = server.put(&path("overwritten"), "text/plain", &large);
    let took = begun.elapsed();
    assert!(matches!(refused.status, 500..600), "{}", refused.status);
    let code = refused.json()["error"]["code"].as_str().unwrap_or_default().to_owned();
    assert!(!code.is_empty());
    for key in ["kept", "overwritten"] {
        assert_holds(server, key, "old");
    }
    // A smaller file may find room; else it is there still, and nobody is told otherwise.
    match server.delete(&path("removed")).status {
        204 => assert_eq!(server.get(&path("removed")).status, 404, "{}", server.stderr()),
        status => {
            assert!(matches!(status, 500..600), "{status}");
            assert_holds(server, "removed", "old");
        }
    }
    assert_eq!(server.get("/health").status, 200);
    trouble.end(server);
    assert_eq!(put(server, "overwritten", &large), 204, "{}", server.stderr());
    assert_eq!(put(server, "new", "new"), 204);
    for (key, value) in [("kept", "old"), ("overwritten", &large), ("new", "new")] {
        assert_holds(server, key, value);
    }
    say(&format!("disks/{name}: {} {code} after {took:.1?}; reads 200; works again", refused.status));
}

/// With a disk of its own, or not at all.
fn on_disk(test: &str, builder: Builder, trouble: Trouble) {
    if !disks_can_be_made() {
        return say(&format!("NOT RUN (no disk can be mounted here): {test}"));
    }
    nothing_is_lost(test, &builder.disk(8 * 1024).start(), &trouble);
}

#[test]
fn a_full_disk_under_the_local_vault_loses_nothing() {
    on_disk("a full disk under the local vault", local(), Trouble::Full);
}

#[test]
fn a_read_only_disk_under_the_local_vault_loses_nothing() {
    on_disk("a read-only disk under the local vault", local(), Trouble::ReadOnly);
}

#[test]
fn a_file_size_limit_under_the_local_vault_loses_nothing() {
    nothing_is_lost("a file size limit under the local vault", &local().start(), &Trouble::FileSize(64));
}

#[test]
fn a_full_disk_under_a_secret_store_loses_nothing() {
    on_disk("a full disk under SecretStore", store(need_pwsh!(), WITH_PASSWORD), Trouble::Full);
}

#[test]
fn a_full_disk_under_a_secret_store_without_a_password_loses_nothing() {
    let builder = store(need_pwsh!(), WITHOUT_PASSWORD);
    on_disk("a full disk under SecretStore, Authentication None", builder, Trouble::Full);
}

#[test]
fn a_read_only_disk_under_a_secret_store_loses_nothing() {
    on_disk("a read-only disk under SecretStore", store(need_pwsh!(), WITH_PASSWORD), Trouble::ReadOnly);
}

/// The worker dies of it, and leaves a file that is half written.
#[test]
fn a_file_size_limit_under_a_secret_store_loses_nothing() {
    let server = store(need_pwsh!(), WITH_PASSWORD).start();
    nothing_is_lost("a file size limit under SecretStore", &server, &Trouble::FileSize(4_096));
}
