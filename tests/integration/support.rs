//! What the tests stand on: the server as a process, a small HTTP client, the stand-in and the real pwsh.
//!
//! Nothing here sleeps to let something happen: [`wait_until`] looks until it has, or fails by name.

#![allow(dead_code, reason = "each test uses its part")]

pub mod browser;
pub mod http;
pub mod load;
pub mod process;
pub mod pwsh;
pub mod server;
pub mod stand_in;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

/// How often a condition is looked at.
const GLANCE: Duration = Duration::from_millis(5);

/// A generous limit for what should take no time at all, on a busy machine with two cores.
pub const SOON: Duration = Duration::from_secs(20);

/// Looks until the condition holds.
///
/// # Panics
///
/// When it does not within the time, with `what` in the message.
#[track_caller]
pub fn wait_until(what: &str, timeout: Duration, mut holds: impl FnMut() -> bool) {
    wait_for(what, timeout, || holds().then_some(()));
}

/// Looks until there is something, and hands it over.
///
/// # Panics
///
/// When there is nothing within the time, with `what` in the message.
#[track_caller]
pub fn wait_for<T>(what: &str, timeout: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + timeout;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "not within {timeout:?}: {what}");
        thread::sleep(GLANCE);
    }
}

/// Whether the full numbers are asked for: `scripts/soak`.
pub fn soaking() -> bool {
    std::env::var_os("SECRETBRIDGE_SOAK").is_some_and(|value| value == "1")
}

/// All files below a folder; sockets and the like, which hold nothing, are left out.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries
        .flatten()
        .flat_map(|entry| {
            let path = entry.path();
            if path.is_dir() {
                return files_below(&path);
            }
            if path.is_file() { vec![path] } else { Vec::new() }
        })
        .collect()
}

/// Copies a folder with all that is in it; nobody else may look into the copy.
pub fn copy_folder(from: &Path, to: &Path) {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().mode(0o700).create(to).expect("made");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_folder(&path, &copy);
        } else {
            fs::copy(&path, &copy).expect("copied");
        }
    }
}

/// A port that is free now. For scripts, which name theirs; elsewhere port 0 is better.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0))
        .and_then(|socket| socket.local_addr())
        .expect("a free port")
        .port()
}

/// A file under `fixtures`.
pub fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

mod tests {
    use super::*;

    #[test]
    fn waiting_ends_with_what_was_found() {
        let mut looks = 0;
        let found = wait_for("the third look", SOON, || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(found, 3);
    }

    #[test]
    #[should_panic(expected = "not within 0ns: a miracle")]
    fn waiting_in_vain_says_for_what() {
        wait_until("a miracle", Duration::ZERO, || false);
    }
}
