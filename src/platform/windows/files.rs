//! Files and folders: which one a path leads to, locks, known folders, long paths.

use std::ffi::c_void;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt as _;
use std::os::windows::io::AsRawHandle as _;
use std::path::{Path, PathBuf};
use std::ptr;
use std::time::Duration;

use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_IO_PENDING, ERROR_LOCK_VIOLATION, ERROR_SHARING_VIOLATION,
};
use windows_sys::Win32::Storage::FileSystem::{
    BY_HANDLE_FILE_INFORMATION, FILE_FLAG_BACKUP_SEMANTICS, FILE_ID_INFO, FileIdInfo, GetDiskFreeSpaceExW,
    GetFileInformationByHandle, GetFileInformationByHandleEx, LOCKFILE_EXCLUSIVE_LOCK,
    LOCKFILE_FAIL_IMMEDIATELY, LockFileEx, UnlockFile,
};
use windows_sys::Win32::System::Com::CoTaskMemFree;
use windows_sys::Win32::System::IO::{OVERLAPPED, OVERLAPPED_0, OVERLAPPED_0_0};
use windows_sys::Win32::UI::Shell::{FOLDERID_Documents, SHGetKnownFolderPath};

use super::text::wide;

/// Which byte is locked: nobody reads what is locked here, so it is one that no file has.
const LOCKED: u32 = 0x7fff_ffff;

/// The longest path, in UTF-16 units, that the system takes in its usual form: folders leave room for a name.
const LONGEST: usize = 247;

/// How often a rename is tried again while somebody holds the file for himself: some two seconds, since Windows' clock
/// makes of a short sleep one of 15 ms.
const TRIES: u32 = 130;

/// The time between two tries.
const AGAIN: Duration = Duration::from_millis(15);

/// A folder opens too, so that whoever wants a file can say that it is none.
pub(in crate::platform) fn open_without_waiting(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(path)
}

pub(in crate::platform) fn real_path(path: &Path) -> io::Result<PathBuf> {
    std::fs::canonicalize(path).map(|full| usual(&full).unwrap_or(full))
}

/// A full path without what is put before long ones, if it is short enough.
fn usual(full: &Path) -> Option<PathBuf> {
    let text = full.to_str()?;
    let plain = match text.strip_prefix(r"\\?\UNC\") {
        Some(share) => format!(r"\\{share}"),
        // Others name a disk without a letter.
        None => text.strip_prefix(r"\\?\").filter(|plain| plain.get(1..3) == Some(r":\"))?.to_owned(),
    };
    (plain.encode_utf16().count() < LONGEST).then(|| plain.into())
}

pub(in crate::platform) fn replace(from: &Path, to: &Path) -> io::Result<()> {
    let mut left = TRIES;
    loop {
        match std::fs::rename(from, to) {
            Err(error) if is_held(&error) && left > 0 => std::thread::sleep(AGAIN),
            outcome => return outcome,
        }
        left -= 1;
    }
}

fn is_held(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(|code| code as u32);
    matches!(code, Some(ERROR_ACCESS_DENIED | ERROR_SHARING_VIOLATION | ERROR_LOCK_VIOLATION))
}

pub(in crate::platform) fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    // Without any right it can be opened also while somebody else lets nobody in.
    let there = OpenOptions::new().access_mode(0).custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(path)?;
    Ok(number(file)? == number(&there)?)
}

/// The disk's number and the file's. That has 128 bits in ReFS, where fewer do not tell two files apart.
fn number(file: &File) -> io::Result<(u64, u128)> {
    let mut about = FILE_ID_INFO::default();
    let (handle, size) = (file.as_raw_handle(), size_of::<FILE_ID_INFO>() as u32);
    // SAFETY: the handle is open, and the structure is ours and of the kind and size said.
    if unsafe { GetFileInformationByHandleEx(handle, FileIdInfo, (&raw mut about).cast(), size) } != 0 {
        return Ok((about.VolumeSerialNumber, u128::from_le_bytes(about.FileId.Identifier)));
    }
    // What is not on a disk of this machine often has the older number alone.
    let mut about = BY_HANDLE_FILE_INFORMATION::default();
    // SAFETY: the handle is open, and the structure is ours.
    match unsafe { GetFileInformationByHandle(handle, &raw mut about) } {
        0 => Err(io::Error::last_os_error()),
        _ => {
            let file = u128::from(about.nFileIndexHigh) << 32 | u128::from(about.nFileIndexLow);
            Ok((about.dwVolumeSerialNumber.into(), file))
        }
    }
}

pub(in crate::platform) fn try_lock(file: &File) -> io::Result<bool> {
    let place = OVERLAPPED_0_0 { Offset: 0, OffsetHigh: LOCKED };
    let mut place = OVERLAPPED { Anonymous: OVERLAPPED_0 { Anonymous: place }, ..OVERLAPPED::default() };
    let how = LOCKFILE_EXCLUSIVE_LOCK | LOCKFILE_FAIL_IMMEDIATELY;
    // SAFETY: the handle is open and waits for its calls, so that the structure outlives this one.
    if unsafe { LockFileEx(file.as_raw_handle(), how, 0, 1, 0, &raw mut place) } != 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error().map(|code| code as u32) {
        Some(ERROR_LOCK_VIOLATION | ERROR_IO_PENDING) => Ok(false),
        _ => Err(error),
    }
}

pub(in crate::platform) fn unlock(file: &File) {
    // SAFETY: the handle is open. The only failure is that it is not locked.
    unsafe { UnlockFile(file.as_raw_handle(), 0, LOCKED, 1, 0) };
}

pub(in crate::platform) fn free_space(folder: &Path) -> Option<u64> {
    let path = wide_path(folder).ok()?;
    let mut free = 0u64;
    // SAFETY: the path has a zero at its end, and the number outlives the call.
    let done = unsafe { GetDiskFreeSpaceExW(path.as_ptr(), &raw mut free, ptr::null_mut(), ptr::null_mut()) };
    (done != 0).then_some(free)
}

pub(in crate::platform) fn user_modules() -> Option<PathBuf> {
    // Documents are often elsewhere than in the profile: on a server, or in OneDrive.
    let documents =
        known_folder(&FOLDERID_Documents).or_else(|| Some(crate::platform::home()?.join("Documents")));
    Some(documents?.join("PowerShell").join("Modules"))
}

fn known_folder(id: &windows_sys::core::GUID) -> Option<PathBuf> {
    use std::os::windows::ffi::OsStringExt as _;
    let mut text = ptr::null_mut();
    // SAFETY: the id is one of the system's; the text that it gives has a zero at its end, and is given back
    // also where there is none.
    unsafe {
        let code = SHGetKnownFolderPath(id, 0, ptr::null_mut(), &raw mut text);
        let found = (code == 0 && !text.is_null()).then(|| {
            let length = (0..).take_while(|at| *text.add(*at) != 0).count();
            std::ffi::OsString::from_wide(std::slice::from_raw_parts(text, length)).into()
        });
        CoTaskMemFree(text.cast::<c_void>());
        found
    }
}

/// A path as the system's functions take it. A long one is written in full, for which there is no limit.
pub(super) fn wide_path(path: &Path) -> io::Result<Vec<u16>> {
    let usual = wide(path);
    // What comes behind a zero would be left out in silence.
    if usual[..usual.len() - 1].contains(&0) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a path with a NUL"));
    }
    let text = path.as_os_str().to_string_lossy();
    if usual.len() <= LONGEST || text.starts_with(r"\\?\") || text.starts_with(r"\\.\") {
        return Ok(usual);
    }
    // In this form the system takes every character as it is, `/` and `..` too.
    let full = std::path::absolute(path)?;
    let full = full.as_os_str();
    let plain = full.to_string_lossy();
    let mut long = std::ffi::OsString::new();
    match plain.strip_prefix(r"\\") {
        Some(share) => long.extend([r"\\?\UNC\", share].map(std::ffi::OsStr::new)),
        None => long.extend([std::ffi::OsStr::new(r"\\?\"), full]),
    }
    Ok(wide(long))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn as_text(path: &str) -> String {
        let path = wide_path(Path::new(path)).unwrap();
        String::from_utf16(&path[..path.len() - 1]).unwrap()
    }

    #[test]
    fn a_long_path_is_written_in_full_and_a_short_one_as_it_is() {
        let long = "n".repeat(300);
        assert_eq!(as_text(r"C:\a/b"), r"C:\a/b");
        assert_eq!(as_text(&format!("C:/a/../{long}")), format!(r"\\?\C:\{long}"));
        assert_eq!(as_text(&format!(r"\\server\share\{long}")), format!(r"\\?\UNC\server\share\{long}"));
        let full = format!(r"\\?\C:\{long}");
        assert_eq!(as_text(&full), full);
        assert!(wide_path(Path::new("a\0b")).is_err());
    }

    #[test]
    fn a_real_path_is_written_as_people_write_it() {
        let plain = |full: &str| usual(Path::new(full)).map(|path| path.to_str().unwrap().to_owned());
        assert_eq!(plain(r"\\?\C:\a b\ä"), Some(r"C:\a b\ä".to_owned()));
        assert_eq!(plain(r"\\?\UNC\server\share"), Some(r"\\server\share".to_owned()));
        assert_eq!(plain(&format!(r"\\?\C:\{}", "n".repeat(300))), None);
        let folder = tempfile::tempdir().unwrap();
        assert!(!real_path(folder.path()).unwrap().to_str().unwrap().starts_with(r"\\?\"));
    }

    #[test]
    fn a_locked_file_is_read_and_written_by_others_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let open =
            || OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path).unwrap();
        let held = open();
        assert!(try_lock(&held).unwrap());
        assert!(!try_lock(&open()).unwrap());
        std::fs::write(&path, "seen").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"seen");
        unlock(&held);
        assert!(try_lock(&open()).unwrap());
    }

    #[test]
    fn the_modules_are_in_the_documents() {
        assert!(user_modules().unwrap().ends_with(r"PowerShell\Modules"));
    }
}
