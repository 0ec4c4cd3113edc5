//! The `run` command.

use std::io::{self, Write as _};

use super::run::{Ready, RunError, RunOptions, check, run};
use crate::cli::{Global, PlanFormat, RunArgs};
use crate::http::Drained;
use crate::plan::Limits;
use crate::shutdown::{Signals, Wish};

/// Serves a script until a signal says stop, or prints what it would serve.
pub async fn run_command(global: &Global, arguments: &RunArgs) -> Result<(), RunError> {
    let text = |(index, parameter): (usize, &std::ffi::OsString)| {
        parameter.to_str().map(str::to_owned).ok_or(RunError::NotText(index + 1))
    };
    let options = RunOptions {
        script: arguments.script.clone(),
        parameters: arguments.parameters.iter().enumerate().map(text).collect::<Result<_, _>>()?,
        pwsh: global.pwsh.clone(),
        check: arguments.check,
        no_lift: arguments.no_lift,
        loopback: arguments.loopback,
        token_file: arguments.token_file.clone(),
        limits: Limits::default(),
    };
    if arguments.check {
        let outline = check(options).await?;
        let text = match arguments.format {
            PlanFormat::Text => outline.to_text(),
            PlanFormat::Json => format!("{:#}\n", outline.to_json()),
            PlanFormat::Toml => outline.to_toml(),
        };
        // Whoever asked may have gone.
        let _ = io::stdout().write_all(text.as_bytes());
        return Ok(());
    }
    let mut signals = Signals::listen().map_err(RunError::Signals)?;
    let stop = async move { while signals.next().await != Wish::Stop {} };
    if let Drained::Cut { connections } = run(options, stop, announce).await? {
        tracing::warn!(connections, "the drain limit passed with requests under way");
    }
    Ok(())
}

/// Says where it listens, unless the script asked for no words.
fn announce(ready: &Ready) {
    if ready.quiet {
        return;
    }
    for address in &ready.addresses {
        let _ = writeln!(io::stderr(), "listening on {address}");
    }
}
