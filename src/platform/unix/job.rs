//! A program with all that it starts, in a process group of its own, as a shell runs a job.
//!
//! A group that is not the terminal's foreground stops when it reads from the terminal. So where we have the terminal,
//! the group gets it for as long as it runs. Then the keyboard's signals reach the group and not us; what Ctrl-Z
//! stops there has to stop us too, or the shell would wait for ever.

use std::io;

use nix::sys::signal::{SigSet, Signal as Blocked};
use rustix::process::{
    Pid, Signal as Number, WaitId, WaitIdOptions, WaitOptions, getpgrp, kill_current_process_group,
    kill_process_group, test_kill_process_group, waitid, waitpgid,
};
use rustix::termios::{isatty, tcgetpgrp, tcsetpgrp};
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};

pub(in crate::platform) struct ProcessJob {
    leader: Option<Pid>,
    /// The terminal is lent to the group.
    has_terminal: bool,
    children: Signal,
    resumed: Signal,
}

// === impl ProcessJob ===

impl ProcessJob {
    pub(in crate::platform) fn spawn(command: &mut Command) -> io::Result<(Child, ProcessJob)> {
        // SIGCONT is number 18 on Linux, 19 on macOS.
        let resumed = signal(SignalKind::from_raw(Number::CONT.as_raw()))?;
        let children = signal(SignalKind::child())?;
        let child = command.process_group(0).spawn()?;
        let leader = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let mut job = ProcessJob { leader, has_terminal: false, children, resumed };
        if is_terminal_ours() {
            job.lend_terminal();
        }
        Ok((child, job))
    }

    pub(in crate::platform) fn signal(&self, number: i32) {
        let Some(signal) = Number::from_named_raw(number) else { return };
        self.send(signal);
        if signal == Number::TERM {
            // What is stopped does not hear it.
            self.send(Number::CONT);
        }
    }

    pub(in crate::platform) fn kill(&self) {
        self.send(Number::KILL);
    }

    pub(in crate::platform) fn is_empty(&self) -> bool {
        let Some(leader) = self.leader else { return true };
        // As the first process of a container we inherit those whose parents have ended.
        while let Ok(Some(_)) = waitpgid(leader, WaitOptions::NOHANG) {}
        test_kill_process_group(leader).is_err()
    }

    pub(in crate::platform) async fn mind_terminal(&mut self) {
        loop {
            tokio::select! {
                _ = self.children.recv() => {
                    if self.has_terminal && self.is_stopped() {
                        self.take_terminal_back();
                        // Stops us, until somebody continues us. Where nobody would, it does nothing.
                        let _ = kill_current_process_group(Number::TSTP);
                        self.go_on();
                    }
                }
                _ = self.resumed.recv() => self.go_on(),
            }
        }
    }

    /// The only failure is that nobody is left.
    fn send(&self, signal: Number) {
        if let Some(leader) = self.leader {
            let _ = kill_process_group(leader, signal);
        }
    }

    fn is_stopped(&self) -> bool {
        let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
        self.leader.is_some_and(|leader| {
            waitid(WaitId::Pid(leader), options)
                .is_ok_and(|status| status.is_some_and(|status| status.stopped()))
        })
    }

    /// In the foreground or, with `bg` of a shell, without a terminal.
    fn go_on(&mut self) {
        if is_terminal_ours() {
            self.lend_terminal();
        } else {
            self.send(Number::CONT);
        }
    }

    fn lend_terminal(&mut self) {
        let Some(leader) = self.leader else { return };
        self.has_terminal = tcsetpgrp(rustix::stdio::stdin(), leader).is_ok();
        // It may have read before it had the terminal.
        self.send(Number::CONT);
    }

    fn take_terminal_back(&mut self) {
        if std::mem::take(&mut self.has_terminal) {
            // Who is not in the foreground is stopped for this, unless it blocks that.
            let blocked =
                SigSet::from(Blocked::SIGTTOU).thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK);
            let _ = tcsetpgrp(rustix::stdio::stdin(), getpgrp());
            if let Ok(before) = blocked {
                let _ = before.thread_set_mask();
            }
        }
    }
}

impl Drop for ProcessJob {
    fn drop(&mut self) {
        self.take_terminal_back();
    }
}

pub(in crate::platform) fn shares_terminal() -> bool {
    isatty(rustix::stdio::stdin()) && !isatty(rustix::stdio::stdout())
}

/// Whether we have the terminal and no other program of a pipeline needs it.
fn is_terminal_ours() -> bool {
    let (stdin, stdout) = (rustix::stdio::stdin(), rustix::stdio::stdout());
    isatty(stdin) && isatty(stdout) && tcgetpgrp(stdin).is_ok_and(|group| group == getpgrp())
}
