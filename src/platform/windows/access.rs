//! Who may use a file, folder or pipe: access control lists.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt as _;
use std::os::windows::io::{AsRawHandle, FromRawHandle as _};
use std::path::Path;
use std::ptr;

use windows_sys::Win32::Foundation::{
    ERROR_SUCCESS, GENERIC_ALL, GENERIC_READ, GENERIC_WRITE, INVALID_HANDLE_VALUE, LocalFree,
};
use windows_sys::Win32::Security::Authorization::{
    ConvertStringSecurityDescriptorToSecurityDescriptorW, GetSecurityInfo, SDDL_REVISION_1, SE_FILE_OBJECT,
    SE_OBJECT_TYPE, SetNamedSecurityInfoW,
};
use windows_sys::Win32::Security::{
    ACCESS_ALLOWED_ACE, ACE_HEADER, ACL, DACL_SECURITY_INFORMATION, GetAce, GetSecurityDescriptorDacl,
    INHERIT_ONLY_ACE, OWNER_SECURITY_INFORMATION, PROTECTED_DACL_SECURITY_INFORMATION, PSECURITY_DESCRIPTOR,
    PSID, SECURITY_ATTRIBUTES, SetFileSecurityW,
};
use windows_sys::Win32::Storage::FileSystem::{
    CREATE_NEW, CreateDirectoryW, CreateFileW, DELETE, FILE_ADD_FILE, FILE_ADD_SUBDIRECTORY,
    FILE_APPEND_DATA, FILE_ATTRIBUTE_NORMAL, FILE_DELETE_CHILD, FILE_FLAG_BACKUP_SEMANTICS, FILE_READ_DATA,
    FILE_SHARE_DELETE, FILE_SHARE_READ, FILE_SHARE_WRITE, FILE_WRITE_DATA, READ_CONTROL, WRITE_DAC,
    WRITE_OWNER,
};

use super::files::wide_path;
use super::sid::Sid;
use super::text::wide;
use crate::platform::{FileAccess, FileKind, FileOwner};

/// Entries of a list that allow something, by the number of their kind.
const ALLOWED: u8 = 0;
const ALLOWED_CALLBACK: u8 = 9;

/// Other kinds that allow: for objects of a directory service. No file has them; if one does, what they
/// allow is not known.
const ALLOWED_OTHERS: [u8; 3] = [4, 5, 11];

const READS: u32 = FILE_READ_DATA | GENERIC_READ | GENERIC_ALL;
const WRITES: u32 = FILE_WRITE_DATA
    | FILE_APPEND_DATA
    | FILE_DELETE_CHILD
    | DELETE
    | WRITE_DAC
    | WRITE_OWNER
    | GENERIC_WRITE
    | GENERIC_ALL;

/// A description of who may use a thing, to make it with.
pub(super) struct Descriptor(PSECURITY_DESCRIPTOR);

impl Descriptor {
    /// For this user alone; nothing is taken over from the folder around it. The user is the owner too: what an
    /// administrator makes with all rights would else belong to the group of them, and not be the user's own later.
    pub(super) fn private(kind: FileKind) -> io::Result<Descriptor> {
        let user = Sid::of_user()?.text()?;
        let inherited = match kind {
            FileKind::File => "",
            FileKind::Folder => "OICI",
        };
        Descriptor::read(&format!("O:{user}D:P(A;{inherited};GA;;;{user})"))
    }

    /// As the system writes it: SDDL.
    pub(super) fn read(text: &str) -> io::Result<Descriptor> {
        let text = wide(text);
        let mut made = ptr::null_mut();
        // SAFETY: the text has a zero at its end; what the system makes is freed on drop.
        let done = unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                text.as_ptr(),
                SDDL_REVISION_1,
                &raw mut made,
                ptr::null_mut(),
            )
        };
        if done == 0 { Err(io::Error::last_os_error()) } else { Ok(Descriptor(made)) }
    }

    /// For a function that makes something. It points into `self`.
    pub(super) fn attributes(&self) -> SECURITY_ATTRIBUTES {
        SECURITY_ATTRIBUTES {
            nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
            lpSecurityDescriptor: self.0,
            bInheritHandle: 0,
        }
    }
}

impl Descriptor {
    /// Describes from now on what is at a path, its owner too.
    pub(super) fn put(&self, path: &Path) -> io::Result<()> {
        let what = OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION;
        // Held until after the error is read: whatever is freed in between may take it back.
        let path = wide_path(path)?;
        // SAFETY: the path has a zero at its end, and the description is whole.
        let done = unsafe { SetFileSecurityW(path.as_ptr(), what, self.0) };
        if done == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// As [`Descriptor::put`] for a folder, and has what is in it already use the new rights where it has its own
    /// from the folder: `put` alone leaves that as it is.
    pub(super) fn put_on_all(&self, folder: &Path) -> io::Result<()> {
        let what = DACL_SECURITY_INFORMATION | PROTECTED_DACL_SECURITY_INFORMATION;
        let (mut list, mut there, mut defaulted) = (ptr::null_mut(), 0, 0);
        let path = wide_path(folder)?;
        let none = ptr::null_mut();
        // SAFETY: the description is whole, and the list points into it; the path has a zero at its end.
        let code = unsafe {
            if GetSecurityDescriptorDacl(self.0, &raw mut there, &raw mut list, &raw mut defaulted) == 0 {
                return Err(io::Error::last_os_error());
            }
            SetNamedSecurityInfoW(path.as_ptr(), SE_FILE_OBJECT, what, none, none, list, ptr::null())
        };
        succeeded(code)?;
        // Wine adds what the folder around it passes on.
        self.put(folder)
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: the system allocated it for us, and nobody uses it any more.
        unsafe { LocalFree(self.0) };
    }
}

pub(in crate::platform) fn create_private_file(path: &Path) -> io::Result<File> {
    create_file(path, &Descriptor::private(FileKind::File)?)
}

/// Makes a file with this description, from its first moment on. One that exists is an error.
pub(super) fn create_file(path: &Path, descriptor: &Descriptor) -> io::Result<File> {
    let attributes = descriptor.attributes();
    let path = wide_path(path)?;
    // SAFETY: the path has a zero at its end, and the attributes outlive the call. The handle is ours.
    unsafe {
        let handle = CreateFileW(
            path.as_ptr(),
            GENERIC_READ | GENERIC_WRITE,
            FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
            &raw const attributes,
            CREATE_NEW,
            FILE_ATTRIBUTE_NORMAL,
            ptr::null_mut(),
        );
        match handle {
            INVALID_HANDLE_VALUE => Err(io::Error::last_os_error()),
            handle => Ok(File::from_raw_handle(handle)),
        }
    }
}

pub(in crate::platform) fn open_as(_file: &File, path: &Path, other: &Path) -> io::Result<()> {
    let other = opened(other)?;
    let whole = described(&other, SE_FILE_OBJECT)?.2;
    let path = wide_path(path)?;
    // SAFETY: the path has a zero at its end, and the description is whole.
    let done = unsafe { SetFileSecurityW(path.as_ptr(), DACL_SECURITY_INFORMATION, whole.0) };
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

pub(in crate::platform) fn create_private_folder(path: &Path) -> io::Result<()> {
    create_folder(path, &Descriptor::private(FileKind::Folder)?)
}

/// Makes a folder with this description, from its first moment on. One that exists is an error.
pub(super) fn create_folder(path: &Path, descriptor: &Descriptor) -> io::Result<()> {
    let attributes = descriptor.attributes();
    let path = wide_path(path)?;
    // SAFETY: the path has a zero at its end, and the attributes outlive the call.
    let done = unsafe { CreateDirectoryW(path.as_ptr(), &raw const attributes) };
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

pub(in crate::platform) fn access_of(file: &File) -> io::Result<FileAccess> {
    let (owner, others) = owner_and_others(file, SE_FILE_OBJECT)?;
    let shown: Vec<String> = others.iter().map(|(sid, mask)| shown(sid, *mask)).collect();
    let masks: Vec<u32> = others.iter().map(|(_, mask)| *mask).collect();
    Ok(FileAccess {
        owner,
        others_read: masks.iter().any(|mask| mask & READS != 0),
        others_write: masks.iter().any(|mask| mask & WRITES != 0),
        sticky: only_adds(&masks) && file.metadata()?.is_dir(),
        shown: if shown.is_empty() { "nobody else may use it".to_owned() } else { shown.join(", ") },
    })
}

pub(in crate::platform) fn access_at(path: &Path) -> io::Result<FileAccess> {
    access_of(&opened(path)?)
}

/// Who of others may change a file or folder, as [`Sid::text`]; with `readers` also who may read it.
pub(super) fn others_at(path: &Path, readers: bool) -> io::Result<Vec<String>> {
    let wanted = if readers { READS | WRITES } else { WRITES };
    let (_, others) = owner_and_others(&opened(path)?, SE_FILE_OBJECT)?;
    let mut found = Vec::new();
    for (sid, _) in others.iter().filter(|(_, mask)| mask & wanted != 0) {
        let text = sid.text()?;
        if !found.contains(&text) {
            found.push(text);
        }
    }
    Ok(found)
}

/// A file or folder, to look at who may use it.
fn opened(path: &Path) -> io::Result<File> {
    // With the flag a folder can be opened too.
    OpenOptions::new().access_mode(READ_CONTROL).custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(path)
}

/// Owner and list of what a handle stands for; both point into the description behind them.
fn described(handle: &impl AsRawHandle, kind: SE_OBJECT_TYPE) -> io::Result<(PSID, *mut ACL, Descriptor)> {
    let (mut owner, mut list, mut whole) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
    let what = OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION;
    let none = ptr::null_mut();
    // SAFETY: the handle is open, and the pointers are ours; what the system makes is freed on drop.
    let code = unsafe {
        GetSecurityInfo(
            handle.as_raw_handle(),
            kind,
            what,
            &raw mut owner,
            none,
            &raw mut list,
            ptr::null_mut(),
            &raw mut whole,
        )
    };
    succeeded(code)?;
    Ok((owner, list, Descriptor(whole)))
}

/// Whether all that these rights on a folder change is what is added to it: so it is of `C:\` and `C:\ProgramData` for
/// every user.
fn only_adds(masks: &[u32]) -> bool {
    let adds = FILE_ADD_FILE | FILE_ADD_SUBDIRECTORY;
    masks.iter().any(|mask| mask & adds != 0) && masks.iter().all(|mask| mask & WRITES & !adds == 0)
}

/// The owner of what a handle stands for, and what each of the others may do who is neither the owner, this user nor
/// the system. The handle was opened to read that.
pub(super) fn owner_and_others(
    handle: &impl AsRawHandle,
    kind: SE_OBJECT_TYPE,
) -> io::Result<(FileOwner, Vec<(Sid, u32)>)> {
    let (owner, list, _whole) = described(handle, kind)?;
    // SAFETY: the system gave it just now.
    let owner = unsafe { Sid::copy(owner)? };
    let ours = [Sid::of_user()?, Sid::of_new_files()?];
    // SAFETY: the list is whole, or none.
    let mut others = unsafe { allowed(list)? };
    others.retain(|(sid, mask)| {
        mask & (READS | WRITES) != 0
            && !(ours.contains(sid) || *sid == owner || sid.is_system() || sid.is_owner())
    });
    let owner = match owner {
        owner if ours.contains(&owner) => FileOwner::Us,
        owner if owner.is_system() => FileOwner::System,
        owner => FileOwner::Other(owner.name()),
    };
    Ok((owner, others))
}

fn shown(sid: &Sid, mask: u32) -> String {
    let what = if mask & WRITES != 0 { "change" } else { "read" };
    format!("{} may {what} it", sid.name())
}

/// Whom a list allows what. No list at all allows everything to everyone.
///
/// # Safety
///
/// `list` is null or points to a whole list.
unsafe fn allowed(list: *const ACL) -> io::Result<Vec<(Sid, u32)>> {
    if list.is_null() {
        return Ok(vec![(Sid::everyone(), GENERIC_ALL)]);
    }
    let mut found = Vec::new();
    // SAFETY: the caller's promise; the system says how many entries there are and where each is, and the
    // kind of an entry says how it is laid out.
    unsafe {
        for at in 0..u32::from((*list).AceCount) {
            let mut entry = ptr::null_mut();
            if GetAce(list, at, &raw mut entry) == 0 {
                return Err(io::Error::last_os_error());
            }
            let header = &*entry.cast::<ACE_HEADER>();
            if u32::from(header.AceFlags) & INHERIT_ONLY_ACE != 0 {
                continue;
            }
            if header.AceType == ALLOWED || header.AceType == ALLOWED_CALLBACK {
                let entry = entry.cast::<ACCESS_ALLOWED_ACE>();
                let sid = Sid::copy((&raw mut (*entry).SidStart).cast())?;
                found.push((sid, (*entry).Mask));
            } else if ALLOWED_OTHERS.contains(&header.AceType) {
                found.push((Sid::everyone(), GENERIC_ALL));
            }
        }
    }
    Ok(found)
}

fn succeeded(code: u32) -> io::Result<()> {
    match code {
        ERROR_SUCCESS => Ok(()),
        code => Err(io::Error::from_raw_os_error(code as i32)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::testing::set_mode;
    use crate::platform::{command_to_close, command_to_own, command_to_protect};

    #[test]
    fn a_folder_that_others_may_add_to_is_sticky_and_one_whose_files_they_may_remove_is_not() {
        // What Windows itself gives: users on C:\, on C:\ProgramData, on a folder that is made in C:\.
        let (root, shared, made) = (0x4, 0x116, 0x0013_01bf);
        assert!(only_adds(&[root]) && only_adds(&[shared, 0x0012_00a9]));
        assert!(!only_adds(&[made]) && !only_adds(&[shared, DELETE]) && !only_adds(&[shared, WRITE_DAC]));
        assert!(!only_adds(&[0x0012_00a9]) && !only_adds(&[]));
    }

    #[test]
    fn commands_mean_the_same_in_powershell_and_in_the_command_prompt() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a file");
        std::fs::write(&file, "").unwrap();
        set_mode(&file, 0o666);
        let us = Sid::of_user().unwrap().text().unwrap();
        let (close, protect) =
            (command_to_close(&file, FileKind::File), command_to_protect(&file, FileKind::File));
        for command in [&close, &protect, &command_to_own(&file)] {
            // Neither shell's variables.
            assert!(!command.contains(['%', '$', '\'']), "{command}");
            assert!(command.starts_with(&format!("icacls \"{}\" /", file.display())), "{command}");
        }
        assert!(
            close.contains(&format!("\"*{us}:F\"")) && close.contains("/remove:g \"*S-1-1-0\""),
            "{close}"
        );
        assert!(protect.ends_with("/inheritance:d /grant:r \"*S-1-1-0:RX\""), "{protect}");
        let open = command_to_protect(folder.path(), FileKind::Folder);
        assert!(!open.contains("S-1-1-0:"), "nobody is let in: {open}");
    }
}
