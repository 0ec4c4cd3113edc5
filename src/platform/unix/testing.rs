//! What tests ask of Linux and macOS.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, geteuid, setrlimit};

pub(in crate::platform) fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

pub(in crate::platform) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

pub(in crate::platform) fn make_pipe(path: &Path) -> bool {
    let done = std::process::Command::new("mkfifo").arg(path).status();
    assert!(done.unwrap().success());
    true
}

/// Only root can give files away.
pub(in crate::platform) fn give_away(path: &Path) -> Option<String> {
    const SOMEBODY: u32 = 12_345;
    geteuid().is_root().then(|| {
        std::os::unix::fs::chown(path, Some(SOMEBODY), None).unwrap();
        SOMEBODY.to_string()
    })
}

pub(in crate::platform) fn link(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

pub(in crate::platform) fn was_killed(status: ExitStatus) -> bool {
    status.signal() == Some(9)
}

pub(in crate::platform) fn program(folder: &Path, out: &[&str], error: &str, code: i32) -> PathBuf {
    let program = folder.join("program");
    let mut text = "#!/bin/sh\n".to_owned();
    out.iter().for_each(|line| text.push_str(&format!("echo '{line}'\n")));
    text.push_str(&format!("echo '{error}' >&2\nexit {code}\n"));
    fs::write(&program, text).unwrap();
    set_mode(&program, 0o700);
    program
}

pub(in crate::platform) const LIMITS_BIND: bool = true;

/// The signal that a write beyond the limit raises: the same number on Linux and macOS.
const SIGXFSZ: i32 = 25;

pub(in crate::platform) fn open_umask() {
    rustix::process::umask(rustix::fs::Mode::empty());
}

pub(in crate::platform) fn limit_file_size(bytes: u64, caught: bool) {
    let kind = tokio::signal::unix::SignalKind::from_raw(SIGXFSZ);
    if caught {
        // What was listened to once stays caught.
        drop(tokio::signal::unix::signal(kind).unwrap());
    }
    let at_most = |bytes| Rlimit { current: Some(bytes), maximum: Some(bytes) };
    setrlimit(Resource::Fsize, at_most(bytes)).unwrap();
    // Dying of the limit would leave a core file.
    setrlimit(Resource::Core, at_most(0)).unwrap();
}

pub(in crate::platform) fn hit_the_limit(status: ExitStatus) -> bool {
    status.signal() == Some(SIGXFSZ)
}

pub(in crate::platform) fn be_bound_by_modes() {
    #[cfg(target_os = "linux")]
    if geteuid().is_root() {
        use rustix::thread::CapabilitySet;
        let mut sets = rustix::thread::capabilities(None).unwrap();
        sets.effective.remove(CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH);
        rustix::thread::set_capabilities(None, sets).unwrap();
    }
}

pub(in crate::platform) fn time_on_a_core() -> Option<Duration> {
    // Linux alone has it.
    let told = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    told.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}
