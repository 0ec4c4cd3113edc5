//! What tests ask of the system they run on.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use super::system;

/// Who may use a file or folder, as a mode. Windows' lists are told so: what others may do stands in the lower
/// two digits, and the owner may do all.
pub fn mode(path: &Path) -> u32 {
    system::testing::mode(path)
}

/// Lets others use a file or folder as a mode says. On Windows the owner may do all.
pub fn set_mode(path: &Path, mode: u32) {
    system::testing::set_mode(path, mode);
}

/// Makes a pipe in the file system, where there are such.
pub fn make_pipe(path: &Path) -> bool {
    system::testing::make_pipe(path)
}

/// Makes somebody else the owner, whose name this is; nothing where this user may not.
pub fn give_away(path: &Path) -> Option<String> {
    system::testing::give_away(path)
}

/// Makes a link to a file or folder. Not every user of Windows may.
pub fn link(target: &Path, link: &Path) -> io::Result<()> {
    system::testing::link(target, link)
}

/// Whether a child was ended by [`std::process::Child::kill`].
pub fn was_killed(status: ExitStatus) -> bool {
    system::testing::was_killed(status)
}

/// Makes a program that prints this, says that on its standard error, and ends with this exit code.
pub fn program(folder: &Path, out: &[&str], error: &str, code: i32) -> PathBuf {
    system::testing::program(folder, out, error, code)
}

/// The owner of a file is bound by its mode, and the size of files can be limited.
pub const LIMITS_BIND: bool = system::testing::LIMITS_BIND;

/// New files of this program would be open to all, but for the modes that it gives them.
pub fn open_umask() {
    system::testing::open_umask();
}

/// No file of this program may grow beyond this many bytes. A write beyond it fails if that is `caught`, and
/// ends the program if not. Needs a tokio runtime around it.
pub fn limit_file_size(bytes: u64, caught: bool) {
    system::testing::limit_file_size(bytes, caught);
}

/// Whether a child was ended by that limit.
pub fn hit_the_limit(status: ExitStatus) -> bool {
    system::testing::hit_the_limit(status)
}

/// This thread is bound by modes from now on, as root too.
pub fn be_bound_by_modes() {
    system::testing::be_bound_by_modes();
}

/// How long this thread has had a core, where the system tells.
pub fn time_on_a_core() -> Option<Duration> {
    system::testing::time_on_a_core()
}
