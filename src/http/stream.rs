//! A connection's byte stream with four guards, of which hyper has the last; but a timer for each request, as it
//! has it, takes a lock that all connections share.
//!
//! *Stall*: a client that does not take the answer in is cut off when no byte could be written for the
//! time allowed. *Linger*: after an answer to a request that was not read to its end, the rest is read
//! and dropped for a moment; otherwise the kernel answers it with a reset, and the client loses the
//! answer that it was just sent. *Head*: a client that connects and says nothing is let go, and so is one that
//! takes too long from the first byte of a request's head to its last; a byte now and then does not help. *Idle*:
//! a client that asks nothing more for long is let go too.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use zeroize::Zeroizing;

/// An answer of so many bytes, head and all, is written in one piece.
const SHORT: usize = 512;

/// How long the rest of a refused body is read and dropped.
const LINGER: Duration = Duration::from_secs(1);

/// A byte stream of any kind.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Whether a request was answered before all of it was read.
#[derive(Clone, Default)]
pub(super) struct UnreadRest(Arc<AtomicBool>);

/// How many heads were read, and how many of their requests are answered: together, so that it is odd while a request
/// is under way.
#[derive(Clone, Default)]
pub(super) struct RequestCount(Arc<AtomicUsize>);

/// The stream with its guards.
pub(super) struct GuardedStream {
    inner: Box<dyn Duplex>,
    stall_limit: Duration,
    /// Runs while a write waits.
    stall: Option<Pin<Box<Sleep>>>,
    unread: UnreadRest,
    asked: RequestCount,
    /// What it was when it was last looked at.
    seen: usize,
    /// Time for a head.
    head_limit: Duration,
    /// Runs until the client's first byte, and while a head comes in parts.
    head: Option<Pin<Box<Sleep>>>,
    /// A head has begun.
    begun: bool,
    /// Time between two requests.
    idle_limit: Duration,
    /// Runs from pause to pause: it is set anew only where it fires before the time of the present one.
    idle: Option<Pin<Box<Sleep>>>,
    /// Something was read or written since this was last looked at.
    moved: bool,
    /// Since when nothing was.
    quiet_since: Instant,
    /// Runs once our side is shut.
    linger: Option<Pin<Box<Sleep>>>,
}

// === impl UnreadRest ===

impl UnreadRest {
    /// How a connection begins: hyper answers a bad head by itself, wherever it stopped reading.
    pub(super) fn marked() -> UnreadRest {
        UnreadRest(Arc::new(AtomicBool::new(true)))
    }

    pub(super) fn mark(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn clear(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    fn is_marked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

// === impl RequestCount ===

impl RequestCount {
    pub(super) fn begin(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn end(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

// === impl GuardedStream ===

impl GuardedStream {
    pub(super) fn new(inner: Box<dyn Duplex>, stall_limit: Duration, unread: UnreadRest) -> GuardedStream {
        GuardedStream {
            inner,
            stall_limit,
            stall: None,
            unread,
            asked: RequestCount::default(),
            seen: 0,
            head_limit: stall_limit,
            head: None,
            begun: false,
            idle_limit: stall_limit,
            idle: None,
            moved: false,
            quiet_since: Instant::now(),
            linger: None,
        }
    }

    /// Ends the stream where the client's first byte takes longer than the first time, a head than the second, or the
    /// pause between two requests than the third.
    pub(super) fn with_heads(
        mut self,
        first_byte: Duration,
        head: Duration,
        idle: Duration,
        asked: RequestCount,
    ) -> GuardedStream {
        self.head = Some(Box::pin(sleep(first_byte.min(idle))));
        (self.head_limit, self.idle_limit, self.asked) = (head, idle, asked);
        self
    }

    /// Watches over the head of a request: whether it has begun, and since when. A head that comes in one piece, as
    /// most do, needs no timer.
    fn guard_head(&mut self, cx: &mut Context<'_>, read: usize, is_pending: bool) -> Poll<io::Error> {
        let asked = self.asked.0.load(Ordering::Acquire);
        if asked != self.seen {
            // The head that had begun is complete now.
            (self.head, self.begun, self.seen) = (None, false, asked);
        }
        if asked % 2 == 1 {
            return Poll::Pending;
        }
        if read > 0 {
            self.moved = true;
            if !self.begun {
                (self.head, self.begun) = (None, true);
            }
        }
        if !is_pending {
            return Poll::Pending;
        }
        if self.begun {
            let limit = self.head_limit;
            let head = self.head.get_or_insert_with(|| Box::pin(sleep(limit)));
            ready!(head.as_mut().poll(cx));
            return Poll::Ready(late("the head of a request takes too long"));
        }
        let Some(head) = self.head.as_mut() else { return self.guard_pause(cx) };
        head.as_mut().poll(cx).map(|()| late("the client says nothing"))
    }

    /// Watches over the pause between two requests. An answer that comes in pieces is none.
    fn guard_pause(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if std::mem::take(&mut self.moved) {
            self.quiet_since = Instant::now();
        }
        let end = self.quiet_since + self.idle_limit;
        let idle = self.idle.get_or_insert_with(|| Box::pin(sleep_until(end)));
        while idle.as_mut().poll(cx).is_ready() {
            if Instant::now() >= end {
                return Poll::Ready(late("the client asks nothing more"));
            }
            idle.as_mut().reset(end);
        }
        Poll::Pending
    }

    /// Passes progress on; turns waiting for too long into an error.
    fn guard<T>(&mut self, cx: &mut Context<'_>, step: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if step.is_ready() {
            self.stall = None;
            return step;
        }
        let limit = self.stall_limit;
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(stall.as_mut().poll(cx));
        Poll::Ready(Err(late("the client does not take the answer in")))
    }

    /// Reads and drops until the client ends its side, or time is up.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let linger = self.linger.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        // A client that sends without pause must not outrun the timer.
        while Instant::now() < linger.deadline() {
            let mut space = [0_u8; 8 * 1024];
            let mut buffer = ReadBuf::new(&mut space);
            match Pin::new(&mut self.inner).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return linger.as_mut().poll(cx),
            }
        }
        Poll::Ready(())
    }
}

impl AsyncRead for GuardedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let step = Pin::new(&mut self.inner).poll_read(cx, buffer);
        let read = buffer.filled().len() - before;
        match self.guard_head(cx, read, step.is_pending()) {
            Poll::Ready(late) => Poll::Ready(Err(late)),
            Poll::Pending => step,
        }
    }
}

impl AsyncWrite for GuardedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let step = Pin::new(&mut self.inner).poll_write(cx, data);
        self.moved |= step.is_ready();
        self.guard(cx, step)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let step = Pin::new(&mut self.inner).poll_flush(cx);
        self.guard(cx, step)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            let step = Pin::new(&mut self.inner).poll_shutdown(cx);
            ready!(self.guard(cx, step))?;
            if !self.unread.is_marked() {
                return Poll::Ready(Ok(()));
            }
        }
        ready!(self.poll_linger(cx));
        Poll::Ready(Ok(()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let step = match Joined::of(data) {
            Some(joined) => Pin::new(&mut self.inner).poll_write(cx, joined.bytes()),
            None => Pin::new(&mut self.inner).poll_write_vectored(cx, data),
        };
        self.moved |= step.is_ready();
        self.guard(cx, step)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

fn late(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, why)
}

/// The parts of a short answer in one piece, which the kernel takes faster than several. Wiped on drop.
struct Joined {
    bytes: Zeroizing<[u8; SHORT]>,
    length: usize,
}

impl Joined {
    /// Nothing where they are long.
    fn of(parts: &[io::IoSlice<'_>]) -> Option<Joined> {
        if parts.iter().map(|part| part.len()).sum::<usize>() > SHORT {
            return None;
        }
        let mut joined = Joined { bytes: Zeroizing::new([0; SHORT]), length: 0 };
        for part in parts {
            joined.bytes[joined.length..joined.length + part.len()].copy_from_slice(part);
            joined.length += part.len();
        }
        Some(joined)
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_in_is_cut_off() {
        let (ours, _theirs) = duplex(4);
        let mut guarded = GuardedStream::new(Box::new(ours), Duration::from_secs(7), UnreadRest::default());
        let start = Instant::now();
        let error = guarded.write_all(b"longer than four").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed().as_secs(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_says_nothing_is_let_go_and_one_that_speaks_is_not() {
        let limit = Duration::from_secs(3);
        let guarded = |ours| {
            GuardedStream::new(Box::new(ours), Duration::from_secs(7), UnreadRest::default()).with_heads(
                limit,
                limit * 9,
                limit * 9,
                RequestCount::default(),
            )
        };
        let (ours, theirs) = duplex(4);
        let start = Instant::now();
        let error = guarded(ours).read_u8().await.unwrap_err();
        assert_eq!((error.kind(), start.elapsed()), (io::ErrorKind::TimedOut, limit));
        drop(theirs);
        let (ours, mut theirs) = duplex(4);
        let mut guarded = guarded(ours);
        theirs.write_all(b"a").await.unwrap();
        assert_eq!(guarded.read_u8().await.unwrap(), b'a');
        let later = tokio::spawn(async move {
            sleep(limit * 5).await;
            theirs.write_all(b"b").await.map(|()| theirs)
        });
        assert_eq!(guarded.read_u8().await.unwrap(), b'b');
        later.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn progress_starts_the_time_again() {
        let (ours, mut theirs) = duplex(1);
        let mut guarded = GuardedStream::new(Box::new(ours), Duration::from_secs(2), UnreadRest::default());
        let reader = tokio::spawn(async move {
            let mut byte = [0];
            for _ in 0..5 {
                sleep(Duration::from_secs(1)).await;
                theirs.read_exact(&mut byte).await.unwrap();
            }
        });
        guarded.write_all(b"abcde").await.unwrap();
        reader.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn an_unread_body_is_drained_for_a_moment_only() {
        let (ours, mut theirs) = duplex(4);
        let mut guarded = GuardedStream::new(Box::new(ours), Duration::from_secs(7), UnreadRest::marked());
        let start = Instant::now();
        let sender = tokio::spawn(async move { theirs.write_all(&[0; 64]).await.map(|()| theirs) });
        guarded.shutdown().await.unwrap();
        assert_eq!(start.elapsed(), LINGER);
        assert!(sender.await.unwrap().is_ok(), "the client could send all of it");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_was_read_costs_no_time() {
        let (ours, _theirs) = duplex(4);
        let mut guarded = GuardedStream::new(Box::new(ours), Duration::from_secs(7), UnreadRest::default());
        let start = Instant::now();
        guarded.shutdown().await.unwrap();
        assert!(start.elapsed().is_zero());
    }
}
