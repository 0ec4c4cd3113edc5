//! When to stop, and when to read the configuration again.

use std::io;
#[cfg(unix)]
use std::time::Duration;

#[cfg(unix)]
use tokio::time::Instant;

/// A stop this soon after another is the same one: `timeout` and some supervisors signal a process and then
/// its group, and nobody presses Ctrl-C twice so fast.
#[cfg(unix)]
const ECHO: Duration = Duration::from_millis(250);

/// The signals that a server heeds.
#[cfg(unix)]
pub struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
    stopped: Option<Instant>,
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Drain and end: SIGINT, SIGTERM, Ctrl-C.
    Stop,
    /// Read the configuration again: SIGHUP.
    Reload,
}

#[cfg(unix)]
impl Signals {
    /// Begins to listen. From here on the signals no longer end the program by themselves.
    pub fn listen() -> io::Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        // A write past the file size limit raises SIGXFSZ, which would end the program; handled, the
        // write fails with an error, as every write may.
        const FILE_SIZE: i32 = 25;
        if cfg!(target_os = "linux") {
            drop(signal(SignalKind::from_raw(FILE_SIZE))?);
        }
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            stopped: None,
        })
    }

    /// The next one. Cancel safe.
    pub async fn next(&mut self) -> Wish {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => {}
                _ = self.terminate.recv() => {}
                _ = self.hangup.recv() => return Wish::Reload,
            }
            let before = self.stopped.replace(Instant::now());
            if before.is_none_or(|before| before.elapsed() >= ECHO) {
                return Wish::Stop;
            }
        }
    }
}

/// The signals that a server heeds.
#[cfg(not(unix))]
pub struct Signals;

#[cfg(not(unix))]
impl Signals {
    /// Begins to listen.
    pub fn listen() -> io::Result<Signals> {
        Ok(Signals)
    }

    /// The next one. Cancel safe.
    pub async fn next(&mut self) -> Wish {
        let _ = tokio::signal::ctrl_c().await;
        Wish::Stop
    }
}
