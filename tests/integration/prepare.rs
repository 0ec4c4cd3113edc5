//! The compiled worker and its cache: `prepare`, and starts where the cache is tampered with, full, or cannot be.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::need_pwsh;
use crate::support::pwsh::{Pwsh, say};
use crate::support::server::{Builder, disks_can_be_made};

/// Compiling, on a busy machine.
const LONG: Duration = Duration::from_secs(120);

/// `prepare --json`, with a cache of its own.
fn prepare(pwsh: &Pwsh, cache: &Path) -> Builder {
    Builder::new().pwsh(pwsh).env("XDG_CACHE_HOME", cache).args(["prepare", "--json"])
}

/// What it says, where it ends with this code.
#[track_caller]
fn told(output: &Output, code: i32) -> Value {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{errors}");
    serde_json::from_slice(&output.stdout).expect("one document")
}

/// The compiled workers in a cache.
fn entries(cache: &Path) -> Vec<PathBuf> {
    let all =
        fs::read_dir(cache.join("secretbridge")).into_iter().flatten().map(|entry| entry.unwrap().path());
    all.filter(|path| path.extension().is_some_and(|extension| extension == "dll")).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn what_is_prepared_is_used_until_it_is_not_what_was_put_there() {
    let pwsh = need_pwsh!();
    let place = tempfile::tempdir().unwrap();
    let cache = place.path();
    let first = told(&prepare(pwsh, cache).run(LONG), 0);
    assert_eq!(first["compiled"], true, "{first}");
    let path = PathBuf::from(first["path"].as_str().unwrap());
    assert_eq!(
        (entries(cache), mode(&path), mode(&cache.join("secretbridge"))),
        (vec![path.clone()], 0o600, 0o700)
    );
    assert_eq!(told(&prepare(pwsh, cache).run(LONG), 0)["compiled"], false, "it is there");
    // One bit, where no format shows it.
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let output = prepare(pwsh, cache).run(LONG);
    assert_eq!(told(&output, 0)["compiled"], true, "it is compiled again");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("is not what was put there"), "{errors}");
    assert_eq!(entries(cache).len(), 1, "the changed one is gone");
    let path = &entries(cache).remove(0);
    assert_ne!(fs::read(path).unwrap(), bytes);
    // A link to a file that others may write is not followed.
    let elsewhere = place.path().join("elsewhere.dll");
    fs::rename(path, &elsewhere).unwrap();
    fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o666)).unwrap();
    symlink(&elsewhere, path).unwrap();
    assert_eq!(told(&prepare(pwsh, cache).run(LONG), 0)["compiled"], true);
    assert!(elsewhere.exists(), "what the link named is left alone");
}

#[test]
fn two_that_prepare_at_once_both_do_and_the_next_finds_it() {
    let pwsh = need_pwsh!();
    let place = tempfile::tempdir().unwrap();
    let cache = place.path();
    thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| told(&prepare(pwsh, cache).run(LONG), 0)));
        for one in both {
            one.join().unwrap();
        }
    });
    assert_eq!(told(&prepare(pwsh, cache).run(LONG), 0)["compiled"], false);
    let left: Vec<_> =
        fs::read_dir(cache.join("secretbridge")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(
        left.iter().all(|path| path.extension().is_some_and(|end| end == "dll" || end == "json")),
        "{left:?}"
    );
}

/// A start compiles into its private folder, says so once, and serves.
#[track_caller]
fn starts_without(builder: Builder, why: &str) {
    let mut server = builder.config("listen = \"127.0.0.1:0\"\nauth = { open = true }\n[vaults.store]\nexpose = true\nmodule = \"Microsoft.PowerShell.SecretStore\"\nunlock = { env = \"STORE_PASSWORD\" }\n").env("STORE_PASSWORD", "open sesame").start();
    server.stop(Duration::from_secs(30));
    let log = server.stderr();
    let told: Vec<_> = log.lines().filter(|line| line.contains("not kept for the next start")).collect();
    assert!(told.len() == 1 && told[0].contains(why), "{log}");
}

#[test]
fn a_cache_that_cannot_be_costs_a_compilation_and_one_line() {
    let pwsh = need_pwsh!();
    let place = tempfile::tempdir().unwrap();
    // Whoever runs the tests may write to any folder, but not make one below a file.
    let ours = place.path().join("secretbridge");
    fs::write(&ours, "").unwrap();
    let ours = ours.to_str().unwrap();
    let document = told(&prepare(pwsh, place.path()).run(LONG), 1);
    assert!(document["compiled"] == true && document["error"].as_str().unwrap().contains(ours), "{document}");
    starts_without(Builder::new().pwsh(pwsh).env("XDG_CACHE_HOME", place.path()), ours);
}

#[test]
fn a_full_disk_keeps_nothing_and_says_so() {
    let pwsh = need_pwsh!();
    if !disks_can_be_made() {
        return say("NOT RUN: no disk can be made here, so none was full");
    }
    // There is room for the engine's name, and none for the worker.
    let builder = Builder::new().pwsh(pwsh).disk(64);
    let home = builder.folder().join("home/cache");
    let document = told(&builder.env("XDG_CACHE_HOME", home).args(["prepare", "--json"]).run(LONG), 1);
    assert!(
        document["compiled"] == true && document["error"].as_str().unwrap().contains("space"),
        "{document}"
    );
}

#[test]
fn without_a_home_the_worker_is_compiled_all_the_same() {
    let pwsh = need_pwsh!();
    let builder = Builder::new().pwsh(pwsh).homeless().env("XDG_CACHE_HOME", "").args(["prepare", "--json"]);
    let output = builder.run(LONG);
    let document: Value = serde_json::from_slice(&output.stdout).expect("one document");
    // The user database may have a home.
    assert_eq!(document["compiled"], true, "{document}: {}", String::from_utf8_lossy(&output.stderr));
    let kept = document["path"].is_string() && output.status.success();
    assert!(kept || document["error"].as_str().unwrap().contains("HOME"), "{document}");
}

#[test]
fn a_session_of_a_restricted_language_ends_the_start_in_plain_words() {
    let restricted = r#"#!/bin/sh
echo '{"language":"ConstrainedLanguage"}'
"#;
    let serve = "listen = \"127.0.0.1:0\"\n[vaults.v]\nmodule = \"Any.Vault\"\nexpose = true\n";
    for command in ["prepare", "serve"] {
        let builder = Builder::new();
        let program = builder.file("pwsh", restricted);
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
        let builder =
            builder.env("SECRETBRIDGE_PWSH", &program).env("PATH", std::env::var_os("PATH").unwrap());
        let output = match command {
            "prepare" => builder.arg("prepare").run(LONG),
            _ => builder.config(serve).run(LONG),
        };
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && errors.contains("ConstrainedLanguage mode"),
            "{command}: {errors}"
        );
        assert!(errors.contains("FullLanguage"), "{command} says what is needed: {errors}");
    }
}
