//! Services by systemd and launchd.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Output};

use crate::platform::service::events::ServiceEvent;
use crate::platform::service::{MANAGER, Manager, ServiceStep, Status, launchd, systemd};

pub(in crate::platform) fn perform(step: &ServiceStep) -> io::Result<()> {
    match step {
        ServiceStep::Account { name, home } => account(name, home),
        ServiceStep::File { path, text } => write(path, text),
        ServiceStep::Remove(path) => match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
        ServiceStep::Run(words) => succeeded(words, &run(words)?),
        ServiceStep::Try(words) => run(words).map(drop),
        _ => Err(io::Error::new(io::ErrorKind::Unsupported, "this is for Windows")),
    }
}

pub(in crate::platform) fn status(name: &str, user: bool) -> io::Result<Status> {
    match MANAGER {
        Manager::Launchd => {
            let output = run(&launchd::question(name, user))?;
            let text = String::from_utf8_lossy(&output.stdout);
            Ok(launchd::answer(output.status.success().then_some(text.as_ref())))
        }
        _ => {
            let words = systemd::question(name, user);
            let output = run(&words)?;
            succeeded(&words, &output)?;
            Ok(systemd::answer(&String::from_utf8_lossy(&output.stdout)))
        }
    }
}

/// A service is a program like any other here.
pub(in crate::platform) fn run_as(_name: &str, work: Box<dyn FnOnce() -> u8 + Send>) -> io::Result<u8> {
    Ok(work())
}

pub(in crate::platform) fn is_service() -> bool {
    false
}

pub(in crate::platform) fn report(_event: &ServiceEvent<'_>) {}

fn account(name: &str, home: &str) -> io::Result<()> {
    if run(&words(&["id", "-u", name]))?.status.success() {
        return Ok(());
    }
    let make = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", home];
    let make = words(&[make.as_slice(), &["--shell", "/usr/sbin/nologin", name]].concat());
    succeeded(&make, &run(&make)?)
}

/// Whole or not at all: a manager must not read half a file.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    let mut file = tempfile::Builder::new().prefix(".secretbridge-").tempfile_in(folder)?;
    io::Write::write_all(&mut file, text.as_bytes())?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(file.path(), mode)?;
    file.persist(path).map_err(|error| error.error).map(drop)
}

fn run(words: &[String]) -> io::Result<Output> {
    let Some((program, arguments)) = words.split_first() else { return Err(io::ErrorKind::NotFound.into()) };
    Command::new(program).args(arguments).output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => io::Error::new(error.kind(), format!("{program} is not on this machine")),
        _ => error,
    })
}

fn succeeded(words: &[String], output: &Output) -> io::Result<()> {
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{}: {}", words.join(" "), said.trim())))
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
