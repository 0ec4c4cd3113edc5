//! The writer: takes batches from the queue and writes them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::fold::Folds;
use super::line::LineMaker;
use super::record::{Counts, Record};
use super::sink::Sink;

/// The time between two batches. A record made meanwhile does not wake the writer. Short, so that a batch takes no core away from
/// requests for long: in ten milliseconds a busy server has some hundred lines.
const PAUSE: Duration = Duration::from_millis(2);

/// How long the writer waits for a record before it looks after the folded ones.
const IDLE: Duration = Duration::from_millis(200);

/// Records of a batch, at most. A batch that is full is followed by the next without a pause.
const BATCH: usize = 2048;

/// A write that fails is tried again for so long before its lines are given up.
const RETRY: Duration = Duration::from_secs(2);

#[allow(
    clippy::large_enum_variant,
    reason = "a box for each request would be taken on one thread and freed on another"
)]
pub(super) enum WriterMessage {
    Record(Record),
    Reopen,
    Flush(oneshot::Sender<()>),
    Close,
}

pub(super) struct AuditWriter {
    sink: Sink,
    lines: LineMaker,
    folds: Folds,
    counts: Option<Arc<dyn Counts>>,
    /// Given up by those who wait for room, and how many of them have had their line.
    dropped: Arc<AtomicU64>,
    told: u64,
    failing: bool,
}

// === impl AuditWriter ===

impl AuditWriter {
    pub(super) fn new(
        sink: Sink,
        lines: LineMaker,
        counts: Option<Arc<dyn Counts>>,
        dropped: Arc<AtomicU64>,
    ) -> AuditWriter {
        AuditWriter { sink, lines, folds: Folds::default(), counts, dropped, told: 0, failing: false }
    }

    /// Until the queue is closed, or everybody who could fill it is gone.
    pub(super) fn run(mut self, queue: &Receiver<WriterMessage>) {
        self.lines.start("start");
        self.write();
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            match queue.recv_timeout(IDLE) {
                Ok(message) => batch.push(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.end(),
            }
            batch.extend(queue.try_iter().take(BATCH - batch.len()));
            let full = batch.len() == BATCH;
            if self.take(&mut batch) {
                return self.end();
            }
            if !full {
                std::thread::sleep(PAUSE);
            }
        }
    }

    /// Works a batch off; `true` at the end.
    fn take(&mut self, batch: &mut Vec<WriterMessage>) -> bool {
        let (mut flushed, mut reopen, mut close) = (Vec::new(), false, false);
        self.count(batch);
        self.lines.tick();
        for message in batch.drain(..) {
            match message {
                WriterMessage::Record(record) if self.sink.is_none() || !self.folds.wants(&record) => {}
                WriterMessage::Record(record) => self.lines.record(&record),
                WriterMessage::Reopen => reopen = true,
                WriterMessage::Flush(done) => flushed.push(done),
                WriterMessage::Close => close = true,
            }
        }
        self.fold(close);
        self.write();
        if reopen {
            self.reopen();
        }
        // The caller may have stopped waiting.
        flushed.into_iter().for_each(|done| _ = done.send(()));
        close
    }

    fn count(&self, batch: &[WriterMessage]) {
        if let Some(counts) = &self.counts {
            counts.take(&mut batch.iter().filter_map(|message| match message {
                WriterMessage::Record(record) => Some(record),
                _ => None,
            }));
        }
    }

    fn fold(&mut self, all: bool) {
        for folded in self.folds.take(Instant::now(), all) {
            self.lines.folded(&folded);
        }
        let dropped = self.dropped.load(Ordering::Relaxed);
        if dropped > self.told {
            self.lines.dropped(dropped - self.told);
            tracing::error!(records = dropped - self.told, "audit records were given up: the queue was full");
            self.told = dropped;
        }
    }

    fn reopen(&mut self) {
        match self.sink.reopen() {
            Ok(true) => {
                self.lines.start("continue");
                self.write();
            }
            Ok(false) => {}
            // The old file is still open, and written to.
            Err(error) => tracing::error!("the audit file is not changed: {error}"),
        }
    }

    /// Writes what was made. A disk that is full may have room again in a moment.
    fn write(&mut self) {
        if self.lines.text().is_empty() || self.sink.is_none() {
            self.lines.clear();
            return;
        }
        let until = Instant::now() + RETRY;
        let mut outcome = self.sink.write(self.lines.text().as_bytes());
        while outcome.is_err() && !self.failing && Instant::now() < until {
            std::thread::sleep(PAUSE);
            outcome = self.sink.write(self.lines.text().as_bytes());
        }
        match outcome {
            Ok(()) if self.failing => {
                self.failing = false;
                self.lines.clear();
                tracing::info!("the audit trail is written again");
            }
            Ok(()) => self.lines.clear(),
            Err(error) => {
                let lines = self.lines.text().lines().count() as u64;
                self.dropped.fetch_add(lines, Ordering::Relaxed);
                if !self.failing {
                    tracing::error!("the audit trail cannot be written, lines are given up: {error}");
                }
                self.failing = true;
                self.lines.take_back();
            }
        }
    }

    fn end(mut self) {
        self.lines.tick();
        self.fold(true);
        self.lines.stop();
        self.write();
    }
}
