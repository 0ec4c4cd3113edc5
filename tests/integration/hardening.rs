//! What another program of the same user, and code in a worker, cannot get at.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use crate::need_pwsh;
use crate::support::process::{Process, children};
use crate::support::server::Builder;
use crate::support::stand_in::StandIn;
use crate::support::{SOON, wait_until};

const CANARY: &str = "canary-4711-canary";

fn config() -> &'static str {
    r#"
    listen = "127.0.0.1:0"
    auth = { token_env = "BRIDGE_TOKEN" }
    [vaults.store]
    module = "Microsoft.PowerShell.SecretStore"
    unlock = { env = "STORE_PASSWORD" }
    expose = true
    "#
}

#[test]
fn passwords_and_tokens_are_not_in_the_environment_that_the_system_shows() {
    let stand_in = StandIn::scenario("ok");
    let builder = Builder::new().stand_in(&stand_in).config(config());
    let server = builder.env("STORE_PASSWORD", CANARY).env("BRIDGE_TOKEN", format!("{CANARY}-token")).start();
    for pid in std::iter::once(server.pid()).chain(children(server.pid())) {
        let shown = fs::read(format!("/proc/{pid}/environ")).unwrap();
        let shown = String::from_utf8_lossy(&shown);
        assert!(!shown.contains(CANARY), "process {pid} shows it");
        assert!(shown.contains("HOME="), "the rest of the environment is there");
    }
}

#[test]
fn a_crash_of_the_server_or_of_a_worker_leaves_no_core_file() {
    let stand_in = StandIn::scenario("ok");
    let builder = Builder::new().stand_in(&stand_in).config(config());
    let server = builder.env("STORE_PASSWORD", CANARY).env("BRIDGE_TOKEN", format!("{CANARY}-token")).start();
    for pid in std::iter::once(server.pid()).chain(children(server.pid())) {
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert_eq!(core.split_ascii_whitespace().nth(4), Some("0"), "{core}");
    }
}

/// The kernel gives the files of a process that is not dumpable to root, so that its own user cannot read
/// its memory.
#[test]
fn the_memory_of_the_server_is_closed_to_its_own_user() {
    let builder = Builder::new().arg("serve").arg("--listen").arg("127.0.0.1:0");
    let folder = builder.folder().to_owned();
    let user = 12_345;
    let mut command = Command::new(env!("CARGO_BIN_EXE_secretbridge"));
    command.args(["serve", "--listen", "127.0.0.1:0"]).env_clear().env("HOME", folder.join("home"));
    if rustix::process::geteuid().is_root() {
        give(&folder, user);
        command.uid(user).gid(user);
    }
    let process = Process::start(command);
    wait_until("it listens", SOON, || process.stderr.text().contains("listening on"));
    assert_eq!(fs::metadata(format!("/proc/{}/mem", process.pid())).unwrap().uid(), 0);
}

/// The same of a worker, which has to see to it itself, once it runs.
#[test]
fn the_memory_of_a_worker_is_closed_to_its_own_user() {
    let pwsh = need_pwsh!();
    let config = "listen = \"127.0.0.1:0\"\nauth.open = true\npool = { min = 1, max = 1 }\n[vaults.store]\nmodule = \"Microsoft.PowerShell.SecretStore\"\nparameters = { Authentication = \"None\" }\nexpose = true\n";
    let server = Builder::new().pwsh(pwsh).env("DOTNET_DbgEnableMiniDump", "1").config(config).start();
    let workers = children(server.pid());
    assert!(!workers.is_empty());
    for worker in workers {
        let environment = fs::read(format!("/proc/{worker}/environ")).unwrap();
        let environment = String::from_utf8_lossy(&environment);
        for off in ["DOTNET_DbgEnableMiniDump=0", "DOTNET_EnableDiagnostics=0"] {
            assert!(environment.split('\0').any(|variable| variable == off), "{off}");
        }
        let limits = fs::read_to_string(format!("/proc/{worker}/limits")).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert_eq!(core.split_ascii_whitespace().nth(4), Some("0"), "{core}");
        // For root the owner of the files tells nothing; that a program without root's rights is kept out does.
        assert!(!can_read_memory_without_rights(worker), "its memory can be read");
        assert!(can_read_memory_without_rights(std::process::id()), "one that is dumpable can");
    }
}

/// Whether our user, without any capability, may look into a process.
fn can_read_memory_without_rights(pid: u32) -> bool {
    use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
    // Capabilities are a thread's own.
    let look = move || {
        let none = CapabilitySet::empty();
        let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
        set_capabilities(None, none).unwrap();
        fs::File::open(format!("/proc/{pid}/environ")).is_ok()
    };
    std::thread::spawn(look).join().unwrap()
}

fn give(folder: &Path, user: u32) {
    std::os::unix::fs::chown(folder, Some(user), Some(user)).unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        std::os::unix::fs::chown(entry.unwrap().path(), Some(user), Some(user)).unwrap();
    }
}

/// Through `/proc/self/fd` a pipe can be opened once more, and then read along. The stand-in keeps the
/// channel on its standard streams; the worker script moves it, and leaves others there.
#[test]
fn code_in_a_worker_cannot_open_the_channel_again() {
    let stand_in = StandIn::scenario("ok");
    let builder = Builder::new().stand_in(&stand_in).config(config());
    let server = builder.env("STORE_PASSWORD", CANARY).env("BRIDGE_TOKEN", format!("{CANARY}-token")).start();
    let workers = children(server.pid());
    assert!(!workers.is_empty());
    for (pid, stream) in workers.iter().flat_map(|pid| [(pid, 0), (pid, 1)]) {
        let place = format!("/proc/{pid}/fd/{stream}");
        for options in [fs::File::options().read(true), fs::File::options().write(true)] {
            let error = options.open(&place).expect_err("it opened");
            let no_such_device = rustix::io::Errno::NXIO.raw_os_error();
            assert_eq!(error.raw_os_error(), Some(no_such_device), "{place}: {error}");
        }
    }
}
