//! `exec`: a program with secrets in its environment or in files that go with it.

use std::ffi::OsString;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use zeroize::Zeroizing;

use super::outcome::CommandOutcome;
use super::output;
use crate::cli::{ExecArgs, Global};
use crate::exit::Exit;
use crate::platform::{self, PassedOn, ProcessJob};
use crate::reach::{Failure, Reach};
use crate::secret::SecretValue;
use bindings::{Bindings, BoundValues};
use files::SecretFiles;
use mask::Mask;

mod bindings;
mod files;
mod mask;

/// How often it is looked whether all that a program has started is gone.
const LOOK: Duration = Duration::from_millis(10);

/// A program that runs, and what copies its output.
struct RunningProgram {
    child: Child,
    /// With --watch: the program with all that it starts.
    job: Option<ProcessJob>,
    copies: Vec<JoinHandle<()>>,
    /// Removed after it.
    _files: SecretFiles,
}

/// Why waiting for the program ended.
enum WaitEnd {
    Ended(std::process::ExitStatus),
    Changed(BoundValues),
}

pub(super) async fn exec(arguments: &ExecArgs, global: &Global) -> CommandOutcome {
    // From here on a signal is passed on, and does not end us before the files are gone.
    let mut signals = PassedOn::listen().map_err(|error| Failure::failed(format!("signals: {error}")))?;
    let bindings = Bindings::of(arguments)?;
    let reach = Reach::find(&arguments.connect, global, &bindings.wanted()).await?;
    let done = go_on(arguments, &bindings, &reach, &mut signals).await;
    reach.close().await;
    done
}

async fn go_on(
    arguments: &ExecArgs,
    bindings: &Bindings,
    reach: &Reach,
    signals: &mut PassedOn,
) -> CommandOutcome {
    let mut values = bindings.read(reach).await?;
    loop {
        let mut running = start(arguments, &values)?;
        let event = {
            let watch = async {
                match arguments.watch {
                    true => changed(arguments, bindings, reach, &values).await,
                    false => std::future::pending().await,
                }
            };
            let mut watch = std::pin::pin!(watch);
            loop {
                tokio::select! {
                    ended = running.child.wait() => {
                        break WaitEnd::Ended(ended.map_err(|error| Failure::failed(format!("the program: {error}")))?);
                    }
                    new = &mut watch => break WaitEnd::Changed(new),
                    signal = signals.next(running.job.is_some()) => match (&running.job, running.child.id()) {
                        (Some(job), _) => job.signal(signal),
                        (None, Some(pid)) => platform::send_signal(pid, signal),
                        (None, None) => {}
                    },
                    () = mind_terminal(&mut running.job) => {}
                }
            }
        };
        match event {
            WaitEnd::Ended(status) => {
                for copy in running.copies.drain(..) {
                    // A grandchild may hold the pipe open; what the program itself wrote is there already.
                    let _ = timeout(Duration::from_secs(1), copy).await;
                }
                return Ok(Exit::Child(platform::exit_code(status)));
            }
            WaitEnd::Changed(new) => {
                tracing::warn!("a secret has changed; the program is started again");
                end(&mut running, arguments.grace).await;
                values = new;
            }
        }
    }
}

/// Stops and goes on with the program, where a terminal asks for it. Never ends.
async fn mind_terminal(job: &mut Option<ProcessJob>) {
    match job {
        Some(job) => job.mind_terminal().await,
        None => std::future::pending().await,
    }
}

/// Asks the program to end, with all that it has started where that is a job, and kills what does not.
async fn end(running: &mut RunningProgram, grace: Duration) {
    let RunningProgram { child, job, .. } = running;
    let Some(job) = job else {
        if let Some(pid) = child.id() {
            platform::send_signal(pid, platform::TERMINATE);
        }
        if timeout(grace, child.wait()).await.is_err() {
            let _ = child.kill().await;
        }
        return;
    };
    job.signal(platform::TERMINATE);
    let all_end = async {
        let _ = child.wait().await;
        while !job.is_empty() {
            sleep(LOOK).await;
        }
    };
    if timeout(grace, all_end).await.is_err() {
        job.kill();
        let _ = child.wait().await;
    }
}

/// Looks until the secrets have changed and have stayed the same for one more look.
async fn changed(arguments: &ExecArgs, bindings: &Bindings, reach: &Reach, old: &BoundValues) -> BoundValues {
    let mut last = None;
    loop {
        sleep(arguments.interval).await;
        match bindings.read(reach).await {
            Ok(new) if new == *old => last = None,
            Ok(new) if last.as_ref() == Some(&new) => return new,
            Ok(new) => last = Some(new),
            Err(error) => tracing::warn!("the secrets cannot be looked at: {error}"),
        }
    }
}

fn start(arguments: &ExecArgs, values: &BoundValues) -> Result<RunningProgram, Failure> {
    let mut command = Command::new(platform::program(&arguments.command[0]));
    command.args(&arguments.command[1..]).kill_on_drop(true);
    // The program does not get the variables that say where the secrets are.
    for name in ["SECRETBRIDGE_TOKEN_FILE", "SECRETBRIDGE_ADDR"] {
        command.env_remove(name);
    }
    for (variable, value) in &values.variables {
        command.env(variable, environment(variable, value)?);
    }
    let files = SecretFiles::create(values.files.iter().map(|(place, value)| (place.as_str(), value)))?;
    if let Some(folder) = files.folder() {
        command.env("SECRETBRIDGE_FILES", folder);
    }
    if arguments.mask {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
    }
    let program = arguments.command[0].to_string_lossy().into_owned();
    // A job without the terminal would be stopped when it reads from it.
    let spawned = match arguments.watch && !platform::shares_terminal() {
        true => platform::spawn_job(&mut command).map(|(child, job)| (child, Some(job))),
        false => command.spawn().map(|child| (child, None)),
    };
    let (mut child, job) = spawned.map_err(|error| {
        let code = if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 };
        Failure::new(Exit::Child(code), format!("cannot run {program}: {error}"))
    })?;
    let mut copies = Vec::new();
    if arguments.mask {
        let mask = Mask::of(values.secrets.iter());
        if let Some(out) = child.stdout.take() {
            copies.push(tokio::spawn(mask::copy(out, tokio::io::stdout(), mask.clone())));
        }
        if let Some(out) = child.stderr.take() {
            copies.push(tokio::spawn(mask::copy(out, tokio::io::stderr(), mask)));
        }
    }
    Ok(RunningProgram { child, job, copies, _files: files })
}

/// A value as an environment holds it.
fn environment(variable: &str, value: &SecretValue) -> Result<OsString, Failure> {
    let bytes: Zeroizing<Vec<u8>> = match value {
        SecretValue::Bytes(_) => {
            let text = value.to_json();
            Zeroizing::new(text.as_str().unwrap_or_default().as_bytes().to_vec())
        }
        other => output::bytes_of(other),
    };
    if bytes.contains(&0) {
        return Err(Failure::usage(format!(
            "the secret for {variable} has a NUL, which no environment can hold"
        ))
        .hint("give it in a file, with --file"));
    }
    // Text and JSON are UTF-8, base64 is ASCII.
    Ok(String::from_utf8_lossy(&bytes).into_owned().into())
}
