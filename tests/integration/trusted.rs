//! Files that decide, and files that hold a secret: whoever else may change or read one, or owns it, ends the start with
//! the command that mends it; all kinds alike.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::need_pwsh;
use crate::support::pwsh::Pwsh;
use crate::support::server::Builder;
use crate::support::stand_in::StandIn;
use crate::support::{SOON, free_port, wait_until};

const TOKEN: &str = "owner-0123456789abcdef";

/// A file or folder that a start reads.
struct Kind {
    name: &'static str,
    path: PathBuf,
    args: Vec<OsString>,
    /// Nobody else may read it either.
    is_secret: bool,
    /// None: no pwsh. Some(None): stand-ins.
    workers: Option<Option<&'static Pwsh>>,
}

fn write(path: &Path, content: &str) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// What a start says until it serves or ends, and how it ended if it did.
fn told(kind: &Kind, stand_in: &StandIn) -> (Option<i32>, String) {
    let mut builder = Builder::new().args(&kind.args);
    match kind.workers {
        None => {}
        Some(None) => builder = builder.stand_in(stand_in),
        Some(Some(pwsh)) => builder = builder.pwsh(pwsh),
    }
    let (mut process, _folder) = builder.launch();
    let mut status = None;
    wait_until(kind.name, SOON * 6, || {
        status = process.exited();
        status.is_some() || process.stderr.text().contains("listening on ")
    });
    if status.is_some() {
        process.drain();
    }
    (status.and_then(|status| status.code()), process.stderr.text())
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn add_mode(path: &Path, mode: u32) {
    chmod(path, fs::metadata(path).unwrap().permissions().mode() & 0o7777 | mode);
}

/// A way to spoil a file, and how the command that mends it begins.
type Spoil = (&'static str, &'static dyn Fn(&Path), &'static str);

fn assert_guarded(kind: &Kind, stand_in: &StandIn) {
    let writable: Spoil = ("others may write", &|path| add_mode(path, 0o002), "chmod ");
    let group: Spoil = ("the group may write", &|path| add_mode(path, 0o020), "chmod ");
    let readable: Spoil = ("others may read", &|path| add_mode(path, 0o004), "chmod 600 ");
    let foreign: Spoil = ("another user's", &|path| chown(path, Some(12_345), None).unwrap(), "chown ");
    let (is_root, is_folder) = (rustix::process::geteuid().is_root(), kind.path.is_dir());
    let spoils = [
        Some(writable),
        Some(group).filter(|_| !kind.is_secret),
        Some(readable).filter(|_| kind.is_secret),
        Some(foreign).filter(|_| is_root),
    ];
    let quoted = format!("'{}'", kind.path.display());
    for (what, spoil, begins) in spoils.into_iter().flatten() {
        let place = format!("{}, {what}", kind.name);
        spoil(&kind.path);
        let (status, said) = told(kind, stand_in);
        assert_eq!(status, Some(64), "{place}: {said}");
        let command =
            said.lines().find_map(|line| line.split_once("run: ").map(|(_, command)| command.trim()));
        let command = command.and_then(|rest| rest.find(&quoted).map(|at| &rest[..at + quoted.len()]));
        let command = command.unwrap_or_else(|| panic!("{place}: no command: {said}"));
        assert!(command.contains(begins), "{place}: {command}");
        let command = command.rsplit("run: ").next().unwrap();
        assert!(Command::new("sh").args(["-c", command]).status().unwrap().success(), "{place}: {command}");
        let (_, said) = told(kind, stand_in);
        assert!(!said.contains("run: "), "{place}: {command} has not mended it: {said}");
    }
    if is_folder {
        return;
    }
    // A pipe is not waited for.
    let kept = kind.path.with_extension("kept");
    fs::rename(&kind.path, &kept).unwrap();
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &kind.path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let (status, said) = told(kind, stand_in);
    assert!(status.is_some_and(|code| code != 0), "{}, a pipe: {said}", kind.name);
    let name = kind.path.file_name().unwrap().to_string_lossy();
    assert!(said.contains("regular file") && said.contains(&*name), "{}, a pipe: {said}", kind.name);
    fs::rename(&kept, &kind.path).unwrap();
}

fn serve(place: &Path, name: &'static str, file: &str, config: &str) -> Kind {
    let folder = place.join(name.replace([' ', '\''], "-"));
    fs::create_dir_all(&folder).unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    write(&folder.join("c.pem"), &made.cert.pem());
    write(&folder.join("k.pem"), &made.signing_key.serialize_pem());
    write(&folder.join("ca.pem"), &made.cert.pem());
    for name in ["owner.token", "password"] {
        write(&folder.join(name), TOKEN);
    }
    write(&folder.join("ci.token"), "ci-0123456789abcdef-ci");
    write(&folder.join("init.ps1"), ". \"$PSScriptRoot/of-init.ps1\"");
    write(&folder.join("of-init.ps1"), "");
    fs::create_dir_all(folder.join("modules")).unwrap();
    let local = "[vaults.mine]\nlocal = true\nfolder = \"data\"\nexpose = true\n";
    let config_file = folder.join("plan.toml");
    let listen = if config.contains("[[listeners]]") { "" } else { "listen = \"127.0.0.1:0\"\n" };
    write(&config_file, &format!("{listen}{config}\n{local}"));
    let args = vec!["serve".into(), "--no-socket".into(), "--config".into(), config_file.into()];
    let is_secret = ["k.pem", "password", "data/key.txt"].contains(&file) || file.ends_with("token");
    let workers = config.contains("TestVault").then_some(None);
    Kind { name, path: folder.join(file), args, is_secret, workers }
}

#[test]
fn every_file_that_a_server_reads_is_nobody_elses_to_change_and_the_message_mends_it() {
    let place = tempfile::tempdir().unwrap();
    let stand_in = StandIn::scenario("ok");
    let vault = "[vaults.store]\nmodule = \"TestVault\"\n";
    let tls = "auth.open = true\n[[listeners]]\naddress = \"127.0.0.1:0\"\n\
        tls = { certificate = \"c.pem\", key = \"k.pem\", client_ca = \"ca.pem\" }\n";
    let open = |more: &str| format!("auth.open = true\n{more}{vault}");
    let kinds = [
        ("the configuration", "plan.toml", "auth.open = true\n".to_owned()),
        ("the token's file", "owner.token", "auth.token_file = \"owner.token\"\n".to_owned()),
        (
            "a named token's file",
            "ci.token",
            "[[tokens]]\nname = \"ci\"\nfile = \"ci.token\"\nallow = [\"* mine\"]\n".to_owned(),
        ),
        ("a certificate", "c.pem", tls.to_owned()),
        ("a certificate's key", "k.pem", tls.to_owned()),
        ("client authorities", "ca.pem", tls.to_owned()),
        ("a vault's password", "password", open("") + "unlock = { file = \"password\" }\n"),
        ("an init file", "init.ps1", open("[pwsh]\ninit = { file = \"init.ps1\" }\n")),
        ("a file that an init file names", "of-init.ps1", open("[pwsh]\ninit = { file = \"init.ps1\" }\n")),
        ("a module folder", "modules", open("[pwsh]\nmodule_path = \"modules\"\n")),
    ];
    for (name, file, config) in kinds {
        let kind = serve(place.path(), name, file, &config);
        assert_guarded(&kind, &stand_in);
    }
    // What the server has made itself.
    let kind = serve(place.path(), "the key of a local vault", "data/key.txt", "auth.open = true\n");
    let (_, said) = told(&kind, &stand_in);
    assert!(kind.path.is_file(), "{said}");
    assert_guarded(&kind, &stand_in);
}

/// Each of these stands in the script in a way of its own.
const SCRIPT: &str = r#"
param($Given)
. "$PSScriptRoot/named.ps1"
Import-Module "$PSScriptRoot/Mine.psm1"
$which = 'known'
. "$PSScriptRoot/$which-to-the-script-alone.ps1"
Start-PodeServer {
    Add-PodeEndpoint -Address localhost -Port PORT -Protocol Http
    Use-PodeScript -Path './used.ps1'
    Add-PodeRoute -Method Get -Path '/' -ScriptBlock { }
}
"#;

#[test]
fn every_file_that_a_script_is_made_of_is_nobody_elses_to_change_and_the_message_mends_it() {
    let pwsh = need_pwsh!();
    let place = tempfile::tempdir().unwrap();
    let stand_in = StandIn::scenario("ok");
    let at = |name: &str| place.path().join(name);
    let script = SCRIPT.replace("PORT", &free_port().to_string());
    write(&at("server.ps1"), &script);
    for name in ["named.ps1", "known-to-the-script-alone.ps1", "used.ps1", "Mine.psm1"] {
        write(&at(name), "");
    }
    for name in ["owner.token", "given"] {
        write(&at(name), TOKEN);
    }
    write(&at("tokens.toml"), "[[tokens]]\nname = \"ci\"\nfile = \"ci.token\"\nallow = [\"read /\"]\n");
    write(&at("ci.token"), "ci-0123456789abcdef-ci");
    // A check runs the script too, and ends by itself.
    let check = |more: &[OsString], after: &[OsString]| {
        let script: OsString = at("server.ps1").into();
        let args = ["run".into(), "--check".into()].into_iter().chain(more.iter().cloned());
        args.chain([script]).chain(after.iter().cloned()).collect::<Vec<OsString>>()
    };
    let token_file = |name: &str| check(&["--token-file".into(), at(name).into()], &[]);
    let given = OsString::from(format!("@{}", at("given").display()));
    let kinds = [
        ("a script", "server.ps1", false, check(&[], &[])),
        ("a file that a script names", "named.ps1", false, check(&[], &[])),
        ("a file that a script alone knows", "known-to-the-script-alone.ps1", false, check(&[], &[])),
        ("a file that a script uses", "used.ps1", false, check(&[], &[])),
        ("a module that a script names", "Mine.psm1", false, check(&[], &[])),
        ("the token of a script", "owner.token", true, token_file("owner.token")),
        ("the tokens of a script", "tokens.toml", false, token_file("tokens.toml")),
        ("a named token of a script", "ci.token", true, token_file("tokens.toml")),
        ("a parameter's file", "given", true, check(&[], &["-Given".into(), given])),
    ];
    for (name, file, is_secret, args) in kinds {
        let kind = Kind { name, path: at(file), args, is_secret, workers: Some(Some(pwsh)) };
        assert_guarded(&kind, &stand_in);
    }
}

#[test]
fn a_folder_that_another_user_made_first_moves_the_socket_of_the_command_line_and_is_never_called() {
    let builder = || Builder::new();
    let first = builder();
    let home = tempfile::tempdir().unwrap();
    let run = tempfile::tempdir().unwrap();
    let usual = run.path().join(format!("secretbridge-{}", rustix::process::getuid().as_raw()));
    drop(first);
    fs::create_dir(&usual).unwrap();
    chmod(&usual, 0o777);
    // Whoever listens there would be told what is written.
    let trap = std::os::unix::net::UnixListener::bind(usual.join("server.sock")).unwrap();
    trap.set_nonblocking(true).unwrap();
    let at_home = |builder: Builder| builder.home(home.path()).env("XDG_RUNTIME_DIR", run.path());
    let list = || at_home(builder()).args(["status"]).run(SOON);
    let alone = list();
    assert!(!alone.status.success(), "{alone:?}");
    let server = at_home(builder().args(["serve", "--listen", "127.0.0.1:0"])).start();
    let found = list();
    assert!(found.status.success(), "{} {}", String::from_utf8_lossy(&found.stderr), server.stderr());
    assert!(home.path().join(".local/share/secretbridge/server.sock").exists(), "{}", server.stderr());
    assert_eq!(fs::metadata(&usual).unwrap().permissions().mode() & 0o7777, 0o777, "its mode is as it was");
    assert!(trap.accept().is_err(), "nobody has called the stranger");
}
