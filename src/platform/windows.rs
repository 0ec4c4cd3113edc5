//! Windows' ways.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::{Access, Kind, Owner};

mod events;
pub(super) mod socket;

pub use events::Signals;

pub(super) const HOME: &str = "USERPROFILE";
pub(super) const DATA: &str = "LOCALAPPDATA";
pub(super) const DATA_BELOW_HOME: &str = r"AppData\Local";

pub(super) fn create_private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).open(path)
}

pub(super) fn create_private_folder(path: &Path) -> io::Result<()> {
    fs::create_dir(path)
}

pub(super) fn close_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}

pub(super) fn access_of(_file: &File) -> io::Result<Access> {
    Ok(Access { owner: Owner::Us, others_read: false, others_write: false, shown: String::new() })
}

pub(super) fn access_at(path: &Path) -> io::Result<Access> {
    fs::metadata(path)?;
    Ok(Access { owner: Owner::Us, others_read: false, others_write: false, shown: String::new() })
}

pub(super) fn command_to_close(path: &Path, kind: Kind) -> String {
    let inherited = match kind {
        Kind::File => "",
        Kind::Folder => "(OI)(CI)",
    };
    format!("icacls \"{}\" /inheritance:r /grant:r \"%USERNAME%:{inherited}F\"", path.display())
}

pub(super) fn command_to_own(path: &Path) -> String {
    format!("takeown /f \"{}\"", path.display())
}

pub(super) fn open_without_waiting(path: &Path) -> io::Result<File> {
    File::open(path)
}

pub(super) fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

pub(super) fn identity(_about: &Metadata) -> Option<(u64, u64)> {
    None
}

pub(super) fn isolate(_command: &mut Command) {}

pub(super) fn kill_group(_leader: u32) {}

pub(super) fn resident_memory(_pid: u32) -> Option<u64> {
    None
}

pub(super) fn started(_pid: u32) -> Option<u64> {
    None
}

pub(super) fn runtime_folder() -> PathBuf {
    std::env::temp_dir()
}

pub(super) fn user_tag() -> String {
    std::env::var("USERNAME").unwrap_or_default()
}

pub(super) fn machine_name() -> Option<String> {
    std::env::var("COMPUTERNAME").ok().filter(|name| !name.is_empty())
}

pub(super) fn home_from_database() -> Option<PathBuf> {
    std::env::home_dir()
}

pub(super) fn secret_management() -> PathBuf {
    super::data_folder().unwrap_or_default().join(r"Microsoft\PowerShell\secretmanagement")
}
