//! How the program ends, as the shell sees it.

use std::process::ExitCode;

/// The exit code, and what it means. `EXIT CODES` in the help lists the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, or stopped by a signal after a drain.
    Ok,
    /// Something failed while the program ran; the log says what.
    Failure,
    /// The command line or the configuration is wrong (`EX_USAGE`).
    Usage,
    /// No pwsh of version 7.4 or later was found, and the plan needs one (`EX_UNAVAILABLE`).
    NoPwsh,
}

impl Exit {
    /// Every way to end.
    pub const ALL: [Exit; 4] = [Exit::Ok, Exit::Failure, Exit::Usage, Exit::NoPwsh];

    /// The number.
    pub const fn code(self) -> u8 {
        match self {
            Exit::Ok => 0,
            Exit::Failure => 1,
            Exit::Usage => 64,
            Exit::NoPwsh => 69,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}
