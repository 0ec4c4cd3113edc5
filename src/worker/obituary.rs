//! How a worker ended: its exit code or signal, its last words, and what on this machine may have caused it.

use std::collections::VecDeque;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};

use crate::platform;

/// So many of the last lines are kept.
const KEPT: usize = 4;

/// The longest of them that is told, in characters.
const LONGEST: usize = 300;

/// With fewer open files .NET does not come up, or not for long.
const FEW_FILES: u64 = 256;

/// The last that a worker wrote to its stderr, stack traces left out. Cheap to clone.
#[derive(Clone, Default)]
pub struct LastWords(Arc<Mutex<VecDeque<String>>>);

impl LastWords {
    /// Takes a line; tells whether it is a part of a stack trace or a prompt, which are of no use to most readers.
    pub fn hear(&self, line: &str) -> bool {
        let trace = is_trace(line);
        if !trace {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() == KEPT {
                kept.pop_front();
            }
            kept.push_back(line.trim().chars().take(LONGEST).collect());
        }
        trace || is_prompt(line)
    }

    fn tell(&self) -> String {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // For an exception that was not caught, .NET has written the cause already.
        let from = kept.iter().position(|line| line.starts_with("Unhandled exception")).unwrap_or(0);
        kept.iter().skip(from).map(String::as_str).collect::<Vec<_>>().join(" | ")
    }
}

/// Whether a line belongs to a .NET stack trace.
pub fn is_trace(line: &str) -> bool {
    let text = line.trim_start();
    (text.len() < line.len() && text.starts_with("at ")) || text.starts_with("--- End of ")
}

/// Whether a line asks a person for something. Nobody answers a worker: what comes of it is told elsewhere.
pub fn is_prompt(line: &str) -> bool {
    let text = line.trim();
    // `Password:`, `Enter the name (default is "Y"):`, `[Y] Yes  [N] No  [?] Help`, and what PowerShell says before.
    text.ends_with(':')
        || text.starts_with("[Y] ")
        || text.starts_with("Supply values for the following parameters")
        || (text.starts_with("cmdlet ") && text.contains(" at command pipeline position "))
}

/// Tells how a process ended.
pub fn tell(status: Option<ExitStatus>, words: &LastWords) -> String {
    let how = status.map_or_else(|| "how is not known".to_owned(), |status| status.to_string());
    let said = words.tell();
    let said =
        if said.is_empty() { ", and wrote nothing".to_owned() } else { format!(", and wrote last: {said}") };
    format!("{how}{said}")
}

/// What on this machine keeps pwsh from starting, as far as it can be seen, and what to do about it.
pub fn circumstances() -> Option<String> {
    if let Some(files) = platform::most_open_files().filter(|files| *files < FEW_FILES) {
        return Some(format!(
            "at most {files} files may be open here (ulimit -n), and pwsh needs more: allow 1024 or more"
        ));
    }
    if std::env::current_dir().is_err() {
        return Some("the working folder is gone: start in a folder that is there".to_owned());
    }
    let home = platform::home()?;
    let probe = tempfile_in(&home);
    probe.err().map(|error| {
        format!("HOME ({}) cannot be written: {error}: set HOME to a folder that can be", home.display())
    })
}

/// Makes a file there and removes it.
fn tempfile_in(folder: &std::path::Path) -> std::io::Result<()> {
    let path = folder.join(format!(".secretbridge-probe-{}", std::process::id()));
    std::fs::File::create_new(&path)?;
    std::fs::remove_file(&path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_are_those_of_the_exception_without_its_trace() {
        let words = LastWords::default();
        let lines = [
            "one",
            "two",
            "Unhandled exception. System.InvalidOperationException: no command",
            "   at System.Management.Automation.Run()",
            "--- End of stack trace from previous location ---",
        ];
        let traces: Vec<bool> = lines.iter().map(|line| words.hear(line)).collect();
        assert_eq!(traces, [false, false, false, true, true]);
        let told = tell(None, &words);
        assert!(
            told.ends_with("wrote last: Unhandled exception. System.InvalidOperationException: no command"),
            "{told}"
        );
        assert!(tell(None, &LastWords::default()).contains("wrote nothing"));
    }

    #[test]
    fn a_prompt_is_known_and_kept_as_a_last_word() {
        let words = LastWords::default();
        for line in [
            "Password:",
            "Password for user sa: ",
            "[Y] Yes  [N] No  [?] Help (default is \"Y\"): ",
            "cmdlet Get-X at command pipeline position 1",
        ] {
            assert!(words.hear(line), "{line}");
        }
        for line in ["the key is: 7", "cmdlets", "[Yes]"] {
            assert!(!words.hear(line), "{line}");
        }
        assert!(tell(None, &words).contains("cmdlets"));
    }

    #[test]
    fn an_ordinary_line_that_begins_with_at_is_no_trace() {
        assert!(!is_trace("at last"));
        assert!(!is_trace("  attention"));
    }
}
