//! The Event Log.

use std::io;
use std::ptr;
use std::sync::OnceLock;

use windows_sys::Win32::Foundation::{ERROR_FILE_NOT_FOUND, ERROR_SUCCESS};
use windows_sys::Win32::System::EventLog::{
    EVENTLOG_ERROR_TYPE, EVENTLOG_INFORMATION_TYPE, EVENTLOG_WARNING_TYPE, RegisterEventSourceW, ReportEventW,
};
use windows_sys::Win32::System::Registry::{
    HKEY_LOCAL_MACHINE, REG_DWORD, REG_EXPAND_SZ, RegDeleteTreeW, RegSetKeyValueW,
};

use super::super::text::wide;
use crate::platform::service::events::{self, ServiceEvent, Severity};

/// Where the sources of the log "Application" are.
const SOURCES: &str = r"SYSTEM\CurrentControlSet\Services\EventLog\Application";

/// Has a message for each number from 1 to 1000 that is the event's own text. Every Windows has it.
const MESSAGES: &str = r"%SystemRoot%\System32\EventCreate.exe";

/// The longest text of an event, in UTF-16 units: what the system takes, less its own.
const LONGEST: usize = 31_000;

/// Our source, as a number: a handle that stays open to the end.
static SOURCE: OnceLock<isize> = OnceLock::new();

/// Events go to the source of this name from now on.
pub(super) fn open(name: &str) {
    // SAFETY: no server, and a name with a zero at its end.
    let handle = unsafe { RegisterEventSourceW(ptr::null(), wide(name).as_ptr()) };
    if !handle.is_null() {
        let _ = SOURCE.set(handle as isize);
    }
}

pub(in crate::platform) fn report(event: &ServiceEvent<'_>) {
    let Some(source) = SOURCE.get() else { return };
    let kind = match event.severity {
        Severity::Information => EVENTLOG_INFORMATION_TYPE,
        Severity::Warning => EVENTLOG_WARNING_TYPE,
        Severity::Error => EVENTLOG_ERROR_TYPE,
    };
    let mut text = wide(events::shown(event.text));
    if text.len() > LONGEST {
        text.truncate(LONGEST);
        text.push(0);
    }
    let texts = [text.as_ptr()];
    // SAFETY: the handle stays open; one text, with a zero at its end, that outlives the call. A log that is
    // full is no reason to end.
    unsafe {
        let source = *source as *mut _;
        let id = u32::from(event.id);
        ReportEventW(source, kind, 0, id, ptr::null_mut(), 1, 0, texts.as_ptr(), ptr::null());
    }
}

pub(super) fn information(id: u16, text: &str) {
    report(&ServiceEvent { id, severity: Severity::Information, text });
}

/// Tells the system where the messages of a source are.
pub(super) fn register(name: &str) -> io::Result<()> {
    let key = format!(r"{SOURCES}\{name}");
    let messages: Vec<u8> = wide(MESSAGES).into_iter().flat_map(u16::to_le_bytes).collect();
    // Errors, warnings and information.
    let kinds = 7_u32.to_le_bytes();
    set(&key, "EventMessageFile", REG_EXPAND_SZ, &messages)?;
    set(&key, "TypesSupported", REG_DWORD, &kinds)
}

/// Takes that back.
pub(super) fn forget(name: &str) -> io::Result<()> {
    let key = wide(format!(r"{SOURCES}\{name}"));
    // SAFETY: a key of the system, and a path with a zero at its end.
    match unsafe { RegDeleteTreeW(HKEY_LOCAL_MACHINE, key.as_ptr()) } {
        ERROR_SUCCESS | ERROR_FILE_NOT_FOUND => Ok(()),
        code => Err(io::Error::from_raw_os_error(code as i32)),
    }
}

fn set(key: &str, name: &str, kind: u32, value: &[u8]) -> io::Result<()> {
    let (key, name) = (wide(key), wide(name));
    let length = value.len() as u32;
    // SAFETY: a key of the system, texts with a zero at their end, and a value as long as said.
    let code = unsafe {
        RegSetKeyValueW(HKEY_LOCAL_MACHINE, key.as_ptr(), name.as_ptr(), kind, value.as_ptr().cast(), length)
    };
    if code == ERROR_SUCCESS { Ok(()) } else { Err(io::Error::from_raw_os_error(code as i32)) }
}
