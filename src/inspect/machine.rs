//! The machine: its clock, its disks, its ports.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Finding;
use crate::audit::Destination;
use crate::config::ConfigPlace;
use crate::plan::{Bind, Plan};
use crate::platform;
use crate::vault::backend::kinds;

/// Less room than this, and a write may fail.
const LITTLE: u64 = 100 << 20;

/// So far may two clocks differ.
const TOLERANCE: Duration = Duration::from_secs(120);

/// Whether the clock can be right: it is not before this program was made or its configuration was written.
pub fn clock(place: Option<&ConfigPlace>) -> Finding {
    let program = std::env::current_exe().ok();
    let files = program.iter().map(PathBuf::as_path).chain(place.map(|place| place.path.as_path()));
    let newest =
        files.filter_map(|file| std::fs::metadata(file).and_then(|about| about.modified()).ok()).max();
    judge_clock(crate::clock::now().into(), newest)
}

fn judge_clock(now: SystemTime, newest: Option<SystemTime>) -> Finding {
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let text = humantime::format_rfc3339_seconds(now).to_string();
    let finding = match newest {
        Some(newest) if newest > now + TOLERANCE => Finding::problem(
            "clock",
            format!(
                "the clock says {text}, but files were written after that: tokens and certificates will be refused"
            ),
            "set the clock: timedatectl set-ntp true (Windows: w32tm /resync)",
        ),
        _ => Finding::ok("clock", format!("the clock says {text}")),
    };
    finding.with("seconds", seconds)
}

/// Whether there is room where something is written.
pub fn disks(plan: &Plan) -> Vec<Finding> {
    let mut folders = vec![("worker files".to_owned(), platform::runtime_folder())];
    let own = |vault| Some((kinds::of(vault).title().to_owned(), kinds::files_of(vault)?.folder?));
    let own = plan.vaults.iter().filter_map(own);
    folders.extend(own.map(|(title, folder)| (format!("a {title}"), folder)));
    if let Destination::File(path) = &plan.audit.to {
        folders.push(("the audit trail".to_owned(), path.clone()));
    }
    if plan.vaults.iter().any(kinds::needs_worker) {
        folders.extend(kinds::folders_of_user().map(|(title, folder)| (title.to_owned(), folder)));
    }
    folders.into_iter().filter_map(|(what, folder)| disk(&what, &folder)).collect()
}

fn disk(what: &str, folder: &Path) -> Option<Finding> {
    let there = folder.ancestors().find(|folder| folder.is_dir())?;
    let free = platform::free_space(there)?;
    let message = format!("{} MiB are free for {what} at {}", free >> 20, there.display());
    let finding = match free {
        0..LITTLE => Finding::warning("disk", message, "make room there: a write to a full disk fails"),
        _ => Finding::ok("disk", message),
    };
    Some(finding.with("path", there.to_string_lossy()).with("free_bytes", free))
}

/// Whether the plan's addresses can be listened on. `running`: a server of ours runs, and may have them.
pub fn ports(plan: &Plan, running: bool) -> Vec<Finding> {
    plan.listeners.iter().map(|listener| port(&listener.bind, running)).collect()
}

fn port(bind: &Bind, running: bool) -> Finding {
    let (shown, free) = match bind {
        // Listened on for a moment, so that the answer is the system's own.
        Bind::Tcp(address) => (address.to_string(), TcpListener::bind(address).map(drop)),
        Bind::Unix(path) => {
            let folder = crate::private_file::folder_of(path);
            let there = std::fs::metadata(folder).map(drop);
            (format!("unix:{}", path.display()), there)
        }
    };
    let finding = match free {
        Ok(()) => Finding::ok("port", format!("{shown} can be listened on")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && running => {
            Finding::ok("port", format!("{shown} is in use, and a server of yours runs"))
        }
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Finding::problem(
            "port",
            format!("{shown} is in use by another program"),
            "end that program, or listen elsewhere: `listen` in the configuration, or --listen",
        ),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Finding::problem(
            "port",
            format!("{shown}: this user may not listen there"),
            "listen on a port from 1024 on, or let systemd open it: scripts/systemd/secretbridge.socket",
        ),
        Err(error) => {
            Finding::problem("port", format!("{shown}: {error}"), "correct `listen` in the configuration")
        }
    };
    finding.with("address", shown)
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn a_clock_before_what_was_written_is_wrong() {
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        for (newest, level) in [
            (None, Level::Ok),
            (Some(now), Level::Ok),
            (Some(now + Duration::from_secs(60)), Level::Ok),
            (Some(now + Duration::from_secs(3600)), Level::Problem),
        ] {
            assert_eq!(judge_clock(now, newest).level, level, "{newest:?}");
        }
    }

    #[test]
    fn a_port_that_somebody_has_is_a_problem_unless_it_is_ours() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let bind = Bind::Tcp(held.local_addr().unwrap());
        assert_eq!(port(&bind, false).level, Level::Problem);
        assert_eq!(port(&bind, true).level, Level::Ok);
        drop(held);
        assert_eq!(port(&Bind::Tcp("127.0.0.1:0".parse().unwrap()), false).level, Level::Ok);
        assert_eq!(port(&Bind::Unix("/nowhere/at/all.sock".into()), false).level, Level::Problem);
    }
}
