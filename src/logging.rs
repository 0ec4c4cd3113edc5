//! The log: to standard error, as text for people or as JSON lines for machines; where standard error is the journal,
//! to that, with native fields.
//!
//! Standard output stays free for what a command answers.

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use thiserror::Error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::platform;
use crate::platform::service;
use file::LogFile;

pub mod console;
mod events;
pub mod file;

/// Why there is no log.
#[derive(Debug, Error)]
pub enum LogError {
    /// The filter is not one.
    #[error("'{filter}' is no log filter: {reason}")]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The file cannot be written.
    #[error("the log file {} cannot be written: {source} (hint: its folder must be there and writable)", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A log was set up before.
    #[error("the log is set up already")]
    Twice,
}

/// How to write the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogFormat {
    /// A line for people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// Sends the log of the whole process to standard error, or to a file. A filter is a level (`debug`) or a list
/// (`warn,secretbridge::pool=debug`).
pub fn start(filter: &str, format: LogFormat, file: Option<&Path>) -> Result<(), LogError> {
    console::use_json(format == LogFormat::Json);
    if format == LogFormat::Json {
        // The last message of the program is logged like the others.
        std::panic::set_hook(Box::new(|panic| console::failed(panic)));
    }
    let subscriber = match file {
        Some(path) => {
            let log =
                LogFile::open(path).map_err(|source| LogError::File { path: path.to_owned(), source })?;
            subscriber(filter, format, false, move || log.clone())?
        }
        None => {
            let journal = (format == LogFormat::Text).then(platform::journal).flatten();
            if let Some(journal) = journal {
                let log = tracing_subscriber::registry().with(parse_filter(filter)?).with(journal);
                return tracing::subscriber::set_global_default(log).map_err(|_| LogError::Twice);
            }
            // Colours are for eyes only, and the standard switch against them is honoured.
            let wanted = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
            subscriber(filter, format, io::stderr().is_terminal() && wanted, io::stderr)?
        }
    };
    let done = if service::is_service() {
        tracing::subscriber::set_global_default(subscriber.with(events::Events(service::report)))
    } else {
        tracing::subscriber::set_global_default(subscriber)
    };
    done.map_err(|_| LogError::Twice)
}

/// Checks a filter.
pub fn parse_filter(filter: &str) -> Result<EnvFilter, LogError> {
    let wrong = |reason: String| LogError::Filter { filter: filter.to_owned(), reason };
    // A single word would be taken for a target. A misspelt level would then give an empty log.
    let word = filter.trim();
    let is_word = !word.contains(['=', ',', ':', '[']);
    if word.is_empty() || is_word && word.parse::<tracing::level_filters::LevelFilter>().is_err() {
        return Err(wrong("the levels are off, error, warn, info, debug, trace".to_owned()));
    }
    EnvFilter::builder().parse(filter).map_err(|error| wrong(error.to_string()))
}

fn subscriber<W>(
    filter: &str,
    format: LogFormat,
    colours: bool,
    writer: W,
) -> Result<Box<dyn tracing::Subscriber + Send + Sync>, LogError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt()
        .with_env_filter(parse_filter(filter)?)
        .with_writer(writer)
        .with_ansi(colours);
    Ok(match format {
        LogFormat::Text => Box::new(builder.finish()),
        LogFormat::Json => Box::new(builder.json().flatten_event(true).finish()),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(filter: &str, format: LogFormat) -> String {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = subscriber(filter, format, false, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!("unheard");
            tracing::info!(vault = "store", "unlocked");
        });
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn text_has_no_escape_codes_without_a_terminal() {
        let log = logged("info", LogFormat::Text);
        assert!(log.contains("unlocked vault=\"store\""), "{log}");
        assert!(!log.contains('\u{1b}') && !log.contains("unheard"), "{log}");
    }

    #[test]
    fn json_is_one_object_a_line() {
        let log = logged("secretbridge=info", LogFormat::Json);
        let event: serde_json::Value = serde_json::from_str(log.trim_end()).unwrap();
        assert_eq!(event["message"], "unlocked");
        assert_eq!(event["vault"], "store");
        assert_eq!(event["level"], "INFO");
    }

    #[test]
    fn a_misspelt_level_is_refused() {
        for filter in ["inof", "", "secretbridge=loud"] {
            assert!(parse_filter(filter).is_err(), "{filter}");
        }
        for filter in ["info", "OFF", "warn,secretbridge=trace", "secretbridge::pool=debug"] {
            assert!(parse_filter(filter).is_ok(), "{filter}");
        }
    }
}
