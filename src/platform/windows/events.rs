//! What Windows asks of a running program: console events, or what the service manager asks.

use std::io;
use std::time::Duration;

use tokio::signal::windows::{
    CtrlBreak, CtrlC, CtrlClose, CtrlLogoff, CtrlShutdown, ctrl_break, ctrl_c, ctrl_close, ctrl_logoff,
    ctrl_shutdown,
};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::platform::SystemEvent;

/// How long a program may still run whose console closes, or whose user logs off: the system ends it after 5 s.
const LAST: Duration = Duration::from_secs(4);

/// What the system asks of a running server.
pub struct Signals {
    source: Source,
    limit: Option<Duration>,
}

enum Source {
    /// A service has no console, and must not take the logoff of somebody for its own end.
    Manager(UnboundedReceiver<SystemEvent>),
    Console(Box<ConsoleHandler>),
}

struct ConsoleHandler {
    c: CtrlC,
    r#break: CtrlBreak,
    close: CtrlClose,
    logoff: CtrlLogoff,
    shutdown: CtrlShutdown,
}

impl Signals {
    /// Begins to listen. From here on the events no longer end the program by themselves, but for a
    /// console that closes, a logoff or a shutdown: the system then ends the program after some seconds.
    pub fn listen() -> io::Result<Signals> {
        if let Some(controls) = super::service::controls() {
            return Ok(Signals { source: Source::Manager(controls), limit: None });
        }
        let console = ConsoleHandler {
            c: ctrl_c()?,
            r#break: ctrl_break()?,
            close: ctrl_close()?,
            logoff: ctrl_logoff()?,
            shutdown: ctrl_shutdown()?,
        };
        Ok(Signals { source: Source::Console(Box::new(console)), limit: None })
    }

    /// How long the system lets the program run after the last stop that it asked for, where it sets a limit.
    pub fn limit(&self) -> Option<Duration> {
        self.limit
    }

    /// The next one. Cancel safe.
    pub async fn next(&mut self) -> SystemEvent {
        let console = match &mut self.source {
            Source::Manager(controls) => return controls.recv().await.unwrap_or(SystemEvent::Stop),
            Source::Console(console) => console,
        };
        tokio::select! {
            _ = console.c.recv() => {}
            _ = console.r#break.recv() => {}
            _ = console.close.recv() => self.limit = Some(LAST),
            _ = console.logoff.recv() => self.limit = Some(LAST),
            _ = console.shutdown.recv() => self.limit = Some(LAST),
        }
        SystemEvent::Stop
    }
}
