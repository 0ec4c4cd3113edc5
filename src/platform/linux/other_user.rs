//! Another user that programs are started as.

use std::ffi::{CStr, CString, OsStr};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, set_capabilities,
};
use tokio::process::Command;

/// What this program must be able to do, with its names for a person: to become the user, to give it files, to
/// look after its files, to end its programs.
const NEEDED: &[(CapabilitySet, &str)] = &[
    (CapabilitySet::SETUID, "CAP_SETUID"),
    (CapabilitySet::SETGID, "CAP_SETGID"),
    (CapabilitySet::CHOWN, "CAP_CHOWN"),
    (CapabilitySet::DAC_OVERRIDE, "CAP_DAC_OVERRIDE"),
    (CapabilitySet::KILL, "CAP_KILL"),
];

/// Variables that tell where the files of the server's own user are.
const OURS: &[&str] = &[
    "XDG_RUNTIME_DIR",
    "XDG_DATA_HOME",
    "XDG_CONFIG_HOME",
    "XDG_CACHE_HOME",
    "XDG_STATE_HOME",
    "TMPDIR",
    "MAIL",
    "DBUS_SESSION_BUS_ADDRESS",
];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::platform) struct OtherUser {
    name: String,
    uid: libc::uid_t,
    gid: libc::gid_t,
    groups: Vec<libc::gid_t>,
    home: PathBuf,
}

impl OtherUser {
    pub(in crate::platform) fn find(name: &str, home: Option<&Path>) -> Result<OtherUser, String> {
        let missing = missing_capabilities().map_err(|error| error.to_string())?;
        if !missing.is_empty() {
            let (ours, missing) = (geteuid().as_raw(), missing.join(", "));
            return Err(format!(
                "only root may start programs as another user; this program runs as user {ours}, without {missing} \
                 (hint: start it as root, or give those capabilities to its service)"
            ));
        }
        let failed = |error: io::Error| format!("the system's users cannot be read: {error}");
        let known = CString::new(name).map_err(|error| error.to_string())?;
        let user = entry(&known).map_err(failed)?;
        let user =
            user.ok_or_else(|| "there is no such user on this machine (hint: useradd --system)".to_owned())?;
        if user.uid == geteuid().as_raw() {
            return Err("that is the user that this program runs as (hint: leave it out)".to_owned());
        }
        if user.uid == 0 {
            return Err("that is root, which keeps nothing apart (hint: name another user)".to_owned());
        }
        let home = home.map_or(user.home, Path::to_owned);
        if !home.is_absolute() || !home.is_dir() {
            let home = home.display();
            return Err(format!(
                "its home {home} is no folder (hint: make it, or name another one with home)"
            ));
        }
        let groups = groups_of(&known, user.gid).map_err(failed)?;
        Ok(OtherUser { name: name.to_owned(), uid: user.uid, gid: user.gid, groups, home })
    }

    pub(in crate::platform) fn name(&self) -> &str {
        &self.name
    }

    pub(in crate::platform) fn home(&self) -> &Path {
        &self.home
    }

    pub(in crate::platform) fn number(&self) -> String {
        self.uid.to_string()
    }

    pub(in crate::platform) fn run(&self, command: &mut Command) {
        OURS.iter().for_each(|name| {
            command.env_remove(name);
        });
        command.env("HOME", &self.home).env("USER", &self.name).env("LOGNAME", &self.name);
        let OtherUser { uid, gid, groups, .. } = self.clone();
        // SAFETY: between fork and exec only async-signal-safe system calls are made, and nothing allocates.
        unsafe {
            command.pre_exec(move || {
                checked(libc::setgroups(groups.len(), groups.as_ptr()))?;
                checked(libc::setresgid(gid, gid, gid))?;
                checked(libc::setresuid(uid, uid, uid))?;
                // Root's are gone with its number. Those that a service was given are not.
                clear_ambient_capability_set()?;
                set_capabilities(None, none())?;
                Ok(())
            });
        }
    }

    pub(in crate::platform) fn give(&self, path: &Path) -> io::Result<()> {
        chown(path, Some(self.uid), Some(self.gid))
    }

    pub(in crate::platform) fn let_in(&self, path: &Path) -> io::Result<()> {
        chown(path, None, Some(self.gid))?;
        let mode = if fs::metadata(path)?.is_dir() { 0o750 } else { 0o640 };
        fs::set_permissions(path, Permissions::from_mode(mode))
    }

    pub(in crate::platform) fn act<T>(&self, act: impl FnOnce() -> T) -> T {
        let _back = Disguise::put_on(self.uid, self.gid);
        act()
    }
}

/// This thread's rights to files, as long as they are another user's.
struct Disguise(libc::c_int, libc::c_int);

impl Disguise {
    fn put_on(uid: libc::uid_t, gid: libc::gid_t) -> Disguise {
        // The group first, and last on the way back: without root's rights it cannot be changed.
        // SAFETY: two system calls that change this thread alone, and touch no memory.
        let (gid, uid) = unsafe { (libc::setfsgid(gid), libc::setfsuid(uid)) };
        Disguise(uid, gid)
    }
}

impl Drop for Disguise {
    fn drop(&mut self) {
        // SAFETY: as above; what they gave is what this thread had.
        unsafe {
            libc::setfsuid(self.0.cast_unsigned());
            libc::setfsgid(self.1.cast_unsigned());
        }
    }
}

/// A line of the system's database of users.
struct PasswordEntry {
    uid: libc::uid_t,
    gid: libc::gid_t,
    home: PathBuf,
}

fn entry(name: &CStr) -> io::Result<Option<PasswordEntry>> {
    let mut buffer = vec![0; 16 * 1024];
    // SAFETY: a structure of numbers and pointers, for which zeros are values.
    let mut found: libc::passwd = unsafe { std::mem::zeroed() };
    let mut there = std::ptr::null_mut();
    // SAFETY: all of it outlives the call, and the length is the buffer's.
    let code = unsafe {
        libc::getpwnam_r(name.as_ptr(), &raw mut found, buffer.as_mut_ptr(), buffer.len(), &raw mut there)
    };
    if code != 0 {
        return Err(io::Error::from_raw_os_error(code));
    }
    if there.is_null() {
        return Ok(None);
    }
    // SAFETY: it was found, so this is a text in the buffer.
    let home = unsafe { CStr::from_ptr(found.pw_dir) };
    let home = OsStr::from_bytes(home.to_bytes()).into();
    Ok(Some(PasswordEntry { uid: found.pw_uid, gid: found.pw_gid, home }))
}

/// No user is in more groups.
const MOST_GROUPS: usize = 65_536;

fn groups_of(name: &CStr, gid: libc::gid_t) -> io::Result<Vec<libc::gid_t>> {
    let mut groups = vec![0; MOST_GROUPS];
    let mut count = libc::c_int::try_from(groups.len()).unwrap_or(libc::c_int::MAX);
    // SAFETY: the number is the room that there is.
    let written = unsafe { libc::getgrouplist(name.as_ptr(), gid, groups.as_mut_ptr(), &raw mut count) };
    if written < 0 {
        return Err(io::Error::other("the user is in too many groups"));
    }
    groups.truncate(usize::try_from(count).unwrap_or_default());
    Ok(groups)
}

fn checked(code: libc::c_int) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn none() -> CapabilitySets {
    let empty = CapabilitySet::empty();
    CapabilitySets { effective: empty, permitted: empty, inheritable: empty }
}

fn missing_capabilities() -> io::Result<Vec<&'static str>> {
    let ours = capabilities(None)?.effective;
    Ok(NEEDED.iter().filter(|(needed, _)| !ours.contains(*needed)).map(|(_, name)| *name).collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    fn nobody(home: &Path) -> Result<OtherUser, String> {
        OtherUser::find("nobody", Some(home))
    }

    #[test]
    fn a_user_that_cannot_be_is_refused_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        if !missing_capabilities().unwrap().is_empty() {
            let refused = nobody(folder.path()).unwrap_err();
            assert!(refused.contains("CAP_SETUID") && refused.contains("start it as root"), "{refused}");
            return;
        }
        for (name, home, expected) in [
            ("no-such-user", folder.path(), "no such user"),
            ("root", folder.path(), "hint: "),
            ("nobody", Path::new("/nowhere/at/all"), "/nowhere/at/all is no folder"),
            ("nobody", Path::new("relative"), "relative is no folder"),
        ] {
            let refused = OtherUser::find(name, Some(home)).unwrap_err();
            assert!(refused.contains(expected), "{name}: {refused}");
        }
    }

    #[test]
    fn what_is_done_with_files_as_another_user_is_what_that_user_may_do() {
        let folder = tempfile::tempdir().unwrap();
        let Ok(user) = nobody(folder.path()) else {
            eprintln!("SKIPPED (not root): files of another user");
            return;
        };
        let (ours, theirs) = (folder.path().join("ours"), folder.path().join("theirs"));
        fs::write(&ours, "x").unwrap();
        fs::set_permissions(&ours, Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        assert!(user.act(|| fs::read(&ours)).is_err(), "root's own file is closed to that user");
        user.act(|| fs::write(&theirs, "y")).unwrap();
        assert_eq!(fs::metadata(&theirs).unwrap().uid(), user.uid);
        assert_eq!(fs::read(&ours).unwrap(), b"x", "and open to us again");
        fs::write(folder.path().join("after"), "z").unwrap();
        assert_eq!(fs::metadata(folder.path().join("after")).unwrap().uid(), geteuid().as_raw());
    }

    #[tokio::test]
    async fn a_program_that_runs_as_another_user_has_none_of_our_rights() {
        let folder = tempfile::tempdir().unwrap();
        let Ok(user) = nobody(folder.path()) else {
            eprintln!("SKIPPED (not root): a program of another user");
            return;
        };
        let mut command = Command::new("cat");
        command.arg("/proc/self/status").stdout(std::process::Stdio::piped());
        user.run(&mut command);
        let (child, _group) = crate::platform::spawn(&mut command).unwrap();
        let shown = String::from_utf8(child.wait_with_output().await.unwrap().stdout).unwrap();
        let line = |name: &str| {
            let line = shown.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
        };
        let (uid, gid) = (user.uid, user.gid);
        assert_eq!(line("Uid:"), format!("{uid} {uid} {uid} {uid}"));
        assert_eq!(line("Gid:"), format!("{gid} {gid} {gid} {gid}"));
        assert!(!line("Groups:").split(' ').any(|group| group == "0"), "{shown}");
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
            assert_eq!(line(set), "0000000000000000", "{set}");
        }
    }
}
