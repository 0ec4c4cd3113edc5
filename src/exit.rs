//! How the program ends, as the shell sees it.

/// The exit code, and what it means. `EXIT CODES` in the help lists the same.
///
/// The numbers are those of `sysexits.h` where it has one that fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exit {
    /// Done, or stopped by a signal after a drain.
    Ok,
    /// Something failed while the program ran; a message says what.
    Failure,
    /// The command line or the configuration is wrong (`EX_USAGE`).
    Usage,
    /// There is no such secret, vault, mount or member (`EX_NOINPUT`).
    NotFound,
    /// The server cannot be reached, or no server runs where one is needed (`EX_NOHOST`).
    Unreachable,
    /// No pwsh of version 7.4 or later was found, and the plan needs one (`EX_UNAVAILABLE`).
    NoPwsh,
    /// The vault is locked, or busy: another try may do it (`EX_TEMPFAIL`).
    Locked,
    /// The server or the vault does not allow it (`EX_NOPERM`).
    Refused,
    /// The code of the program that `exec` ran, or of the service that this program was. On Windows it may be any number.
    Child(i32),
}

impl Exit {
    /// Every way to end by ourselves.
    pub const ALL: [Exit; 8] = [
        Exit::Ok,
        Exit::Failure,
        Exit::Usage,
        Exit::NotFound,
        Exit::Unreachable,
        Exit::NoPwsh,
        Exit::Locked,
        Exit::Refused,
    ];

    /// The number.
    #[must_use]
    pub const fn code(self) -> i32 {
        match self {
            Exit::Ok => 0,
            Exit::Failure => 1,
            Exit::Usage => 64,
            Exit::NotFound => 66,
            Exit::Unreachable => 68,
            Exit::NoPwsh => 69,
            Exit::Locked => 75,
            Exit::Refused => 77,
            Exit::Child(code) => code,
        }
    }
}
