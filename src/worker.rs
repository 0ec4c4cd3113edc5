//! One pwsh process and the calls it answers.
//!
//! A worker does one thing at a time. A call that was not answered by its time, or answered wrongly,
//! breaks the worker: its late answer could go to the next caller, and with secrets that is the wrong
//! secret. A broken worker answers nothing more; whoever owns it kills it. Dropping a [`Worker`] kills its
//! process group.

use std::future::Future;

use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::time::{Instant, timeout_at};

use crate::protocol::{
    AnswerLine, AskLine, CallLine, CoreLine, Empty, Fault, Hello, HelloReply, LogLevel, LogLine, Op,
    PROTOCOL_VERSION,
};
pub use broken::Broken;
use notes::WorkerNotes;
use transport::{Message, Transport};

mod broken;
#[cfg(test)]
pub mod fake;
mod notes;
pub mod obituary;
pub mod process;
pub mod transport;

pub use futures_util::future::BoxFuture;

/// Starts worker processes. The one seam between the pool and the operating system: tests put duplex
/// pipes behind it.
pub trait Launcher: Send + Sync + 'static {
    /// Starts a process and connects to it; says nothing to it yet.
    fn launch(&self, number: u64) -> BoxFuture<'_, Result<Link, LaunchError>>;
}

/// A connection to a started process.
pub struct Link {
    /// Its pipes.
    pub transport: Transport,
    /// The process itself.
    pub process: Box<dyn Process>,
    /// The folder for its private registry.
    pub registry: String,
}

/// A started process.
pub trait Process: Send + Sync {
    /// Its id, while it runs.
    fn id(&self) -> Option<u32>;
    /// Kills its group. Returns at once; the reaping goes on behind.
    fn kill(&mut self);
    /// Waits until it has ended; cancel safe.
    fn wait(&mut self) -> BoxFuture<'_, ()>;
    /// How it ended and what it wrote last, of one that ended by itself; within a few seconds.
    fn obituary(&mut self) -> BoxFuture<'_, Option<String>> {
        Box::pin(async { None })
    }
}

/// Why a worker did not come up.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// The program did not start.
    #[error("pwsh did not start: {0}")]
    Spawn(String),
    /// It started and failed before it said hello.
    #[error("pwsh started and failed: {0} (hint: {hint})", hint = hint(.0))]
    Broken(#[from] Broken),
    /// It ended before it said hello.
    #[error("pwsh ended when it had just been started ({how}){}", circumstances.as_deref().map(|it| format!("; {it}")).unwrap_or_default())]
    Ended {
        /// Its exit code or signal, and its last words.
        how: String,
        /// What on this machine keeps it from starting, and what to do about it.
        circumstances: Option<String>,
    },
    /// It broke in a step of its set-up.
    #[error("{what}: {broken} (hint: {hint})", hint = hint(.broken))]
    BrokenIn {
        /// Which step.
        what: String,
        /// How.
        broken: Broken,
    },
    /// Another protocol version.
    #[error("the worker speaks protocol {theirs}, this program speaks {PROTOCOL_VERSION}")]
    Version {
        /// The worker's version.
        theirs: u32,
    },
    /// Too old a pwsh.
    #[error("pwsh {version} is too old: 7.4 or later is needed")]
    TooOld {
        /// What it says it is.
        version: String,
    },
    /// An init script or another set-up call failed.
    #[error("{what} failed: {fault}")]
    SetUp {
        /// Which step.
        what: String,
        /// What PowerShell said.
        fault: Box<Fault>,
    },
}

/// Where to look when a worker broke while it started.
fn hint(broken: &Broken) -> &'static str {
    match broken {
        Broken::TimedOut => {
            "a start may take start_limit in [pool], 60 s unless it says otherwise; what the worker wrote is in the log"
        }
        _ => "what the worker wrote before is in the log",
    }
}

/// Why a call gave nothing.
#[derive(Debug, Clone, Error)]
pub enum CallError {
    /// PowerShell's error; the worker goes on.
    #[error("{0}")]
    Fault(Box<Fault>),
    /// The worker is broken.
    #[error(transparent)]
    Broken(#[from] Broken),
}

/// Answers what a worker asks while it runs a script block.
pub trait Asks: Send {
    /// Answers one question; may make further calls to the same worker.
    fn answer<'a>(
        &'a mut self,
        what: &'a serde_json::value::RawValue,
        worker: &'a mut Worker,
    ) -> BoxFuture<'a, Result<Result<Box<serde_json::value::RawValue>, Fault>, Broken>>;
}

/// A connected worker that has said hello.
pub struct Worker {
    number: u64,
    transport: Transport,
    process: Box<dyn Process>,
    next_id: u64,
    calls: u64,
    writes: u64,
    born: Instant,
    broken: Option<Broken>,
    hello: HelloReply,
    /// How it ended, if it did by itself.
    obituary: Option<String>,
    /// What the layers above keep with it.
    pub notes: WorkerNotes,
}

impl Worker {
    /// Launches a process and exchanges hellos with it.
    pub async fn start(launcher: &dyn Launcher, number: u64, until: Instant) -> Result<Worker, LaunchError> {
        let link = timeout_at(until, launcher.launch(number)).await.map_err(|_| Broken::TimedOut)??;
        let mut worker = Worker {
            number,
            transport: link.transport,
            process: link.process,
            next_id: 1,
            calls: 0,
            writes: 0,
            born: Instant::now(),
            broken: None,
            hello: HelloReply {
                protocol: 0,
                pwsh: String::new(),
                pid: 0,
                guarded: false,
                secret_management: None,
            },
            obituary: None,
            notes: WorkerNotes::default(),
        };
        let hello = Op::Hello(Hello { protocol: PROTOCOL_VERSION, registry: link.registry });
        let reply = match worker.call::<HelloReply>(hello, until).await {
            Ok(reply) => reply,
            Err(CallError::Broken(broken)) => return Err(worker.did_not_greet(broken)),
            Err(CallError::Fault(fault)) => {
                return Err(LaunchError::SetUp { what: "the worker's start".into(), fault });
            }
        };
        if reply.protocol != PROTOCOL_VERSION {
            return Err(LaunchError::Version { theirs: reply.protocol });
        }
        if !is_recent(&reply.pwsh) {
            return Err(LaunchError::TooOld { version: reply.pwsh });
        }
        worker.hello = reply;
        Ok(worker)
    }

    fn did_not_greet(&mut self, broken: Broken) -> LaunchError {
        match self.obituary.take() {
            Some(how) => LaunchError::Ended { how, circumstances: obituary::circumstances() },
            None => broken.into(),
        }
    }

    /// Finds out how a process that ended by itself ended.
    async fn mourn(&mut self, broken: Broken) {
        if broken != Broken::Closed || self.obituary.is_some() {
            return;
        }
        self.obituary = self.process.obituary().await;
        if let Some(how) = self.obituary.as_deref().filter(|_| self.hello.protocol != 0) {
            tracing::error!(target: "worker", worker = self.number, "pwsh ended by itself: {how}");
        }
    }

    /// Its number, unique in the pool's life.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Calls made so far.
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// Those of them that write or remove a secret.
    pub fn writes(&self) -> u64 {
        self.writes
    }

    /// When it was started.
    pub fn born(&self) -> Instant {
        self.born
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.id()
    }

    /// Why it is of no more use, if it is not.
    pub fn broken(&self) -> Option<Broken> {
        self.broken
    }

    /// Whether it sent anything that is no protocol; such a worker ends after its call.
    pub fn is_noisy(&self) -> bool {
        self.transport.is_noisy()
    }

    /// Calls and waits for the answer. When `until` passes, or the worker answers wrongly, it is broken
    /// from then on. Dropping the future breaks it too.
    pub async fn call<T: DeserializeOwned>(&mut self, op: Op, until: Instant) -> Result<T, CallError> {
        self.call_asking(op, until, None).await
    }

    /// As [`Worker::call`], with answers for what the worker asks meanwhile.
    pub async fn call_asking<T: DeserializeOwned>(
        &mut self,
        op: Op,
        until: Instant,
        asks: Option<&mut dyn Asks>,
    ) -> Result<T, CallError> {
        if let Some(broken) = self.broken {
            return Err(broken.into());
        }
        // Broken until the answer is here: a future dropped half-way leaves it so.
        self.broken = Some(Broken::TimedOut);
        self.calls += 1;
        self.writes += u64::from(matches!(op, Op::Set(_) | Op::Remove(_)));
        let id = self.next_id;
        self.next_id += 1;
        let reply = match self.exchange(id, op, until, asks).await {
            Ok(reply) => reply,
            Err(broken) => {
                self.broken = Some(broken);
                self.mourn(broken).await;
                return Err(broken.into());
            }
        };
        let outcome = match (reply.ok, reply.fault) {
            (Some(ok), None) => serde_json::from_str(ok.get())
                .map_err(|_| CallError::Broken(Broken::Protocol("a reply of the wrong shape"))),
            (None, Some(fault)) => Err(CallError::Fault(fault)),
            _ => Err(CallError::Broken(Broken::Protocol("a reply with neither outcome nor fault"))),
        };
        self.broken = match &outcome {
            Err(CallError::Broken(broken)) => Some(*broken),
            _ => None,
        };
        outcome
    }

    async fn exchange(
        &mut self,
        id: u64,
        op: Op,
        until: Instant,
        mut asks: Option<&mut dyn Asks>,
    ) -> Result<crate::protocol::ReplyLine, Broken> {
        let call = CoreLine::Call(CallLine { id, op });
        in_time(until, self.transport.send(&call)).await?;
        loop {
            // Only the wait for the worker is timed: what is done for a question has a time of its own,
            // and a write begun there must not be cut off by the script's.
            match in_time(until, self.transport.receive()).await? {
                Message::Reply(reply) if reply.id == id => return Ok(reply),
                Message::Reply(_) => return Err(Broken::Protocol("an answer to another call")),
                Message::Log(line) => self.log(&line),
                Message::Ask(ask) => match asks.as_deref_mut() {
                    Some(asks) => self.answer(ask, asks).await?,
                    None => return Err(Broken::Protocol("a question outside a script block")),
                },
            }
        }
    }

    async fn answer(&mut self, ask: AskLine, asks: &mut dyn Asks) -> Result<(), Broken> {
        // The worker waits for us, so it takes calls again.
        let outer = self.broken.take();
        let outcome = asks.answer(&ask.what, self).await?;
        if let Some(broken) = self.broken {
            return Err(broken);
        }
        self.broken = outer;
        let (ok, fault) = match outcome {
            Ok(ok) => (Some(ok), None),
            Err(fault) => (None, Some(fault)),
        };
        self.transport.send(&CoreLine::Answer(AnswerLine { seq: ask.seq, ok, fault })).await
    }

    /// Watches an idle worker: logs what it says and returns when it has broken. Cancel safe.
    pub async fn idle(&mut self) -> Broken {
        if let Some(broken) = self.broken {
            return broken;
        }
        let broken = loop {
            match self.transport.receive().await {
                Ok(Message::Log(line)) => self.log(&line),
                Ok(Message::Reply(_) | Message::Ask(_)) => {
                    break Broken::Protocol("a line that nobody asked for");
                }
                Err(broken) => break broken,
            }
        };
        self.broken = Some(broken);
        self.mourn(broken).await;
        broken
    }

    /// Asks it to end, waits until `until`, and kills what is left of its group.
    pub async fn shut_down(mut self, until: Instant) {
        let asked = self.call::<Empty>(Op::Shutdown(Empty {}), until).await;
        if asked.is_ok() {
            let _ = timeout_at(until, self.process.wait()).await;
        }
    }

    /// Kills it and waits, at most until `until`, until it is gone: only then can nothing that it had begun
    /// come to pass any more.
    pub async fn end(&mut self, until: Instant) {
        self.broken.get_or_insert(Broken::Closed);
        self.process.kill();
        let _ = timeout_at(until, self.process.wait()).await;
    }

    fn log(&self, line: &LogLine) {
        let (worker, message) = (self.number, line.message.as_str());
        match line.level {
            LogLevel::Error => tracing::error!(target: "worker", worker, "{message}"),
            LogLevel::Warning => tracing::warn!(target: "worker", worker, "{message}"),
            LogLevel::Information => tracing::info!(target: "worker", worker, "{message}"),
            LogLevel::Verbose | LogLevel::Debug => tracing::debug!(target: "worker", worker, "{message}"),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.process.kill();
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("number", &self.number).field("broken", &self.broken).finish()
    }
}

async fn in_time<T>(until: Instant, step: impl Future<Output = Result<T, Broken>>) -> Result<T, Broken> {
    timeout_at(until, step).await.unwrap_or(Err(Broken::TimedOut))
}

/// 7.4 or later. A preview (`7.4.0-preview.1`) counts.
pub(crate) fn is_recent(version: &str) -> bool {
    let mut parts = version.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let (major, minor) = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    (major, minor) >= (7, 4)
}

#[cfg(test)]
mod tests;
