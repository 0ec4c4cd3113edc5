//! The `check` command: every mistake of a configuration file in one run.

use std::io::Write as _;

use serde_json::json;

use crate::cli::{CheckArgs, Global};
use crate::config::{self, ConfigError};
use crate::exit::Exit;

/// Checks a file. Says nothing on standard output if it is good, unless asked for JSON.
pub async fn check(_global: &Global, arguments: &CheckArgs) -> Exit {
    let Some(place) = config::find(arguments.config.as_deref()) else {
        return none(arguments);
    };
    let outcome = config::load(&place.path);
    let problems = match &outcome {
        Ok(_) => json!({ "problems": [] }),
        Err(ConfigError::Invalid(problems)) => problems.to_json(),
        Err(error) => json!({ "problems": [{ "message": error.to_string() }] }),
    };
    // Whoever asked may have gone; the exit code says it all.
    if arguments.json {
        let _ = writeln!(std::io::stdout(), "{problems}");
    }
    match outcome {
        Ok(_) => {
            let _ = writeln!(std::io::stderr(), "{}: no mistakes", place.path.display());
            Exit::Ok
        }
        Err(error) => {
            if !arguments.json {
                let _ = writeln!(std::io::stderr(), "{error}");
            }
            Exit::Usage
        }
    }
}

/// Tells that there is nothing to check.
fn none(arguments: &CheckArgs) -> Exit {
    let message = format!("no configuration was found (looked for {})", config::looked_at());
    if arguments.json {
        let _ = writeln!(std::io::stdout(), "{}", json!({ "problems": [{ "message": message }] }));
    } else {
        let hint = "name one with --config; `secretbridge init` writes one";
        let _ = writeln!(std::io::stderr(), "{message}\n  hint: {hint}");
    }
    Exit::Usage
}
