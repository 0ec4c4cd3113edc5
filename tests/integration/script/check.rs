//! `run --check`: everything that is wrong, and everything that is needed, in one run.

use std::process::Output;

use super::{script, store_script};
use crate::need_pwsh;
use crate::support::SOON;
use crate::support::pwsh::Pwsh;
use crate::support::server::Builder;

fn check(pwsh: &Pwsh, text: &str, format: &str) -> Output {
    script(pwsh, text, &["--check", "--format", format], &[]).run(SOON)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn all_problems_of_a_script_are_told_in_one_run_also_as_json() {
    let pwsh = need_pwsh!();
    let wrong = "Start-PodeServer {
        Add-PodeMiddleware -Name m -ScriptBlock { $true }
        Add-PodeEndpoint -Address localhost -Port 0 -Protocol Http -DualMode
        Add-PodeRoute -Method Get -Path /x -ScriptBlock { Get-PodeSessionId; $session:y }
    }";
    for output in [check(pwsh, wrong, "text"), script(pwsh, wrong, &[], &[]).run(SOON)] {
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        for said in [
            "server.ps1:2: Add-PodeMiddleware",
            "server.ps1:3: Add-PodeEndpoint has no parameter -DualMode",
            "server.ps1:4: Get-PodeSessionId",
            "server.ps1:4: $session:",
        ] {
            assert!(stderr.contains(said), "{said}: {stderr}");
        }
    }
    let output = check(pwsh, wrong, "json");
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let errors = told["errors"].as_array().expect("a list");
    assert_eq!((output.status.code(), errors.len()), (Some(1), 4), "{told}");
    assert_eq!((&errors[0]["line"], &errors[1]["line"]), (&2.into(), &3.into()));
    assert!(errors.iter().all(|error| error["hint"].is_string() && error["script"].is_string()), "{told}");
    let thrown = check(pwsh, "Start-PodeServer { Mount-PodeSecret -Name a -Vault nosuch -Key k }", "json");
    let told: serde_json::Value = serde_json::from_slice(&thrown.stdout).expect("JSON");
    let words = "No Secret Vault with the name 'nosuch' has been registered.";
    assert_eq!((&told["errors"][0]["message"], &told["errors"][0]["line"]), (&words.into(), &1.into()));
}

#[test]
fn a_check_needs_no_secret_and_names_those_that_would_be_needed() {
    let pwsh = need_pwsh!();
    let secrets = "Start-PodeServer {
        Add-PodeEndpoint -Address localhost -Port 8080 -Protocol Http
        Register-PodeSecretVault -Name Store -ModuleName Microsoft.PowerShell.SecretStore -UnlockSecret $env:SB_TEST_NEVER_SET
        Register-PodeSecretVault -Name Own -VaultParameters @{ Token = Get-Content ./token.txt -Raw } -ScriptBlock { 'v' }
    }";
    let output = check(pwsh, secrets, "text");
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(shown.contains("the environment variable SB_TEST_NEVER_SET (not set)"), "{shown}");
    assert!(shown.contains("token.txt (not there)"), "{shown}");
    let output = check(pwsh, secrets, "json");
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(told["needs"]["environment"][0]["name"], "SB_TEST_NEVER_SET");
    assert!(told["needs"]["files"][0].as_str().is_some_and(|file| file.ends_with("token.txt")), "{told}");
}

#[test]
fn a_check_refuses_the_placeholders_of_the_file_that_it_prints() {
    let pwsh = need_pwsh!();
    let vault = "Register-PodeSecretVault -Name Cloud -ModuleName Az.KeyVault -VaultParameters @{ AZKVaultName = 'canary-name'; SubscriptionId = 's' }
        Mount-PodeSecret -Name Key -Vault Cloud -Key k
        Add-PodeRoute -Method Get -Path /own -ScriptBlock { Write-PodeTextResponse $secret:Key }";
    let output = check(pwsh, &store_script(vault).replace("Set-PodeSecret", "# Set-PodeSecret"), "toml");
    let toml = text(&output.stdout);
    assert!(output.status.success() && !toml.contains("canary"), "{toml}{}", text(&output.stderr));
    assert!(toml.contains("GET /own is not here: its block needs PowerShell"), "{toml}");
    let run = |toml: &str| {
        let builder = Builder::new();
        let path = builder.file("printed.toml", toml);
        builder.env("STORE_PASSWORD", "p").arg("check").arg("--config").arg(path).run(SOON)
    };
    let refused = run(&toml);
    let said = text(&refused.stderr) + &text(&refused.stdout);
    let line =
        1 + toml.lines().position(|line| line.contains("<fill in: AZKVaultName>")).expect("a placeholder");
    assert_eq!(refused.status.code(), Some(64), "{said}");
    assert!(
        said.contains("AZKVaultName") && said.contains("placeholder") && said.contains(&format!(":{line}")),
        "{said}"
    );
    let filled = toml.replace("<fill in: AZKVaultName>", "name").replace("<fill in: SubscriptionId>", "s");
    let accepted = run(&filled);
    assert!(accepted.status.success(), "{}", text(&accepted.stderr));
}
