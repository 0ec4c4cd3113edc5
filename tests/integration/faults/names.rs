//! Names and parameters that look like code or like patterns are data everywhere.

use serde_json::json;

use super::{ODD_PARAMETER, ODD_VALUE, ODD_VAULT, odd, path, secrets};
use crate::need_pwsh;
use crate::support::server::{Builder, Server};

const NAMES: [&str; 14] = [
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
    "*",
    "a*",
    "a?",
    "a[1]",
];

/// What the patterns among the names would match.
const NEIGHBOURS: [&str; 2] = ["a1", "ab"];

fn put(server: &Server, name: &str) -> (u16, String) {
    let answer = server.put(&path(name), "text/plain", format!("value of {name}"));
    let code = if answer.body.is_empty() { json!(null) } else { answer.json()["error"]["code"].clone() };
    (answer.status, code.as_str().unwrap_or_default().to_owned())
}

#[track_caller]
fn assert_holds(server: &Server, name: &str) {
    let answer = server.get(&path(name));
    assert_eq!(answer.status, 200, "{name:?}: {}", answer.text());
    assert_eq!(answer.json()["Value"], format!("value of {name}"), "{name:?}");
}

/// The vault has these secrets and no other.
#[track_caller]
fn assert_lists<'a>(server: &Server, names: impl IntoIterator<Item = &'a str>) {
    let listed = server.get(&secrets()).json();
    let mut seen: Vec<&str> =
        listed["Secrets"].as_array().unwrap().iter().filter_map(|secret| secret["Name"].as_str()).collect();
    let mut expected: Vec<&str> = names.into_iter().collect();
    seen.sort_unstable();
    expected.sort_unstable();
    assert_eq!(seen, expected);
}

/// Reads, removes and writes each name beside those that it would match were it a pattern. `refused` are the names
/// that the vault cannot be trusted to write.
fn each_name_is_itself_alone(server: &Server, refused: fn(&str) -> bool) {
    for name in NEIGHBOURS {
        assert_eq!(put(server, name).0, 204, "{name:?}");
    }
    for name in NAMES {
        assert_eq!(server.get(&path(name)).status, 404, "{name:?} is not there yet");
        assert_eq!(server.delete(&path(name)).status, 404, "{name:?} is not there yet");
        let expected = if refused(name) { (400, "refused".to_owned()) } else { (204, String::new()) };
        assert_eq!(put(server, name), expected, "{name:?}");
    }
    let held: Vec<&str> = NAMES.into_iter().filter(|name| !refused(name)).collect();
    for name in held.iter().copied().chain(NEIGHBOURS) {
        assert_holds(server, name);
    }
    assert_lists(server, held.iter().copied().chain(NEIGHBOURS));
    for name in held {
        assert_eq!(server.delete(&path(name)).status, 204, "{name:?}");
        assert_eq!(server.get(&path(name)).status, 404, "{name:?} is removed");
    }
    assert_lists(server, NEIGHBOURS);
    NEIGHBOURS.iter().for_each(|name| assert_holds(server, name));
}

#[test]
fn names_and_parameters_that_look_like_code_or_patterns_reach_a_module_as_they_are() {
    let pwsh = need_pwsh!();
    let folder = tempfile::tempdir().unwrap();
    let server = odd(pwsh, folder.path(), false, "30s");
    let workers = server.pids_of_workers();
    let seen = server.get(&path("parameters")).json()["Value"].as_str().map(str::to_owned);
    let seen: serde_json::Value = serde_json::from_str(&seen.unwrap()).unwrap();
    assert_eq!(seen["VaultName"], ODD_VAULT);
    assert_eq!(seen["Parameters"][ODD_PARAMETER], ODD_VALUE);
    // The test vault has an error of its own for it.
    each_name_is_itself_alone(&server, |_| false);
    assert_eq!(server.pids_of_workers(), workers, "no worker ended");
    let lines = server.stderr();
    assert!(!lines.contains('\u{1b}') && !lines.lines().any(|line| line.starts_with("b\"")), "{lines}");
}

#[test]
fn a_secret_store_holds_names_that_look_like_code_and_refuses_patterns() {
    let pwsh = need_pwsh!();
    let home = tempfile::tempdir().unwrap();
    let password = "open sesame";
    pwsh.in_store(
        home.path(),
        Some(password),
        "Set-Secret -Vault fresh -Name 'a[1]' -Secret 'value of a[1]'",
    );
    let toml = format!(
        r#"
        listen = "127.0.0.1:0"
        auth = {{ open = true }}
        [pool]
        min = 2
        max = 2
        [vaults."{ODD_VAULT}"]
        module = "Microsoft.PowerShell.SecretStore"
        unlock = {{ env = "STORE_PASSWORD" }}
        expose = true
        "#
    );
    let builder = Builder::new().config(&toml).pwsh(pwsh).env("STORE_PASSWORD", password);
    let server = builder.home(home.path()).start();
    let workers = server.pids_of_workers();
    // Written by somebody else: read and removed by its exact name.
    assert_eq!(put(&server, "a1"), (204, String::new()));
    assert_holds(&server, "a[1]");
    assert_eq!(server.delete(&path("a[1]")).status, 204);
    assert_holds(&server, "a1");
    each_name_is_itself_alone(&server, |name| name.contains(['*', '?', '[', ']', '`']));
    assert_eq!(server.pids_of_workers(), workers, "no worker ended");
}
