//! `doctor`: what is there is told, what is wrong too with what mends it, and nothing is changed.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// Every file below a folder, with what is in it.
fn tree(folder: &Path) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let content = std::fs::read(&path).unwrap_or_default();
                found.insert(path, content);
            }
        }
    }
    found
}

/// The findings, of a run that ends with this code.
#[track_caller]
fn findings(line: &Line, code: i32, args: &[&str]) -> Vec<Value> {
    let args: Vec<_> = ["doctor", "--json"].iter().chain(args).copied().collect();
    let output = line.run(&args, b"");
    assert_eq!(output.status.code(), Some(code), "{}{}", text(&output.stdout), text(&output.stderr));
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(document["ok"], json!(code == 0));
    let all = document["findings"].as_array().unwrap().clone();
    for finding in &all {
        assert_eq!(finding["mend"].is_null(), finding["level"] == "ok", "{finding}");
    }
    all
}

#[track_caller]
fn one<'a>(findings: &'a [Value], level: &str, words: &str) -> &'a Value {
    let is_it =
        |finding: &&Value| finding["level"] == level && finding["message"].as_str().unwrap().contains(words);
    findings.iter().find(is_it).unwrap_or_else(|| panic!("no {level} about {words}: {findings:#?}"))
}

#[test]
fn without_pwsh_a_first_start_is_found_in_order_and_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let line = Line::alone(folder.path()).env("PATH", "/nowhere");
    let before = tree(folder.path());
    let told = line.ok(&["doctor"], b"");
    assert!(told.lines().all(|line| line.starts_with("ok ")), "{told}");
    for area in ["configuration", "pwsh", "files", "server", "vaults", "clock", "disk", "port"] {
        assert!(told.contains(&format!("{area}: ")), "{area}: {told}");
    }
    assert_eq!(tree(folder.path()), before);
    line.ok(&["set", "local/a"], b"one");
    let told = findings(&line, 0, &[]);
    assert_eq!(one(&told, "ok", "'local': reached")["secrets"], 1);
}

#[test]
fn each_fault_is_a_problem_with_what_mends_it() {
    let folder = tempfile::tempdir().unwrap();
    let line = Line::alone(folder.path()).env("SECRETBRIDGE_PWSH", "/nowhere/pwsh");
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let toml = format!(
        r#"
        listen = "{}"
        [auth]
        token_file = "token"
        [[listeners]]
        address = "127.0.0.1:0"
        tls = {{ certificate = "none.pem", key = "none.key" }}
        [vaults.mine]
        local = true
        folder = "mine"
        expose = true
        [vaults.cloud]
        module = "My.Module"
        unlock = {{ env = "NOT_SET_ANYWHERE" }}
        "#,
        held.local_addr().unwrap()
    );
    std::fs::write(folder.path().join("secretbridge.toml"), toml).unwrap();
    std::fs::write(folder.path().join("token"), "0123456789abcdef0123456789abcdef").unwrap();
    std::fs::set_permissions(folder.path().join("token"), std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::create_dir(folder.path().join("mine")).unwrap();
    std::fs::write(folder.path().join("mine/vault.age"), "not one").unwrap();
    let registry = folder.path().join("home/.secretmanagement/secretvaultregistry");
    std::fs::create_dir_all(&registry).unwrap();
    std::fs::write(registry.join("vaultinfo"), "{ canary").unwrap();
    let told = findings(&line, 1, &[]);
    for (words, mend) in [
        ("/nowhere/pwsh", "aka.ms/powershell"),
        ("others may read it", "chmod"),
        ("NOT_SET_ANYWHERE", "set NOT_SET_ANYWHERE"),
        ("none.pem", ""),
        ("in use by another program", "listen"),
        ("the registry of your vaults", "Register-SecretVault"),
        ("key.txt is missing", "restore"),
        ("'cloud' cannot be reached", "pwsh"),
    ] {
        let finding = one(&told, "problem", words);
        assert!(finding["mend"].as_str().unwrap().contains(mend), "{finding}");
    }
    assert!(!serde_json::to_string(&told).unwrap().contains("canary"));
    std::fs::write(folder.path().join("secretbridge.toml"), "[vaults.a]\nlocl = true\n").unwrap();
    let told = findings(&line, 1, &[]);
    assert!(one(&told, "problem", "locl")["mend"].as_str().unwrap().contains("secretbridge check"));
}

#[test]
fn a_store_is_reached_with_its_modules_and_nothing_of_it_is_written() {
    let pwsh = crate::need_pwsh!();
    let folder = tempfile::tempdir().unwrap();
    let mut line = Line::alone(folder.path()).env("STORE_PASSWORD", "pw");
    for (name, value) in pwsh.variables() {
        line = line.env(&name.to_string_lossy(), value.to_string_lossy());
    }
    line = line.env("SECRETBRIDGE_PWSH", pwsh.program.to_string_lossy());
    let home = folder.path().join("home");
    let toml = "[vaults.store]\nmodule = \"Microsoft.PowerShell.SecretStore\"\nunlock = { env = \"STORE_PASSWORD\" }\n\
        parameters = { PasswordTimeout = 77 }\nexpose = true\n";
    std::fs::write(folder.path().join("secretbridge.toml"), toml).unwrap();
    let told = findings(&line, 0, &[]);
    one(&told, "ok", "there is no SecretStore yet");
    assert!(!home.join(".secretmanagement/localstore").exists());
    let script =
        "Set-SecretStoreConfiguration -Authentication Password -Interaction None -PasswordTimeout 900 \
        -Password (ConvertTo-SecureString pw -AsPlainText -Force) -Confirm:$false
        Register-SecretVault -Name mine -ModuleName Microsoft.PowerShell.SecretStore
        Unlock-SecretStore -Password (ConvertTo-SecureString pw -AsPlainText -Force)
        Set-Secret -Vault mine -Name a -Secret one";
    pwsh.output_of(script, &home);
    let before = tree(&home.join(".secretmanagement"));
    let told = findings(&line, 1, &[]);
    assert_eq!(tree(&home.join(".secretmanagement")), before);
    let reached = one(&told, "ok", "'store': reached and unlocked");
    assert_eq!((&reached["secrets"], &reached["unlocked"]), (&json!(1), &json!(true)));
    // The user's own vault has the same store, and nothing says its password here.
    one(&told, "problem", "'mine'");
    let engine = one(&told, "ok", "starts in");
    assert_eq!(engine["version"], pwsh.version.as_str());
    assert!(engine["start_milliseconds"].is_u64());
    for module in ["Microsoft.PowerShell.SecretManagement", "Microsoft.PowerShell.SecretStore"] {
        let found = told.iter().find(|finding| finding["module"] == module).unwrap();
        assert!(!found["versions"].as_array().unwrap().is_empty(), "{found}");
    }
    let service = findings(&line, 1, &["--as-service"]);
    one(&service, "warning", "registered for you");
    one(&service, "warning", "STORE_PASSWORD");
    one(&service, "warning", "a service finds");
    let line = line.env("STORE_PASSWORD", "canary");
    let told = findings(&line, 1, &[]);
    assert!(!serde_json::to_string(&told).unwrap().contains("canary"));
    one(&told, "problem", "'store'");
}

#[test]
fn a_server_that_runs_is_asked_how_its_vaults_are() {
    let server = server_with_file();
    let line = Line::beside(&server).env("PATH", "/nowhere");
    line.ok(&["set", "team/a"], b"one");
    let told = findings(&line, 0, &["--config", "secretbridge.toml"]);
    one(&told, "ok", "the server's vault 'team' is ok");
    line.ok(&["lock", "team"], b"");
    let told = findings(&line, 1, &[]);
    assert!(
        one(&told, "problem", "'team' is locked")["mend"]
            .as_str()
            .unwrap()
            .contains("secretbridge unlock team")
    );
}

#[test]
fn a_local_vault_that_is_half_there_leads_to_its_cure_in_doctor_and_in_check() {
    let folder = tempfile::tempdir().unwrap();
    let line = Line::alone(folder.path());
    // Port 0: the usual one may be taken on the machine of the test.
    let toml = "listen = \"127.0.0.1:0\"\n[vaults.v]\nlocal = true\nfolder = \"v\"\nexpose = true\n";
    std::fs::write(folder.path().join("secretbridge.toml"), toml).unwrap();
    let vault = folder.path().join("v");
    let deep = |line: &Line| line.run(&["check", "--deep"], b"");
    // Neither of the two makes the vault.
    one(&findings(&line, 0, &[]), "ok", "made at the first use");
    assert!(deep(&line).status.success());
    assert!(!vault.exists());
    line.ok(&["set", "v/a"], b"one");
    one(&findings(&line, 0, &[]), "ok", "'v': reached, 1 secrets");
    // A first use that was cut off is completed, and doctor says so.
    let [key, file, mark] = ["key.txt", "vault.age", "vault.mark"].map(|name| vault.join(name));
    let kept = std::fs::read(&file).unwrap();
    std::fs::remove_file(&mark).unwrap();
    std::fs::remove_file(&file).unwrap();
    one(&findings(&line, 0, &[]), "ok", "the next one completes");
    line.ok(&["list", "v"], b"");
    // What was lost is told with what to do, in both.
    for (gone, cure) in [(&key, "restore the key file from a backup"), (&file, "restore it from a backup")] {
        std::fs::write(&file, &kept).unwrap();
        let aside = folder.path().join("aside");
        std::fs::rename(gone, &aside).unwrap();
        let all = findings(&line, 1, &[]);
        let wrong = one(&all, "problem", gone.file_name().unwrap().to_str().unwrap());
        assert!(wrong["mend"].as_str().unwrap().contains(cure), "{wrong}");
        let output = deep(&line);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains(cure), "{}", text(&output.stderr));
        std::fs::rename(aside, gone).unwrap();
    }
}
