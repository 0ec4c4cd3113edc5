//! Errors of the service manager.

use std::io;

/// As an error of the system, which it mostly is.
pub(super) fn of_manager(error: windows_service::Error) -> io::Error {
    match error {
        windows_service::Error::Winapi(error) => error,
        error => io::Error::other(error),
    }
}
