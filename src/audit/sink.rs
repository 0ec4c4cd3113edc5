//! Where lines go: standard error, or a file that is continued.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::line::{self, TrailPosition};
use super::settings::{AuditSettings, Destination};
use crate::platform;

/// A last line is looked for in this many bytes at the file's end.
const TAIL: u64 = 256 * 1024;

/// Why lines cannot go to a file.
#[derive(Debug, Error)]
pub enum SinkError {
    /// It does not open.
    #[error("the audit file {} cannot be written: {source} (hint: its folder must be there and writable)", .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no file.
    #[error("the audit file {} is not a regular file (hint: name another, or write to standard error)", .path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// Two servers would number their lines alike.
    #[error("the audit file {} is written by another server (hint: give each its own)", .path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
}

pub(super) enum Sink {
    Stderr,
    File { file: File, path: PathBuf, position: TrailPosition },
    None,
}

pub(super) fn open(settings: &AuditSettings) -> Result<Sink, SinkError> {
    match &settings.to {
        Destination::Stderr => Ok(Sink::Stderr),
        Destination::None => Ok(Sink::None),
        Destination::File(path) => Sink::file(path),
    }
}

// === impl Sink ===

impl Sink {
    fn file(path: &Path) -> Result<Sink, SinkError> {
        let failed = |source| SinkError::Open { path: path.to_owned(), source };
        // A pipe without a reader would block the start for ever.
        if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            return Err(SinkError::NotAFile { path: path.to_owned() });
        }
        match platform::create_private_file(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
            _ => {}
        }
        let mut file = OpenOptions::new().append(true).read(true).open(path).map_err(failed)?;
        if !platform::try_lock(&file).map_err(failed)? {
            return Err(SinkError::Busy { path: path.to_owned() });
        }
        let position = last(&mut file).map_err(failed)?;
        Ok(Sink::File { file, path: path.to_owned(), position })
    }

    /// What the next line continues.
    pub(super) fn position(&self) -> TrailPosition {
        match self {
            Sink::File { position, .. } => position.clone(),
            Sink::Stderr | Sink::None => TrailPosition::default(),
        }
    }

    /// Whether lines go anywhere.
    pub(super) fn is_none(&self) -> bool {
        matches!(self, Sink::None)
    }

    /// Opens the file anew. `true` says that it is another, empty one.
    pub(super) fn reopen(&mut self) -> Result<bool, SinkError> {
        let Sink::File { file, path, .. } = self else { return Ok(false) };
        if platform::is_at(file, path).unwrap_or(false) {
            return Ok(false);
        }
        *self = Sink::file(&path.clone())?;
        Ok(true)
    }

    /// Writes whole lines.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Sink::Stderr => io::stderr().lock().write_all(lines),
            Sink::File { file, .. } => {
                let before = file.metadata()?.len();
                // A disk that became full may hold a part of a line. The next line must not continue it.
                file.write_all(lines).inspect_err(|_| _ = file.set_len(before))
            }
            Sink::None => Ok(()),
        }
    }
}

/// Number and link of the file's last line.
fn last(file: &mut File) -> io::Result<TrailPosition> {
    let length = file.seek(SeekFrom::End(0))?;
    let begin = length.saturating_sub(TAIL);
    file.seek(SeekFrom::Start(begin))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    let torn = tail.last().is_some_and(|last| *last != b'\n');
    let whole = tail.split(|byte| *byte == b'\n').rev().filter(|line| !line.is_empty());
    let found = whole.filter_map(|line| line::read(std::str::from_utf8(line).ok()?)).next();
    let (seq, link, _) = found.unwrap_or_default();
    Ok(TrailPosition { seq, link, torn })
}
