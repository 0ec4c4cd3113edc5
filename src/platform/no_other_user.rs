//! Where programs are not started as other users: such a user is never found.

use std::io;
use std::path::Path;

use tokio::process::Command;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::platform) enum OtherUser {}

impl OtherUser {
    pub(in crate::platform) fn find(_name: &str, _home: Option<&Path>) -> Result<OtherUser, String> {
        Err("workers run as another user on Linux alone (hint: run the whole server as that user)".to_owned())
    }

    pub(in crate::platform) fn name(&self) -> &str {
        match *self {}
    }

    pub(in crate::platform) fn home(&self) -> &Path {
        match *self {}
    }

    pub(in crate::platform) fn number(&self) -> String {
        match *self {}
    }

    pub(in crate::platform) fn run(&self, _command: &mut Command) {
        match *self {}
    }

    pub(in crate::platform) fn give(&self, _path: &Path) -> io::Result<()> {
        match *self {}
    }

    pub(in crate::platform) fn let_in(&self, _path: &Path) -> io::Result<()> {
        match *self {}
    }

    pub(in crate::platform) fn act<T>(&self, _act: impl FnOnce() -> T) -> T {
        match *self {}
    }
}
