//! Lines to and from a worker: framing, size, noise. Knows no call.

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use zeroize::{Zeroize as _, Zeroizing};

use super::broken::Broken;
use crate::protocol::{AskLine, CoreLine, LogLine, MAX_LINE, ReplyLine, WorkerLine};

/// How many lines that are not protocol a worker may send in its life.
const MAX_NOISE: u32 = 64;

/// A buffer larger than this is not kept once its line is taken.
const KEPT: usize = 64 * 1024;

/// A line that means something.
pub enum Message {
    /// The answer to a call.
    Reply(ReplyLine),
    /// A question.
    Ask(AskLine),
    /// Something for the log.
    Log(LogLine),
}

/// A worker's two pipes.
pub struct Transport {
    reader: Box<dyn AsyncRead + Send + Unpin>,
    writer: Box<dyn AsyncWrite + Send + Unpin>,
    /// Bytes read; those from `taken` on are not taken yet, and up to `scanned` they hold no newline.
    buffer: Vec<u8>,
    taken: usize,
    scanned: usize,
    noise: u32,
}

impl Transport {
    /// Over any two pipes.
    pub fn new(
        reader: impl AsyncRead + Send + Unpin + 'static,
        writer: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Transport {
        Transport {
            reader: Box::new(reader),
            writer: Box::new(writer),
            buffer: Vec::new(),
            taken: 0,
            scanned: 0,
            noise: 0,
        }
    }

    /// Whether the worker has sent anything that is no protocol.
    pub fn is_noisy(&self) -> bool {
        self.noise > 0
    }

    /// Sends a line. Not cancel safe: a dropped send leaves half a line, so the worker must go.
    pub async fn send(&mut self, line: &CoreLine) -> Result<(), Broken> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(256));
        serde_json::to_writer(&mut *bytes, line).map_err(|_| Broken::Protocol("a call does not encode"))?;
        if bytes.len() > MAX_LINE {
            return Err(Broken::TooLong);
        }
        bytes.push(b'\n');
        self.writer.write_all(&bytes).await.map_err(|_| Broken::Closed)?;
        self.writer.flush().await.map_err(|_| Broken::Closed)
    }

    /// The next line that means something. Cancel safe: a dropped receive loses no byte.
    pub async fn receive(&mut self) -> Result<Message, Broken> {
        loop {
            let line = self.line().await?;
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            match decode(&line) {
                Some(message) => return Ok(message),
                None => self.take_noise(line.len())?,
            }
        }
    }

    async fn line(&mut self) -> Result<Zeroizing<Vec<u8>>, Broken> {
        loop {
            if let Some(offset) = memchr::memchr(b'\n', &self.buffer[self.scanned..]) {
                let end = self.scanned + offset;
                // This also holds where the same read met the end of the stream.
                if end - self.taken > MAX_LINE {
                    return Err(Broken::TooLong);
                }
                return Ok(self.take(end));
            }
            self.scanned = self.buffer.len();
            if self.scanned - self.taken > MAX_LINE {
                return Err(Broken::TooLong);
            }
            self.grow();
            if self.reader.read_buf(&mut self.buffer).await.map_err(|_| Broken::Closed)? == 0 {
                return Err(Broken::Closed);
            }
        }
    }

    /// Takes the line that ends before `end`, and wipes it from the buffer.
    fn take(&mut self, end: usize) -> Zeroizing<Vec<u8>> {
        let is_last = end + 1 == self.buffer.len();
        if is_last && self.taken == 0 && self.buffer.capacity() > KEPT {
            let mut line = Zeroizing::new(std::mem::take(&mut self.buffer));
            line.truncate(end);
            self.scanned = 0;
            return line;
        }
        let line = Zeroizing::new(self.buffer[self.taken..end].to_vec());
        self.buffer[self.taken..end].zeroize();
        (self.taken, self.scanned) = (end + 1, end + 1);
        if is_last {
            self.buffer.clear();
            (self.taken, self.scanned) = (0, 0);
        }
        line
    }

    /// Makes room by hand, so that an outgrown buffer is wiped.
    fn grow(&mut self) {
        if self.buffer.capacity() - self.buffer.len() < 4096 {
            let left = &self.buffer[self.taken..];
            let mut fresh = Vec::with_capacity((left.len() * 2).max(16 * 1024));
            fresh.extend_from_slice(left);
            self.buffer.zeroize();
            self.buffer = fresh;
            self.scanned -= self.taken;
            self.taken = 0;
        }
    }

    fn take_noise(&mut self, length: usize) -> Result<(), Broken> {
        self.noise += 1;
        // Its text may be a secret that a vault module printed.
        tracing::warn!(length, "a worker wrote a line that is no protocol");
        if self.noise > MAX_NOISE { Err(Broken::Noise) } else { Ok(()) }
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.buffer.zeroize();
    }
}

fn decode(line: &[u8]) -> Option<Message> {
    match serde_json::from_slice::<WorkerLine>(line).ok()? {
        WorkerLine { reply: Some(reply), ask: None, log: None } => Some(Message::Reply(reply)),
        WorkerLine { reply: None, ask: Some(ask), log: None } => Some(Message::Ask(ask)),
        WorkerLine { reply: None, ask: None, log: Some(log) } => Some(Message::Log(log)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{CallLine, Empty, Op};

    fn ping(id: u64) -> CoreLine {
        CoreLine::Call(CallLine { id, op: Op::Ping(Empty {}) })
    }

    async fn received(bytes: &[u8]) -> (Result<Message, Broken>, Transport) {
        let mut transport = Transport::new(std::io::Cursor::new(bytes.to_vec()), tokio::io::sink());
        (transport.receive().await, transport)
    }

    #[tokio::test]
    async fn a_line_goes_out_as_one_line() {
        let (ours, mut theirs) = tokio::io::duplex(1024);
        let mut transport = Transport::new(tokio::io::empty(), ours);
        transport.send(&ping(7)).await.unwrap();
        drop(transport);
        let mut text = String::new();
        theirs.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "{\"call\":{\"id\":7,\"op\":{\"ping\":{}}}}\n");
    }

    #[tokio::test]
    async fn noise_is_skipped_and_remembered() {
        let (message, transport) = received(b"hello\n\n[1]\n{\"reply\":{\"id\":3,\"ok\":{}}}\n").await;
        assert!(matches!(message, Ok(Message::Reply(ReplyLine { id: 3, .. }))));
        assert!(transport.is_noisy());
    }

    #[tokio::test]
    async fn endless_noise_breaks_the_worker() {
        let (message, _) = received("noise\n".repeat(100).as_bytes()).await;
        assert!(matches!(message, Err(Broken::Noise)));
    }

    /// A cursor gives all that there is room for, so the line's end comes with the bytes that are too many.
    #[tokio::test]
    async fn a_line_that_is_too_long_is_so_also_where_its_end_has_come_with_it() {
        let mut line = vec![b'x'; MAX_LINE + 1];
        line.push(b'\n');
        let (message, _) = received(&line).await;
        assert!(matches!(message, Err(Broken::TooLong)));
    }

    #[tokio::test]
    async fn what_is_taken_is_wiped_and_lines_that_come_together_are_taken_in_turn() {
        let log = |text: &str| format!("{{\"log\":{{\"level\":\"information\",\"message\":\"{text}\"}}}}\n");
        let (small, large) = (log("canary"), log(&"canary".repeat(20_000)));
        let bytes = [&small, &large, &small, &small, "{\"reply\""].map(str::as_bytes).concat();
        let mut transport = Transport::new(std::io::Cursor::new(bytes), tokio::io::sink());
        for length in [6, 120_000, 6, 6] {
            let Ok(Message::Log(line)) = transport.receive().await else { panic!("a line for the log") };
            assert_eq!(line.message.len(), length);
        }
        assert_eq!(&transport.buffer[transport.taken..], b"{\"reply\"");
        assert!(memchr::memmem::find(&transport.buffer, b"canary").is_none());
    }

    #[tokio::test]
    async fn half_a_line_is_no_line() {
        let (message, _) = received(b"{\"reply\":{\"id\":3,\"ok\":{}}}").await;
        assert!(matches!(message, Err(Broken::Closed)));
    }

    #[tokio::test]
    async fn a_dropped_receive_loses_nothing() {
        let (ours, mut theirs) = tokio::io::duplex(1024);
        let mut transport = Transport::new(ours, tokio::io::sink());
        theirs.write_all(b"{\"reply\":{\"id\":1,").await.unwrap();
        tokio::select! { biased;
            _ = transport.receive() => panic!("half a line is no line"),
            () = tokio::task::yield_now() => {}
        }
        theirs.write_all(b"\"ok\":{}}}\n").await.unwrap();
        assert!(matches!(transport.receive().await, Ok(Message::Reply(ReplyLine { id: 1, .. }))));
    }

    #[tokio::test]
    async fn a_line_without_end_breaks_the_worker() {
        let endless = tokio::io::repeat(b'x').take(MAX_LINE as u64 + 100_000);
        let mut transport = Transport::new(endless, tokio::io::sink());
        assert!(matches!(transport.receive().await, Err(Broken::TooLong)));
    }
}
