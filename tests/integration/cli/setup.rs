//! Completions, manual pages, the version, the PowerShell module.

use super::*;

#[test]
fn completions_and_pages_are_there_for_every_shell_and_command() {
    let folder = tempfile::tempdir().unwrap();
    let line = Line::alone(folder.path());
    for shell in ["bash", "zsh", "fish", "powershell"] {
        assert!(line.ok(&["completions", shell], b"").contains("secretbridge"), "{shell}");
    }
    let script = line.ok(&["completions", "bash"], b"");
    let output = Command::new("bash").args(["-n", "-c", &script]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    line.ok(&["man", "--output", "pages"], b"");
    for page in ["secretbridge.1", "secretbridge-get.1", "secretbridge-exec.1"] {
        assert!(folder.path().join("pages").join(page).is_file(), "{page}");
    }
    assert!(line.ok(&["man"], b"").contains(".TH"));
    let version = line.ok(&["--version"], b"");
    assert!(version.contains("built for") && version.contains("source"), "{version}");
}

/// What a script needs to find the installed module and the server.
fn prepared(server: &Server, pwsh: &crate::support::pwsh::Pwsh, script: &str) -> String {
    let line = Line::beside(server);
    let folder = line.ok(&["module", "install", "--path", "modules"], b"");
    let folder = server.folder().join(folder.trim());
    let token = server.home().join(".local/share/secretbridge/token");
    let socket = server
        .addresses()
        .into_iter()
        .find_map(|address| Some(address.strip_prefix("http+unix:")?.to_owned()));
    let home = tempfile::tempdir().unwrap();
    let before = format!(
        "$env:SECRETBRIDGE_MODULE = '{}'\n$env:SECRETBRIDGE_ADDR = 'http://{}'\n$env:SECRETBRIDGE_TOKEN_FILE = '{}'\n$env:SECRETBRIDGE_SOCKET = '{}'\n",
        folder.display(),
        server.address,
        token.display(),
        socket.unwrap_or_default(),
    );
    pwsh.output_of(&(before + script), home.path())
}

#[test]
fn secret_management_s_own_commands_work_through_the_module() {
    let pwsh = crate::need_pwsh!();
    let server = server();
    let script = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/pwsh/module.ps1");
    let out = prepared(&server, pwsh, &format!("& '{}'", script.display()));
    assert!(out.contains("module: all of it holds"), "{out}");
}

#[test]
fn no_write_of_many_processes_is_lost_through_the_module() {
    let pwsh = crate::need_pwsh!();
    let server = server();
    let script = "Import-Module Microsoft.PowerShell.SecretManagement
        $with = @{ Uri = $env:SECRETBRIDGE_ADDR; TokenFile = $env:SECRETBRIDGE_TOKEN_FILE }
        Register-SecretVault -Name local -ModuleName (Join-Path $env:SECRETBRIDGE_MODULE 'SecretBridge.psd1') -VaultParameters $with
        1..10 | ForEach-Object { Set-Secret -Vault local -Name \"NUMBER-$_\" -Secret \"v$_\" }";
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (server, script) = (&server, script.replace("NUMBER", &format!("p{number}")));
            scope.spawn(move || prepared(server, pwsh, &script));
        }
    });
    let listed = Line::beside(&server).json(&["list", "local", "--json"]);
    assert_eq!(listed.as_array().unwrap().len(), 40);
}

#[path = "../../../examples/configured.rs"]
#[allow(dead_code, reason = "of a program only what it does is called")]
mod configured;
#[path = "../../../examples/local_vault.rs"]
#[allow(dead_code, reason = "of a program only what it does is called")]
mod local_vault;

#[tokio::test]
async fn the_library_s_examples_run() {
    let folder = tempfile::tempdir().unwrap();
    let line = Line::alone(folder.path());
    local_vault::run(folder.path().join("mine")).await.unwrap();
    let file = folder.path().join("c.toml");
    std::fs::write(&file, "[vaults.mine]\nlocal = true\nfolder = \"mine\"\nexpose = true\n").unwrap();
    assert_eq!(configured::run(file).await.unwrap(), ["mine/db"]);
    assert_eq!(line.ok(&["get", "mine/db", "--config", "c.toml"], b""), "battery staple\n");
}
