//! What tests ask of Windows.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use super::access::{Descriptor, access_at};
use super::sid::Sid;

/// Digits for group and others, who are the same here.
const READ: u32 = 0o044;
const WRITE: u32 = 0o022;
const SEARCH: u32 = 0o011;

pub(in crate::platform) fn mode(path: &Path) -> u32 {
    let access = access_at(path).unwrap();
    let (own, read) = if path.is_dir() { (0o700, READ | SEARCH) } else { (0o600, READ) };
    own | if access.others_read { read } else { 0 } | if access.others_write { WRITE } else { 0 }
}

pub(in crate::platform) fn set_mode(path: &Path, mode: u32) {
    let us = Sid::of_user().unwrap().text().unwrap();
    let owner = Sid::of_new_files().unwrap().text().unwrap();
    let inherited = if path.is_dir() { "OICI" } else { "" };
    let mut list = format!("O:{owner}D:P(A;{inherited};GA;;;{us})");
    // What a mode lets others search or run is reading here.
    if mode & (READ | SEARCH) != 0 {
        list.push_str(&format!("(A;{inherited};GRGX;;;WD)"));
    }
    if mode & WRITE != 0 {
        list.push_str(&format!("(A;{inherited};GWSD;;;WD)"));
    }
    Descriptor::read(&list).unwrap().put(path).unwrap();
}

pub(in crate::platform) fn make_pipe(_path: &Path) -> bool {
    false
}

pub(in crate::platform) fn give_away(_path: &Path) -> Option<String> {
    None
}

pub(in crate::platform) fn link(target: &Path, link: &Path) -> io::Result<()> {
    match target.is_dir() {
        true => std::os::windows::fs::symlink_dir(target, link)?,
        false => std::os::windows::fs::symlink_file(target, link)?,
    }
    // Wine makes none and does not say so.
    std::fs::symlink_metadata(link).map(drop)
}

pub(in crate::platform) fn was_killed(status: ExitStatus) -> bool {
    status.code() == Some(1)
}

pub(in crate::platform) fn program(folder: &Path, out: &[&str], error: &str, code: i32) -> PathBuf {
    let program = folder.join("program.cmd");
    let mut text = "@echo off\r\n".to_owned();
    out.iter().for_each(|line| text.push_str(&format!("echo {line}\r\n")));
    text.push_str(&format!("echo {error}. 1>&2\r\nexit /b {code}\r\n"));
    std::fs::write(&program, text).unwrap();
    program
}

pub(in crate::platform) const LIMITS_BIND: bool = false;

pub(in crate::platform) fn open_umask() {}

pub(in crate::platform) fn limit_file_size(_bytes: u64, _caught: bool) {}

pub(in crate::platform) fn hit_the_limit(_status: ExitStatus) -> bool {
    false
}

pub(in crate::platform) fn be_bound_by_modes() {}

pub(in crate::platform) fn time_on_a_core() -> Option<Duration> {
    None
}
