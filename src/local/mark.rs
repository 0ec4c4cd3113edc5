//! Which revision of the vault was written last, beside the vault: a number in a file of its own.
//!
//! It is written after the vault, so a crash in between leaves it one behind, which is no fault. A mark that
//! cannot be read or written says nothing: the vault itself is what must be right.

use std::fs;

use super::paths::{Paths, STAGED_PREFIX};
use crate::private_file::{put, stage};

/// Notes that a revision was written. Under the folder's lock.
pub(super) fn write(paths: &Paths, revision: u64) {
    let staged = stage(&paths.folder, STAGED_PREFIX, format!("{revision}\n").as_bytes());
    let written = staged.and_then(|staged| put(staged, &paths.mark));
    if let Err(error) = written {
        tracing::warn!(mark = %paths.mark.display(), %error, "the local vault's revision could not be noted");
    }
}

/// The revision that was written last, as far as that is known.
pub(super) fn last(paths: &Paths) -> Option<u64> {
    fs::read_to_string(&paths.mark).ok()?.trim().parse().ok()
}
