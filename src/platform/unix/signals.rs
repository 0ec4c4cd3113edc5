//! Signals.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::platform::SystemEvent;

/// What the system asks of a running server.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    user: Signal,
}

impl Signals {
    /// Begins to listen. From here on the signals no longer end the program by themselves. Needs a tokio
    /// runtime around it.
    pub fn listen() -> io::Result<Signals> {
        // A write past the file size limit raises SIGXFSZ, which would end the program; handled, the
        // write fails with an error, as every write may. It is number 25 on Linux and macOS alike.
        const FILE_SIZE: i32 = 25;
        drop(signal(SignalKind::from_raw(FILE_SIZE))?);
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            user: signal(SignalKind::user_defined1())?,
        })
    }

    /// How long the system lets the program run after the last stop that it asked for, where it sets a limit.
    pub fn limit(&self) -> Option<Duration> {
        None
    }

    /// The next one. Cancel safe.
    pub async fn next(&mut self) -> SystemEvent {
        tokio::select! {
            _ = self.interrupt.recv() => SystemEvent::Stop,
            _ = self.terminate.recv() => SystemEvent::Stop,
            _ = self.hangup.recv() => SystemEvent::Reload,
            _ = self.user.recv() => SystemEvent::Dump,
        }
    }
}
