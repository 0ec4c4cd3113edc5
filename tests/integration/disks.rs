//! Disks that are full or read-only under the vaults: what was acknowledged stays, the error is clear, the
//! server goes on, and it works again when there is room. `docs/faults.md` tells what clients saw.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tokio::time::Instant;

use crate::need_pwsh;
use crate::support::copy_folder;
use crate::support::load::under_readers;
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

/// What is on the disk.
#[derive(Clone, Copy)]
enum Vault {
    Local,
    /// A SecretStore, with its password if it has one.
    Store(&'static Pwsh, Option<&'static str>),
}

impl Vault {
    fn builder(self) -> Builder {
        let plan = |vault: &str| {
            format!(
                "listen = \"127.0.0.1:0\"\nauth = {{ open = true }}\n[vaults.v]\nexpose = true\n{vault}\n"
            )
        };
        let Vault::Store(pwsh, password) = self else {
            return Builder::new().config(&plan("local = true"));
        };
        let protected = match password {
            Some(_) => "unlock = { env = \"STORE_PASSWORD\" }",
            None => "parameters = { Authentication = \"None\" }",
        };
        let store =
            format!("module = \"Microsoft.PowerShell.SecretStore\"\n{protected}\n[pool]\nmin = 2\nmax = 2");
        Builder::new().config(&plan(&store)).pwsh(pwsh).env("STORE_PASSWORD", PASSWORD)
    }

    /// All that a process finds which has read nothing before.
    fn read_afresh(self, home: &Path) -> BTreeMap<String, String> {
        if let Vault::Store(pwsh, password) = self {
            return pwsh.strings_in_store(home, password);
        }
        let server = self.builder().home(home).start();
        let listed = server.get("/vaults/v/secrets").json();
        let names = listed["Secrets"].as_array().unwrap().iter().filter_map(|secret| secret["Name"].as_str());
        let value = |name| server.get(&path(name)).json()["Value"].as_str().unwrap().to_owned();
        names.map(|name| (name.to_owned(), value(name))).collect()
    }
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

/// What is on the server's disk. It is copied, for that disk is the server's alone.
fn on_the_disk(server: &Server, vault: Vault) -> BTreeMap<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    copy_folder(&server.home_on_disk(), &home);
    vault.read_afresh(&home)
}

/// Writes until the trouble shows, while two clients read: a file has some room left in its last block.
fn nothing_is_lost(name: &str, server: &Server, vault: Vault, trouble: &Trouble) {
    let large = "x".repeat(5_000);
    for key in ["kept", "overwritten", "removed"] {
        assert_eq!(put(server, key, "old"), 204, "{}", server.stderr());
    }
    let readers = ["r0", "r1"].map(path);
    let (seen, (refused, removed)) = under_readers(server, &readers, || {
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
        let removed = match server.delete(&path("removed")).status {
            204 => {
                assert_eq!(server.get(&path("removed")).status, 404, "{}", server.stderr());
                true
            }
            status => {
                assert!(matches!(status, 500..600), "{status}");
                assert_holds(server, "removed", "old");
                false
            }
        };
        assert_eq!(server.get("/health").status, 200);
        trouble.end(server);
        (format!("{} {code} after {took:.1?}", refused.status), removed)
    });
    say(&format!("disks/{name}: {refused}; {seen}"));
    assert_eq!(seen.most_failures(), 0, "{seen}");
    // Before the next write, which would write what its worker has in memory.
    let mut expected: BTreeMap<String, String> =
        ["kept", "overwritten"].map(|key| (key.to_owned(), "old".to_owned())).into();
    expected.extend(["r0", "r1"].map(|key| (key.to_owned(), path(key))));
    if !removed {
        expected.insert("removed".to_owned(), "old".to_owned());
    }
    assert_eq!(on_the_disk(server, vault), expected, "{}", server.stderr());
    assert_eq!(put(server, "overwritten", &large), 204, "{}", server.stderr());
    assert_eq!(put(server, "new", "new"), 204);
    for (key, value) in [("kept", "old"), ("overwritten", &large), ("new", "new")] {
        assert_holds(server, key, value);
    }
}

/// With a disk of its own, or not at all.
fn on_disk(test: &str, vault: Vault, trouble: Trouble) {
    if !disks_can_be_made() {
        return say(&format!("NOT RUN (no disk can be mounted here): {test}"));
    }
    nothing_is_lost(test, &vault.builder().disk(8 * 1024).start(), vault, &trouble);
}

#[test]
fn a_full_disk_under_the_local_vault_loses_nothing() {
    on_disk("a full disk under the local vault", Vault::Local, Trouble::Full);
}

#[test]
fn a_read_only_disk_under_the_local_vault_loses_nothing() {
    on_disk("a read-only disk under the local vault", Vault::Local, Trouble::ReadOnly);
}

#[test]
fn a_file_size_limit_under_the_local_vault_loses_nothing() {
    let (vault, trouble) = (Vault::Local, Trouble::FileSize(64));
    nothing_is_lost("a file size limit under the local vault", &vault.builder().start(), vault, &trouble);
}

#[test]
fn a_full_disk_under_a_secret_store_loses_nothing() {
    let vault = Vault::Store(need_pwsh!(), Some(PASSWORD));
    on_disk("a full disk under SecretStore", vault, Trouble::Full);
}

#[test]
fn a_full_disk_under_a_secret_store_without_a_password_loses_nothing() {
    let vault = Vault::Store(need_pwsh!(), None);
    on_disk("a full disk under SecretStore, Authentication None", vault, Trouble::Full);
}

#[test]
fn a_read_only_disk_under_a_secret_store_loses_nothing() {
    let vault = Vault::Store(need_pwsh!(), Some(PASSWORD));
    on_disk("a read-only disk under SecretStore", vault, Trouble::ReadOnly);
}

/// The worker dies of it, and leaves a file that is half written.
#[test]
fn a_file_size_limit_under_a_secret_store_loses_nothing() {
    let (vault, trouble) = (Vault::Store(need_pwsh!(), Some(PASSWORD)), Trouble::FileSize(4_096));
    nothing_is_lost("a file size limit under SecretStore", &vault.builder().start(), vault, &trouble);
}
