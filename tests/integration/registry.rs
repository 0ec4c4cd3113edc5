//! The user's own vault registry, where the plan has vaults registered there too: other shells see them while the
//! server runs, and afterwards nothing is left and nothing of the user's is lost.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::process::Signal;

use crate::need_pwsh;
use crate::support::pwsh::Pwsh;
use crate::support::server::{Builder, Server};
use crate::support::{SOON, fixture, free_port, wait_until};

/// What another shell of the user has registered: `name=module` with a `*` at the default vault.
fn seen(pwsh: &Pwsh, home: &Path) -> String {
    let script = "(Get-SecretVault | Sort-Object -Property Name | ForEach-Object {
        \"$($_.Name)=$($_.ModuleName)$(if ($_.IsDefault) { '*' })\" }) -join ' '";
    pwsh.output_of(script, home)
}

fn folder_of(name: &str) -> String {
    fixture(&format!("vaults/{name}")).display().to_string()
}

/// A script with one vault, that registers and takes out another when it is asked to.
fn script(pwsh: &Pwsh, home: &Path, flags: &[&str]) -> Builder {
    let text = format!(
        "Start-PodeServer {{
            Add-PodeEndpoint -Address localhost -Port {port} -Protocol Http
            Register-PodeSecretVault -Name First -VaultName Shown -ModuleName '{module}' -VaultParameters @{{ Folder = '{home}/first'; Log = '{home}/log' }}
            Set-PodeSecret -Vault First -Key k -InputObject 'by the server'
            Add-PodeRoute -Method Post -Path /more -ScriptBlock {{
                Register-PodeSecretVault -Name More -ModuleName '{module}' -VaultParameters @{{ Folder = '{home}/more' }}
            }}
            Add-PodeRoute -Method Delete -Path /more -ScriptBlock {{ Unregister-PodeSecretVault -Name More }}
        }}",
        port = free_port(),
        module = folder_of("TestVault"),
        home = home.display(),
    );
    let builder = Builder::new().pwsh(pwsh).home(home);
    let path = builder.file("server.ps1", text);
    builder.arg("run").args(flags).arg(path)
}

/// `serve` with vaults of these names in the user's registry.
fn plan(home: &Path, names: &[&str]) -> String {
    let vault = |name: &&str| {
        let folder = home.join(name);
        format!(
            "[vaults.{name}]\nmodule = \"{}\"\nexpose = true\nparameters = {{ Folder = \"{}\" }}\n",
            folder_of("TestVault"),
            folder.display()
        )
    };
    format!(
        "registry = \"user\"\nlisten = \"127.0.0.1:0\"\nauth.open = true\npool = {{ min = 1, max = 1 }}\n{}",
        names.iter().map(vault).collect::<String>()
    )
}

fn serve(pwsh: &Pwsh, home: &Path, names: &[&str]) -> Builder {
    Builder::new().config(&plan(home, names)).pwsh(pwsh).home(home)
}

fn kill(server: &mut Server) {
    server.signal(Signal::KILL);
    server.wait_exit(SOON);
}

/// What is there beside the registry: notes of servers.
fn notes(home: &Path) -> usize {
    let Ok(entries) = fs::read_dir(home.join(".secretmanagement/secretbridge")) else { return 0 };
    entries.flatten().filter(|entry| entry.path().extension().is_some_and(|it| it == "json")).count()
}

#[test]
fn another_shell_sees_a_scripts_vaults_while_the_server_runs_and_not_afterwards() {
    let pwsh = need_pwsh!();
    let home = tempfile::tempdir().unwrap();
    let mine = format!(
        "Register-SecretVault -Name Mine -ModuleName '{}' -VaultParameters @{{ Path = 'x' }}",
        folder_of("Bare")
    );
    pwsh.output_of(&mine, home.path());
    let before = seen(pwsh, home.path());
    assert_eq!(before, "Mine=Bare*");
    let mut server = script(pwsh, home.path(), &["--register-for-user"]).start();
    assert_eq!(seen(pwsh, home.path()), "Mine=Bare* Shown=TestVault");
    let read = "Get-Secret -Vault Shown -Name k -AsPlainText";
    assert_eq!(pwsh.output_of(read, home.path()), "by the server");
    assert_eq!(server.post("/more", "text/plain", "").status, 200, "{}", server.stderr());
    assert_eq!(seen(pwsh, home.path()), "Mine=Bare* More=TestVault Shown=TestVault");
    assert_eq!(server.delete("/more").status, 200);
    assert_eq!(seen(pwsh, home.path()), "Mine=Bare* Shown=TestVault");
    assert!(server.stop(SOON).success());
    assert_eq!(seen(pwsh, home.path()), before, "{}", server.stderr());
    assert_eq!(notes(home.path()), 0);
    let log = fs::read_to_string(home.path().join("log")).unwrap();
    assert_eq!(
        log.lines().filter(|line| line.starts_with("unregister")).count(),
        1,
        "the module's goodbye is said once: {log}"
    );
}

#[test]
fn nothing_is_written_where_nobody_asks() {
    let pwsh = need_pwsh!();
    let home = tempfile::tempdir().unwrap();
    let mut server = script(pwsh, home.path(), &[]).start();
    assert!(!home.path().join(".secretmanagement").exists());
    assert!(server.stop(SOON).success());
    assert!(!home.path().join(".secretmanagement").exists());
}

#[test]
fn what_a_killed_server_left_the_next_start_takes_out_and_nothing_else() {
    let pwsh = need_pwsh!();
    let home = tempfile::tempdir().unwrap();
    let mut server = serve(pwsh, home.path(), &["kept", "changed", "gone"]).start();
    assert_eq!(seen(pwsh, home.path()), "changed=TestVault gone=TestVault kept=TestVault*");
    kill(&mut server);
    let meanwhile = format!(
        "Unregister-SecretVault -Name gone
         Register-SecretVault -Name changed -AllowClobber -ModuleName '{}' -VaultParameters @{{ Folder = '/elsewhere' }}
         Register-SecretVault -Name mine -ModuleName '{}'",
        folder_of("TestVault"),
        folder_of("Bare"),
    );
    pwsh.output_of(&meanwhile, home.path());
    // Without a word about the registry.
    let private = plan(home.path(), &["other"]).replace("registry = \"user\"\n", "");
    let mut next = Builder::new().config(&private).pwsh(pwsh).home(home.path()).start();
    assert_eq!(seen(pwsh, home.path()), "changed=TestVault mine=Bare", "{}", next.stderr());
    assert!(next.stderr().contains("changed"), "what stays is told: {}", next.stderr());
    assert_eq!(notes(home.path()), 0);
    assert!(next.stop(SOON).success());
    assert_eq!(seen(pwsh, home.path()), "changed=TestVault mine=Bare");
}

#[test]
fn a_scripts_server_that_was_killed_can_start_again() {
    let pwsh = need_pwsh!();
    let home = tempfile::tempdir().unwrap();
    let mut first = script(pwsh, home.path(), &["--register-for-user"]).start();
    kill(&mut first);
    assert_eq!(seen(pwsh, home.path()), "Shown=TestVault*");
    let mut second = script(pwsh, home.path(), &["--register-for-user"]).start();
    assert_eq!(seen(pwsh, home.path()), "Shown=TestVault*");
    assert!(second.stop(SOON).success());
    assert_eq!(seen(pwsh, home.path()), "");
}

/// What a killed server left is taken out by a pwsh, before the script is read.
#[test]
fn a_signal_to_stop_is_heeded_while_run_takes_out_what_a_killed_server_left() {
    let pwsh = need_pwsh!();
    let home = tempfile::tempdir().unwrap();
    let mut killed = script(pwsh, home.path(), &["--register-for-user"]).start();
    kill(&mut killed);
    let (hanging, reached) = (home.path().join("hanging-pwsh"), home.path().join("reached"));
    fs::write(&hanging, format!("#!/bin/sh\n: >'{}'\nexec sleep 600\n", reached.display())).unwrap();
    fs::set_permissions(&hanging, fs::Permissions::from_mode(0o755)).unwrap();
    let (mut process, _folder) = script(pwsh, home.path(), &[]).env("SECRETBRIDGE_PWSH", &hanging).launch();
    wait_until("the pwsh that takes it out runs", SOON, || reached.exists());
    process.signal(Signal::TERM);
    let status = process.wait_exit(SOON);
    assert!(status.success(), "{status}: {}", process.stderr.text());
    assert_eq!(seen(pwsh, home.path()), "Shown=TestVault*", "the next start takes it out");
}

#[test]
fn a_vault_of_the_user_is_never_replaced_and_one_that_is_the_same_stays_the_users() {
    let pwsh = need_pwsh!();
    let home = tempfile::tempdir().unwrap();
    let mine = format!(
        "Register-SecretVault -Name taken -ModuleName '{}'
         Register-SecretVault -Name same -ModuleName '{}' -VaultParameters @{{ Folder = '{}' }}",
        folder_of("Bare"),
        folder_of("TestVault"),
        home.path().join("same").display(),
    );
    pwsh.output_of(&mine, home.path());
    let before = seen(pwsh, home.path());
    // In another case: SecretManagement would delete a registry with two such names.
    let output = serve(pwsh, home.path(), &["other", "TAKEN"]).run(SOON);
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && words.contains("'TAKEN'") && words.contains("Bare"), "{words}");
    assert_eq!(seen(pwsh, home.path()), before, "what was put in before is out again");
    let mut server = serve(pwsh, home.path(), &["other", "same"]).start();
    assert_eq!(seen(pwsh, home.path()), "other=TestVault same=TestVault taken=Bare*");
    assert!(server.stop(SOON).success());
    assert_eq!(seen(pwsh, home.path()), before);
}

#[test]
fn a_registry_that_cannot_be_read_is_left_as_it_is() {
    let pwsh = need_pwsh!();
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join(".secretmanagement/secretvaultregistry/vaultinfo");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "{\"Vaults\": {").unwrap();
    let output = serve(pwsh, home.path(), &["v"]).run(SOON);
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && words.contains("vaultinfo"), "{words}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "{\"Vaults\": {");
}

#[test]
fn a_reload_puts_in_what_is_new_and_takes_out_what_is_gone() {
    let pwsh = need_pwsh!();
    let home = tempfile::tempdir().unwrap();
    let mut server = serve(pwsh, home.path(), &["one", "two"]).start();
    assert_eq!(seen(pwsh, home.path()), "one=TestVault* two=TestVault");
    let reload = |text: &str, said: &str| {
        let file = server.folder().join("secretbridge.toml");
        let before = server.stderr().matches(said).count();
        fs::write(&file, text).unwrap();
        server.signal(Signal::HUP);
        wait_until(said, SOON, || server.stderr().matches(said).count() > before);
    };
    let next =
        plan(home.path(), &["two", "three"]).replace(&format!("{}/two", home.path().display()), "/elsewhere");
    reload(&next, "configuration is in force");
    let with_folder = "(Get-SecretVault | Sort-Object -Property Name | ForEach-Object { \"$($_.Name)=$($_.VaultParameters.Folder)\" }) -join ' '";
    let now = format!("three={}/three two=/elsewhere", home.path().display());
    assert_eq!(pwsh.output_of(with_folder, home.path()), now, "{}", server.stderr());
    // One that the user has by now is no reason to give up what is served, nor to be touched.
    pwsh.output_of(
        &format!("Register-SecretVault -Name mine -ModuleName '{}'", folder_of("Bare")),
        home.path(),
    );
    reload(&plan(home.path(), &["two", "mine"]), "the old one stays in force");
    assert_eq!(seen(pwsh, home.path()).replace('*', ""), "mine=Bare three=TestVault two=TestVault");
    reload(&plan(home.path(), &["two"]).replace("registry = \"user\"\n", ""), "configuration is in force");
    assert_eq!(seen(pwsh, home.path()), "mine=Bare");
    assert!(server.stop(SOON).success());
    assert_eq!(seen(pwsh, home.path()), "mine=Bare");
}

#[test]
fn servers_that_start_and_stop_together_lose_nothing_and_share_a_vault_until_the_last_is_gone() {
    let pwsh = need_pwsh!();
    let home = tempfile::tempdir().unwrap();
    let start = |own: &'static str| {
        let home = home.path().to_owned();
        std::thread::spawn(move || serve(pwsh, &home, &["shared", own]).start())
    };
    let mut servers: Vec<Server> =
        ["a", "b", "c"].map(start).into_iter().map(|it| it.join().unwrap()).collect();
    let names = || seen(pwsh, home.path()).replace("=TestVault", "").replace('*', "");
    assert_eq!(names(), "a b c shared");
    assert!(servers[0].stop(SOON).success());
    assert_eq!(names(), "b c shared");
    kill(&mut servers[1]);
    assert!(servers[2].stop(SOON).success());
    assert_eq!(
        names(),
        "",
        "the last one to go takes out what the killed one had left: {}",
        servers[2].stderr()
    );
}
