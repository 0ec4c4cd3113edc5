//! How far a service is, as Windows' service control manager wants to hear it. Pure.

use crate::platform::Notice;

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It starts. The number grows while it does.
    Starting(u32),
    /// It serves.
    Running,
    /// It drains. The number grows while it does.
    Stopping(u32),
    /// It has ended, with this exit code.
    Stopped(u8),
}

impl Phase {
    /// After what the server says. Nothing comes after the end, and no sign of life makes a start of a stop.
    #[must_use]
    pub fn after(self, notice: Notice) -> Phase {
        match (self, notice) {
            (Phase::Stopped(_) | Phase::Stopping(_), _) => self,
            (_, Notice::Stopping) => Phase::Stopping(0),
            (_, Notice::Ready) => Phase::Running,
            (_, Notice::Reloading | Notice::Alive) => self,
        }
    }

    /// A while later: what starts or stops has to say that it still does.
    #[must_use]
    pub fn later(self) -> Phase {
        match self {
            Phase::Starting(step) => Phase::Starting(step.saturating_add(1)),
            Phase::Stopping(step) => Phase::Stopping(step.saturating_add(1)),
            Phase::Running | Phase::Stopped(_) => self,
        }
    }

    /// Whether the manager waits for the next step.
    pub fn is_pending(self) -> bool {
        matches!(self, Phase::Starting(_) | Phase::Stopping(_))
    }
}
