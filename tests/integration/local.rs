//! `serve` without a configuration: a machine with nothing but the program.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::support::SOON;
use crate::support::http::Client;
use crate::support::server::{Builder, Server};

/// Where SecretManagement keeps a user's registry, below HOME.
const REGISTRY: &str = ".secretmanagement/secretvaultregistry/vaultinfo";

fn alone() -> Builder {
    Builder::new().args(["serve", "--listen", "127.0.0.1:0"])
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).permissions().mode()
        & 0o7777
}

/// The token file and the address of the curl line that it prints.
fn curl_line(server: &Server) -> (PathBuf, String) {
    crate::support::wait_for("a curl line", SOON, || {
        let text = server.stderr();
        let line = text.lines().find_map(|line| line.strip_prefix("try: curl "))?.to_owned();
        let file = line.split("cat '").nth(1)?.split('\'').next()?.to_owned();
        let url = line.rsplit(' ').next()?.to_owned();
        text.ends_with('\n').then(|| (file.into(), url))
    })
}

/// A server with its own token, which a person would have copied from the curl line.
fn with_its_token(mut server: Server) -> Server {
    let (file, _) = curl_line(&server);
    let token = fs::read_to_string(file).unwrap();
    server.set_token(token.trim());
    server
}

fn put(client: &Client, key: &str, value: &str) {
    let answer = client.put(&format!("/secrets/{key}"), "text/plain", value);
    assert_eq!(answer.status, 204, "{}", answer.text());
}

fn names(client: &Client) -> Vec<String> {
    let listed = client.get("/secrets").json();
    let secrets = listed["Secrets"].as_array().cloned().unwrap_or_default();
    let mut names: Vec<String> =
        secrets.iter().filter_map(|secret| Some(secret["Name"].as_str()?.to_owned())).collect();
    names.sort();
    names
}

fn register(home: &Path, names: &[&str]) {
    let vaults: serde_json::Map<String, Value> = names
        .iter()
        .map(|name| {
            let vault = serde_json::json!({
                "ModuleName": "My.Vault", "ModulePath": "/nowhere/My.Vault", "VaultParameters": {},
            });
            ((*name).to_owned(), vault)
        })
        .collect();
    let path = home.join(REGISTRY);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, serde_json::json!({ "DefaultVaultName": "", "Vaults": vaults }).to_string()).unwrap();
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn fails(builder: Builder, code: i32) -> String {
    let Output { status, stdout, stderr } = builder.run(SOON);
    assert_eq!(status.code(), Some(code), "{}", text(&stderr));
    assert_eq!(text(&stdout), "", "errors go to stderr");
    text(&stderr)
}

#[test]
fn a_machine_with_nothing_but_the_program_keeps_secrets() {
    let server = with_its_token(alone().start());
    let (file, url) = curl_line(&server);
    assert_eq!(url, format!("http://{}/secrets", server.address), "the line says where it listens");
    let said = server.stderr();
    for line in ["local vault: ", "pwsh: none found", "your SecretManagement vaults: none registered"] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert_eq!(mode(&file), 0o600);
    let folder = file.parent().unwrap();
    assert_eq!(mode(folder), 0o700);
    for entry in fs::read_dir(folder).unwrap().flatten() {
        assert_eq!(mode(&entry.path()), 0o600, "{}", entry.path().display());
    }

    assert_eq!(server.get("/secrets").json(), serde_json::json!({ "Secrets": [] }));
    assert_eq!(server.get("/secrets/db").status, 404);
    put(&server, "db", "one");
    put(&server, "db", "two ☂");
    assert_eq!(server.get("/secrets/DB").json()["Value"], "two ☂", "names know no case");
    assert_eq!(names(&server), ["db"]);
    assert_eq!(server.delete("/secrets/db").status, 204);
    assert_eq!(server.delete("/secrets/db").status, 404);
    assert!(names(&server).is_empty());

    let stranger = Client::new(server.address);
    assert_eq!(stranger.get("/secrets").status, 401);
    assert_eq!(stranger.with_token("wrong").get("/secrets/db").status, 401);
    assert!(server.pids_of_workers().is_empty(), "it starts nothing");
    server.assert_never_wrote(&["two ☂", fs::read_to_string(&file).unwrap().trim()]);
}

#[test]
fn the_printed_line_works_in_a_shell() {
    let server = alone().start();
    let _ = curl_line(&server);
    let said = server.stderr();
    let line = said.lines().find_map(|line| line.strip_prefix("try: ")).unwrap();
    let output = std::process::Command::new("sh").args(["-c", &format!("{line} -sS")]).output().unwrap();
    if output.status.code() == Some(127) {
        return eprintln!("NOT RUN: this machine has no curl");
    }
    assert_eq!(text(&output.stdout), r#"{"Secrets":[]}"#, "{}", text(&output.stderr));
}

#[test]
fn a_second_start_keeps_secrets_and_token() {
    let home = tempfile::tempdir().unwrap();
    let mut first = with_its_token(alone().home(home.path()).start());
    put(&first, "k", "kept");
    let token = fs::read(curl_line(&first).0).unwrap();
    assert!(first.stop(SOON).success());
    let second = with_its_token(alone().home(home.path()).start());
    assert_eq!(second.get("/secrets/k").json()["Value"], "kept");
    assert_eq!(fs::read(curl_line(&second).0).unwrap(), token);
}

#[test]
fn two_servers_on_one_vault_lose_nothing() {
    let home = tempfile::tempdir().unwrap();
    let servers = [0, 1].map(|_| with_its_token(alone().home(home.path()).start()));
    let clients: Vec<_> = (0..4)
        .map(|number| {
            let client = servers[number % 2].client();
            std::thread::spawn(move || {
                for key in 0..10 {
                    put(&client, &format!("k{number}-{key}"), &format!("v{number}-{key}"));
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    for server in &servers {
        assert_eq!(names(server).len(), 40);
        for number in 0..4 {
            for key in 0..10 {
                let answer = server.get(&format!("/secrets/k{number}-{key}"));
                assert_eq!(answer.json()["Value"], format!("v{number}-{key}"));
            }
        }
    }
    // What one changes, the other reads at once.
    put(&servers[0], "k0-0", "new");
    assert_eq!(servers[1].get("/secrets/k0-0").json()["Value"], "new");
}

#[test]
fn a_killed_server_leaves_a_vault_that_opens() {
    let home = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for round in 0..5 {
        let mut server = with_its_token(alone().home(home.path()).start());
        assert_eq!(names(&server).len().clamp(acknowledged, acknowledged + 1), names(&server).len());
        let client = server.client();
        let writer = std::thread::spawn(move || {
            (0..)
                .take_while(|key| {
                    let path = format!("/secrets/r{round}-{key}");
                    let put = client.try_send("PUT", &path, &[("Content-Type", "text/plain")], b"v");
                    put.is_ok_and(|answer| answer.status == 204)
                })
                .count()
        });
        let before = acknowledged;
        crate::support::wait_until("some writes", SOON, || names(&server).len() > before + 3);
        server.signal(rustix::process::Signal::KILL);
        server.wait_exit(SOON);
        let written = writer.join().unwrap();
        let again = with_its_token(alone().home(home.path()).start());
        let found = names(&again).len();
        // The one that was under way may be there or not.
        assert!((before + written..=before + written + 1).contains(&found), "{before} {written} {found}");
        acknowledged = found;
    }
}

#[test]
fn a_vault_of_the_user_is_named_with_the_flag_that_exposes_it() {
    let home = tempfile::tempdir().unwrap();
    register(home.path(), &["Team", "Mine"]);
    let server = alone().home(home.path()).start();
    let said = server.stderr();
    for flag in ["--expose-vault Team", "--expose-vault Mine"] {
        assert!(said.contains(flag), "{said}");
    }
    let quiet = alone().arg("--no-auto-import").home(home.path()).start();
    assert!(!quiet.stderr().contains("Team"), "{}", quiet.stderr());
}

#[test]
fn a_vault_to_expose_that_is_not_there_is_a_usage_error_that_names_what_there_is() {
    let home = tempfile::tempdir().unwrap();
    let error = fails(alone().args(["--expose-vault", "Nope"]).home(home.path()), 64);
    assert!(error.contains("Nope") && error.contains("none"), "{error}");
    register(home.path(), &["Team", "Mine"]);
    let error = fails(alone().args(["--expose-vault", "Nope:rw"]).home(home.path()), 64);
    assert!(error.contains("Nope") && error.contains("Mine, Team"), "{error}");
    // It is there, but nothing can open it.
    let error = fails(alone().args(["--expose-vault", "Team"]).home(home.path()), 69);
    assert!(error.contains("pwsh"), "{error}");
}

#[test]
fn a_vault_of_the_file_and_one_of_the_user_that_have_one_name_are_a_usage_error() {
    let home = tempfile::tempdir().unwrap();
    register(home.path(), &["Team", "Mine"]);
    let file = home.path().join("a.toml");
    fs::write(&file, "[vaults.team]\nlocal = true\nexpose = true\n").unwrap();
    let both = alone().arg("--config").arg(&file).args(["--expose-vault", "Team"]);
    let error = fails(both.home(home.path()), 64);
    assert!(error.contains("two vaults have the name 'Team'"), "{error}");
}

#[test]
fn a_port_in_use_ends_with_a_hint() {
    let first = alone().start();
    let taken = first.address.to_string();
    let error = fails(Builder::new().args(["serve", "--listen", &taken]), 1);
    assert!(error.contains(&taken) && error.contains("in use (hint: "), "{error}");
}

#[test]
fn a_token_file_that_others_can_read_is_refused() {
    let builder = alone();
    let file = builder.file("token", "abcdefghijklmnopqrstuvwxyz0123456789abcdefg\n");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let error = fails(builder.arg("--token-file").arg(&file), 64);
    assert!(error.contains("token") && !error.contains("abcdefgh"), "{error}");
}

#[test]
fn mistakes_on_the_command_line_are_64_and_help_is_0() {
    for args in [&["serve", "--bogus"][..], &["serve", "--listen", "nonsense"], &["nothing"], &[]] {
        let output = Builder::new().args(args).run(SOON);
        assert_eq!(output.status.code(), Some(64), "{args:?}");
        assert!(!output.stderr.is_empty(), "{args:?}");
    }
    for args in [&["--help"][..], &["--version"], &["serve", "--help"], &["check", "--help"]] {
        let output = Builder::new().args(args).run(SOON);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(!output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn check_tells_every_mistake_in_one_run() {
    let good = "[vaults.v]\nlocal = true\nexpose = true\n";
    let bad = "listne = 1\n[vaults.v]\nmodule = 3\n[secrets.s]\nvault = \"other\"\n";
    let run = |toml: &str, json: bool| {
        let builder = Builder::new();
        let file = builder.file("c.toml", toml);
        let builder = builder.arg("check").arg("--config").arg(file);
        if json { builder.arg("--json").run(SOON) } else { builder.run(SOON) }
    };
    let output = run(good, true);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap()["problems"], serde_json::json!([]));
    let output = run(bad, true);
    assert_eq!(output.status.code(), Some(64));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let lines: Vec<u64> =
        told["problems"].as_array().unwrap().iter().filter_map(|problem| problem["line"].as_u64()).collect();
    assert!(lines.contains(&1) && lines.contains(&3) && lines.contains(&5), "{told}");
    let output = run(bad, false);
    assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(64), true));
    assert!(text(&output.stderr).contains("listne"), "{}", text(&output.stderr));
    let missing = Builder::new().args(["check", "--json", "--config", "nowhere.toml"]).run(SOON);
    assert_eq!(missing.status.code(), Some(64));
    assert!(serde_json::from_slice::<Value>(&missing.stdout).unwrap()["problems"][0]["message"].is_string());
}
