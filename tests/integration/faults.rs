//! Faults under load, and names that look like code. `docs/faults.md` tells what clients saw.

mod names;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::Instant;

use crate::need_pwsh;
use crate::support::http::Client;
use crate::support::load::{beside, under_readers};
use crate::support::process::{alive, signal};
use crate::support::pwsh::{Pwsh, say};
use crate::support::server::{Builder, Server, disks_can_be_made};
use crate::support::{SOON, files_below, fixture, soaking, wait_until};

const ODD_VAULT: &str = "it's $(odd)";
const ODD_PARAMETER: &str = "Quote's $(exit 3) *?[a]";
const ODD_VALUE: &str = "'; exit 3; #\n`$(exit 3) \"\u{1b}[0m*?[a]\u{7}";

fn odd(pwsh: &Pwsh, folder: &Path, parallel: bool, deadline: &str) -> Server {
    // JSON's strings are TOML's too.
    let value = serde_json::to_string(ODD_VALUE).unwrap();
    let toml = format!(
        r#"
        listen = "127.0.0.1:0"
        auth = {{ open = true }}
        limits = {{ deadline = "{deadline}", write_grace = "1s" }}
        [pwsh]
        module_path = ["{}"]
        [pool]
        min = 2
        max = 2
        max_memory = "400MiB"
        [vaults."{ODD_VAULT}"]
        module = "TestVault"
        parameters = {{ Folder = "{}", "{ODD_PARAMETER}" = {value} }}
        expose = true
        parallel = {parallel}
        "#,
        fixture("vaults").display(),
        folder.display()
    );
    Builder::new().config(&toml).pwsh(pwsh).start()
}

fn secrets() -> String {
    "/vaults/it%27s%20%24%28odd%29/secrets".to_owned()
}

fn path(key: &str) -> String {
    let coded: String = key.bytes().map(|byte| format!("%{byte:02X}")).collect();
    format!("{}/{coded}", secrets())
}

/// Two keys for clients that read while something else goes wrong.
fn read_meanwhile() -> [String; 2] {
    ["r0", "r1"].map(path)
}

/// Writes one key after the other, and gives each with whether it was acknowledged.
fn write(client: &Client, done: &AtomicBool) -> Vec<(String, bool)> {
    let mut written = Vec::new();
    while !done.load(Ordering::Acquire) {
        let key = format!("w{}", written.len());
        let answer = client.put(&path(&key), "text/plain", &key);
        assert!(matches!(answer.status, 204 | 502..=504), "{}", answer.status);
        written.push((key, answer.status == 204));
    }
    written
}

#[test]
fn a_worker_killed_each_second_or_stopped_costs_few_requests_and_no_write() {
    let pwsh = need_pwsh!();
    let folder = tempfile::tempdir().unwrap();
    let server = odd(pwsh, folder.path(), true, "4s");
    let kills = if soaking() { 60 } else { 3 };
    let (seen, (written, ())) = under_readers(&server, &read_meanwhile(), || {
        beside(|done| write(&server, done), || kill_each_second_and_stop(&server, kills))
    });
    let refused = written.iter().filter(|(_, acknowledged)| !acknowledged).count();
    say(&format!(
        "faults/{kills} kills, one a second, and a stop: {seen}; {} of {} writes acknowledged",
        written.len() - refused,
        written.len()
    ));
    // A kill or a stop costs each client one request at most, be it one that waits in vain for a worker.
    assert!(seen.most_failures() <= kills + 1 && refused <= kills + 1, "{seen}, {refused} writes failed");
    assert!(seen.worst() < Duration::from_secs(6), "{seen}");
    assert!(refused < written.len());
    for (key, acknowledged) in written {
        let answer = server.get(&path(&key));
        // One that was not acknowledged may have been done.
        if acknowledged || answer.status != 404 {
            assert_eq!((answer.status, answer.json()["Value"].as_str()), (200, Some(key.as_str())));
        }
    }
}

fn kill_each_second_and_stop(server: &Server, kills: usize) {
    for round in 0..kills {
        let workers = server.pids_of_workers();
        if let Some(worker) = workers.get(round % 2) {
            signal(*worker, Signal::KILL);
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    wait_until("two workers", SOON, || up(server) == 2);
    let stopped = server.pids_of_workers()[0];
    signal(stopped, Signal::STOP);
    wait_until("the stopped one is replaced", SOON, || !alive(stopped));
}

/// How many workers can be given something to do.
fn up(server: &Server) -> usize {
    let workers = server.get("/health").json()["workers"].as_array().cloned().unwrap_or_default();
    workers.iter().filter(|worker| worker["state"] == "ready" || worker["state"] == "busy").count()
}

/// A write is never done a second time, and what it was to replace is there until it is done.
#[test]
fn a_vault_that_misbehaves_in_a_write_breaks_that_write_alone() {
    let pwsh = need_pwsh!();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let cases = [
        ("babble", 204, ""),
        ("throw", 502, "vault_failed"),
        ("exit", 502, "worker_failed"),
        ("failfast", 502, "worker_failed"),
        ("hang-dotnet", 504, "deadline"),
    ];
    let vault = |name: &str, more: &str| {
        let parameters = format!("Folder = \"{}\", {more}", folder.path().join("secrets").display());
        format!(
            "[vaults.{name}]\nmodule = \"TestVault\"\nparameters = {{ {parameters} }}\nexpose = true\nparallel = true\n"
        )
    };
    let mut toml = format!(
        "listen = \"127.0.0.1:0\"\nauth = {{ open = true }}\nlimits = {{ deadline = \"4s\", write_grace = \"1s\" }}\n\
        [pool]\nmin = 2\nmax = 2\n[pwsh]\nmodule_path = [\"{}\"]\n{}",
        fixture("vaults").display(),
        vault("calm", "")
    );
    for (what, ..) in cases {
        let more = format!("Log = \"{}\", Misbehave = {{ set = \"{what}\" }}", log.display());
        toml.push_str(&vault(what, &more));
    }
    let server = Builder::new().config(&toml).pwsh(pwsh).start();
    let calm = |key: &str| format!("/vaults/calm/secrets/{key}");
    assert_eq!(server.put(&calm("kept"), "text/plain", "old").status, 204);
    let (seen, ()) = under_readers(&server, &["r0", "r1"].map(calm), || {
        for (what, status, code) in cases {
            let key = format!("{what}-key");
            assert_eq!(server.put(&calm(&key), "text/plain", "old").status, 204);
            let begun = Instant::now();
            let answer = server.put(&format!("/vaults/{what}/secrets/{key}"), "text/plain", "new");
            say(&format!("faults/{what} in a write: {} after {:.1?}", answer.status, begun.elapsed()));
            assert_eq!(answer.status, status, "{what}: {}", answer.text());
            if status != 204 {
                assert_eq!(answer.json()["error"]["code"], code, "{what}");
                assert_eq!(answer.text().contains("unknown"), what != "throw", "{what}: {}", answer.text());
            }
            let now = if status == 204 { "new" } else { "old" };
            assert_eq!(server.get(&calm(&key)).json()["Value"], now, "{what}");
            wait_until("two workers", SOON, || up(&server) == 2);
        }
    });
    say(&format!("faults/misbehaving writes: {seen}"));
    // One worker is left, which a busy machine may keep waiting beyond a deadline as short as this.
    assert!(seen.most_failures() <= 1, "{seen}");
    assert_eq!(server.get(&calm("kept")).json()["Value"], "old");
    let calls = fs::read_to_string(log).unwrap();
    for (what, ..) in cases {
        assert_eq!(calls.matches(&format!("set {what}-key ")).count(), 1, "{what}: {calls}");
    }
}

/// Without a configuration.
fn alone() -> Builder {
    Builder::new().args(["serve", "--listen", "127.0.0.1:0"])
}

/// A server without a configuration serves a secret, and keeps it and its token below the data folder.
#[track_caller]
fn assert_serves(fault: &str, mut server: Server, data: &Path) {
    let folder = data.join("secretbridge");
    server.set_token(fs::read_to_string(folder.join("token")).unwrap().trim());
    let begun = Instant::now();
    assert_eq!(server.put("/secrets/k", "text/plain", "v").status, 204, "{}", server.stderr());
    assert_eq!(server.get("/secrets/k").json()["Value"], "v");
    say(&format!("faults/{fault}: a write and a read within {:.1?}", begun.elapsed()));
    assert!(folder.join("vault.age").is_file());
}

#[test]
fn a_corrupt_registry_of_the_user_is_no_reason_not_to_start() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join(".secretmanagement/secretvaultregistry/vaultinfo");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let start = || {
        let server = alone().home(home.path()).start();
        assert!(server.stderr().contains("be read"), "{}", server.stderr());
        assert_serves("a corrupt registry", server, &home.path().join(".local/share"));
    };
    for content in [&b""[..], b"{", b"\0\xff", b"[1]", b"{\"Vaults\":{\"x\":3}}"] {
        fs::write(&file, content).unwrap();
        start();
        assert_eq!(fs::read(&file).unwrap(), content, "it is never written");
    }
    // A folder where the file should be.
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    start();
}

/// SecretManagement reads its registry once; what happens to the file later must not matter.
#[test]
fn a_workers_registry_that_vanishes_or_is_damaged_fails_no_request() {
    let pwsh = need_pwsh!();
    let folder = tempfile::tempdir().unwrap();
    let server = odd(pwsh, folder.path(), true, "30s");
    assert_eq!(server.put(&path("k"), "text/plain", "v").status, 204);
    let mut registries = files_below(&server.folder().join("run"));
    registries.retain(|file| file.file_name().is_some_and(|name| name == "vaultinfo"));
    assert_eq!(registries.len(), 2, "one for each worker");
    let workers = server.pids_of_workers();
    let (seen, ()) = under_readers(&server, &read_meanwhile(), || {
        fs::remove_file(&registries[0]).unwrap();
        fs::write(&registries[1], b"{\0").unwrap();
        for _ in 0..6 {
            assert_eq!(server.get(&path("k")).json()["Value"], "v");
        }
        assert_eq!(server.put(&path("k"), "text/plain", "w").status, 204);
        assert_eq!(server.get(&path("k")).json()["Value"], "w");
    });
    say(&format!("faults/a worker's registry is gone or damaged: {seen}"));
    assert_eq!(seen.most_failures(), 0, "{seen}");
    assert_eq!(server.pids_of_workers(), workers, "no worker ended");
}

#[test]
fn without_a_home_variable_the_local_vault_is_where_the_data_folder_is() {
    for builder in [alone().env("HOME", ""), alone().homeless()] {
        let data = tempfile::tempdir().unwrap();
        let server = builder.env("XDG_DATA_HOME", data.path()).start();
        assert_serves("no HOME", server, data.path());
    }
    if !disks_can_be_made() {
        return say("NOT RUN (nothing can be mounted here): HOME and XDG_DATA_HOME unset");
    }
    for builder in [alone().homeless().env("HOME", ""), alone().homeless()] {
        let server = builder.env("XDG_DATA_HOME", "").start();
        let data = server.home().join(".local/share");
        assert_serves("no HOME, no XDG_DATA_HOME", server, &data);
    }
}

/// SecretStore itself needs the variable; workers get the home that the user database knows.
#[test]
fn without_a_home_variable_a_store_is_in_the_home_of_the_user_database() {
    let pwsh = need_pwsh!();
    if !disks_can_be_made() {
        return say("NOT RUN (nothing can be mounted here): HOME unset, with a SecretStore");
    }
    let toml = "listen = \"127.0.0.1:0\"\nauth = { open = true }\n[pool]\nmin = 1\nmax = 1\n\
        [vaults.v]\nmodule = \"Microsoft.PowerShell.SecretStore\"\nunlock = { env = \"STORE_PASSWORD\" }\nexpose = true\n";
    let builder = Builder::new().config(toml).pwsh(pwsh).env("STORE_PASSWORD", "open sesame");
    let server = builder.homeless().start();
    let begun = Instant::now();
    assert_eq!(server.put("/vaults/v/secrets/k", "text/plain", "v").status, 204, "{}", server.stderr());
    assert_eq!(server.get("/vaults/v/secrets/k").json()["Value"], "v");
    say(&format!("faults/no HOME, SecretStore: a write and a read within {:.1?}", begun.elapsed()));
    assert!(server.home().join(".secretmanagement/localstore").is_dir());
}

#[test]
fn a_worker_that_grows_past_its_limit_is_replaced_and_no_request_fails() {
    let pwsh = need_pwsh!();
    let folder = tempfile::tempdir().unwrap();
    let server = odd(pwsh, folder.path(), true, "30s");
    assert_eq!(server.put(&path("k"), "text/plain", "v").status, 204);
    let before = server.pids_of_workers();
    let (seen, ()) = under_readers(&server, &read_meanwhile(), || {
        // 256 MiB a call; the limit is 400 MiB for each worker.
        for _ in 0..3 {
            assert_eq!(server.get(&path("grow")).status, 200);
            assert_eq!(server.get(&path("k")).json()["Value"], "v");
        }
        wait_until("one is replaced", SOON, || before.iter().any(|pid| !alive(*pid)));
    });
    say(&format!("faults/memory past the limit: {seen}"));
    assert_eq!(seen.most_failures(), 0, "{seen}");
    assert_eq!(server.get(&path("k")).json()["Value"], "v");
}
