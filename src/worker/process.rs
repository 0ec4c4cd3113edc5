//! Starts pwsh: its own process group, a death signal, a clean environment.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::obituary::{self, LastWords};
use super::transport::Transport;
use super::{BoxFuture, LaunchError, Launcher, Link, Process};
use crate::platform::{self, Channel, Group, OtherUser};
use crate::pwsh::Folder;

/// Longest piece of a worker's stderr that becomes one log line, in bytes.
const MAX_LOG_LINE: u64 = 4096;

/// So many lines of a worker's stderr are logged in each [`LOG_WINDOW`].
const LOG_LINES: u32 = 100;

/// How long it may take to hear how a worker ended that has closed its pipes.
const OBITUARY: Duration = Duration::from_secs(2);

/// See [`LOG_LINES`].
const LOG_WINDOW: Duration = Duration::from_secs(1);

/// Tells the worker script which folders go before PSModulePath. In that variable they would not: pwsh
/// puts the user's and its own folders before what it inherits.
const MODULE_PATH: &str = "SECRETBRIDGE_MODULE_PATH";

/// .NET's setting for code that first counts how it is used. It makes what is compiled at last some 5 %
/// faster, and all before that slower: in the first ten seconds a vault gave 1,000 reads a second with it
/// and 1,700 without (`benches/throughput.rs`). Who sets it for the server has the last word.
const TIERED_PGO: &str = "DOTNET_TieredPGO";

/// Starts pwsh processes that run the embedded worker script.
pub struct PwshLauncher {
    program: PathBuf,
    folder: Arc<Folder>,
    environment: Environment,
    spawner: std::sync::mpsc::Sender<SpawnRequest>,
}

/// What a worker's environment has beside or without the server's own.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// Set.
    pub set: HashMap<String, OsString>,
    /// Taken out, because they hold secrets.
    pub removed: Vec<String>,
    /// Folders put before PSModulePath.
    pub module_path: Vec<PathBuf>,
    /// The home whose vault registry it uses, in place of a private one.
    pub registry: Option<PathBuf>,
    /// Who it runs as, if not the user of the server.
    pub user: Option<OtherUser>,
}

struct SpawnRequest {
    command: Command,
    runtime: tokio::runtime::Handle,
    reply: oneshot::Sender<std::io::Result<(Child, Group)>>,
}

impl PwshLauncher {
    /// Starts the thread that spawns. The death signal of a child is tied to the thread that made it,
    /// so that thread lives exactly as long as the launcher.
    pub fn new(
        program: PathBuf,
        folder: Arc<Folder>,
        environment: Environment,
    ) -> std::io::Result<PwshLauncher> {
        let (spawner, requests) = std::sync::mpsc::channel::<SpawnRequest>();
        std::thread::Builder::new().name("spawner".into()).spawn(move || {
            while let Ok(mut request) = requests.recv() {
                let _runtime = request.runtime.enter();
                let spawned = platform::spawn(&mut request.command);
                // Close our copies of the worker's ends of the channel. Otherwise its end would not end our reading.
                drop(request.command);
                let _ = request.reply.send(spawned);
            }
        })?;
        Ok(PwshLauncher { program, folder, environment, spawner })
    }

    fn described(&self, error: &std::io::Error) -> String {
        let program = self.program.display();
        match &self.environment.user {
            Some(user) => format!("{program}, as the user {}: {error}", user.name()),
            None => format!("{program}: {error}"),
        }
    }
}

/// A pwsh that is to run one of our scripts: its own process group, no telemetry, pipes on all three descriptors.
pub(crate) fn command(program: &Path, script: &Path, environment: &Environment) -> Command {
    let mut command = Command::new(program);
    command
        .args(["-NoLogo", "-NoProfile", "-NonInteractive", "-File"])
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .env("POWERSHELL_UPDATECHECK", "Off")
        .env("POWERSHELL_TELEMETRY_OPTOUT", "1")
        .env("DOTNET_CLI_TELEMETRY_OPTOUT", "1")
        // A killed worker would leave its debugger's pipes and socket in the temporary folder, and
        // through them any program of the user could dump its memory.
        .env("DOTNET_EnableDiagnostics", "0")
        // Nor is there a file of its memory when it crashes, whatever the server's environment says.
        .env("DOTNET_DbgEnableMiniDump", "0")
        // PowerShell's own debugger likewise, from 7.6 on; worker.ps1 closes that of older versions.
        .env("POWERSHELL_DIAGNOSTICS_OPTOUT", "1")
        .env("NO_COLOR", "1")
        .env("TERM", "dumb");
    if std::env::var_os(TIERED_PGO).is_none() {
        command.env(TIERED_PGO, "0");
    }
    for name in &environment.removed {
        command.env_remove(name);
    }
    if let Ok(folders) = std::env::join_paths(&environment.module_path) {
        command.env(MODULE_PATH, folders);
    }
    for (name, value) in &environment.set {
        command.env(name, value);
    }
    if std::env::var_os("HOME").is_none_or(|home| home.is_empty())
        && let Some(home) = platform::home()
    {
        command.env("HOME", home);
    }
    if let Some(user) = &environment.user {
        user.run(&mut command);
    }
    command
}

impl Launcher for PwshLauncher {
    fn launch(&self, number: u64) -> BoxFuture<'_, Result<Link, LaunchError>> {
        Box::pin(async move {
            let failed = |error: std::io::Error| LaunchError::Spawn(self.described(&error));
            let registry = self.folder.new_registry(number).map_err(failed)?;
            let used = self.environment.registry.as_ref().unwrap_or(&registry).to_string_lossy().into_owned();
            let mut command = command(&self.program, &self.folder.worker_script(), &self.environment);
            let channel = Channel::attach(&mut command).map_err(failed)?;
            let (reply, spawned) = oneshot::channel();
            let runtime = tokio::runtime::Handle::current();
            let gone = || LaunchError::Spawn("the spawning thread is gone".into());
            self.spawner.send(SpawnRequest { command, runtime, reply }).map_err(|_| gone())?;
            let (mut child, group) = spawned.await.map_err(|_| gone())?.map_err(failed)?;
            let (reader, writer) = channel.open(&mut child).map_err(failed)?;
            let words = LastWords::default();
            let stderr = child.stderr.take();
            let logged = stderr.map(|stderr| tokio::spawn(log_stderr(stderr, number, words.clone())));
            let process = PwshProcess {
                child: Some(child),
                words,
                logged,
                group,
                folder: self.folder.clone(),
                // It is removed with the process, so it must never be a folder of a HOME.
                registry,
            };
            Ok(Link { transport: Transport::new(reader, writer), process: Box::new(process), registry: used })
        })
    }
}

struct PwshProcess {
    child: Option<Child>,
    words: LastWords,
    /// Ends with its stderr.
    logged: Option<tokio::task::JoinHandle<()>>,
    group: Group,
    folder: Arc<Folder>,
    registry: PathBuf,
}

impl Process for PwshProcess {
    fn obituary(&mut self) -> BoxFuture<'_, Option<String>> {
        Box::pin(async {
            let until = Instant::now() + OBITUARY;
            let status = match &mut self.child {
                Some(child) => timeout_at(until, child.wait()).await.ok()?.ok(),
                None => None,
            };
            // A child of the worker may still hold the other end.
            if let Some(logged) = self.logged.take() {
                let _ = timeout_at(until, logged).await;
            }
            Some(obituary::tell(status, &self.words))
        })
    }

    fn id(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    fn kill(&mut self) {
        let Some(child) = &mut self.child else { return };
        // After the wait, another process may have its id.
        if child.id().is_some() {
            self.group.kill();
        }
        let _ = child.start_kill();
        self.folder.remove_registry(&self.registry);
    }

    fn wait(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            if let Some(child) = &mut self.child {
                let _ = child.wait().await;
            }
        })
    }
}

impl Drop for PwshProcess {
    fn drop(&mut self) {
        self.kill();
        if let (Some(mut child), Ok(runtime)) = (self.child.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move { child.wait().await });
        }
    }
}

/// Logs what a worker writes to its stderr, line by line. A flood is drained and counted, not logged: it
/// must neither block the worker nor fill the disk.
async fn log_stderr(stderr: impl tokio::io::AsyncRead + Unpin, worker: u64, words: LastWords) {
    let mut reader = BufReader::with_capacity(64 * 1024, stderr);
    let mut line = Vec::new();
    let mut window = Instant::now();
    let (mut logged, mut dropped) = (0, 0_u64);
    loop {
        line.clear();
        let mut limited = tokio::io::AsyncReadExt::take(&mut reader, MAX_LOG_LINE);
        if !matches!(limited.read_until(b'\n', &mut line).await, Ok(1..)) {
            return;
        }
        if window.elapsed() >= LOG_WINDOW {
            if dropped > 0 {
                tracing::warn!(target: "worker", worker, lines = dropped, "a worker wrote more than is logged");
            }
            (window, logged, dropped) = (Instant::now(), 0, 0);
        }
        if logged == LOG_LINES {
            dropped += 1;
            continue;
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if !text.is_empty() {
            logged += 1;
            if words.hear(text) {
                tracing::debug!(target: "worker", worker, "{text}");
            } else {
                tracing::info!(target: "worker", worker, "{text}");
            }
        }
    }
}
