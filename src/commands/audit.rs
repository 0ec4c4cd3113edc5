//! `audit`: who got at which secret, and whether anybody changed what is written of it.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::outcome::CommandOutcome;
use super::output;
use crate::audit::{self, Destination, TrailReader, TrailVerdict};
use crate::cli::{AuditCommand, ShowArgs, VerifyArgs};
use crate::config;
use crate::exit::Exit;
use crate::platform;
use crate::reach::Failure;
use filter::TrailFilter;
use shown::{Printer, ShownLine};

mod filter;
mod shown;

/// At most so many mistakes are printed.
const MISTAKES: usize = 20;

/// What --follow begins with, as other programs that follow a file do.
const FIRST: usize = 10;

/// How often --follow looks for new lines.
const LOOK: Duration = Duration::from_millis(200);

pub(super) fn audit(command: &AuditCommand) -> CommandOutcome {
    match command {
        AuditCommand::Show(arguments) => show(arguments),
        AuditCommand::Verify(arguments) => verify(arguments),
    }
}

fn show(arguments: &ShowArgs) -> CommandOutcome {
    let trails = match arguments.file.is_empty() {
        true => vec![of_configuration(arguments.config.as_deref())?],
        false => arguments.file.clone(),
    };
    let mut files: Vec<PathBuf> = Vec::new();
    for trail in &trails {
        for file in oldest_first(trail)? {
            if !files.contains(&file) {
                files.push(file);
            }
        }
    }
    let live = match (arguments.follow, &trails[..]) {
        (false, _) => None,
        (true, [one]) if one != Path::new("-") => Some(one.as_path()),
        (true, _) => return Err(Failure::usage("--follow goes on with one file: name one with --file")),
    };
    let first = arguments.last.or_else(|| (arguments.follow && arguments.since.is_none()).then_some(FIRST));
    let mut view = View {
        filter: TrailFilter::new(arguments, crate::clock::now()),
        kept: first.map(|count| (count, VecDeque::new())),
        printer: Printer::new(arguments.json),
        ..View::default()
    };
    for file in files.iter().filter(|file| Some(file.as_path()) != live) {
        view.file(file)?;
    }
    match live {
        Some(live) => view.follow(live)?,
        None => view.end()?,
    }
    Ok(Exit::Ok)
}

/// The trail of the configuration that is in force.
fn of_configuration(option: Option<&Path>) -> Result<PathBuf, Failure> {
    let Some(place) = config::find(option) else {
        let looked = config::looked_at();
        return Err(Failure::usage(format!(
            "no configuration says where the audit trail is: none is at {looked}"
        ))
        .hint("a server without one writes its trail to its standard error; name a trail's file with --file, or a configuration with --config"));
    };
    let shown = place.path.display();
    match config::load(&place.path)?.audit.to {
        Destination::File(file) => Ok(file),
        Destination::Stderr => Err(Failure::usage(format!(
            "{shown} names no file for the audit trail, so it goes to standard error"
        ))
        .hint("give it a file with `[audit] file = \"…\"`; \
               one in systemd's journal is read as `secretbridge audit show --help` shows; a file of --audit-file is named with --file")),
        Destination::None => {
            Err(Failure::usage(format!("{shown} turns the audit trail off: `[audit] to = \"none\"`"))
                .hint("give it a file with `[audit] file = \"…\"`"))
        }
    }
}

fn oldest_first(trail: &Path) -> Result<Vec<PathBuf>, Failure> {
    audit::oldest_first(trail).map_err(|error| unreadable(trail, &error))
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let shown = path.display();
    let failure = Failure::failed(format!("the audit trail {shown} cannot be read: {error}"));
    match error.kind() {
        io::ErrorKind::PermissionDenied => failure
            .hint("only the server's user may read it: become that user or an administrator, e.g. with sudo"),
        io::ErrorKind::NotFound => Failure::new(Exit::NotFound, format!("there is no audit trail {shown}"))
            .hint("a server makes it at its first start; a file of --audit-file is named with --file"),
        _ => failure,
    }
}

/// What is shown of a trail.
#[derive(Default)]
struct View {
    filter: TrailFilter,
    printer: Printer,
    /// The last of so many lines, which are printed at the end.
    kept: Option<(usize, VecDeque<ShownLine>)>,
    read: u64,
    shown: u64,
    broken: u64,
}

// === impl View ===

impl View {
    fn file(&mut self, path: &Path) -> Result<(), Failure> {
        let mut reader = audit::open(path).map_err(|error| unreadable(path, &error))?;
        loop {
            match reader.next(false) {
                Ok(Some(bytes)) => {
                    let line = ShownLine::of(bytes);
                    self.take(line, path, reader.number())?;
                }
                Ok(None) => return Ok(()),
                // The rest of a compressed file is lost; the files after it are not.
                Err(error) if audit::is_damage(&error) => {
                    return self.take(None, path, reader.number() + 1);
                }
                Err(error) => return Err(unreadable(path, &error)),
            }
        }
    }

    /// Takes a line in; none where it was not one of a trail.
    fn take(&mut self, line: Option<ShownLine>, path: &Path, number: u64) -> Result<(), Failure> {
        self.read += 1;
        let line = match line {
            Some(ShownLine::Line(line, _)) if !self.filter.admits(&line) => return Ok(()),
            Some(line) => line,
            // What it was about is not known, so that no filter leaves it out.
            None => {
                self.broken += 1;
                ShownLine::Broken(path.to_owned(), number)
            }
        };
        self.shown += 1;
        match &mut self.kept {
            None => self.printer.print(&line),
            Some((count, kept)) => {
                kept.push_back(line);
                if kept.len() > *count {
                    kept.pop_front();
                }
                Ok(())
            }
        }
    }

    /// Prints what is kept; from here on each line is printed at once.
    fn flush(&mut self) -> Result<(), Failure> {
        let kept = self.kept.take().map(|(_, kept)| kept).unwrap_or_default();
        kept.iter().try_for_each(|line| self.printer.print(line))?;
        self.printer.flush()
    }

    fn end(&mut self) -> Result<(), Failure> {
        self.flush()?;
        if self.shown == 0 {
            tracing::warn!("none of the {} lines of the trail is like that", self.read);
        }
        if self.broken > 0 {
            tracing::warn!(
                "{} of {} lines are not lines of a trail; `secretbridge audit verify` says more",
                self.broken,
                self.read
            );
        }
        Ok(())
    }

    /// Goes on with a file until nobody reads what is printed, through rotations.
    fn follow(&mut self, path: &Path) -> Result<(), Failure> {
        let mut open = None;
        let mut wait = false;
        while !self.printer.is_closed() {
            if wait {
                std::thread::sleep(LOOK);
            }
            wait = true;
            if open.is_none() {
                open = match File::open(path) {
                    Ok(file) => Some(TrailReader::new(BufReader::new(file))),
                    // It was renamed, and its successor is not there yet.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                    Err(error) => return Err(unreadable(path, &error)),
                };
            }
            let Some(reader) = &mut open else {
                self.flush()?;
                continue;
            };
            // Looked at before the lines are read, so that none is written behind what was read.
            let replaced =
                is_replaced(reader.get_ref().get_ref(), path).map_err(|error| unreadable(path, &error))?;
            while let Some(bytes) = reader.next(!replaced).map_err(|error| unreadable(path, &error))? {
                let line = ShownLine::of(bytes);
                let number = reader.number();
                self.take(line, path, number)?;
            }
            self.flush()?;
            if replaced {
                open = None;
                wait = false;
            }
        }
        Ok(())
    }
}

/// Whether the lines after these are in another file at the path, or in the same one, which was cut off. One that is
/// empty does not count: until the server has opened it, its lines still go to the old one.
fn is_replaced(file: &File, path: &Path) -> io::Result<bool> {
    use std::io::Seek as _;
    if !platform::is_at(file, path)? {
        return Ok(std::fs::metadata(path).is_ok_and(|about| about.len() > 0));
    }
    let mut at = file;
    Ok(file.metadata()?.len() < at.stream_position()?)
}

/// Checks a trail and prints what came of it: to standard output where it is whole, to standard error else.
fn verify(arguments: &VerifyArgs) -> CommandOutcome {
    let files = match arguments.files.is_empty() {
        true => oldest_first(&of_configuration(arguments.config.as_deref())?)?,
        false => arguments.files.clone(),
    };
    let verdict = audit::verify(&files)
        .map_err(|error| Failure::failed(format!("the audit trail cannot be read: {error}")))?;
    if verdict.broken.is_empty() {
        return output::print(good(&verdict).as_bytes()).map(|()| Exit::Ok);
    }
    if verdict.has_no_chain() {
        return Err(Failure::failed(
            "the audit trail has no chain, so that nobody can tell whether it was changed",
        )
        .hint("for a trail that has one, move the file away and start the server with `[audit] chain = true` or --audit-chain"));
    }
    let mut said = String::new();
    for (path, line, what) in verdict.broken.iter().take(MISTAKES) {
        let _ = writeln!(said, "{}:{line}: {what}", path.display());
    }
    // If it cannot be written, nobody reads it.
    let _ = io::Write::write_all(&mut io::stderr(), said.as_bytes());
    Err(Failure::failed(format!(
        "{} of {} lines are not as they were written",
        verdict.broken.len(),
        verdict.lines
    )))
}

fn good(verdict: &TrailVerdict) -> String {
    let mut out = format!("{} lines, none changed, put in or taken out\n", verdict.lines);
    if !verdict.continues.is_empty() {
        let _ = writeln!(out, "they continue a trail whose last digest is {}", verdict.continues);
    }
    if verdict.torn > 0 {
        let _ = writeln!(out, "{} cut off by a crash, as the trail itself says", verdict.torn);
    }
    let _ = writeln!(out, "last line: {}, digest {}", verdict.last, verdict.link);
    out + "keep that digest elsewhere: a trail that was cut off at its end, or made anew, does not end in it\n"
}
