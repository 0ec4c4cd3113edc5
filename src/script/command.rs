//! The `run` command: options from the command line, words for the people at it.

use std::io::{self, Write as _};

use thiserror::Error;

use super::run::{self, Ready, RunError, RunOptions};
use crate::bridge::StartError;
use crate::cli::{Global, PlanFormat, RunArgs};
use crate::exit::Exit;
use crate::http::Drained;
use crate::plan::Limits;
use crate::shutdown::{Signals, Wish};
use crate::worker::LaunchError;

/// Why `run` ended badly.
#[derive(Debug, Error)]
pub enum CommandError {
    /// A parameter is not text.
    #[error("the script's parameter {0} is not UTF-8 text")]
    NotText(usize),
    /// Signals.
    #[error("signals cannot be listened to: {0}")]
    Signals(io::Error),
    /// The script, its workers, its endpoints.
    #[error(transparent)]
    Run(#[from] RunError),
}

impl CommandError {
    /// How the program ends.
    pub fn exit(&self) -> Exit {
        match self {
            CommandError::NotText(_) | CommandError::Run(RunError::Script { .. } | RunError::Token(_)) => {
                Exit::Usage
            }
            CommandError::Run(
                RunError::Start(StartError::Pwsh(_)) | RunError::Workers(LaunchError::TooOld { .. }),
            ) => Exit::NoPwsh,
            _ => Exit::Failure,
        }
    }
}

/// Checks or serves a script, until a signal says stop or the script closes the server.
pub async fn command(global: &Global, arguments: &RunArgs) -> Result<(), CommandError> {
    let options = options(global, arguments)?;
    let signals = Signals::listen().map_err(CommandError::Signals)?;
    if arguments.check {
        let outline = tokio::select! {
            outline = run::check(options) => outline?,
            () = stopped(signals) => return Err(RunError::Stopped.into()),
        };
        let text = match arguments.format {
            PlanFormat::Text => outline.to_text(),
            PlanFormat::Json => format!("{:#}\n", outline.to_json()),
            PlanFormat::Toml => outline.to_toml(),
        };
        // Whoever asked may have gone.
        let _ = io::stdout().write_all(text.as_bytes());
        return Ok(());
    }
    match run::run(options, stopped(signals), announce).await {
        Ok(Drained::Complete) => {}
        Ok(Drained::Cut { connections }) => {
            tracing::warn!(connections, "the drain limit passed with requests under way");
        }
        // Stopped is what was asked for.
        Err(RunError::Stopped) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

fn options(global: &Global, arguments: &RunArgs) -> Result<RunOptions, CommandError> {
    let text = |(index, parameter): (usize, &std::ffi::OsString)| {
        parameter.to_str().map(str::to_owned).ok_or(CommandError::NotText(index + 1))
    };
    Ok(RunOptions {
        script: arguments.script.clone(),
        parameters: arguments.parameters.iter().enumerate().map(text).collect::<Result<_, _>>()?,
        pwsh: global.pwsh.clone(),
        check: arguments.check,
        no_lift: arguments.no_lift,
        loopback: arguments.loopback,
        token_file: arguments.token_file.clone(),
        limits: Limits::default(),
    })
}

fn announce(ready: &Ready) {
    if !ready.quiet {
        for address in &ready.addresses {
            // Nobody may be listening; that is no reason to stop.
            let _ = writeln!(io::stderr(), "listening on {address}");
        }
    }
}

async fn stopped(mut signals: Signals) {
    while signals.next().await != Wish::Stop {}
}
