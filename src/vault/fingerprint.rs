//! How the files of a store look, so that a change by another process is noticed.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::platform;

/// The look of a store's files, data before configuration: size, time and inode of each; nothing for one
/// that is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fingerprint(Vec<Option<(u64, i128, u64)>>);

impl Fingerprint {
    /// The files now. A few system calls; short enough for an async thread.
    pub fn of(files: &[PathBuf]) -> Fingerprint {
        Fingerprint(files.iter().map(|path| look(path)).collect())
    }

    /// Whether the data is as it was then.
    pub fn has_data_of(&self, other: &Fingerprint) -> bool {
        self.0.first() == other.0.first()
    }

    /// Whether the file of the data was not there.
    pub fn lacks_data(&self) -> bool {
        self.0.first().is_some_and(Option::is_none)
    }

    /// Whether no file is missing.
    pub fn are_there(&self) -> bool {
        self.0.iter().all(Option::is_some)
    }

    /// Whether the configuration is as it was then.
    pub fn has_configuration_of(&self, other: &Fingerprint) -> bool {
        self.0.get(1) == other.0.get(1)
    }
}

/// Length, time of the last change in nanoseconds since 1970, and the file's number.
fn look(path: &Path) -> Option<(u64, i128, u64)> {
    let found = std::fs::metadata(path).ok()?;
    let nanoseconds = match found.modified().ok()?.duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_nanos() as i128,
        Err(before) => -(before.duration().as_nanos() as i128),
    };
    let (_, number) = platform::identity(&found).unwrap_or_default();
    Some((found.len(), nanoseconds, number))
}
