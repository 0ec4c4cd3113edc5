//! The audit trail: one JSON line for each access to a secret and for each request that got none.
//!
//! ```text
//! request ─► Trail::record ─► bounded queue ─► one writer: counts, folds floods, numbers, writes
//! ```
//!
//! What it promises:
//!
//! - Nothing on the way of a request waits for a disk or for a lock: the queue is an array without one, and
//!   the writer sleeps between batches, so that nobody has to wake it.
//! - A line is written at most 100 ms after its request was answered, unless the disk does not take it.
//! - Nothing is dropped in silence. Where the queue is full requests wait, at most [`PATIENCE`] each; what is
//!   given up then is counted, and the count is a line.
//! - No text of a client, a vault or a script can end a line or forge one: what is not plain is escaped.
//! - Lines are numbered without gaps, in a file also over restarts. With a chain each line holds the digest
//!   of itself and the one before, and [`verify()`] finds what was changed, put in or taken out.
//!
//! Values of secrets are in no line, nor are queries, headers and bodies.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use thiserror::Error;
use tokio::time::{Instant, sleep};

pub use files::{TrailReader, is_damage, oldest_first, open};
pub use line::is_plain;
pub use read::TrailLine;
pub use record::{AuditName, AuditedAccess, AuditedAccesses, Counts, Record};
pub use settings::{AuditSettings, Destination};
pub use sink::SinkError;
pub use verify::{TrailVerdict, verify};

use writer::WriterMessage;

mod chain;
mod files;
mod fold;
mod line;
mod read;
mod record;
mod settings;
mod sink;
mod verify;
mod writer;

/// Records that wait for the writer, at most.
const QUEUE: usize = 8192;

/// How long a request waits for room in the queue before its record is given up.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// How often one that waits looks again.
const LOOK: Duration = Duration::from_millis(2);

/// Why there is no trail.
#[derive(Debug, Error)]
pub enum AuditError {
    /// The file.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// No thread.
    #[error("the audit writer's thread did not start: {0}")]
    Thread(std::io::Error),
}

/// The way into the trail. A handle; the last [`Trail::close`] or drop ends the writer when all is written.
#[derive(Clone)]
pub struct Trail(Arc<AuditInner>);

struct AuditInner {
    queue: SyncSender<WriterMessage>,
    dropped: Arc<AtomicU64>,
    /// Requests that had to wait for room.
    waited: AtomicU64,
    writer: Mutex<Option<JoinHandle<()>>>,
}

// === impl Trail ===

impl Trail {
    /// Opens the destination and starts the writer.
    pub fn start(settings: &AuditSettings, counts: Option<Arc<dyn Counts>>) -> Result<Trail, AuditError> {
        let sink = sink::open(settings)?;
        let (queue, records) = mpsc::sync_channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let lines = line::LineMaker::new(sink.position(), settings.chain);
        let writer = writer::AuditWriter::new(sink, lines, counts, dropped.clone());
        let thread = std::thread::Builder::new().name("audit".to_owned()).spawn(move || writer.run(&records));
        let writer = Mutex::new(Some(thread.map_err(AuditError::Thread)?));
        Ok(Trail(Arc::new(AuditInner { queue, dropped, waited: AtomicU64::new(0), writer })))
    }

    /// Notes what a request came to. Waits only where the queue is full.
    pub async fn record(&self, record: Record) {
        let Err(TrySendError::Full(message)) = self.0.queue.try_send(WriterMessage::Record(record)) else {
            return;
        };
        self.0.waited.fetch_add(1, Ordering::Relaxed);
        self.wait(message).await;
    }

    async fn wait(&self, mut message: WriterMessage) {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            sleep(LOOK).await;
            match self.0.queue.try_send(message) {
                Err(TrySendError::Full(back)) => message = back,
                _ => return,
            }
        }
        self.0.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// Opens the file anew: after it was renamed, lines go to a new one.
    pub fn reopen(&self) {
        // The writer ends only with this handle.
        let _ = self.0.queue.send(WriterMessage::Reopen);
    }

    /// Returns once everything recorded before is counted and written, or the time is up.
    pub async fn flush(&self, limit: Duration) {
        let (done, wait) = tokio::sync::oneshot::channel();
        if self.0.queue.try_send(WriterMessage::Flush(done)).is_ok() {
            let _ = tokio::time::timeout(limit, wait).await;
        }
    }

    /// Records that were given up, and requests that waited for room.
    pub fn pressure(&self) -> (u64, u64) {
        (self.0.dropped.load(Ordering::Relaxed), self.0.waited.load(Ordering::Relaxed))
    }

    /// Writes what is left, with a last line that says so, and ends the writer. Blocks until then.
    pub fn close(&self) {
        let writer = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            let _ = self.0.queue.send(WriterMessage::Close);
            let _ = writer.join();
        }
    }
}

impl Drop for AuditInner {
    fn drop(&mut self) {
        // Also where an error ends the program early.
        if let Some(writer) = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = self.queue.send(WriterMessage::Close);
            let _ = writer.join();
        }
    }
}

impl std::fmt::Debug for Trail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Trail")
    }
}

#[cfg(test)]
mod tests;
