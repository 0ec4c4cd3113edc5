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

/// What is in a home after an install.
const INSTALLED: [&str; 11] = [
    ".local/share/powershell/Modules/SecretBridge/0.1.0/SecretBridge.psd1",
    ".local/share/powershell/Modules/SecretBridge/0.1.0/SecretBridge.psm1",
    ".local/share/powershell/Modules/SecretBridge/0.1.0/SecretBridge.Extension/SecretBridge.Extension.psd1",
    ".local/share/powershell/Modules/SecretBridge/0.1.0/SecretBridge.Extension/SecretBridge.Extension.psm1",
    ".local/share/powershell/Modules/SecretBridge/0.1.0/secretbridge.completion.ps1",
    ".local/share/bash-completion/completions/secretbridge",
    ".zfunc/_secretbridge",
    ".config/fish/completions/secretbridge.fish",
    ".config/powershell/profile.ps1",
    ".local/share/powershell/Modules/SecretBridge/0.1.0/SecretBridge.Extension/Platform.cs",
    ".local/share/powershell/Modules/SecretBridge/0.1.0/SecretBridge.Extension/SocketDoor.cs",
];

#[test]
fn an_install_is_done_once_and_an_uninstall_leaves_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let line = Line::alone(folder.path());
    let home = folder.path().join("home");
    let profile = home.join(".config/powershell/profile.ps1");
    std::fs::create_dir_all(profile.parent().unwrap()).unwrap();
    std::fs::write(&profile, "$mine = 1\n").unwrap();
    let told = line.ok(&["module", "install"], b"");
    assert_eq!(told.lines().filter(|line| line.starts_with("installed\t")).count(), 4, "{told}");
    assert!(told.lines().last().unwrap().starts_with("updated\tprofile"), "{told}");
    for path in INSTALLED {
        assert!(home.join(path).is_file(), "{path}");
    }
    let did = |line: &Line| -> Vec<String> {
        let told = line.json(&["module", "install", "--json"]);
        told["done"].as_array().unwrap().iter().map(|one| one["did"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(did(&line), ["unchanged"; 5]);
    let text = std::fs::read_to_string(&profile).unwrap();
    assert!(text.starts_with("$mine = 1\n") && text.matches(">>> secretbridge").count() == 1, "{text}");
    // What is not as it should be is mended, and nothing else is touched.
    std::fs::write(home.join(INSTALLED[1]), "torn").unwrap();
    std::fs::remove_file(home.join(INSTALLED[7])).unwrap();
    assert_eq!(did(&line), ["updated", "unchanged", "unchanged", "installed", "unchanged"]);
    let bash = format!(". '{}' && complete -p secretbridge", home.join(INSTALLED[5]).display());
    assert!(Command::new("bash").args(["-c", &bash]).output().unwrap().status.success());
    let told = line.ok(&["module", "uninstall"], b"");
    assert_eq!(told.lines().filter(|line| line.starts_with("removed\t")).count(), 5, "{told}");
    assert_eq!(std::fs::read_to_string(&profile).unwrap(), "$mine = 1\n");
    assert_eq!(crate::support::files_below(&home), [profile]);
    let again = line.run(&["module", "uninstall"], b"");
    assert!(again.status.success() && self::text(&again.stderr).contains("nothing is installed there"));
}

/// In a /usr/local of its own, which only an administrator can make here.
#[test]
fn an_install_for_all_users_can_be_read_by_all_and_done_by_an_administrator_alone() {
    let folder = tempfile::tempdir().unwrap();
    let line = Line::alone(folder.path());
    let mounts =
        Command::new("unshare").args(["--mount", "mount", "-t", "tmpfs", "none", "/usr/local"]).output();
    if !mounts.is_ok_and(|output| output.status.success()) {
        eprintln!("NOT RUN (nothing can be mounted here): module install --system");
        return;
    }
    // A program where everybody can run it, and an administrator whose new files are closed.
    let script = "set -e; mount -t tmpfs -o mode=755 none /usr/local; mkdir -m 755 /usr/local/bin; install -m 755 \"$PROGRAM\" /usr/local/bin/sb
        umask 077; as_nobody() { setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\"; }
        sb=/usr/local/bin/sb
        as_nobody $sb module install --system && exit 9 || echo \"nobody ended with $?\"
        $sb module install --system
        as_nobody find /usr/local/share -type f -exec head -c1 {} + > /dev/null
        as_nobody cat /usr/local/share/powershell/Modules/SecretBridge/0.1.0/SecretBridge.psd1 > /dev/null
        as_nobody cat /usr/local/share/zsh/site-functions/_secretbridge > /dev/null
        as_nobody $sb module uninstall --system && exit 9 || echo \"nobody ended with $?\"
        $sb module uninstall --system; find /usr/local/share -type f";
    let command = line.env("PROGRAM", PROGRAM).command(&[]);
    let mut shell = Command::new("unshare");
    shell.args(["--mount", "sh", "-c", script]).env_clear();
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = shell.output().unwrap();
    let (told, said) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{told}\n{said}");
    assert_eq!(told.matches("nobody ended with 1").count(), 2, "{told}");
    let count = |did: &str| told.lines().filter(|line| line.starts_with(did)).count();
    assert_eq!((count("installed\t"), count("removed\t")), (4, 4), "{told}");
    assert!(!told.lines().any(|line| line.starts_with('/')), "nothing is left: {told}");
    assert_eq!(said.matches("run it as an administrator, or leave --system out").count(), 2, "{said}");
    assert!(said.contains("$PROFILE.AllUsersAllHosts"), "{said}");
}

#[test]
fn a_folder_that_is_named_gets_the_module_alone() {
    let folder = tempfile::tempdir().unwrap();
    let line = Line::alone(folder.path());
    let told = line.json(&["module", "install", "--path", "modules", "--json"]);
    assert_eq!(told["done"].as_array().unwrap().len(), 1, "{told}");
    let place = told["done"][0]["path"].as_str().unwrap();
    assert!(Path::new(place).is_absolute() && Path::new(place).join("SecretBridge.psd1").is_file(), "{told}");
    assert!(crate::support::files_below(&folder.path().join("home")).is_empty());
    line.fails(64, &["module", "install", "--path", "modules", "--system"], b"");
    line.ok(&["module", "uninstall", "--path", "modules"], b"");
    assert!(crate::support::files_below(&folder.path().join("modules")).is_empty());
}

#[test]
fn powershell_finds_the_installed_module_by_its_name_and_completes_the_command_line() {
    let pwsh = crate::need_pwsh!();
    let server = server();
    let line = Line::beside(&server);
    line.ok(&["set", "local/db"], b"one");
    line.ok(&["module", "install"], b"");
    let token = server.home().join(".local/share/secretbridge/token");
    let script = format!(
        "$ErrorActionPreference = 'Stop'
        . $PROFILE.CurrentUserAllHosts
        $line = 'secretbridge modu'
        (TabExpansion2 -inputScript $line -cursorColumn $line.Length).CompletionMatches.CompletionText
        Register-SecretVault -Name local -ModuleName SecretBridge -VaultParameters @{{ Uri = 'http://{}'; TokenFile = '{}' }}
        Get-Secret -Vault local -Name db -AsPlainText
        (Get-Module -ListAvailable -Name SecretBridge).Version.ToString()",
        server.address,
        token.display()
    );
    let told = pwsh.output_of(&script, server.home());
    assert_eq!(told.lines().map(str::trim).collect::<Vec<_>>(), ["module", "one", "0.1.0"], "{told}");
}

/// What a script needs to find the installed module and the server.
fn prepared(server: &Server, pwsh: &crate::support::pwsh::Pwsh, script: &str) -> String {
    let line = Line::beside(server);
    let told = line.json(&["module", "install", "--path", "modules", "--json"]);
    let folder = told["done"][0]["path"].as_str().unwrap().to_owned();
    let token = server.home().join(".local/share/secretbridge/token");
    let socket = server
        .addresses()
        .into_iter()
        .find_map(|address| Some(address.strip_prefix("http+unix:")?.to_owned()));
    let home = tempfile::tempdir().unwrap();
    let before = format!(
        "$env:SECRETBRIDGE_MODULE = '{folder}'\n$env:SECRETBRIDGE_ADDR = 'http://{}'\n$env:SECRETBRIDGE_TOKEN_FILE = '{}'\n$env:SECRETBRIDGE_SOCKET = '{}'\n",
        server.address,
        token.display(),
        socket.unwrap_or_default(),
    );
    pwsh.output_of(&(before + script), home.path())
}

fn script_of(name: &str) -> String {
    let script = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/pwsh").join(name);
    format!("& '{}'", script.display())
}

#[test]
fn secret_management_s_own_commands_work_through_the_module() {
    let pwsh = crate::need_pwsh!();
    let server = server();
    let out = prepared(&server, pwsh, &script_of("module.ps1"));
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

/// The same over a SecretStore, which loses such writes when processes use it by themselves; and a password that a
/// caller gives unlocks it for all.
#[test]
fn a_store_behind_the_server_is_unlocked_and_written_through_the_module() {
    let pwsh = crate::need_pwsh!();
    let toml = "listen = \"127.0.0.1:0\"\n[vaults.store]\nmodule = \"Microsoft.PowerShell.SecretStore\"\n\
                unlock = { env = \"STORE_PASSWORD\" }\nexpose = true\n[pool]\nmin = 2\nmax = 2\n";
    let server = Builder::new().config(toml).pwsh(pwsh).env("STORE_PASSWORD", "right-canary").start();
    let line = Line::beside(&server);
    line.ok(&["set", "store/before"], b"kept");
    line.ok(&["lock", "store"], b"");
    let out = prepared(&server, pwsh, &script_of("module-locked.ps1"));
    assert!(out.contains("module: a locked vault holds"), "{out}");
    let script = "Import-Module Microsoft.PowerShell.SecretManagement
        $with = @{ Uri = $env:SECRETBRIDGE_ADDR; TokenFile = $env:SECRETBRIDGE_TOKEN_FILE }
        Register-SecretVault -Name store -ModuleName (Join-Path $env:SECRETBRIDGE_MODULE 'SecretBridge.psd1') -VaultParameters $with
        1..5 | ForEach-Object { Set-Secret -Vault store -Name \"NUMBER-$_\" -Secret \"v$_\" -Metadata @{ By = 'NUMBER' } }";
    std::thread::scope(|scope| {
        for number in 0..3 {
            let (server, script) = (&server, script.replace("NUMBER", &format!("p{number}")));
            scope.spawn(move || prepared(server, pwsh, &script));
        }
    });
    let listed = line.json(&["list", "store", "--json"]);
    assert_eq!(listed.as_array().unwrap().len(), 17, "{listed}");
    server.assert_never_wrote(&["right-canary", "wrong-canary"]);
}

/// A server of ours whose vault is this module, in front of another server of ours.
#[test]
fn a_server_hosts_the_module_as_a_vault_in_front_of_another_server() {
    let pwsh = crate::need_pwsh!();
    let far = server();
    let near_by = Builder::new();
    let folder = near_by.folder().to_owned();
    let installer = Line::alone(&folder.join("installer"));
    installer.ok(&["module", "install", "--path", folder.join("modules").to_str().unwrap()], b"");
    let toml = format!(
        "listen = \"127.0.0.1:0\"\n[pwsh]\nmodule_path = [\"modules\"]\n[pool]\nmin = 2\nmax = 2\n\
         [vaults.far]\nmodule = \"SecretBridge\"\nexpose = true\nparallel = true\n\
         parameters = {{ Uri = \"http://{}\", TokenFile = \"{}\", Vault = \"local\" }}\n",
        far.address,
        far.home().join(".local/share/secretbridge/token").display()
    );
    let near = near_by.config(&toml).pwsh(pwsh).start();
    let (here, there) = (Line::beside(&near), Line::beside(&far));
    here.ok(&["set", "far/text", "-m", "Owner=dba", "-m", "n:=5"], "one \u{2602}".as_bytes());
    here.ok(&["set", "far/secure", "-t", "securestring"], b"two");
    here.ok(&["set", "far/bytes", "-t", "bytes"], &[0, 255, 10]);
    here.ok(&["set", "far/login", "-t", "credential", "--user", "dom\\sa"], b"pw");
    here.ok(
        &["set", "far/table", "-t", "hashtable"],
        br#"{"u":"v","b":{"Type":"ByteArray","Value":"AQ=="}}"#,
    );
    for name in ["text", "secure", "bytes", "login", "table"] {
        let read = [(&here, "far"), (&there, "local")].map(|(line, vault)| {
            let name = format!("{vault}/{name}");
            let mut info = line.json(&["info", &name, "--json"]);
            info["Vault"].take();
            // A SecureString is read as text; its list says what it is.
            (line.json(&["get", &name, "--json"])["Value"].clone(), info)
        });
        assert_eq!(read[0], read[1], "{name}");
    }
    there.ok(&["rm", "local/text"], b"");
    here.fails(66, &["get", "far/text"], b"");
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let here = &here;
            scope.spawn(move || {
                for key in 0..5 {
                    here.ok(&["set", &format!("far/w{writer}-{key}")], b"v");
                }
            });
        }
    });
    assert_eq!(there.json(&["list", "local/w*", "--json"]).as_array().unwrap().len(), 20);
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
