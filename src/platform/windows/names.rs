//! How this machine is called.

use std::ptr;

use windows_sys::Win32::System::SystemInformation::{
    COMPUTER_NAME_FORMAT, ComputerNameDnsDomain, ComputerNameDnsHostname, GetComputerNameExW,
};

/// Its name without its domain.
pub(super) fn of_machine() -> Option<String> {
    name(ComputerNameDnsHostname)
}

/// Its domain, where it is in one.
pub(super) fn domain_of_machine() -> Option<String> {
    name(ComputerNameDnsDomain)
}

/// The name of at most 15 letters that machines had before DNS, and that many are still called by.
pub(super) fn from_before_dns() -> Option<String> {
    std::env::var("COMPUTERNAME").ok().filter(|name| !name.is_empty())
}

fn name(kind: COMPUTER_NAME_FORMAT) -> Option<String> {
    let mut length = 0;
    // SAFETY: without a buffer it says only how long the name is, with its zero.
    unsafe { GetComputerNameExW(kind, ptr::null_mut(), &raw mut length) };
    let mut buffer = vec![0_u16; length as usize];
    // SAFETY: the buffer is as long as said.
    let found = unsafe { GetComputerNameExW(kind, buffer.as_mut_ptr(), &raw mut length) };
    let name = String::from_utf16_lossy(buffer.get(..length as usize)?);
    (found != 0 && !name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_name_of_which_the_old_one_is_the_begin() {
        let (whole, old) = (of_machine().unwrap(), from_before_dns().unwrap());
        let begin: String = whole.chars().take(15).collect();
        assert!(old.eq_ignore_ascii_case(&begin), "{whole}, {old}");
        assert!(crate::platform::own_names().contains(&whole.to_ascii_lowercase()));
    }
}
