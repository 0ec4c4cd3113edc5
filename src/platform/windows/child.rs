//! What a program that runs another one passes on to it.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

/// Windows has no numbers of signals: a group is asked with Ctrl-Break, whatever the number.
pub const TERMINATE: i32 = 0;

/// Console events reach a child without a group of its own by themselves; we only must outlive it.
pub struct PassedOn(super::Signals);

impl PassedOn {
    /// Begins to listen. From here on console events no longer end us.
    pub fn listen() -> io::Result<PassedOn> {
        super::Signals::listen().map(PassedOn)
    }

    /// The next one, of those that do not reach the child by themselves.
    pub async fn next(&mut self, has_group: bool) -> i32 {
        loop {
            let _ = self.0.next().await;
            if has_group {
                return TERMINATE;
            }
        }
    }
}

pub(in crate::platform) fn program(word: &OsStr) -> OsString {
    which::which(word).map_or_else(|_| word.to_owned(), PathBuf::into_os_string)
}

pub(in crate::platform) fn send_signal(_pid: u32, _number: i32) {}

pub(in crate::platform) fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or(1)
}

pub(in crate::platform) fn link_file(file: &Path, place: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(file, place)
}

#[cfg(test)]
mod tests {
    use std::os::windows::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn an_exit_code_has_all_of_its_32_bits() {
        for code in [0, 255, 256, 259, 70_000, 0xC000_013A_u32] {
            assert_eq!(exit_code(ExitStatus::from_raw(code)).cast_unsigned(), code);
        }
    }
}
