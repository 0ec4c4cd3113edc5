//! What can go wrong with the local vault: which file, and what to do. Never content.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::error::FileTrouble;
use crate::private_file::PrivateFileError;

/// Why the local vault did not do it. Unless a variant says otherwise, nothing was changed on disk.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LocalError {
    /// The folder or the key file is not private, or could not be read or made.
    #[error(transparent)]
    Private(#[from] PrivateFileError),
    /// The vault cannot hold such a name or value. The caller's mistake, not the disk's.
    #[error("the local vault cannot hold this: {reason}")]
    Refused {
        /// What and why.
        reason: &'static str,
    },
    /// There is a vault but no key, so nothing can read it. No new key is made in its place.
    #[error(
        "{} is missing, and {} can only be read with it; restore the key file from a backup, or move the \
         vault file away to begin with an empty one", .key.display(), .vault.display()
    )]
    MissingKey {
        /// Where the key file should be.
        key: PathBuf,
        /// The vault file.
        vault: PathBuf,
    },
    /// The key file holds no age identity.
    #[error("{} holds no age key (one line AGE-SECRET-KEY-1…); restore it from a backup", .key.display())]
    BadKey {
        /// The key file.
        key: PathBuf,
    },
    /// The key file holds another key than when the vault was opened.
    #[error("{} has changed since the vault was opened; restart, or put the former key back", .key.display())]
    KeyChanged {
        /// The key file.
        key: PathBuf,
    },
    /// The vault file was written for another key.
    #[error(
        "{} was not encrypted for the key in {}; put the key file that belongs to it back",
        .vault.display(), .key.display()
    )]
    WrongKey {
        /// The vault file.
        vault: PathBuf,
        /// The key file.
        key: PathBuf,
    },
    /// The vault file is not what was written.
    #[error(
        "{} is damaged ({reason}) and was left as it is; restore it from a backup, or move it away to \
         begin with an empty vault", .path.display()
    )]
    Damaged {
        /// The vault file.
        path: PathBuf,
        /// How it shows.
        reason: &'static str,
    },
    /// The vault file comes from a newer version of this program.
    #[error("{} has format {format}, which this version does not know; use a newer one", .path.display())]
    NewerFormat {
        /// The vault file.
        path: PathBuf,
        /// Its format.
        format: u32,
    },
    /// The vault file was there and is gone.
    #[error(
        "{} was there and is gone; restore it from a backup, or, to begin with an empty vault, remove {} \
         and restart", .path.display(), .mark.display()
    )]
    Vanished {
        /// The vault file.
        path: PathBuf,
        /// The file that remembers it.
        mark: PathBuf,
    },
    /// The vault file is older than the one that was written last.
    #[error(
        "{} went back in time: it has revision {revision}, and revision {last} was written; put the newer \
         file back, or, if an older one was restored on purpose, remove {}", .path.display(), .mark.display()
    )]
    WentBack {
        /// The vault file.
        path: PathBuf,
        /// Its revision.
        revision: u64,
        /// The revision that was written last.
        last: u64,
        /// The file that remembers it.
        mark: PathBuf,
    },
    /// Another process, or another thread, kept the lock for too long.
    #[error("{} is locked by another writer for {seconds} s; is a process that uses the vault stopped?", .path.display())]
    Busy {
        /// The lock file.
        path: PathBuf,
        /// How long this one waited.
        seconds: u64,
    },
    /// The vault file could not be read.
    #[error("cannot read {}: {source}{}", .path.display(), remedy(.source))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The vault could not be written; what was there before is still there.
    #[error("cannot write {}: {source}; nothing was changed{}", .path.display(), remedy(.source))]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The new content is in place, but the system did not confirm that it outlives a power failure.
    #[error("{} is written, but was not confirmed to be on disk: {source}; check the disk", .path.display())]
    Unconfirmed {
        /// The vault file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl LocalError {
    pub(super) fn read(path: &Path) -> impl Fn(io::Error) -> LocalError + Copy {
        move |source| LocalError::Read { path: path.to_owned(), source }
    }

    pub(super) fn write(path: &Path) -> impl Fn(io::Error) -> LocalError + Copy {
        move |source| LocalError::Write { path: path.to_owned(), source }
    }

    pub(super) fn unconfirmed(path: &Path) -> impl Fn(io::Error) -> LocalError + Copy {
        move |source| LocalError::Unconfirmed { path: path.to_owned(), source }
    }
}

impl LocalError {
    /// What is wrong, where it is one of the things that are told apart.
    #[must_use]
    pub fn trouble(&self) -> FileTrouble {
        let is_full = |error: &io::Error| {
            matches!(
                error.kind(),
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
            )
        };
        match self {
            LocalError::Damaged { .. }
            | LocalError::WrongKey { .. }
            | LocalError::BadKey { .. }
            | LocalError::MissingKey { .. }
            | LocalError::Vanished { .. }
            | LocalError::WentBack { .. } => FileTrouble::Damaged,
            LocalError::Write { source, .. } if is_full(source) => FileTrouble::DiskFull,
            _ => FileTrouble::Other,
        }
    }
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "; make room on the disk",
        ErrorKind::FileTooLarge => "; raise the limit on file sizes (ulimit -f)",
        ErrorKind::ReadOnlyFilesystem => "; the file system is mounted for reading only",
        ErrorKind::PermissionDenied => "; give this user access to the folder",
        _ => "",
    }
}
