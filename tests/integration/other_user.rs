//! Workers that run as another user: what they serve, and what is closed to them.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use rustix::process::{Signal, geteuid};

use crate::need_pwsh;
use crate::support::http::Client;
use crate::support::process::{Process, children};
use crate::support::pwsh::{Pwsh, say};
use crate::support::server::Builder;
use crate::support::{SOON, free_port, wait_until};

const CANARY: &str = "canary-0815-canary";
const USER: &str = "nobody";

/// The number of [`USER`], where workers can run as that user: only root starts them, and the user needs a way to pwsh.
fn number(pwsh: &Pwsh, test: &str) -> Option<u32> {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let line = users.lines().find(|line| line.split(':').next() == Some(USER));
    let number = line.and_then(|line| line.split(':').nth(2)?.parse().ok());
    let reaches = |number: u32| {
        let mut command = Command::new(&pwsh.program);
        command.arg("-Version").uid(number).gid(number).env("HOME", "/tmp").current_dir("/");
        command.output().is_ok_and(|output| output.status.success())
    };
    let found = number.filter(|number| geteuid().is_root() && reaches(*number));
    if found.is_none() {
        say(&format!("SKIPPED (not root, or {USER} cannot run pwsh): {test}"));
    }
    found
}

/// A home that is the user's.
fn home_of(user: u32) -> tempfile::TempDir {
    let home = tempfile::tempdir().expect("a temporary folder");
    chown(home.path(), Some(user), Some(user)).expect("root may");
    home
}

fn owner(path: impl AsRef<Path>) -> u32 {
    fs::metadata(path.as_ref()).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display())).uid()
}

#[test]
fn workers_of_another_user_serve_that_users_store_and_cannot_reach_what_the_server_has() {
    let pwsh = need_pwsh!();
    let Some(user) = number(pwsh, "workers of another user, with a store") else { return };
    let home = home_of(user);
    let builder = Builder::new().pwsh(pwsh);
    let password = builder.file("password", CANARY);
    // What a module of the user's could do as well.
    let look = format!(
        "$seen = try {{ [IO.File]::ReadAllText('{}') }} catch {{ $_.Exception.InnerException.GetType().Name }}; \
         [IO.File]::WriteAllText([IO.Path]::Combine($HOME, 'seen'), \"$seen $([Environment]::UserName) $env:HOME\")",
        password.display()
    );
    let config = format!(
        "listen = \"127.0.0.1:0\"\nauth.open = true\npool = {{ min = 2, max = 2 }}\n[pwsh]\nuser = \"{USER}\"\nhome = {:?}\ninit = [{look:?}]\n\
         [vaults.store]\nmodule = \"Microsoft.PowerShell.SecretStore\"\nunlock = {{ file = \"password\" }}\nexpose = true\n\
         parameters = {{ Authentication = \"Password\" }}\n",
        home.path().display().to_string()
    );
    let mut server = builder.config(&config).start();
    let set = |key: &str| server.put(&format!("/vaults/store/secrets/{key}"), "text/plain", "v");
    let answer = set("k");
    assert!(matches!(answer.status, 200 | 201 | 204), "{} {}", answer.status, answer.text());
    assert_eq!(server.get("/vaults/store/secrets/k").text(), r#"{"Name":"k","Type":"String","Value":"v"}"#);

    let workers = children(server.pid());
    assert_eq!(workers.len(), 2);
    for worker in &workers {
        let status = fs::read_to_string(format!("/proc/{worker}/status")).unwrap();
        assert!(status.contains(&format!("Uid:\t{user}\t{user}\t{user}\t{user}")), "{status}");
        assert!(status.contains("CapEff:\t0000000000000000"), "{status}");
        // The kernel gives the memory of a process that is not dumpable to root.
        assert_eq!(owner(format!("/proc/{worker}/mem")), 0, "its memory is closed to its own user");
        let limits = fs::read_to_string(format!("/proc/{worker}/limits")).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert_eq!(core.split_ascii_whitespace().nth(4), Some("0"), "{core}");
    }
    let seen = fs::read_to_string(home.path().join("seen")).unwrap();
    let expected = format!("UnauthorizedAccessException {USER} {}", home.path().display());
    assert_eq!(seen, expected, "{}", server.stderr());
    let store = home.path().join(".secretmanagement/localstore");
    let files: Vec<_> = fs::read_dir(&store).unwrap().flatten().map(|entry| entry.path()).collect();
    assert!(!files.is_empty() && files.iter().all(|file| owner(file) == user), "{files:?}");
    assert!(!server.home().join(".secretmanagement").exists(), "the server's own user has no store");

    // The folder of the workers: theirs to read, ours to change, and each registry its worker's alone.
    let maps = fs::read_to_string(format!("/proc/{}/maps", workers[0])).unwrap();
    let assembly = maps
        .lines()
        .find_map(|line| line.split_once('/').filter(|(_, path)| path.ends_with("SecretBridge.dll")));
    let folder = assembly.map(|(_, path)| Path::new("/").join(path)).expect("it is mapped");
    let folder = folder.parent().unwrap();
    let look = |path: &Path| {
        let about = fs::metadata(path).unwrap();
        (about.uid(), about.permissions().mode() & 0o777)
    };
    assert_eq!(look(folder), (0, 0o750));
    assert_eq!(look(&folder.join("worker.ps1")), (0, 0o640));
    let registries = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    let registries: Vec<_> = registries.filter(|path| path.to_string_lossy().contains("registry-")).collect();
    assert_eq!(registries.len(), 2, "{registries:?}");
    registries.iter().for_each(|path| assert_eq!(look(path), (user, 0o700)));

    // A worker that ends is replaced; a reload makes all anew; nothing is left behind at the end.
    let pid = rustix::process::Pid::from_raw(workers[0] as i32).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
    wait_until("it is replaced", SOON * 3, || {
        children(server.pid()).iter().filter(|pid| **pid != workers[0]).count() == 2
    });
    server.signal(Signal::HUP);
    wait_until("the reload is done", SOON * 3, || server.stderr().contains("the reload is done"));
    assert_eq!(server.get("/vaults/store/secrets/k").status, 200, "{}", server.stderr());
    let changed = config.replace(USER, "daemon");
    fs::write(server.folder().join("secretbridge.toml"), changed).unwrap();
    wait_until("another user is refused by name", SOON, || {
        server.stderr().contains("needs a restart: pwsh.user")
    });
    assert!(server.stop(SOON).success());
    assert!(!folder.exists(), "{} is left", folder.display());
    server.assert_never_wrote(&[CANARY]);
}

const SCRIPT: &str = r#"
Start-PodeServer {
    Add-PodeEndpoint -Address localhost -Port PORT -Protocol Http
    Add-PodeRoute -Method Get -Path '/who' -ScriptBlock {
        Write-PodeTextResponse -Value "$([Environment]::UserName) $env:HOME"
    }
}
"#;

#[test]
fn a_script_runs_in_workers_of_another_user() {
    let pwsh = need_pwsh!();
    let Some(user) = number(pwsh, "a script in workers of another user") else { return };
    let (home, port) = (home_of(user), free_port());
    let script = home.path().join("server.ps1");
    fs::write(&script, SCRIPT.replace("PORT", &port.to_string())).unwrap();
    chown(&script, Some(user), Some(user)).unwrap();
    let run = |as_user: bool| {
        let builder = Builder::new().pwsh(pwsh).arg("run");
        let other = ["--worker-user", USER, "--worker-home", home.path().to_str().unwrap()];
        builder.args(other.into_iter().filter(|_| as_user)).arg(&script)
    };
    let refused = run(false).run(SOON * 3);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("belongs to another user"), "{said}");
    let _server = run(true).start();
    let answer = Client::new(([127, 0, 0, 1], port).into()).get("/who");
    assert_eq!(answer.text(), format!("{USER} {}", home.path().display()));
}

#[test]
fn a_user_that_workers_cannot_run_as_ends_the_start_with_what_to_do() {
    let builder = Builder::new();
    let folder = builder.folder().to_owned();
    let mut command = Command::new(env!("CARGO_BIN_EXE_secretbridge"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--no-socket", "--worker-user"]).env_clear();
    command.env("HOME", folder.join("home"));
    let expected = if geteuid().is_root() {
        command.arg("no-such-user");
        "no such user on this machine"
    } else {
        command.arg(USER);
        "only root may start programs as another user"
    };
    let output = Process::run(command, SOON);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(said.contains(expected) && said.contains("hint: "), "{said}");
    if geteuid().is_root() {
        let builder = Builder::new();
        let folder = builder.folder().to_owned();
        give(&folder, 12_345);
        let mut command = Command::new(env!("CARGO_BIN_EXE_secretbridge"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--no-socket", "--worker-user", USER]);
        command.env_clear().env("HOME", folder.join("home")).uid(12_345).gid(12_345);
        let output = Process::run(command, SOON);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("only root may start programs as another user"), "{said}");
        assert!(said.contains("CAP_SETUID"), "{said}");
    }
}

fn give(folder: &Path, user: u32) {
    chown(folder, Some(user), Some(user)).unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        chown(entry.unwrap().path(), Some(user), Some(user)).unwrap();
    }
}
