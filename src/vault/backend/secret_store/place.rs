//! Where SecretStore keeps its files.

use std::path::PathBuf;

use crate::platform;

/// The files in their folder, data before configuration.
pub(super) const FILES: [&str; 2] = ["storefile", "storeconfig"];

/// The folder.
pub(super) fn folder() -> PathBuf {
    of_test().unwrap_or_else(platform::secret_store)
}

#[cfg(not(test))]
fn of_test() -> Option<PathBuf> {
    None
}

/// Never the user's own store, which may be there or not.
#[cfg(test)]
fn of_test() -> Option<PathBuf> {
    Some(FOLDER.with_borrow(Clone::clone).unwrap_or_else(|| "/nowhere".into()))
}

#[cfg(test)]
thread_local! {
    static FOLDER: std::cell::RefCell<Option<PathBuf>> = const { std::cell::RefCell::new(None) };
}

/// Gives SecretStore a folder of a test's own, on this thread.
#[cfg(test)]
pub fn use_folder(folder: &std::path::Path) {
    FOLDER.set(Some(folder.to_owned()));
}
