//! Workers that are not there: tasks behind duplex pipes, for tests with a paused clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::transport::Transport;
use super::{BoxFuture, LaunchError, Launcher, Link, Process};
use crate::protocol::PROTOCOL_VERSION;

/// What a fake worker does when it is called.
pub enum Reaction {
    /// Sends these lines.
    Say(Vec<String>),
    /// Sends these lines after a while.
    Later(Duration, Vec<String>),
    /// Sends these lines once told to.
    When(Arc<Notify>, Vec<String>),
    /// Ends, as a crash does.
    Die,
    /// Never answers.
    Hang,
}

type Script = dyn Fn(u64, &Value) -> Reaction + Send + Sync;

/// Starts fake workers; each asks the script, with its number, what to do with a line.
pub struct FakeLauncher {
    hello: Value,
    script: Arc<Script>,
    /// How long a killed worker takes to be gone.
    pub dying: Duration,
    /// Launches so far.
    pub launched: Arc<AtomicUsize>,
    /// Workers that live.
    pub alive: Arc<AtomicUsize>,
}

/// A reply to a call.
pub fn ok(call: &Value, outcome: &Value) -> String {
    json!({ "reply": { "id": call["id"], "ok": outcome } }).to_string()
}

/// A fault in reply to a call.
pub fn fault(call: &Value, id: &str) -> String {
    json!({ "reply": { "id": call["id"], "fault": { "id": id, "message": "m" } } }).to_string()
}

impl FakeLauncher {
    /// Workers that greet well.
    pub fn new(script: impl Fn(u64, &Value) -> Reaction + Send + Sync + 'static) -> FakeLauncher {
        FakeLauncher::with_hello(json!({ "protocol": PROTOCOL_VERSION, "pwsh": "7.6.1", "pid": 1 }), script)
    }

    /// Workers that greet so.
    pub fn with_hello(
        hello: Value,
        script: impl Fn(u64, &Value) -> Reaction + Send + Sync + 'static,
    ) -> FakeLauncher {
        FakeLauncher {
            hello,
            script: Arc::new(script),
            dying: Duration::ZERO,
            launched: Arc::default(),
            alive: Arc::default(),
        }
    }
}

impl Launcher for FakeLauncher {
    fn launch(&self, number: u64) -> BoxFuture<'_, Result<Link, LaunchError>> {
        self.launched.fetch_add(1, Ordering::SeqCst);
        self.alive.fetch_add(1, Ordering::SeqCst);
        let (hello, script) = (self.hello.clone(), self.script.clone());
        let killed = CancellationToken::new();
        let (alive, dying) = (Some(self.alive.clone()), self.dying);
        let process = FakeProcess { killed: killed.clone(), alive, dying };
        Box::pin(async move {
            let (ours, theirs) = tokio::io::duplex(1 << 16);
            let (reader, writer) = tokio::io::split(ours);
            tokio::spawn(async move {
                tokio::select! {
                    () = live(theirs, number, hello, script) => {}
                    () = killed.cancelled() => {}
                }
            });
            let transport = Transport::new(reader, writer);
            Ok(Link { transport, process: Box::new(process), registry: "/r".into() })
        })
    }
}

async fn live(pipe: tokio::io::DuplexStream, number: u64, hello: Value, script: Arc<Script>) {
    let (reader, mut writer) = tokio::io::split(pipe);
    let mut lines = BufReader::new(reader).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let line: Value = serde_json::from_str(&line).expect("the core sends JSON");
        // An answer to a question is shown whole.
        let call = line.get("call").unwrap_or(&line);
        let reaction = match call["op"].get("hello") {
            Some(_) => Reaction::Say(vec![ok(call, &hello)]),
            None => script(number, call),
        };
        let lines = match reaction {
            Reaction::Say(lines) => lines,
            Reaction::Later(wait, lines) => {
                tokio::time::sleep(wait).await;
                lines
            }
            Reaction::When(told, lines) => {
                told.notified().await;
                lines
            }
            Reaction::Die => return,
            Reaction::Hang => std::future::pending().await,
        };
        for line in lines {
            if writer.write_all(format!("{line}\n").as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

struct FakeProcess {
    killed: CancellationToken,
    alive: Option<Arc<AtomicUsize>>,
    dying: Duration,
}

impl Process for FakeProcess {
    fn id(&self) -> Option<u32> {
        None
    }

    fn kill(&mut self) {
        self.killed.cancel();
        if let Some(alive) = self.alive.take() {
            alive.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn wait(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(self.dying))
    }
}
