//! The whole way, with a real pwsh, SecretManagement and SecretStore.

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::Instant;

use crate::need_pwsh;
use crate::support::http::Client;
use crate::support::load::under_readers;
use crate::support::process::alive;
use crate::support::pwsh::{Pwsh, say};
use crate::support::server::{Builder, Server};
use crate::support::{SOON, fixture, wait_until};

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";
const PASSWORD: &str = "pässword 'with' \"quotes\" $(exit 3)";

/// Unlocks the user's store in a fresh process and runs a script there.
fn in_store(pwsh: &Pwsh, home: &Path, script: &str) -> String {
    pwsh.in_store(home, Some(PASSWORD), script)
}

fn read_fresh(pwsh: &Pwsh, home: &Path, key: &str) -> String {
    in_store(pwsh, home, &format!("Get-Secret -Vault fresh -Name '{key}' -AsPlainText"))
}

const STORE: &str = r#"
listen = "127.0.0.1:0"
auth = { open = true }

[vaults.store]
module = "Microsoft.PowerShell.SecretStore"
unlock = { env = "STORE_PASSWORD" }
expose = true
"#;

fn with_store(pwsh: &Pwsh, more: &str) -> Builder {
    Builder::new().config(&format!("{STORE}\n{more}")).pwsh(pwsh).env("STORE_PASSWORD", PASSWORD)
}

/// A vault that misbehaves and logs its calls in `log`, and so many workers.
fn odd(folder: &Path, workers: usize) -> String {
    format!(
        r#"
        [pwsh]
        module_path = ["{}"]
        [pool]
        min = {workers}
        max = {workers}
        [vaults.odd]
        module = "TestVault"
        parameters = {{ Folder = "{folder}/secrets", Log = "{folder}/log" }}
        expose = true
        parallel = true
        "#,
        fixture("vaults").display(),
        folder = folder.display()
    )
}

fn put(client: &Client, key: &str, value: &str) {
    let answer = client.put(&format!("/vaults/store/secrets/{key}"), "text/plain; charset=utf-8", value);
    assert_eq!(answer.status, 204, "{}", answer.text());
}

fn value(client: &Client, key: &str) -> String {
    let answer = client.get(&format!("/vaults/store/secrets/{key}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["Value"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_secret_store_and_an_azure_vault_are_served_as_the_tutorial_has_it() {
    let pwsh = need_pwsh!();
    let toml = format!(
        r#"
        {STORE}
        [vaults.FriendlyVaultName]
        module = "Az.KeyVault"
        vault_name = "RealVaultName"
        parameters = {{ AZKVaultName = "VaultNameInAzure", SubscriptionId = "sub-1" }}

        [pwsh]
        init = ["Connect-AzAccount -Identity -Subscription sub-1 | Out-Null"]

        [secrets.FromStore]
        vault = "store"
        key = "db"
        [secrets.FromAzure]
        vault = "friendlyvaultname"
        key = "AKVSecretName"

        [[routes]]
        method = "GET"
        path = "/secret"
        secret = "FromStore"
        [[routes]]
        method = "POST"
        path = "/secret"
        secret = "FromStore"
        [[routes]]
        method = "GET"
        path = "/azure"
        secret = "FromAzure"
        [[routes]]
        method = "POST"
        path = "/azure"
        secret = "FromAzure"
        "#
    );
    let server = Builder::new().config(&toml).pwsh(pwsh).env("STORE_PASSWORD", PASSWORD).start();
    for path in ["/secret", "/azure"] {
        assert_eq!(server.get(path).status, 404, "nothing is there yet");
        let answer = server.post(path, FORM, "Value=one+%26+two");
        assert_eq!((answer.status, answer.text()), (200, ""));
        assert_eq!(server.get(path).text(), r#"{"Value":"one & two"}"#);
        assert_eq!(server.post(path, JSON, r#"{"Value":"drei ☂"}"#).status, 200);
        assert_eq!(server.get(path).text(), r#"{"Value":"drei ☂"}"#);
        let nothing = server.post(path, FORM, "Other=1");
        assert_eq!((nothing.status, nothing.json()["error"]["code"].is_string()), (400, true));
    }
    assert_eq!(read_fresh(pwsh, server.home(), "db"), "drei ☂");
    server.assert_never_wrote(&["drei", "one & two", PASSWORD]);
}

#[test]
fn the_users_registry_is_read_and_never_written() {
    let pwsh = need_pwsh!();
    let home = tempfile::tempdir().unwrap();
    in_store(
        pwsh,
        home.path(),
        "Set-Secret -Vault fresh -Name k -Secret theirs
         Unregister-SecretVault fresh
         Register-SecretVault -Name Theirs -ModuleName Microsoft.PowerShell.SecretStore",
    );
    let registry = home.path().join(".secretmanagement/secretvaultregistry/vaultinfo");
    let before = std::fs::read(&registry).unwrap();
    let named = with_store(pwsh, "").home(home.path()).start();
    assert!(named.stderr().contains("'Theirs'"), "{}", named.stderr());
    assert_eq!(named.get("/vaults/Theirs/secrets/k").status, 404, "found, not served");
    assert_eq!(value(&named, "k"), "theirs");
    drop(named);
    let mut served = with_store(pwsh, "").args(["--expose-vault", "Theirs"]).home(home.path()).start();
    assert_eq!(served.get("/vaults/theirs/secrets/k").json()["Value"], "theirs");
    assert_eq!(served.put("/vaults/theirs/secrets/k", "text/plain", "x").status, 403);
    assert!(served.stop(SOON).success());
    let off = with_store(pwsh, "[auto_import]\nenabled = false").home(home.path()).start();
    assert!(!off.stderr().contains("Theirs"), "{}", off.stderr());
    drop(off);
    assert_eq!(std::fs::read(&registry).unwrap(), before);
}

#[test]
fn four_writers_lose_nothing_whatever_the_authentication() {
    let pwsh = need_pwsh!();
    let none = r#"
        listen = "127.0.0.1:0"
        auth = { open = true }
        [vaults.store]
        module = "Microsoft.PowerShell.SecretStore"
        parameters = { Authentication = "None" }
        expose = true
    "#;
    let stores = [with_store(pwsh, "[pool]\nmin = 4\nmax = 4"), Builder::new().config(none).pwsh(pwsh)];
    for (index, builder) in stores.into_iter().enumerate() {
        let mut server = builder.start();
        let clients = (0..4).map(|client| {
            let http = server.client();
            std::thread::spawn(move || {
                for key in 0..25 {
                    put(&http, &format!("k{client}-{key}"), &format!("v{client}-{key}"));
                }
            })
        });
        for client in clients.collect::<Vec<_>>() {
            client.join().unwrap();
        }
        assert!(server.stop(SOON).success());
        let found = pwsh.strings_in_store(server.home(), (index == 0).then_some(PASSWORD));
        let right = found.iter().filter(|(name, value)| name.replacen('k', "v", 1) == **value).count();
        assert_eq!((found.len(), right), (100, 100), "{}", server.stderr());
    }
}

#[test]
fn metadata_survives_an_update_and_a_foreign_write_is_seen() {
    let pwsh = need_pwsh!();
    let server = with_store(pwsh, "cache_ttl = \"10m\"\n[pool]\nmin = 2\nmax = 2").start();
    put(&server, "k", "zero");
    assert_eq!(value(&server, "k"), "zero", "and kept");
    in_store(
        pwsh,
        server.home(),
        "Set-Secret -Vault fresh -Name k -Secret one -Metadata @{ Owner = 'ops'; Count = 3 }",
    );
    wait_until("the kept value is dropped", Duration::from_secs(10), || value(&server, "k") == "one");
    put(&server, "k", "two");
    let found = in_store(
        pwsh,
        server.home(),
        "$i = Get-SecretInfo -Vault fresh -Name k; \"$($i.Metadata.Owner) $($i.Metadata.Count) $(Get-Secret -Vault fresh -Name k -AsPlainText)\"",
    );
    assert_eq!(found, "ops 3 two");
    wait_until("the change is in the log", Duration::from_secs(10), || {
        server.stderr().contains("changed by another process")
    });
}

/// A vault of the user's own on the same store has no password in the plan; it is as fresh as the other.
#[test]
fn a_second_name_of_the_store_shows_what_was_written_by_the_first() {
    let pwsh = need_pwsh!();
    let home = tempfile::tempdir().unwrap();
    in_store(
        pwsh,
        home.path(),
        "Register-SecretVault -Name mine -ModuleName Microsoft.PowerShell.SecretStore",
    );
    let more = "[auto_import]\nexpose = \"mine\"\n[pool]\nmin = 3\nmax = 3";
    let server = with_store(pwsh, more).home(home.path()).start();
    for round in 0..6 {
        put(&server, "k", &format!("v{round}"));
        std::thread::scope(|scope| {
            let read = || {
                let answer = server.get("/vaults/mine/secrets/k");
                assert_eq!(answer.status, 200, "{}\n{}", answer.text(), server.stderr());
                assert_eq!(answer.json()["Value"], format!("v{round}"));
            };
            (0..3).map(|_| scope.spawn(read)).for_each(drop);
        });
    }
}

#[test]
fn a_vault_that_misbehaves_breaks_no_request_but_its_own() {
    let pwsh = need_pwsh!();
    let folder = tempfile::tempdir().unwrap();
    // Where all workers are gone at once, the next request waits for a new one: long on a busy machine.
    let within = |deadline: &str, workers: usize| {
        let toml = format!(
            "listen = \"127.0.0.1:0\"\nauth = {{ open = true }}\nlimits = {{ deadline = \"{deadline}\" }}\n{}",
            odd(folder.path(), workers)
        );
        Builder::new().config(&toml).pwsh(pwsh).start()
    };
    let path = |key: &str| format!("/vaults/odd/secrets/{key}");
    let readers = ["r0", "r1"].map(path);
    let server = within("60s", 3);
    let good = |server: &Server| {
        let answer = server.get(&path("plain"));
        assert_eq!((answer.status, answer.json()["Value"].as_str()), (200, Some("v")), "{}", server.stderr());
    };
    assert_eq!(server.put(&path("plain"), "text/plain", "v").status, 204);
    let asked = |server: &Server, quirk: &str| {
        let begun = Instant::now();
        let answer = server.get(&path(quirk));
        say(&format!("real/{quirk}: {} after {:.1?}", answer.status, begun.elapsed()));
        answer
    };
    let (seen, ()) = under_readers(&server, &readers, || {
        for quirk in ["cat", "echo", "write-host", "console", "start-process", "babble"] {
            let answer = asked(&server, quirk);
            assert_eq!(answer.json()["Value"], "done", "{quirk}: {} {}", answer.status, answer.text());
            good(&server);
        }
        for quirk in ["exit", "failfast", "throw", "number"] {
            // It may end two of them, being asked once more; the third goes on.
            wait_until("three workers are up", SOON * 3, || {
                let workers = server.get("/health").json()["workers"].clone();
                let up = |worker: &serde_json::Value| worker["state"] == "ready" || worker["state"] == "busy";
                workers.as_array().is_some_and(|all| all.iter().all(up))
            });
            let answer = asked(&server, quirk);
            assert_eq!(answer.status, 502, "{quirk}: {}", answer.text());
            good(&server);
        }
    });
    say(&format!("real/misbehaving reads: {seen}"));
    assert_eq!(seen.most_failures(), 0, "{seen}");
    let cause = "thrown by the test vault";
    assert!(server.get(&path("throw")).text().contains(cause), "the caller learns why");
    assert!(server.stderr().contains(cause), "and so does whoever has the log only: {}", server.stderr());
    let hasty = within("4s", 2);
    let (seen, ()) = under_readers(&hasty, &readers, || {
        assert_eq!(asked(&hasty, "hang-dotnet").status, 504);
        good(&hasty);
    });
    say(&format!("real/a hanging read: {seen}"));
    // One worker is left, which a busy machine may keep waiting beyond a deadline as short as this.
    assert!(seen.most_failures() <= 1, "{seen}");
}

#[test]
fn no_pwsh_outlives_the_server() {
    let pwsh = need_pwsh!();
    let folder = tempfile::tempdir().unwrap();
    for (signal, polite) in [(Signal::TERM, true), (Signal::INT, true), (Signal::KILL, false)] {
        let mut server = with_store(pwsh, &odd(folder.path(), 2)).start();
        put(&server, "k", "v");
        let workers = server.pids_of_workers();
        assert_eq!(workers.len(), 2);
        // One of them is in a call that would go on for a minute.
        let client = server.client();
        let call = (!polite).then(|| {
            let asked = std::thread::spawn(move || {
                client.try_send("GET", "/vaults/odd/secrets/slow:60000", &[], b"")
            });
            wait_until("the call is under way", SOON, || {
                let calls = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
                workers.iter().any(|pid| calls.contains(&format!("get slow:60000 {pid}\n")))
            });
            asked
        });
        server.signal(signal);
        let status = server.wait_exit(SOON);
        assert_eq!(status.success(), polite, "{status}");
        wait_until("the workers are gone", Duration::from_secs(2), || !workers.iter().any(|pid| alive(*pid)));
        assert!(call.is_none_or(|call| call.join().unwrap().is_err()), "it was not answered");
        let of_users = std::fs::read_dir(server.folder().join("run")).unwrap().flatten();
        let left =
            of_users.map(|user| std::fs::read_dir(user.path()).map_or(0, Iterator::count)).sum::<usize>();
        assert!(!polite || left == 0, "{left} folders are left");
        // The store is the user's; there is no registry, so nothing is registered.
        let kept = std::fs::read_dir(server.home().join(".secretmanagement")).unwrap().flatten();
        let kept: Vec<_> = kept.map(|entry| entry.file_name()).collect();
        assert_eq!(kept, ["localstore"]);
    }
}

#[test]
fn a_killed_worker_is_replaced_and_its_vaults_open_again() {
    let pwsh = need_pwsh!();
    let server = with_store(pwsh, "[pool]\nmin = 2\nmax = 2").start();
    put(&server, "k", "v");
    for round in 0..3 {
        // One of two: a read is tried again once, on another worker.
        let pids = server.pids_of_workers();
        crate::support::process::signal(pids[round % pids.len()], Signal::KILL);
        assert_eq!(value(&server, "k"), "v", "round {round}");
        put(&server, "k", "v");
    }
}

#[test]
fn a_wrong_password_is_503_and_says_so() {
    let pwsh = need_pwsh!();
    let home = tempfile::tempdir().unwrap();
    in_store(pwsh, home.path(), "Set-Secret -Vault fresh -Name k -Secret v");
    let server = with_store(pwsh, "").env("STORE_PASSWORD", "wrong").home(home.path()).start();
    let answer = server.get("/vaults/store/secrets/k");
    assert_eq!(
        (answer.status, answer.json()["error"]["code"].as_str()),
        (503, Some("locked")),
        "{}",
        answer.text()
    );
    assert!(answer.header("Retry-After").is_some());
    assert_eq!(server.get("/health").status, 200);
}

#[test]
fn an_azure_vault_is_live_tested_where_one_is_named() {
    let Ok(vault) = std::env::var("SECRETBRIDGE_TEST_AZ_VAULT") else {
        say("NOT RUN: no live Azure vault (SECRETBRIDGE_TEST_AZ_VAULT is not set)");
        return;
    };
    let pwsh = need_pwsh!();
    let toml = format!(
        "listen = \"127.0.0.1:0\"\nauth = {{ open = true }}\n[vaults.live]\nmodule = \"Az.KeyVault\"\nparameters = {{ AZKVaultName = \"{vault}\" }}\nexpose = true\n"
    );
    let server = Builder::new().config(&toml).pwsh(pwsh).start();
    let path = format!("/vaults/live/secrets/secretbridge-test-{}", std::process::id());
    assert_eq!(server.put(&path, "text/plain", "live").status, 204);
    assert_eq!(server.get(&path).json()["Value"], "live");
    assert_eq!(server.delete(&path).status, 204);
}
