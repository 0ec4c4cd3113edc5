//! A program with all that it starts: a job object.

use std::io;
use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle, RawHandle};
use std::ptr;

use tokio::process::{Child, Command};
use windows_sys::Win32::Foundation::INVALID_HANDLE_VALUE;
use windows_sys::Win32::System::Diagnostics::ToolHelp::{
    CreateToolhelp32Snapshot, TH32CS_SNAPTHREAD, THREADENTRY32, Thread32First, Thread32Next,
};
use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT_DIE_ON_UNHANDLED_EXCEPTION,
    JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE, JOBOBJECT_BASIC_ACCOUNTING_INFORMATION,
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION, JobObjectBasicAccountingInformation,
    JobObjectExtendedLimitInformation, QueryInformationJobObject, SetInformationJobObject,
    TerminateJobObject,
};
use windows_sys::Win32::System::Threading::{
    CREATE_NEW_PROCESS_GROUP, CREATE_NO_WINDOW, CREATE_SUSPENDED, OpenThread, ResumeThread,
    THREAD_SUSPEND_RESUME,
};

/// What a program that was killed ends with.
pub(super) const KILLED: u32 = 137;

pub(in crate::platform) struct Group(OwnedHandle);

impl Group {
    pub(in crate::platform) fn spawn(command: &mut Command) -> io::Result<(Child, Group)> {
        let group = Group::new(true)?;
        // A console of its own that nobody sees: Ctrl-C is for the server, which then ends its workers in order.
        let child = group.start(command, CREATE_NEW_PROCESS_GROUP | CREATE_NO_WINDOW)?;
        Ok((child, group))
    }

    /// Starts a program in it.
    pub(super) fn start(&self, command: &mut Command, flags: u32) -> io::Result<Child> {
        // Suspended, so that it starts nothing before it is in the job.
        command.creation_flags(CREATE_SUSPENDED | flags);
        let mut child = command.spawn()?;
        let begun = match (child.raw_handle(), child.id()) {
            (Some(handle), Some(id)) => self.take(handle).and_then(|()| resume(id)),
            _ => Err(io::Error::other("it ended before it began")),
        };
        if let Err(error) = begun {
            // It never ran; with the job, if it is in there already, it ends anyway.
            let _ = child.start_kill();
            return Err(error);
        }
        Ok(child)
    }

    /// A job without programs. It may end with its last handle, so also when this program crashes.
    pub(super) fn new(ends_with_us: bool) -> io::Result<Group> {
        // SAFETY: no name and no attributes; the handle is ours.
        let job = unsafe {
            let handle = CreateJobObjectW(ptr::null(), ptr::null());
            if handle.is_null() {
                return Err(io::Error::last_os_error());
            }
            OwnedHandle::from_raw_handle(handle)
        };
        if !ends_with_us {
            return Ok(Group(job));
        }
        let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
        // No window may ask what to do about a crash.
        limits.BasicLimitInformation.LimitFlags =
            JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE | JOB_OBJECT_LIMIT_DIE_ON_UNHANDLED_EXCEPTION;
        // SAFETY: the handle is open, and the structure is of the kind and size said.
        let done = unsafe {
            SetInformationJobObject(
                job.as_raw_handle(),
                JobObjectExtendedLimitInformation,
                (&raw const limits).cast(),
                size_of_val(&limits) as u32,
            )
        };
        if done == 0 { Err(io::Error::last_os_error()) } else { Ok(Group(job)) }
    }

    /// Whether no program of it runs.
    pub(super) fn is_empty(&self) -> bool {
        let mut counts = JOBOBJECT_BASIC_ACCOUNTING_INFORMATION::default();
        // SAFETY: the handle is open, and the structure is of the kind and size said.
        let done = unsafe {
            QueryInformationJobObject(
                self.0.as_raw_handle(),
                JobObjectBasicAccountingInformation,
                (&raw mut counts).cast(),
                size_of_val(&counts) as u32,
                ptr::null_mut(),
            )
        };
        done == 0 || counts.ActiveProcesses == 0
    }

    fn take(&self, process: RawHandle) -> io::Result<()> {
        // SAFETY: both handles are open.
        match unsafe { AssignProcessToJobObject(self.0.as_raw_handle(), process) } {
            0 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }

    pub(in crate::platform) fn kill(&self) {
        // SAFETY: the handle is open. The only failure is that nobody is left in it.
        unsafe { TerminateJobObject(self.0.as_raw_handle(), KILLED) };
    }
}

/// Lets a process that was started suspended run: it has one thread.
fn resume(process: u32) -> io::Result<()> {
    // SAFETY: takes numbers alone; the handle is ours.
    let threads = unsafe {
        match CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0) {
            INVALID_HANDLE_VALUE => return Err(io::Error::last_os_error()),
            handle => OwnedHandle::from_raw_handle(handle),
        }
    };
    let mut entry = THREADENTRY32 { dwSize: size_of::<THREADENTRY32>() as u32, ..THREADENTRY32::default() };
    // SAFETY: the snapshot is open, and the entry says its own size.
    let mut more = unsafe { Thread32First(threads.as_raw_handle(), &raw mut entry) };
    let mut resumed = false;
    while more != 0 {
        if entry.th32OwnerProcessID == process {
            // SAFETY: takes numbers alone; the handle is ours.
            unsafe {
                let handle = OpenThread(THREAD_SUSPEND_RESUME, 0, entry.th32ThreadID);
                if handle.is_null() {
                    return Err(io::Error::last_os_error());
                }
                let thread = OwnedHandle::from_raw_handle(handle);
                resumed |= ResumeThread(thread.as_raw_handle()) != u32::MAX;
            }
        }
        // SAFETY: as above.
        more = unsafe { Thread32Next(threads.as_raw_handle(), &raw mut entry) };
    }
    if resumed { Ok(()) } else { Err(io::Error::other("it could not be resumed")) }
}
