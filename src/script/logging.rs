//! Pode's error and request logs: to the program's log, and to a file where the script says so.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::protocol::ask;
use crate::protocol::{Fault, LogLevel, ScriptPosition};

/// Where things are logged.
#[derive(Default)]
pub struct Logging(Mutex<Sinks>);

#[derive(Default)]
struct Sinks {
    requests: bool,
    errors: Option<File>,
    request_file: Option<File>,
    levels: Vec<String>,
}

impl Logging {
    /// Turns a log on, beside those that are on.
    pub fn enable(&self, declared: &ask::LoggingAsk, root: Option<&str>) -> Result<(), String> {
        let file = declared.file.as_deref().map(|path| open(path, root)).transpose()?;
        let mut sinks = self.sinks();
        match declared.kind.to_ascii_lowercase().as_str() {
            "error" => {
                sinks.errors = file.or(sinks.errors.take());
                sinks.levels = declared.levels.iter().map(|level| level.to_ascii_lowercase()).collect();
            }
            "request" => {
                sinks.requests |= declared.terminal || file.is_none();
                sinks.request_file = file.or(sinks.request_file.take());
            }
            other => return Err(format!("there is no log of the kind '{other}'")),
        }
        Ok(())
    }

    /// What a block wrote with `Write-PodeErrorLog`, `Write-PodeHost` or the like.
    pub fn message(&self, level: LogLevel, message: &str) {
        let word = match level {
            LogLevel::Error => "error",
            LogLevel::Warning => "warning",
            LogLevel::Information => "informational",
            LogLevel::Verbose => "verbose",
            LogLevel::Debug => "debug",
        };
        match level {
            LogLevel::Error => tracing::error!(target: "script", "{message}"),
            LogLevel::Warning => tracing::warn!(target: "script", "{message}"),
            LogLevel::Information => tracing::info!(target: "script", "{message}"),
            LogLevel::Verbose | LogLevel::Debug => tracing::debug!(target: "script", "{message}"),
        }
        let mut sinks = self.sinks();
        let wanted =
            sinks.levels.is_empty() || sinks.levels.iter().any(|level| level == "*" || level == word);
        if let (true, Some(file)) = (wanted, &mut sinks.errors) {
            append(file, &format!("[{word}] {message}"));
        }
    }

    /// A block threw.
    pub fn failure(&self, position: Option<&ScriptPosition>, fault: &Fault) {
        let script = position.and_then(|position| position.script.as_deref()).unwrap_or_default();
        let line = position.map_or(0, |position| position.line);
        let message = fault
            .cause()
            .map_or_else(|| fault.message.clone(), |cause| format!("{}: {cause}", fault.message));
        tracing::error!(target: "script", script, line, id = fault.id, "{message}");
        if let Some(file) = &mut self.sinks().errors {
            append(file, &format!("[error] {script}:{line} {message} ({})", fault.id));
        }
    }

    /// A request was answered. The query is never logged: it may hold a secret.
    pub fn request(&self, remote: &str, method: &str, path: &str, status: u16) {
        let mut sinks = self.sinks();
        if sinks.requests {
            tracing::info!(target: "request", remote, method, path, status);
        }
        if let Some(file) = &mut sinks.request_file {
            append(file, &format!("{remote} {method} {path} {status}"));
        }
    }

    fn sinks(&self) -> std::sync::MutexGuard<'_, Sinks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open(path: &Path, root: Option<&str>) -> Result<File, String> {
    let path = root.map_or_else(|| path.to_owned(), |root| Path::new(root).join(path));
    let failed =
        |error: std::io::Error| format!("the log file {} cannot be written: {error}", path.display());
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    OpenOptions::new().create(true).append(true).open(&path).map_err(failed)
}

/// One write a line, so that lines of two servers do not mix. A full disk is no reason to fail a request.
fn append(file: &mut File, text: &str) {
    let now = crate::clock::now();
    let stamp = now.format(&time::format_description::well_known::Rfc3339).unwrap_or_default();
    // A message must not make a second line.
    let text = text.replace(['\r', '\n'], " ");
    if let Err(error) = file.write_all(format!("{stamp} {text}\n").as_bytes()) {
        tracing::warn!("a log file cannot be written: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_log_holds_one_line_for_each_message_of_its_levels() {
        let folder = tempfile::tempdir().unwrap();
        let logging = Logging::default();
        let declared = ask::LoggingAsk {
            kind: "error".into(),
            levels: vec!["Error".into()],
            file: Some("logs/errors.log".into()),
            ..ask::LoggingAsk::default()
        };
        logging.enable(&declared, folder.path().to_str()).unwrap();
        // A second one stands beside the first.
        logging.enable(&ask::LoggingAsk { file: None, terminal: true, ..declared.clone() }, None).unwrap();
        logging.message(LogLevel::Error, "one\ntwo");
        logging.message(LogLevel::Debug, "not this");
        let text = std::fs::read_to_string(folder.path().join("logs/errors.log")).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("[error] one two"));
        assert!(
            logging
                .enable(&ask::LoggingAsk { kind: "mail".into(), ..ask::LoggingAsk::default() }, None)
                .is_err()
        );
    }
}
