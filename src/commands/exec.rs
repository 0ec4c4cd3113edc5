//! `exec`: a program with secrets in its environment or in files that go with it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ffi::OsString;
use std::process::Stdio;

use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use zeroize::Zeroizing;

use super::outcome::CommandOutcome;
use super::output;
use crate::cli::{Binding, ExecArgs, Global};
use crate::exit::Exit;
use crate::platform::{self, PassedOn};
use crate::reach::{Failure, Reach, SecretName, WantedVaults};
use crate::secret::SecretValue;
use files::SecretFiles;
use mask::Mask;

mod files;
mod mask;

/// The values by name, as they were read together.
type NamedValues = BTreeMap<String, SecretValue>;

/// A program that runs, and what copies its output.
struct RunningProgram {
    child: Child,
    copies: Vec<JoinHandle<()>>,
    /// Removed after it.
    _files: SecretFiles,
}

/// Why waiting for the program ended.
enum WaitEnd {
    Ended(std::process::ExitStatus),
    Changed(NamedValues),
}

pub(super) async fn exec(arguments: &ExecArgs, global: &Global) -> CommandOutcome {
    // From here on a signal is passed on, and does not end us before the files are gone.
    let mut signals = PassedOn::listen().map_err(|error| Failure::failed(format!("signals: {error}")))?;
    let bindings = Bindings::of(arguments)?;
    let wanted = WantedVaults::Names(bindings.names());
    let reach = Reach::find(&arguments.connect, global, &wanted).await?;
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
        let mut running = start(arguments, bindings, &values)?;
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
                    signal = signals.next() => {
                        if let Some(pid) = running.child.id() {
                            platform::send_signal(pid, signal);
                        }
                    }
                }
            }
        };
        match event {
            WaitEnd::Ended(status) => {
                for copy in running.copies.drain(..) {
                    // A grandchild may hold the pipe open; what the program itself wrote is there already.
                    let _ = timeout(std::time::Duration::from_secs(1), copy).await;
                }
                return Ok(Exit::Child(platform::exit_code(status)));
            }
            WaitEnd::Changed(new) => {
                tracing::warn!("a secret has changed; the program is started again");
                end(&mut running, arguments).await;
                values = new;
            }
        }
    }
}

/// Asks the program to end, and kills it if it does not.
async fn end(running: &mut RunningProgram, arguments: &ExecArgs) {
    if let Some(pid) = running.child.id() {
        platform::send_signal(pid, platform::TERMINATE);
    }
    if timeout(arguments.grace, running.child.wait()).await.is_err() {
        let _ = running.child.kill().await;
    }
}

/// Looks until the secrets have changed and have stayed the same for one more look.
async fn changed(arguments: &ExecArgs, bindings: &Bindings, reach: &Reach, old: &NamedValues) -> NamedValues {
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

fn start(arguments: &ExecArgs, bindings: &Bindings, values: &NamedValues) -> Result<RunningProgram, Failure> {
    let mut command = Command::new(platform::program(&arguments.command[0]));
    command.args(&arguments.command[1..]).kill_on_drop(true);
    // The program does not get the variables that say where the secrets are.
    for name in ["SECRETBRIDGE_TOKEN_FILE", "SECRETBRIDGE_ADDR"] {
        command.env_remove(name);
    }
    for (variable, name) in &bindings.variables {
        command.env(variable, environment(variable, &values[&name.to_string()])?);
    }
    let files = SecretFiles::create(
        bindings.files.iter().map(|file| (file.place.as_str(), &values[&file.name.to_string()])),
    )?;
    if let Some(folder) = files.folder() {
        command.env("SECRETBRIDGE_FILES", folder);
    }
    if arguments.mask {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
    }
    let program = arguments.command[0].to_string_lossy().into_owned();
    let mut child = command.spawn().map_err(|error| {
        let code = if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 };
        Failure::new(Exit::Child(code), format!("cannot run {program}: {error}"))
    })?;
    let mut copies = Vec::new();
    if arguments.mask {
        let mask = Mask::of(values.values());
        if let Some(out) = child.stdout.take() {
            copies.push(tokio::spawn(mask::copy(out, tokio::io::stdout(), mask.clone())));
        }
        if let Some(out) = child.stderr.take() {
            copies.push(tokio::spawn(mask::copy(out, tokio::io::stderr(), mask)));
        }
    }
    Ok(RunningProgram { child, copies, _files: files })
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

/// What goes where.
struct Bindings {
    variables: Vec<(String, SecretName)>,
    files: Vec<Binding>,
}

impl Bindings {
    /// Those of the arguments, and the variables of our own environment that are references.
    fn of(arguments: &ExecArgs) -> Result<Bindings, Failure> {
        let mut variables = Vec::new();
        for (variable, text) in std::env::vars_os() {
            let (Some(variable), Some(text)) = (variable.to_str(), text.to_str()) else { continue };
            if SecretName::is_reference(text) && !arguments.env.iter().any(|said| said.place == variable) {
                let name = text
                    .parse()
                    .map_err(|error| Failure::usage(format!("the variable {variable}: {error}")))?;
                variables.push((variable.to_owned(), name));
            }
        }
        variables.extend(arguments.env.iter().map(|said| (said.place.clone(), said.name.clone())));
        Ok(Bindings { variables, files: arguments.file.clone() })
    }

    fn names(&self) -> Vec<SecretName> {
        let of_files = self.files.iter().map(|file| file.name.clone());
        self.variables.iter().map(|(_, name)| name.clone()).chain(of_files).collect()
    }

    async fn read(&self, reach: &Reach) -> Result<NamedValues, Failure> {
        let mut values = NamedValues::new();
        for name in self.names() {
            if let Entry::Vacant(place) = values.entry(name.to_string()) {
                place.insert(reach.get(&name).await?.value);
            }
        }
        Ok(values)
    }
}
