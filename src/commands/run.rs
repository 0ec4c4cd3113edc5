//! The `run` command: a script declares, then it is served.
//!
//! ```text
//! planning worker ─► plan ─► endpoints bound ─► pool of -Threads workers ─► in force ─► drain ─► unregister ─► stop
//! ```

use std::io::{self, Write as _};
use std::sync::Arc;

use super::{CommandError, token_file};
use crate::access::Access;
use crate::cli::{Global, PlanFormat, RunArgs};
use crate::http::{Address, Gate};
use crate::logging::console::Console;
use crate::plan::Limits;
use crate::script::run::{self, Declared, RunError, RunOptions};
use crate::script::serve::ScriptSite;
use crate::server::front::Front;
use crate::server::signals::Wish;
use crate::server::{Server, Starting, dump};

/// Checks or serves a script, until a signal says stop or the script closes the server.
pub async fn run(global: &Global, arguments: &RunArgs) -> Result<(), CommandError> {
    let options = options(global, arguments)?;
    let mut server = Server::new().map_err(CommandError::Signals)?;
    let access = Arc::new(match &arguments.token_file {
        Some(path) => token_file(path)?,
        None => Access::open(),
    });
    if arguments.check {
        return match server.unless_stopped(run::check(options)).await {
            Some(Ok(outline)) => {
                print(&outline, arguments.format);
                Ok(())
            }
            Some(Err(error)) => {
                if arguments.format == PlanFormat::Json {
                    write(&format!("{:#}\n", error.to_json()));
                }
                Err(error.into())
            }
            // Stopped is what was asked for, but nothing was told.
            None => Err(RunError::Stopped.into()),
        };
    }
    let Some(declared) = server.unless_stopped(run::declare(&options)).await else { return Ok(()) };
    let declared = declared?;
    let served = serve(&mut server, &declared, access, arguments).await;
    server.end(declared.bridge(), declared.limits().drain).await;
    served
}

/// Serves what was declared; returns when it is over, for whatever reason.
async fn serve(
    server: &mut Server,
    declared: &Declared,
    access: Arc<Access>,
    arguments: &RunArgs,
) -> Result<(), CommandError> {
    let core = declared.core();
    let listeners = core.endpoints.listeners();
    if listeners.is_empty() {
        return Err(RunError::NoEndpoint.into());
    }
    let mut audit = crate::audit::Settings::default();
    arguments.audit.apply(&mut audit);
    server.audit(&audit)?;
    let starting = Gate::new(access.clone(), Arc::new(Starting::default()));
    let front = Arc::new(Front::new(Arc::new(starting)));
    // Before the workers, which take longer than to find a port taken.
    let addresses = server.open(&listeners, front.clone(), &declared.limits())?;
    match server.unless_stopped(declared.start_workers()).await {
        Some(started) => started?,
        None => return Ok(()),
    }
    if access.is_open()
        && let Some(warning) = run::warning(core)
    {
        tracing::warn!("{warning}");
    }
    let gate = Gate::new(access, Arc::new(ScriptSite::new(core.clone())));
    front.replace(declared.bridge().clone(), Arc::new(gate)).await;
    server.in_force();
    if !core.settings.is_quiet() {
        announce(&addresses);
    }
    loop {
        tokio::select! {
            wish = server.next() => match wish {
                Wish::Stop => return Ok(()),
                Wish::Reload => {
                    server.reopen_logs();
                    tracing::warn!("log files are opened anew; a script is read at its start alone, so that SIGHUP changes nothing else");
                }
                Wish::Dump => dump(Some(declared.bridge())),
            },
            () = core.closing.cancelled() => return Ok(()),
        }
    }
}

fn print(outline: &crate::script::outline::Outline, format: PlanFormat) {
    let text = match format {
        PlanFormat::Text => outline.to_text(),
        PlanFormat::Json => format!("{:#}\n", outline.to_json()),
        PlanFormat::Toml => outline.to_toml(),
    };
    write(&text);
}

fn write(text: &str) {
    // Whoever asked may have gone.
    let _ = io::stdout().write_all(text.as_bytes());
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
        limits: Limits::default(),
    })
}

fn announce(addresses: &[Address]) {
    for address in addresses {
        // Nobody may be listening; that is no reason to stop.
        let _ = writeln!(Console::default(), "listening on {address}");
    }
}
