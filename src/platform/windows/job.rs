//! A program with all that it starts, in a job object, with a group of console events of its own.

use std::io;

use tokio::process::{Child, Command};
use windows_sys::Win32::System::Console::{CTRL_BREAK_EVENT, GenerateConsoleCtrlEvent};
use windows_sys::Win32::System::Threading::CREATE_NEW_PROCESS_GROUP;

use super::group::Group;

pub(in crate::platform) struct ProcessJob {
    all: Group,
    leader: Option<u32>,
}

// === impl ProcessJob ===

/// Nobody is stopped for reading from a console.
pub(in crate::platform) fn shares_terminal() -> bool {
    false
}

impl ProcessJob {
    pub(in crate::platform) fn spawn(command: &mut Command) -> io::Result<(Child, ProcessJob)> {
        let all = Group::new(false)?;
        let child = all.start(command, CREATE_NEW_PROCESS_GROUP)?;
        let leader = child.id();
        Ok((child, ProcessJob { all, leader }))
    }

    /// Whatever it is: Ctrl-Break is all that can be sent to a group. Without a console nothing is sent.
    pub(in crate::platform) fn signal(&self, _number: i32) {
        if let Some(leader) = self.leader {
            // SAFETY: takes numbers alone. It fails where we have no console, or nobody is left.
            unsafe { GenerateConsoleCtrlEvent(CTRL_BREAK_EVENT, leader) };
        }
    }

    pub(in crate::platform) fn kill(&self) {
        self.all.kill();
    }

    pub(in crate::platform) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(in crate::platform) async fn mind_terminal(&mut self) {
        std::future::pending().await
    }
}
