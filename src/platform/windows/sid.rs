//! Users and groups, as Windows numbers them.

use std::io;
use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle};
use std::ptr;

use windows_sys::Win32::Foundation::LocalFree;
use windows_sys::Win32::Security::Authorization::ConvertSidToStringSidW;
use windows_sys::Win32::Security::{
    CopySid, EqualSid, GetLengthSid, GetTokenInformation, IsWellKnownSid, LookupAccountNameW,
    LookupAccountSidW, PSID, TOKEN_OWNER, TOKEN_QUERY, TOKEN_USER, TokenOwner, TokenUser,
    WELL_KNOWN_SID_TYPE, WinBuiltinAdministratorsSid, WinCreatorOwnerRightsSid, WinCreatorOwnerSid,
    WinLocalSystemSid,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};

/// The account that owns what Windows itself installs.
const TRUSTED_INSTALLER: &str = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464";

/// The system's own accounts that a service may have, and the last part of their numbers, `S-1-5-…`.
const SYSTEM_ACCOUNTS: [(&str, u8); 4] = [
    ("LocalSystem", 18),
    (r"NT AUTHORITY\SYSTEM", 18),
    (r"NT AUTHORITY\LocalService", 19),
    (r"NT AUTHORITY\NetworkService", 20),
];

/// A user or group; a copy of our own.
#[derive(Clone)]
pub(super) struct Sid(Vec<u8>);

impl Sid {
    /// The user that this program runs as.
    pub(super) fn of_user() -> io::Result<Sid> {
        let information = token_information(TokenUser)?;
        // SAFETY: for this class the system wrote a TOKEN_USER at the begin, aligned as u64.
        let user = unsafe { &*information.as_ptr().cast::<TOKEN_USER>() };
        // SAFETY: it points into the same buffer.
        unsafe { Sid::copy(user.User.Sid) }
    }

    /// Who owns what this program makes: for an administrator it may be the group of them.
    pub(super) fn of_new_files() -> io::Result<Sid> {
        let information = token_information(TokenOwner)?;
        // SAFETY: for this class the system wrote a TOKEN_OWNER at the begin, aligned as u64.
        let owner = unsafe { &*information.as_ptr().cast::<TOKEN_OWNER>() };
        // SAFETY: it points into the same buffer.
        unsafe { Sid::copy(owner.Owner) }
    }

    /// An account of this machine, its domain, or a service.
    pub(super) fn of_account(name: &str) -> io::Result<Sid> {
        // Their names are other ones in Windows of another language; the service manager takes these in all.
        let own = SYSTEM_ACCOUNTS.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        if let Some((_, number)) = own {
            return Ok(Sid(vec![1, 1, 0, 0, 0, 0, 0, 5, *number, 0, 0, 0]));
        }
        let mut sid = vec![0_u64; 9];
        let (mut size, mut domain, mut length, mut kind) = ((sid.len() * 8) as u32, [0_u16; 257], 257, 0);
        // Held until after the error is read: whatever is freed in between may take it back.
        let wide = super::text::wide(name);
        // SAFETY: the name has a zero at its end, and the buffers are as long as said: a sid has at most 68 bytes.
        unsafe {
            let found = LookupAccountNameW(
                ptr::null(),
                wide.as_ptr(),
                sid.as_mut_ptr().cast(),
                &raw mut size,
                domain.as_mut_ptr(),
                &raw mut length,
                &raw mut kind,
            );
            if found == 0 {
                let error = io::Error::last_os_error();
                return Err(io::Error::new(
                    error.kind(),
                    format!("the account {name} is not known: {error}"),
                ));
            }
            Sid::copy(sid.as_mut_ptr().cast())
        }
    }

    /// A copy of one that the system holds.
    ///
    /// # Safety
    ///
    /// `sid` points to a whole one.
    pub(super) unsafe fn copy(sid: PSID) -> io::Result<Sid> {
        // SAFETY: the caller's promise; the buffer is as long as the system asks.
        unsafe {
            let mut bytes = vec![0; GetLengthSid(sid) as usize];
            match CopySid(bytes.len() as u32, bytes.as_mut_ptr().cast(), sid) {
                0 => Err(io::Error::last_os_error()),
                _ => Ok(Sid(bytes)),
            }
        }
    }

    /// Everyone: `S-1-1-0`.
    pub(super) fn everyone() -> Sid {
        Sid(vec![1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0])
    }

    pub(super) fn raw(&self) -> PSID {
        self.0.as_ptr().cast_mut().cast()
    }

    /// As `S-1-5-…`.
    pub(super) fn text(&self) -> io::Result<String> {
        let mut text = ptr::null_mut();
        // SAFETY: the sid is whole; the system gives text with a zero at its end, which it wants back.
        unsafe {
            if ConvertSidToStringSidW(self.raw(), &raw mut text) == 0 {
                return Err(io::Error::last_os_error());
            }
            let length = (0..).take_while(|at| *text.add(*at) != 0).count();
            let owned = String::from_utf16_lossy(std::slice::from_raw_parts(text, length));
            LocalFree(text.cast());
            Ok(owned)
        }
    }

    /// As people write it, `DOMAIN\name`, or its number where it has no name.
    pub(super) fn name(&self) -> String {
        let (mut name, mut domain) = ([0_u16; 257], [0_u16; 257]);
        let (mut name_length, mut domain_length, mut kind) = (257, 257, 0);
        // SAFETY: the sid is whole, and the buffers are as long as said.
        let found = unsafe {
            LookupAccountSidW(
                ptr::null(),
                self.raw(),
                name.as_mut_ptr(),
                &raw mut name_length,
                domain.as_mut_ptr(),
                &raw mut domain_length,
                &raw mut kind,
            )
        };
        if found == 0 {
            return self.text().unwrap_or_else(|_| "an unknown user".to_owned());
        }
        let name = String::from_utf16_lossy(&name[..name_length as usize]);
        match domain_length {
            0 => name,
            length => format!("{}\\{name}", String::from_utf16_lossy(&domain[..length as usize])),
        }
    }

    /// One of the system's own accounts, which nothing keeps out.
    pub(super) fn is_system(&self) -> bool {
        self.is(WinLocalSystemSid)
            || self.is(WinBuiltinAdministratorsSid)
            || self.text().is_ok_and(|text| text == TRUSTED_INSTALLER)
    }

    /// Stands for the owner of the thing.
    pub(super) fn is_owner(&self) -> bool {
        self.is(WinCreatorOwnerSid) || self.is(WinCreatorOwnerRightsSid)
    }

    fn is(&self, known: WELL_KNOWN_SID_TYPE) -> bool {
        // SAFETY: the sid is whole.
        unsafe { IsWellKnownSid(self.raw(), known) != 0 }
    }
}

impl PartialEq for Sid {
    fn eq(&self, other: &Sid) -> bool {
        // SAFETY: both are whole.
        unsafe { EqualSid(self.raw(), other.raw()) != 0 }
    }
}

/// What the system says of our token, in a buffer aligned for its structures.
fn token_information(class: i32) -> io::Result<Vec<u64>> {
    let mut token = ptr::null_mut();
    // SAFETY: the pseudo handle is always good, and the token's handle is ours to close.
    let token = unsafe {
        if OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &raw mut token) == 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedHandle::from_raw_handle(token)
    };
    let mut buffer = vec![0_u64; 64];
    let (size, mut used) = ((buffer.len() * 8) as u32, 0);
    // SAFETY: the buffer is as long as said; a user and a sid take at most 84 bytes.
    let done = unsafe {
        GetTokenInformation(token.as_raw_handle(), class, buffer.as_mut_ptr().cast(), size, &raw mut used)
    };
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(buffer) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_of_the_system_are_known_in_windows_of_every_language() {
        for (name, number) in [
            ("LocalSystem", "S-1-5-18"),
            (r"nt authority\system", "S-1-5-18"),
            (r"NT AUTHORITY\LocalService", "S-1-5-19"),
            (r"NT AUTHORITY\NetworkService", "S-1-5-20"),
        ] {
            assert_eq!(Sid::of_account(name).unwrap().text().unwrap(), number, "{name}");
        }
        assert!(Sid::of_account("LocalSystem").unwrap().is_system());
        assert!(!Sid::of_account(r"NT AUTHORITY\LocalService").unwrap().is_system());
    }
}
