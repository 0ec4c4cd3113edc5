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
        assert_eq!(output.status.code(), Some(64), "{stderr}");
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
    assert_eq!((output.status.code(), errors.len()), (Some(64), 4), "{told}");
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
fn a_check_goes_on_without_the_scripts_parameters_and_files_however_they_are_read() {
    let pwsh = need_pwsh!();
    let secrets = r#"param(
            [Parameter(Mandatory)] [string] $VaultName,
            [Parameter(Mandatory = $true)] [securestring] $Password,
            [Parameter(Mandatory)] [ValidateSet('east', 'west')] $Region,
            [Parameter(Mandatory)] [ValidateRange(8000, 9000)] [int] $Port,
            [Parameter(Mandatory = $false)] [string] $Other,
            [Parameter(Mandatory)] [string[]] $Names,
            [switch] $Loud
        )
        Start-PodeServer {
            Add-PodeEndpoint -Address localhost -Port $Port -Protocol Http
            $text = [System.IO.File]::ReadAllText((Join-Path $PSScriptRoot 'text.pem')).Trim()
            $bytes = [IO.File]::ReadAllBytes("$PSScriptRoot/key.bin")
            if ($bytes -isnot [byte[]] -or $Region -ne 'east' -or $Names.Count -ne 1 -or $Other) { throw 'a stand-in is unlike the real one' }
            $saved = Get-Content ./saved.txt | ConvertTo-SecureString
            $data = Import-PowerShellDataFile -Path ./settings.psd1
            Register-PodeSecretVault -Name Store -ModuleName Microsoft.PowerShell.SecretStore -UnlockSecureSecret $saved
            Register-PodeSecretVault -Name Own -VaultParameters @{ Vault = $VaultName; Token = $text } -ScriptBlock { 'v' }
        }"#;
    let output = check(pwsh, secrets, "json");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        told["needs"]["parameters"],
        serde_json::json!(["VaultName", "Password", "Region", "Port", "Names"])
    );
    let files = told["needs"]["files"].as_array().expect("a list");
    let names: Vec<_> = files.iter().map(|file| file.as_str().unwrap().rsplit('/').next().unwrap()).collect();
    assert_eq!(names, ["key.bin", "saved.txt", "settings.psd1", "text.pem"]);
    let given = ["-Vault", "mine", "-Port:8001", "-Loud", "-Names", "a"];
    let output = script(pwsh, secrets, &["--check"], &given).run(SOON);
    let shown = text(&output.stdout);
    assert!(output.status.success() && shown.contains(":8001"), "{shown}{}", text(&output.stderr));
    for (name, is_needed) in [("VaultName", false), ("Password", true), ("Names", false), ("Other", false)] {
        assert_eq!(
            shown.contains(&format!("the parameter -{name} (not given)")),
            is_needed,
            "{name}: {shown}"
        );
    }
    let output = check(pwsh, "Start-PodeServer { [xml](Get-Content ./data.xml) }", "text");
    let words = text(&output.stderr);
    assert!(
        !output.status.success() && words.contains("had stand-ins") && words.contains("data.xml"),
        "{words}"
    );
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
        builder.env("STORE_PASSWORD", "p").args(["check", "--file-only", "--config"]).arg(path).run(SOON)
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

/// Pode registers with `-AllowClobber`.
#[test]
fn two_vaults_that_powershell_knows_by_one_name_are_told_where_they_differ() {
    let pwsh = need_pwsh!();
    let vaults = |second: &str| {
        format!(
            "Start-PodeServer {{
                Add-PodeEndpoint -Address localhost -Port 0 -Protocol Http
                Register-PodeSecretVault -Name One -VaultName Same -ModuleName Az.KeyVault -VaultParameters @{{ AZKVaultName = 'a' }}
                Register-PodeSecretVault -Name Two -VaultName Same -ModuleName Az.KeyVault -VaultParameters @{{ AZKVaultName = '{second}' }}
            }}"
        )
    };
    for (second, is_told) in [("b", true), ("a", false)] {
        let output = check(pwsh, &vaults(second), "text");
        let said = text(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert_eq!(
            said.contains("vaults One and Two both have the name Same in PowerShell"),
            is_told,
            "{said}"
        );
    }
}
