//! The files of a trail: those that a rotation has renamed, and lines out of them, one at a time.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::read::TrailLine;

/// A line that is longer is not one of the trail, and is not kept whole in memory.
const LONGEST: usize = 1 << 20;

/// The path that means standard input.
const INPUT: &str = "-";

/// Reads a trail line by line, however long it is.
pub struct TrailReader<R> {
    reader: R,
    line: Vec<u8>,
    /// The line was handed out.
    taken: bool,
    number: u64,
}

/// A trail's file, or standard input for `-`. What ends in `.gz` is decompressed on the way.
pub fn open(path: &Path) -> io::Result<TrailReader<Box<dyn BufRead>>> {
    let reader: Box<dyn BufRead> = match path.to_str() {
        Some(INPUT) => Box::new(io::stdin().lock()),
        _ => {
            let file = BufReader::new(File::open(path)?);
            match path.extension() {
                Some(extension) if extension == "gz" => Box::new(BufReader::new(MultiGzDecoder::new(file))),
                _ => Box::new(file),
            }
        }
    };
    Ok(TrailReader::new(reader))
}

/// A trail's file with those that a rotation has renamed beside it, in the order in which they were written. Where
/// nothing has its name the error is [`io::ErrorKind::NotFound`].
pub fn oldest_first(trail: &Path) -> io::Result<Vec<PathBuf>> {
    if trail == Path::new(INPUT) {
        return Ok(vec![trail.to_owned()]);
    }
    let mut files = rotated(trail)?;
    match trail.try_exists() {
        // A pipe, too: its first line cannot be looked at without taking it away.
        Ok(true) if files.is_empty() => return Ok(vec![trail.to_owned()]),
        Ok(false) if files.is_empty() => return Err(io::ErrorKind::NotFound.into()),
        Ok(true) => files.push(trail.to_owned()),
        Ok(false) => {}
        Err(error) => return Err(error),
    }
    let mut dated =
        files.into_iter().map(|path| Ok((first(&path)?, path))).collect::<io::Result<Vec<_>>>()?;
    dated.sort();
    Ok(dated.into_iter().map(|(_, path)| path).collect())
}

fn rotated(trail: &Path) -> io::Result<Vec<PathBuf>> {
    let Some(name) = trail.file_name() else { return Ok(Vec::new()) };
    let folder = trail.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        // A file may be read whose folder may not be listed.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(Vec::new()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let like = path.file_name().is_some_and(|other| is_rotated(other, name));
        if like && path.is_file() {
            files.push(path);
        }
    }
    Ok(files)
}

/// Whether a file's name is that of a trail after a rotation: with a number or a date behind it, or before its
/// extension, and perhaps compressed.
fn is_rotated(name: &OsStr, trail: &OsStr) -> bool {
    let (Some(full), Some(trail)) = (name.to_str(), trail.to_str()) else { return false };
    let name = full.strip_suffix(".gz").unwrap_or(full);
    // audit.jsonl.gz is one that was compressed where it stood.
    if name == trail {
        return name != full;
    }
    let counts = |rest: &str| {
        let mark = rest.strip_prefix(['.', '-', '_']).unwrap_or_default();
        let of_date = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '_' | ':' | 'T' | 'Z');
        let digits = mark.chars().filter(char::is_ascii_digit).count();
        // audit-2.jsonl is the trail of another server: only after a point is a number one of a rotation.
        let is_date = digits >= 8;
        mark.starts_with(|c: char| c.is_ascii_digit())
            && mark.chars().all(of_date)
            && (is_date || rest.starts_with('.'))
    };
    let behind = name.strip_prefix(trail);
    let before = trail
        .rsplit_once('.')
        .and_then(|(stem, extension)| name.strip_prefix(stem)?.strip_suffix(extension)?.strip_suffix('.'));
    behind.is_some_and(counts) || before.is_some_and(counts)
}

/// Time and number of a file's first whole line, for the order of files; nothing of one without a line.
fn first(path: &Path) -> io::Result<Option<(String, u64)>> {
    let mut reader = open(path)?;
    loop {
        match reader.next(false) {
            Ok(Some(bytes)) => {
                if let Some(line) = TrailLine::parse(bytes) {
                    return Ok(Some((line.time, line.seq)));
                }
            }
            Ok(None) => return Ok(None),
            Err(error) if is_damage(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}

/// Whether a compressed file is damaged, rather than not readable.
pub fn is_damage(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
}

// === impl TrailReader ===

impl<R: BufRead> TrailReader<R> {
    /// Reads from here.
    pub fn new(reader: R) -> TrailReader<R> {
        TrailReader { reader, line: Vec::new(), taken: false, number: 0 }
    }

    /// The next line, with its line feed. The last one may have none; with `whole` it is kept back until it has.
    /// Of one that is too long the begin, without a line feed.
    pub fn next(&mut self, whole: bool) -> io::Result<Option<&[u8]>> {
        if self.taken {
            self.line.clear();
            self.taken = false;
        }
        loop {
            let part = match self.reader.fill_buf() {
                Ok(part) => part,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if part.is_empty() {
                if self.line.is_empty() || whole {
                    return Ok(None);
                }
                break;
            }
            let end = memchr::memchr(b'\n', part).map(|at| at + 1);
            let length = end.unwrap_or(part.len());
            let room = LONGEST - self.line.len();
            self.line.extend_from_slice(&part[..length.min(room)]);
            self.reader.consume(length);
            if end.is_some() {
                break;
            }
        }
        self.number += 1;
        self.taken = true;
        Ok(Some(&self.line))
    }

    /// The number of the last line that was handed out, in this file; the first is 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// What it reads from.
    pub fn get_ref(&self) -> &R {
        &self.reader
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn names_that_a_rotation_gives_are_known_from_others() {
        for (name, rotated) in [
            ("audit.jsonl.1", true),
            ("audit.jsonl.12.gz", true),
            ("audit.jsonl-20261130", true),
            ("audit.jsonl-20261130-0300.gz", true),
            ("audit-20261130.jsonl", true),
            ("audit.1.jsonl", true),
            ("audit.2026-11-30T03:00:00Z.jsonl.gz", true),
            ("audit.jsonl", false),
            ("audit.jsonl.bak", false),
            ("audit.jsonl.1.swp", false),
            ("audit.jsonl~", false),
            ("audit.jsonl.gz", true),
            ("audit-2.jsonl", false),
            ("audit_8443.jsonl", false),
            ("audit-web.jsonl", false),
            ("web-audit.jsonl.1", false),
            ("audit.jsonl.1.xz", false),
        ] {
            assert_eq!(is_rotated(name.as_ref(), "audit.jsonl".as_ref()), rotated, "{name}");
        }
        assert!(is_rotated("trail.3".as_ref(), "trail".as_ref()));
    }

    fn line(seq: u64, second: u64) -> String {
        format!("{{\"seq\":{seq},\"time\":\"2026-11-30T03:00:{second:02}.000Z\",\"event\":\"start\"}}\n")
    }

    #[test]
    fn files_come_in_the_order_in_which_they_were_written_whatever_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("audit.jsonl"), "torn\n".to_owned() + &line(30, 30)).unwrap();
        std::fs::write(at("audit.jsonl.2"), line(20, 20)).unwrap();
        std::fs::write(at("audit.jsonl.bak"), line(1, 1)).unwrap();
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(line(10, 10).as_bytes()).unwrap();
        std::fs::write(at("audit.jsonl.9.gz"), packed.finish().unwrap()).unwrap();
        let found = oldest_first(&at("audit.jsonl")).unwrap();
        assert_eq!(found, ["audit.jsonl.9.gz", "audit.jsonl.2", "audit.jsonl"].map(at));
        std::fs::remove_file(at("audit.jsonl")).unwrap();
        assert_eq!(oldest_first(&at("audit.jsonl")).unwrap().len(), 2, "it was renamed a moment ago");
        let none = oldest_first(&at("other")).unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_line_without_an_end_fills_no_memory_and_the_next_one_is_read() {
        let endless = vec![b'x'; 3 * LONGEST];
        let text = [&endless[..], b"\nnext\nlast"].concat();
        let mut reader = TrailReader::new(BufReader::new(&text[..]));
        let cut = reader.next(false).unwrap().unwrap();
        assert_eq!((cut.len(), cut.last()), (LONGEST, Some(&b'x')));
        assert_eq!(reader.next(true).unwrap(), Some(&b"next\n"[..]));
        assert_eq!(reader.next(true).unwrap(), None, "its end is not written yet");
        assert_eq!(reader.next(false).unwrap(), Some(&b"last"[..]));
        assert_eq!((reader.number(), reader.next(false).unwrap()), (3, None));
    }
}
