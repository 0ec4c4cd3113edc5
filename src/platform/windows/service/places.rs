//! A service's files: for the system, its administrators and the service's account.

use std::fs;
use std::io;
use std::path::Path;
use std::ptr;

use windows_sys::Win32::Security::Authentication::Identity::{
    LSA_HANDLE, LSA_OBJECT_ATTRIBUTES, LSA_UNICODE_STRING, LsaAddAccountRights, LsaClose,
    LsaNtStatusToWinError, LsaOpenPolicy, POLICY_CREATE_ACCOUNT, POLICY_LOOKUP_NAMES,
};

use super::super::access::{Descriptor, access_at, create_file, create_folder};
use super::super::sid::Sid;
use crate::platform::FileOwner;

/// What the service's account may do with a file.
#[derive(Clone, Copy)]
pub(super) enum Use {
    Read,
    Write,
}

/// May log on as a service.
const LOG_ON: &str = "SeServiceLogonRight";

/// Makes a folder. One that is there is taken over, unless it is a stranger's: anybody may make folders in
/// `%ProgramData%`.
pub(super) fn folder(path: &Path, account: &str) -> io::Result<()> {
    let account = Sid::of_account(account)?.text()?;
    // The account may do all but change who may do what.
    let list =
        Descriptor::read(&format!("O:BAD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1301bf;;;{account})"))?;
    match create_folder(path, &list) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if !fs::symlink_metadata(path)?.is_dir() {
                return Err(io::Error::other("something that is not a folder is there"));
            }
            refuse_a_stranger_s(path)?;
            list.put_on_all(path)
        }
        made => made,
    }
}

/// Makes an empty file. One that is there keeps its content.
pub(super) fn file(path: &Path, account: &str, r#use: Use) -> io::Result<()> {
    let account = Sid::of_account(account)?.text()?;
    let may = match r#use {
        Use::Read => "FR",
        Use::Write => "0x1301bf",
    };
    let list = Descriptor::read(&format!("O:BAD:P(A;;FA;;;SY)(A;;FA;;;BA)(A;;{may};;;{account})"))?;
    match create_file(path, &list) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            refuse_a_stranger_s(path)?;
            list.put(path)
        }
        made => made.map(drop),
    }
}

fn refuse_a_stranger_s(path: &Path) -> io::Result<()> {
    if let FileOwner::Other(who) = access_at(path)?.owner {
        let text = format!("{} belongs to {who}: look at it, and move it away", path.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    Ok(())
}

/// Lets an account log on as a service. The manager does that by itself for accounts that a person types in.
pub(super) fn let_log_on(account: &str) -> io::Result<()> {
    let account = Sid::of_account(account)?;
    let mut name: Vec<u16> = LOG_ON.encode_utf16().collect();
    let length = (name.len() * 2) as u16;
    let right = LSA_UNICODE_STRING { Length: length, MaximumLength: length, Buffer: name.as_mut_ptr() };
    let attributes = LSA_OBJECT_ATTRIBUTES::default();
    let mut policy: LSA_HANDLE = 0;
    let wanted = (POLICY_CREATE_ACCOUNT | POLICY_LOOKUP_NAMES) as u32;
    // SAFETY: this machine's own policy; the structures are ours and outlive the calls, and the handle is closed.
    let status = unsafe {
        match LsaOpenPolicy(ptr::null(), &raw const attributes, wanted, &raw mut policy) {
            0 => {
                let status = LsaAddAccountRights(policy, account.raw(), &raw const right, 1);
                LsaClose(policy);
                status
            }
            status => status,
        }
    };
    if status == 0 {
        return Ok(());
    }
    // SAFETY: takes a number alone.
    Err(io::Error::from_raw_os_error(unsafe { LsaNtStatusToWinError(status) } as i32))
}
