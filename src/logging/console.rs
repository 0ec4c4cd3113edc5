//! Words for people on standard error, beside the log: where it listens, how the start goes, why it ended.
//!
//! Where the log is JSON, each of these lines is a JSON object too, so that whoever reads standard error has
//! JSON from the first byte to the last.

use std::io::{self, IsTerminal as _, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::platform::service;
use crate::platform::service::events::{self, ServiceEvent, Severity};

/// The log is written as JSON.
static JSON: AtomicBool = AtomicBool::new(false);

/// Says how lines are written from now on.
pub(crate) fn use_json(json: bool) {
    JSON.store(json, Ordering::Relaxed);
}

/// Standard error for people.
#[derive(Debug, Default)]
pub struct Console {
    /// The begin of a line.
    line: Vec<u8>,
}

/// Why the program ends.
pub fn failed(why: &dyn std::fmt::Display) {
    let event = ServiceEvent { id: events::FAILED, severity: Severity::Error, text: &why.to_string() };
    service::report(&event);
    let text = if JSON.load(Ordering::Relaxed) {
        line("ERROR", &why.to_string())
    } else {
        format!("secretbridge: {why}\n")
    };
    // The reader of standard error may have gone.
    let _ = io::stderr().write_all(text.as_bytes());
}

// === impl Console ===

impl Console {
    /// Whether a line may be written over.
    pub fn is_terminal(&self) -> bool {
        io::stderr().is_terminal() && !JSON.load(Ordering::Relaxed)
    }
}

impl Write for Console {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let json = JSON.load(Ordering::Relaxed);
        if !json && !service::is_service() {
            return io::stderr().write(bytes);
        }
        self.line.extend_from_slice(bytes);
        while let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
            let whole: Vec<u8> = self.line.drain(..=end).collect();
            let text = String::from_utf8_lossy(&whole);
            if !text.trim().is_empty() {
                service::report(&ServiceEvent {
                    id: events::SAID,
                    severity: Severity::Information,
                    text: text.trim(),
                });
            }
            if json && !text.trim().is_empty() {
                io::stderr().write_all(line("INFO", text.trim()).as_bytes())?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

fn line(level: &str, message: &str) -> String {
    let now = crate::clock::now();
    let timestamp = now.format(&time::format_description::well_known::Rfc3339).unwrap_or_default();
    let object = serde_json::json!({
        "timestamp": timestamp,
        "level": level,
        "target": "secretbridge",
        "message": message,
    });
    format!("{object}\n")
}
