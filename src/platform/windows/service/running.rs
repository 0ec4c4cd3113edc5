//! This program while it is a service: what the manager asks, and what it is told.

use std::ffi::OsString;
use std::io;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use windows_service::service::{
    ServiceControl, ServiceControlAccept, ServiceExitCode, ServiceState, ServiceStatus, ServiceType,
};
use windows_service::service_control_handler::{self, ServiceControlHandlerResult, ServiceStatusHandle};
use windows_service::{define_windows_service, service_dispatcher};
use windows_sys::Win32::Foundation::ERROR_FAILED_SERVICE_CONTROLLER_CONNECT;

use super::error::of_manager;
use super::event_log;
use crate::platform::service::events::{self, Severity};
use crate::platform::service::phase::ServicePhase;
use crate::platform::{ServiceNotice, SystemEvent};

/// How often a start or a stop that goes on says so.
const BEAT: Duration = Duration::from_secs(2);

/// How long the manager waits for the next sign of a start or stop: some beats.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is run as the service.
type Work = Box<dyn FnOnce() -> u8 + Send>;

/// The service that this program is, if it is one.
static CURRENT: OnceLock<Current> = OnceLock::new();

struct Current {
    name: String,
    work: Mutex<Option<Work>>,
    handle: OnceLock<ServiceStatusHandle>,
    phase: Mutex<ServicePhase>,
    asks: UnboundedSender<SystemEvent>,
    asked: Mutex<Option<UnboundedReceiver<SystemEvent>>>,
}

define_windows_service!(entry, service_main);

pub(in crate::platform) fn run_as(name: &str, work: Work) -> io::Result<u8> {
    let (asks, asked) = unbounded_channel();
    event_log::open(name);
    let current = CURRENT.get_or_init(|| Current {
        name: name.to_owned(),
        work: Mutex::new(Some(work)),
        handle: OnceLock::new(),
        phase: Mutex::new(ServicePhase::Starting(0)),
        asks,
        asked: Mutex::new(Some(asked)),
    });
    service_dispatcher::start(name, entry).map_err(|error| {
        let error = of_manager(error);
        match error.raw_os_error().map(|code| code as u32) {
            Some(ERROR_FAILED_SERVICE_CONTROLLER_CONNECT) => io::Error::other(
                "Windows' service manager did not start this program (hint: leave --as-service out)",
            ),
            _ => error,
        }
    })?;
    match *current.phase() {
        ServicePhase::Stopped(code) => Ok(code),
        _ => Err(io::Error::other("the service did not run")),
    }
}

/// Whether this program is a service.
pub(in crate::platform) fn is_service() -> bool {
    CURRENT.get().is_some()
}

/// What the manager asks for, to be taken once; nothing where this program is no service.
pub(in crate::platform::windows) fn controls() -> Option<UnboundedReceiver<SystemEvent>> {
    CURRENT.get()?.asked.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Tells the manager how far the server is.
pub(in crate::platform::windows) fn told(notice: ServiceNotice) {
    let Some(current) = CURRENT.get() else { return };
    if notice == ServiceNotice::Reloading {
        event_log::information(events::RELOADING, "the configuration is read again");
    }
    let before = current.change(|phase| phase.after(notice));
    match (before, *current.phase()) {
        (ServicePhase::Starting(_), ServicePhase::Running) => {
            event_log::information(events::SERVING, "requests are served");
        }
        (ServicePhase::Starting(_) | ServicePhase::Running, ServicePhase::Stopping(_)) => {
            event_log::information(events::STOPPING, "it drains and ends");
        }
        _ => {}
    }
}

/// What the manager runs on a thread of its own.
fn service_main(_arguments: Vec<OsString>) {
    let Some(current) = CURRENT.get() else { return };
    match service_control_handler::register(&current.name, asked) {
        Ok(handle) => drop(current.handle.set(handle)),
        Err(error) => {
            let text = format!("the service manager does not take this program: {}", of_manager(error));
            event_log::report(&events::ServiceEvent {
                id: events::FAILED,
                severity: Severity::Error,
                text: &text,
            });
            return;
        }
    }
    current.change(|phase| phase);
    std::thread::spawn(|| current.beat());
    let work = current.work.lock().unwrap_or_else(PoisonError::into_inner).take();
    let code = work.map_or(1, |work| work());
    if code == 0 {
        event_log::information(events::STOPPED, "it has ended");
    }
    current.change(|_| ServicePhase::Stopped(code));
}

/// What the manager asks. It wants an answer at once, so the work is done elsewhere.
fn asked(control: ServiceControl) -> ServiceControlHandlerResult {
    let Some(current) = CURRENT.get() else { return ServiceControlHandlerResult::NotImplemented };
    match control {
        ServiceControl::Stop | ServiceControl::Shutdown | ServiceControl::Preshutdown => {
            told(ServiceNotice::Stopping);
            let _ = current.asks.send(SystemEvent::Stop);
        }
        ServiceControl::ParamChange => drop(current.asks.send(SystemEvent::Reload)),
        ServiceControl::Interrogate => {}
        _ => return ServiceControlHandlerResult::NotImplemented,
    }
    ServiceControlHandlerResult::NoError
}

// === impl Current ===

impl Current {
    fn phase(&self) -> MutexGuard<'_, ServicePhase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on to another phase, tells it, and gives the one before. One at a time: the manager must not hear
    /// an older one last.
    fn change(&self, step: impl FnOnce(ServicePhase) -> ServicePhase) -> ServicePhase {
        let mut phase = self.phase();
        let before = *phase;
        *phase = step(before);
        if let Some(handle) = self.handle.get() {
            // A manager that does not listen is no reason to end.
            let _ = handle.set_service_status(status(*phase));
        }
        before
    }

    /// Says again and again that a start or stop goes on, until the end.
    fn beat(&self) {
        loop {
            std::thread::sleep(BEAT);
            let phase = *self.phase();
            match phase {
                ServicePhase::Stopped(_) => return,
                phase if phase.is_pending() => drop(self.change(ServicePhase::later)),
                _ => {}
            }
        }
    }
}

fn status(phase: ServicePhase) -> ServiceStatus {
    let stop = ServiceControlAccept::STOP | ServiceControlAccept::PRESHUTDOWN;
    let (current_state, controls_accepted, checkpoint) = match phase {
        ServicePhase::Starting(step) => (ServiceState::StartPending, stop, step + 1),
        ServicePhase::Running => (ServiceState::Running, stop | ServiceControlAccept::PARAM_CHANGE, 0),
        ServicePhase::Stopping(step) => (ServiceState::StopPending, ServiceControlAccept::empty(), step + 1),
        ServicePhase::Stopped(_) => (ServiceState::Stopped, ServiceControlAccept::empty(), 0),
    };
    let exit_code = match phase {
        ServicePhase::Stopped(code) if code != 0 => ServiceExitCode::ServiceSpecific(code.into()),
        _ => ServiceExitCode::NO_ERROR,
    };
    ServiceStatus {
        service_type: ServiceType::OWN_PROCESS,
        current_state,
        controls_accepted,
        exit_code,
        checkpoint,
        wait_hint: if phase.is_pending() { PATIENCE } else { Duration::ZERO },
        process_id: None,
    }
}
