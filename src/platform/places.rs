//! Folders and names of this user and of this machine.

use std::path::{Path, PathBuf};

use super::{FileAccess, FileOwner, access_at, system};

/// A folder for short-lived private files, in memory where there is one.
pub fn runtime_folder() -> PathBuf {
    system::runtime_folder()
}

/// As [`runtime_folder`], but not on a disk, where the system has folders in memory and one of them can be written.
pub fn memory_folder() -> Option<PathBuf> {
    system::memory_folder()
}

/// As [`runtime_folder`], for files that another user may come to.
pub fn runtime_folder_for_others() -> PathBuf {
    system::runtime_folder_for_others()
}

/// A short name of the user that this program runs as, fit for a file name: another user has another.
pub fn user_tag() -> String {
    system::user_tag()
}

/// The name of this machine, or nothing where the system has none.
pub fn machine_name() -> Option<String> {
    system::machine_name()
}

/// The folder where servers of this user leave what the command line finds them by: one of this name in
/// [`runtime_folder`], or, where somebody else has made that first, the data folder.
pub fn own_folder() -> PathBuf {
    let usual = runtime_folder().join(format!("secretbridge-{}", user_tag()));
    let is_free = std::fs::symlink_metadata(&usual).is_err();
    match data_folder().filter(|_| !is_free && !is_own(&usual)) {
        Some(data) => data.join("secretbridge"),
        None => usual,
    }
}

/// Whether it is a folder of this user's that nobody else may change; not a link to one.
fn is_own(folder: &Path) -> bool {
    let own = |access: FileAccess| access.owner == FileOwner::Us && !access.others_write;
    std::fs::symlink_metadata(folder).is_ok_and(|found| found.is_dir()) && access_at(folder).is_ok_and(own)
}

/// The socket that a server of this user listens on beside its other addresses (on Windows a pipe), in
/// [`own_folder`]. Servers that keep their data in other places have other sockets. Nothing where no home is
/// known or the path would be too long.
pub fn own_socket() -> Option<PathBuf> {
    system::own_socket()
}

/// As [`own_socket`], for a caller: nothing where no server of this user can have made it, because whoever could
/// listen in its place would be told what the caller sends.
pub fn own_socket_to_call() -> Option<PathBuf> {
    own_socket().filter(|_| is_own(&own_folder()))
}

/// A short number for a path, FNV-1a, which stays the same from build to build.
pub(super) fn fingerprint(path: &Path) -> u32 {
    let step = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    path.as_os_str().as_encoded_bytes().iter().fold(0x811c_9dc5, step)
}

/// The names under which this machine is called: its own, with and without its domains, and those that it has
/// for itself in its list of hosts. In lower case, `localhost` left out.
pub fn own_names() -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut add = |name: String| {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        if !name.is_empty() && name != "localhost" && !names.contains(&name) {
            names.push(name);
        }
    };
    if let Some(machine) = machine_name() {
        let short = machine.split('.').next().unwrap_or_default().to_owned();
        for domain in std::iter::once("local".to_owned()).chain(system::domains()) {
            add(format!("{short}.{domain}"));
        }
        add(short);
        add(machine);
    }
    system::names_in_hosts().into_iter().for_each(add);
    names
}

/// The user's home: `HOME` (on Windows `USERPROFILE`), else what the user database says.
pub fn home() -> Option<PathBuf> {
    variable(system::HOME).or_else(system::home_from_database)
}

/// Where programs of this user keep their data, always an absolute path: `$XDG_DATA_HOME` or
/// `~/.local/share`, on macOS `~/Library/Application Support`, on Windows `%LOCALAPPDATA%`.
pub fn data_folder() -> Option<PathBuf> {
    data_folder_from(variable(system::DATA), home())
}

pub(super) fn data_folder_from(data: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    // A relative path would mean another place in each working folder; the XDG rules say to ignore it.
    let home = home.filter(|path| path.is_absolute());
    data.filter(|path| path.is_absolute()).or_else(|| home.map(|home| home.join(system::DATA_BELOW_HOME)))
}

/// Where this user's configuration is, always an absolute path: `$XDG_CONFIG_HOME` or `~/.config`, on macOS
/// `~/Library/Application Support`, on Windows `%APPDATA%`.
pub fn config_folder() -> Option<PathBuf> {
    let home = home().filter(|path| path.is_absolute());
    let named = variable(system::CONFIG).filter(|path| path.is_absolute());
    named.or_else(|| home.map(|home| home.join(system::CONFIG_BELOW_HOME)))
}

/// Where configuration for all users is: `/etc`, on macOS `/Library/Application Support`, on Windows
/// `%ProgramData%`.
pub fn system_config_folder() -> PathBuf {
    system::system_config_folder()
}

/// Where programs of this user keep what they can make again, always an absolute path: `$XDG_CACHE_HOME` or
/// `~/.cache`, on macOS `~/Library/Caches`, on Windows `%LOCALAPPDATA%`.
pub fn cache_folder() -> Option<PathBuf> {
    let named = variable(system::CACHE).filter(|path| path.is_absolute());
    let home = home().filter(|path| path.is_absolute());
    named.or_else(|| home.map(|home| home.join(system::CACHE_BELOW_HOME)))
}

/// Where SecretManagement keeps the vault registry of the user whose vaults are served.
pub fn vault_registry() -> PathBuf {
    system::secret_management().join("secretvaultregistry").join("vaultinfo")
}

/// Where SecretStore keeps the files of the user whose vaults are served.
pub fn secret_store() -> PathBuf {
    system::secret_management().join("localstore")
}

/// A path that a variable of the environment holds, where it is set to anything.
pub fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}
