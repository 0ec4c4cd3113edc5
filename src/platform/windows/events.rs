//! What Windows asks of a running program: console events, or what the service manager asks.

use std::io;

use tokio::signal::windows::{
    CtrlBreak, CtrlC, CtrlClose, CtrlLogoff, CtrlShutdown, ctrl_break, ctrl_c, ctrl_close, ctrl_logoff,
    ctrl_shutdown,
};

use tokio::sync::mpsc::UnboundedReceiver;

use crate::platform::SystemEvent;

/// What the system asks of a running server.
pub struct Signals(Source);

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
            return Ok(Signals(Source::Manager(controls)));
        }
        Ok(Signals(Source::Console(Box::new(ConsoleHandler {
            c: ctrl_c()?,
            r#break: ctrl_break()?,
            close: ctrl_close()?,
            logoff: ctrl_logoff()?,
            shutdown: ctrl_shutdown()?,
        }))))
    }

    /// The next one. Cancel safe.
    pub async fn next(&mut self) -> SystemEvent {
        let console = match &mut self.0 {
            Source::Manager(controls) => return controls.recv().await.unwrap_or(SystemEvent::Stop),
            Source::Console(console) => console,
        };
        tokio::select! {
            _ = console.c.recv() => {}
            _ = console.r#break.recv() => {}
            _ = console.close.recv() => {}
            _ = console.logoff.recv() => {}
            _ = console.shutdown.recv() => {}
        }
        SystemEvent::Stop
    }
}
