//! How far a service is, as Windows' service control manager wants to hear it. Pure.

use crate::platform::ServiceNotice;

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServicePhase {
    /// It starts. The number grows while it does.
    Starting(u32),
    /// It serves.
    Running,
    /// It drains. The number grows while it does.
    Stopping(u32),
    /// It has ended, with this exit code.
    Stopped(u8),
}

impl ServicePhase {
    /// After what the server says. Nothing comes after the end, and no sign of life makes a start of a stop.
    #[must_use]
    pub fn after(self, notice: ServiceNotice) -> ServicePhase {
        match (self, notice) {
            (ServicePhase::Stopped(_) | ServicePhase::Stopping(_), _) => self,
            (_, ServiceNotice::Stopping) => ServicePhase::Stopping(0),
            (_, ServiceNotice::Ready) => ServicePhase::Running,
            (_, ServiceNotice::Reloading | ServiceNotice::Alive) => self,
        }
    }

    /// A while later: what starts or stops has to say that it still does.
    #[must_use]
    pub fn later(self) -> ServicePhase {
        match self {
            ServicePhase::Starting(step) => ServicePhase::Starting(step.saturating_add(1)),
            ServicePhase::Stopping(step) => ServicePhase::Stopping(step.saturating_add(1)),
            ServicePhase::Running | ServicePhase::Stopped(_) => self,
        }
    }

    /// Whether the manager waits for the next step.
    pub fn is_pending(self) -> bool {
        matches!(self, ServicePhase::Starting(_) | ServicePhase::Stopping(_))
    }
}
