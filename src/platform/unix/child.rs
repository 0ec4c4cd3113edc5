//! What a program that runs another one passes on to it.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;

use rustix::process::{Pid, Signal as Number, kill_process};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signal that asks a program to end.
pub const TERMINATE: i32 = 15;

/// The signals that are passed on to a child.
pub struct PassedOn(Vec<(SignalKind, Signal)>);

impl PassedOn {
    /// Begins to listen. From here on these signals no longer end or stop us by themselves.
    pub fn listen() -> io::Result<PassedOn> {
        let kinds = [
            SignalKind::terminate(),
            SignalKind::interrupt(),
            SignalKind::hangup(),
            SignalKind::quit(),
            SignalKind::user_defined1(),
            SignalKind::user_defined2(),
            SignalKind::window_change(),
        ];
        kinds.into_iter().map(|kind| Ok((kind, signal(kind)?))).collect::<io::Result<_>>().map(PassedOn)
    }

    /// The next one. What the keyboard of a terminal sends reaches a child of the same process group by itself, and is
    /// not told.
    pub async fn next(&mut self, has_group: bool) -> i32 {
        loop {
            let waits = self.0.iter_mut().map(|(kind, signal)| {
                Box::pin(async move {
                    signal.recv().await;
                    *kind
                })
            });
            let (kind, ..) = futures_util::future::select_all(waits).await;
            let by_keyboard = kind == SignalKind::interrupt() || kind == SignalKind::quit();
            if has_group || !(by_keyboard && rustix::termios::isatty(rustix::stdio::stdin())) {
                return kind.as_raw_value();
            }
        }
    }
}

pub(in crate::platform) fn program(word: &OsStr) -> OsString {
    word.to_owned()
}

pub(in crate::platform) fn send_signal(pid: u32, number: i32) {
    let (Some(pid), Some(signal)) =
        (i32::try_from(pid).ok().and_then(Pid::from_raw), Number::from_named_raw(number))
    else {
        return;
    };
    // The only failure is that it is gone.
    let _ = kill_process(pid, signal);
}

pub(in crate::platform) fn exit_code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|number| 128 + number)).unwrap_or(1)
}

pub(in crate::platform) fn link_file(file: &Path, place: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(file, place)
}
