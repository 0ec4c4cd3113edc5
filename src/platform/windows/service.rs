//! Services by Windows' service control manager.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use windows_service::service::{
    Service, ServiceAccess, ServiceAction, ServiceActionType, ServiceErrorControl, ServiceExitCode,
    ServiceFailureActions, ServiceFailureResetPeriod, ServiceInfo, ServiceSidType, ServiceStartType,
    ServiceState, ServiceStatus, ServiceType,
};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};
use windows_sys::Win32::Foundation::{
    ERROR_INVALID_LEVEL, ERROR_SERVICE_CANNOT_ACCEPT_CTRL, ERROR_SERVICE_DOES_NOT_EXIST,
    ERROR_SERVICE_NEVER_STARTED, ERROR_SERVICE_NOT_ACTIVE,
};

use crate::platform::service::{Registration, ServiceCondition, ServiceStep, Status};

mod error;
mod event_log;
mod places;
mod running;

use error::of_manager;
pub(in crate::platform) use event_log::report;
pub(super) use running::{controls, told};
pub(in crate::platform) use running::{is_service, run_as};

/// How long a stop may take: longer than the longest drain that is usual.
const STOP: Duration = Duration::from_secs(90);

/// How often the manager is asked meanwhile.
const ASK: Duration = Duration::from_millis(200);

/// How long the service may drain while the machine shuts down.
const PRESHUTDOWN: Duration = Duration::from_secs(60);

/// After how many seconds it is started again: after the first failure, the second, and each later one.
const RESTARTS: [u64; 3] = [5, 30, 60];

/// Failures are counted anew after a day without one.
const FORGET: Duration = Duration::from_secs(24 * 60 * 60);

pub(in crate::platform) fn perform(step: &ServiceStep) -> io::Result<()> {
    match step {
        ServiceStep::Register(wanted) => register(wanted),
        ServiceStep::Right(account) => places::let_log_on(account),
        ServiceStep::Folder { path, account } => places::folder(path, account),
        ServiceStep::Token { path, account } => places::file(path, account, places::Use::Read),
        ServiceStep::Log { path, account } => places::file(path, account, places::Use::Write),
        ServiceStep::EventSource(name) => event_log::register(name),
        ServiceStep::RemoveEventSource(name) => event_log::forget(name),
        ServiceStep::Start(name) => start(name),
        ServiceStep::Stop(name) => stop(&open(name, ServiceAccess::STOP | ServiceAccess::QUERY_STATUS)?),
        ServiceStep::Unregister(name) => open(name, ServiceAccess::DELETE)?.delete().map_err(of_manager),
        _ => Err(io::Error::new(io::ErrorKind::Unsupported, "this is not for Windows")),
    }
}

pub(in crate::platform) fn status(name: &str, _user: bool) -> io::Result<Status> {
    let access = ServiceAccess::QUERY_STATUS | ServiceAccess::QUERY_CONFIG;
    let service = match open(name, access) {
        Err(error) if code(&error) == Some(ERROR_SERVICE_DOES_NOT_EXIST) => {
            return Ok(Status { state: ServiceCondition::Absent, details: Vec::new() });
        }
        opened => opened?,
    };
    let status = service.query_status().map_err(of_manager)?;
    let config = service.query_config().map_err(of_manager)?;
    let starts = match config.start_type {
        ServiceStartType::AutoStart => "with the machine",
        ServiceStartType::OnDemand => "by hand",
        ServiceStartType::Disabled => "never, it is disabled",
        _ => "as a driver",
    };
    let mut details = Vec::new();
    details.extend(status.process_id.map(|id| ("process", id.to_string())));
    details.extend(config.account_name.map(|account| ("account", account.to_string_lossy().into_owned())));
    details.push(("starts", starts.to_owned()));
    details.push(("command", config.executable_path.display().to_string()));
    Ok(Status { state: state(&status), details })
}

fn state(status: &ServiceStatus) -> ServiceCondition {
    match status.current_state {
        ServiceState::Running | ServiceState::Paused => ServiceCondition::Running,
        ServiceState::Stopped => match status.exit_code {
            ServiceExitCode::Win32(0 | ERROR_SERVICE_NEVER_STARTED) => ServiceCondition::Stopped,
            _ => ServiceCondition::Failed,
        },
        _ => ServiceCondition::Changing,
    }
}

/// Registers it, or changes one of that name.
fn register(wanted: &Registration) -> io::Result<()> {
    let info = ServiceInfo {
        name: OsString::from(&wanted.name),
        display_name: OsString::from(&wanted.name),
        service_type: ServiceType::OWN_PROCESS,
        start_type: ServiceStartType::AutoStart,
        error_control: ServiceErrorControl::Normal,
        executable_path: PathBuf::from(&wanted.program),
        launch_arguments: wanted.arguments.iter().map(OsString::from).collect(),
        dependencies: Vec::new(),
        // LocalSystem by its name too: without one, a service that is there keeps the account that it has.
        account_name: Some(OsString::from(&wanted.account)),
        account_password: None,
    };
    // A restart after a failure is a start that is asked for here already.
    let access = ServiceAccess::CHANGE_CONFIG | ServiceAccess::START;
    let service = match open(&wanted.name, access) {
        Ok(service) => {
            service.change_config(&info).map_err(of_manager)?;
            service
        }
        Err(error) if code(&error) == Some(ERROR_SERVICE_DOES_NOT_EXIST) => {
            let rights = ServiceManagerAccess::CONNECT | ServiceManagerAccess::CREATE_SERVICE;
            manager(rights)?.create_service(&info, access).map_err(of_manager)?
        }
        Err(error) => return Err(error),
    };
    complete(&service)
}

/// What a registration does not take at once. A manager that does not know one of these goes without it.
fn complete(service: &Service) -> io::Result<()> {
    let actions = RESTARTS.map(|seconds| ServiceAction {
        action_type: ServiceActionType::Restart,
        delay: Duration::from_secs(seconds),
    });
    let failures = ServiceFailureActions {
        reset_period: ServiceFailureResetPeriod::After(FORGET),
        reboot_msg: None,
        command: None,
        actions: Some(actions.to_vec()),
    };
    let done = [
        service.set_description(env!("CARGO_PKG_DESCRIPTION")),
        service.set_delayed_auto_start(true),
        service.update_failure_actions(failures),
        // An end with an error that was told in good order is a failure too.
        service.set_failure_actions_on_non_crash_failures(true),
        service.set_preshutdown_timeout(PRESHUTDOWN),
        service.set_config_service_sid_info(ServiceSidType::Unrestricted),
    ];
    let failed = done.into_iter().filter_map(|done| done.map_err(of_manager).err());
    failed.filter(|error| code(error) != Some(ERROR_INVALID_LEVEL)).map(Err).next().unwrap_or(Ok(()))
}

fn start(name: &str) -> io::Result<()> {
    let access = ServiceAccess::START | ServiceAccess::STOP | ServiceAccess::QUERY_STATUS;
    let service = open(name, access)?;
    // A service that runs already is restarted, so that the change takes effect.
    stop(&service)?;
    service.start::<OsString>(&[]).map_err(of_manager)
}

/// Stops it, and waits until it has ended.
fn stop(service: &Service) -> io::Result<()> {
    match service.stop().map_err(of_manager) {
        Err(error) if code(&error) == Some(ERROR_SERVICE_NOT_ACTIVE) => return Ok(()),
        // It stops already.
        Err(error) if code(&error) == Some(ERROR_SERVICE_CANNOT_ACCEPT_CTRL) => {}
        asked => {
            asked?;
        }
    }
    let mut waited = Duration::ZERO;
    while service.query_status().map_err(of_manager)?.current_state != ServiceState::Stopped {
        if waited > STOP {
            let text = format!("it has not ended {} s after it was told to stop", STOP.as_secs());
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        std::thread::sleep(ASK);
        waited += ASK;
    }
    Ok(())
}

fn open(name: &str, access: ServiceAccess) -> io::Result<Service> {
    manager(ServiceManagerAccess::CONNECT)?.open_service(name, access).map_err(of_manager)
}

fn manager(access: ServiceManagerAccess) -> io::Result<ServiceManager> {
    ServiceManager::local_computer(None::<&str>, access).map_err(of_manager)
}

fn code(error: &io::Error) -> Option<u32> {
    error.raw_os_error().map(|code| code as u32)
}
