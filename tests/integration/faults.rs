//! Faults under load, and names that look like code. `docs/faults.md` tells what clients saw.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use rustix::process::Signal;

use crate::need_pwsh;
use crate::support::process::{alive, signal};
use crate::support::pwsh::{Pwsh, say};
use crate::support::server::{Builder, Server, disks_can_be_made};
use crate::support::{SOON, files_below, fixture, soaking, wait_until};

fn odd(pwsh: &Pwsh, folder: &std::path::Path, parallel: bool, deadline: &str) -> Server {
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
        [vaults."it's $(odd)"]
        module = "TestVault"
        parameters = {{ Folder = "{}", "Quote's $(exit 3)" = "'; exit 3; #\n`$(exit 3)" }}
        expose = true
        parallel = {parallel}
        "#,
        fixture("vaults").display(),
        folder.display()
    );
    Builder::new().config(&toml).pwsh(pwsh).start()
}

fn path(key: &str) -> String {
    let coded: String = key.bytes().map(|byte| format!("%{byte:02X}")).collect();
    format!("/vaults/it%27s%20%24%28odd%29/secrets/{coded}")
}

#[test]
fn names_that_look_like_code_are_data() {
    let pwsh = need_pwsh!();
    let folder = tempfile::tempdir().unwrap();
    let server = odd(pwsh, folder.path(), false, "30s");
    let workers = server.pids_of_workers();
    let names = [
        "it's",
        "\"q\"",
        "$(exit 3)",
        "`n; exit 3",
        "a\nb",
        "tab\t\u{1b}[0m",
        "-Vault",
        "'; exit 3; '",
        "$env:HOME",
        "☂ | exit",
    ];
    for (number, name) in names.iter().enumerate() {
        let answer = server.put(&path(name), "text/plain", format!("v{number}"));
        assert_eq!(answer.status, 204, "{name:?}: {}", answer.text());
    }
    for (number, name) in names.iter().enumerate() {
        let answer = server.get(&path(name));
        assert_eq!((answer.status, answer.json()["Value"] == format!("v{number}")), (200, true), "{name:?}");
    }
    let listed = server.get("/vaults/it%27s%20%24%28odd%29/secrets").json();
    let mut seen: Vec<&str> =
        listed["Secrets"].as_array().unwrap().iter().filter_map(|secret| secret["Name"].as_str()).collect();
    let mut expected = names.to_vec();
    seen.sort_unstable();
    expected.sort_unstable();
    assert_eq!(seen, expected);
    assert_eq!(server.pids_of_workers(), workers, "no worker ended");
    let lines = server.stderr();
    assert!(!lines.contains('\u{1b}') && !lines.lines().any(|line| line.starts_with("b\"")), "{lines}");
}

#[test]
fn a_worker_killed_each_second_or_stopped_costs_no_other_request() {
    let pwsh = need_pwsh!();
    let folder = tempfile::tempdir().unwrap();
    let server = odd(pwsh, folder.path(), true, "4s");
    // A key for each client: reads of one key at the same time are one call.
    for key in ["k0", "k1"] {
        assert_eq!(server.put(&path(key), "text/plain", "v").status, 204);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..2)
        .map(|number| {
            let (client, stop) = (server.client(), stop.clone());
            std::thread::spawn(move || {
                let (mut answers, mut worst) = (Vec::new(), Duration::ZERO);
                while !stop.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    let answer = client.get(&path(&format!("k{number}")));
                    assert!(answer.status != 200 || answer.json()["Value"] == "v");
                    answers.push(answer.status);
                    worst = worst.max(began.elapsed());
                }
                (answers, worst)
            })
        })
        .collect();
    let kills = if soaking() { 60 } else { 3 };
    for round in 0..kills {
        let workers = server.pids_of_workers();
        if let Some(worker) = workers.get(round % 2) {
            signal(*worker, Signal::KILL);
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    wait_until("two workers", SOON, || {
        server.get("/health").json()["workers"].as_array().is_some_and(|workers| {
            workers.iter().filter(|worker| worker["state"] == "ready" || worker["state"] == "busy").count()
                == 2
        })
    });
    let stopped = server.pids_of_workers()[0];
    signal(stopped, Signal::STOP);
    wait_until("the stopped one is replaced", SOON, || !alive(stopped));
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        let (answers, worst) = client.join().unwrap();
        let count = |status| answers.iter().filter(|answer| **answer == status).count();
        say(&format!(
            "faults/{kills} kills, one a second, and a stop: 200: {}, 502: {}, 504: {}, worst {worst:.1?}",
            count(200),
            count(502),
            count(504)
        ));
        assert_eq!(count(200) + count(502) + count(504), answers.len(), "{answers:?}");
        assert!(count(200) > 0 && worst < Duration::from_secs(6), "{worst:?}");
    }
    assert_eq!(server.get(&path("k0")).json()["Value"], "v");
}

#[test]
fn a_corrupt_registry_of_the_user_is_no_reason_not_to_start() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join(".secretmanagement/secretvaultregistry/vaultinfo");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let alone = || Builder::new().args(["serve", "--listen", "127.0.0.1:0"]);
    for content in [&b""[..], b"{", b"\0\xff", b"[1]", b"{\"Vaults\":{\"x\":3}}"] {
        fs::write(&file, content).unwrap();
        let server = alone().home(home.path()).start();
        assert_eq!(server.get("/health").status, 200);
        assert!(server.stderr().contains("be read"), "{}", server.stderr());
        assert_eq!(fs::read(&file).unwrap(), content, "it is never written");
    }
    // A folder where the file should be.
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let server = alone().home(home.path()).start();
    assert_eq!(server.get("/health").status, 200);
    assert!(server.stderr().contains("be read"), "{}", server.stderr());
}

/// SecretManagement reads its registry once; what happens to the file later must not matter.
#[test]
fn a_workers_registry_that_vanishes_or_is_damaged_fails_no_request() {
    let pwsh = need_pwsh!();
    let folder = tempfile::tempdir().unwrap();
    let server = odd(pwsh, folder.path(), true, "30s");
    assert_eq!(server.put(&path("k"), "text/plain", "v").status, 204);
    let registries = files_below(&server.folder().join("run"))
        .into_iter()
        .filter(|file| file.file_name().is_some_and(|name| name == "vaultinfo"));
    let registries: Vec<_> = registries.collect();
    assert_eq!(registries.len(), 2, "one for each worker");
    fs::remove_file(&registries[0]).unwrap();
    fs::write(&registries[1], b"{\0").unwrap();
    for _ in 0..6 {
        assert_eq!(server.get(&path("k")).json()["Value"], "v");
    }
}

#[test]
fn without_a_home_variable_the_local_vault_is_where_the_data_folder_is() {
    let alone = || Builder::new().args(["serve", "--listen", "127.0.0.1:0"]);
    for builder in [alone().env("HOME", ""), alone().homeless()] {
        assert_eq!(builder.start().get("/health").status, 200);
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
    assert_eq!(server.put("/vaults/v/secrets/k", "text/plain", "v").status, 204, "{}", server.stderr());
    assert_eq!(server.get("/vaults/v/secrets/k").json()["Value"], "v");
    assert!(server.home().join(".secretmanagement/localstore").is_dir());
}

#[test]
fn a_worker_that_grows_past_its_limit_is_replaced_and_no_request_fails() {
    let pwsh = need_pwsh!();
    let folder = tempfile::tempdir().unwrap();
    let server = odd(pwsh, folder.path(), true, "30s");
    assert_eq!(server.put(&path("k"), "text/plain", "v").status, 204);
    let before = server.pids_of_workers();
    // 256 MiB a call; the limit is 400 MiB for each worker.
    for _ in 0..3 {
        assert_eq!(server.get(&path("grow")).status, 200);
        assert_eq!(server.get(&path("k")).status, 200);
    }
    wait_until("one is replaced", SOON, || before.iter().any(|pid| !alive(*pid)));
    assert_eq!(server.get(&path("k")).json()["Value"], "v");
}
