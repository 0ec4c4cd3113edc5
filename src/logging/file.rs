//! A log file that is opened anew when it was renamed.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::platform;

/// The log's file, for whoever is told that it was renamed.
static CURRENT: OnceLock<LogFile> = OnceLock::new();

/// A file that is appended to. A handle.
#[derive(Clone, Debug)]
pub(super) struct LogFile(Arc<OpenFile>);

#[derive(Debug)]
struct OpenFile {
    path: PathBuf,
    file: Mutex<File>,
}

/// Opens the log file anew, where there is one.
pub fn reopen() {
    let Some(log) = CURRENT.get() else { return };
    match open(&log.0.path) {
        Ok(file) => *log.file() = file,
        // The old file is still open, and written to.
        Err(error) => tracing::error!("the log file is not changed: {error}"),
    }
}

// === impl LogFile ===

impl LogFile {
    /// The file, made with mode 0600 where there is none.
    pub(super) fn open(path: &Path) -> io::Result<LogFile> {
        let log = LogFile(Arc::new(OpenFile { path: path.to_owned(), file: Mutex::new(open(path)?) }));
        let _ = CURRENT.set(log.clone());
        Ok(log)
    }

    fn file(&self) -> MutexGuard<'_, File> {
        self.0.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open(path: &Path) -> io::Result<File> {
    if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(io::Error::other("it is not a regular file"));
    }
    match platform::create_private_file(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    OpenOptions::new().append(true).open(path)
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_rename_lines_go_to_a_new_file() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("log"), folder.path().join("log.1"));
        let mut log = LogFile::open(&path).unwrap();
        log.write_all(b"one\n").unwrap();
        std::fs::rename(&path, &old).unwrap();
        log.write_all(b"two\n").unwrap();
        reopen();
        log.write_all(b"three\n").unwrap();
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        assert_eq!((read(&old).as_str(), read(&path).as_str()), ("one\ntwo\n", "three\n"));
    }
}
