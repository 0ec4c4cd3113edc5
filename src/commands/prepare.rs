//! The `prepare` command: compiles the worker ahead of the first start, for packages and images.

use std::io::Write as _;

use serde_json::json;

use crate::bridge::StartError;
use crate::cli::{Global, PrepareArgs};
use crate::exit::Exit;
use crate::pwsh::compiled::{Prepared, provide};
use crate::pwsh::{self, Folder};
use crate::worker::process::Environment;

/// Compiles what the next start needs, if it is not there yet. A worker that cannot be kept is a failure:
/// keeping it is what was asked for.
pub async fn prepare(global: &Global, arguments: &PrepareArgs) -> Exit {
    let outcome = prepared(global).await;
    let (exit, document, text) = match &outcome {
        Ok(prepared) => described(prepared),
        Err(error) => {
            (super::of_start(error), json!({ "error": error.to_string() }), format!("secretbridge: {error}"))
        }
    };
    // The reader may have gone; the exit code says what happened.
    if arguments.json {
        let _ = writeln!(std::io::stdout(), "{document}");
    } else {
        let _ = writeln!(std::io::stderr(), "{text}");
    }
    exit
}

async fn prepared(global: &Global) -> Result<Prepared, StartError> {
    let program = pwsh::find(global.pwsh.as_deref(), None)?;
    let folder = Folder::create().map_err(StartError::Folder)?;
    Ok(provide(&program, &folder, &Environment::default()).await?)
}

fn described(prepared: &Prepared) -> (Exit, serde_json::Value, String) {
    let Prepared { engine, compiled, kept, took } = prepared;
    let mut document = json!({
        "version": engine.version,
        "runtime": engine.runtime,
        "compiled": compiled,
        "milliseconds": took.as_millis() as u64,
    });
    let head = format!("PowerShell {} ({})", engine.version, engine.runtime);
    match kept {
        Ok(path) => {
            document["path"] = json!(path.to_string_lossy());
            let how = if *compiled { "compiled, kept as" } else { "was prepared already:" };
            (Exit::Ok, document, format!("{head}: {how} {}", path.display()))
        }
        Err(reason) => {
            document["error"] = json!(reason);
            (Exit::Failure, document, format!("{head}: compiled, but it cannot be kept: {reason}"))
        }
    }
}
