//! What differs between operating systems, behind one set of functions.
//!
//! Linux is what is tested. Elsewhere the death signal and the memory reading are missing; the end of a
//! worker's input is then what ends it.

use std::path::PathBuf;

use tokio::process::Command;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as system;

#[cfg(not(target_os = "linux"))]
mod other;
#[cfg(not(target_os = "linux"))]
use other as system;

/// Puts the program in a process group of its own and, where the system can, has it killed when the
/// thread that spawns it ends. So spawn from a thread that lives as long as the child should.
pub fn isolate(command: &mut Command) {
    system::isolate(command);
}

/// Kills a process group at once. Does nothing if it is gone.
pub fn kill_group(leader: u32) {
    system::kill_group(leader);
}

/// Resident memory of a process, in bytes, where the system tells.
pub fn resident_memory(pid: u32) -> Option<u64> {
    system::resident_memory(pid)
}

/// When a process started, in the system's own ticks: with the pid it names one process for ever.
/// `None` where there is no such process.
pub fn started(pid: u32) -> Option<u64> {
    system::started(pid)
}

/// A folder for short-lived private files, in memory where there is one.
pub fn runtime_folder() -> PathBuf {
    system::runtime_folder()
}

/// The user's home: `HOME`, else what the user database says.
pub fn home() -> Option<PathBuf> {
    match std::env::var_os("HOME") {
        Some(home) if !home.is_empty() => Some(PathBuf::from(home)),
        _ => system::home_from_database(),
    }
}

/// Where SecretManagement keeps the user's vault registry.
pub fn vault_registry() -> PathBuf {
    let place = "secretvaultregistry/vaultinfo";
    if cfg!(windows) {
        let data = std::env::var_os("LOCALAPPDATA").map(PathBuf::from).unwrap_or_default();
        return data.join("Microsoft/PowerShell/secretmanagement").join(place);
    }
    home().unwrap_or_default().join(".secretmanagement").join(place)
}

/// Where SecretStore keeps its files.
pub fn secret_store() -> PathBuf {
    if cfg!(windows) {
        let data = std::env::var_os("LOCALAPPDATA").map(PathBuf::from).unwrap_or_default();
        return data.join("Microsoft/PowerShell/secretmanagement/localstore");
    }
    home().unwrap_or_default().join(".secretmanagement/localstore")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_pid_and_start() {
        assert_eq!(started(std::process::id()), started(std::process::id()));
        if cfg!(target_os = "linux") {
            assert!(started(std::process::id()).is_some());
            assert!(resident_memory(std::process::id()).is_some_and(|bytes| bytes > 100_000));
            // Linux gives no process an id above 2^22.
            assert_eq!(started(u32::MAX - 1), None);
        }
    }

    #[test]
    fn the_home_is_known_even_without_the_variable() {
        if cfg!(target_os = "linux") {
            assert!(system::home_from_database().is_some());
        }
    }
}
