//! When to stop, and when to read the configuration again.

use std::io;
use std::time::Duration;

use tokio::time::Instant;

use crate::platform::{self, SystemEvent};

/// A stop this soon after another is the same one: `timeout` and some supervisors signal a process and then
/// its group, and nobody presses Ctrl-C twice so fast.
const ECHO: Duration = Duration::from_millis(250);

/// What a signal asks for.
pub type Wish = SystemEvent;

/// The signals that a server heeds.
pub struct ServerSignals {
    system: platform::Signals,
    stopped: Option<Instant>,
}

impl ServerSignals {
    /// Begins to listen. From here on the signals no longer end the program by themselves.
    pub fn listen() -> io::Result<ServerSignals> {
        Ok(ServerSignals { system: platform::Signals::listen()?, stopped: None })
    }

    /// How long a stop may take that would like to take so long: no longer than the system lets the program run, which is
    /// some seconds where the console of a server on Windows is closed.
    pub fn drain(&self, wanted: Duration) -> Duration {
        self.system.limit().map_or(wanted, |limit| limit.min(wanted))
    }

    /// The next one. Cancel safe.
    pub async fn next(&mut self) -> Wish {
        loop {
            let event = self.system.next().await;
            if event != SystemEvent::Stop {
                return event;
            }
            let before = self.stopped.replace(Instant::now());
            if before.is_none_or(|before| before.elapsed() >= ECHO) {
                return SystemEvent::Stop;
            }
        }
    }
}
