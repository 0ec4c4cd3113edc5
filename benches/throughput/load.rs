//! Asks over connections that stay open, as cheaply as it can, and measures each answer.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// A request that is sent again and again.
#[derive(Clone)]
pub struct Target {
    pub address: SocketAddr,
    pub request: Vec<u8>,
    pub connections: usize,
    /// Each connection asks at a path of its own, which ends in its number. Answers that several wait for count for each.
    pub apart: bool,
}

/// What came of one stretch of load.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Answers a second.
    pub rate: f64,
    /// The median time of an answer.
    pub p50: Duration,
    /// One of a hundred takes longer.
    pub p99: Duration,
}

// === impl Target ===

impl Target {
    pub fn new(
        address: SocketAddr,
        method: &str,
        path: &str,
        headers: &str,
        body: &str,
        connections: usize,
    ) -> Target {
        let length = if body.is_empty() {
            String::new()
        } else {
            format!("Content-Length: {}\r\nContent-Type: application/x-www-form-urlencoded\r\n", body.len())
        };
        let request = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\n{headers}{length}\r\n{body}");
        Target { address, request: request.into_bytes(), connections, apart: false }
    }

    /// As [`Target::apart`] says; the path ends in `0` as it is.
    pub fn apart(self) -> Target {
        Target { apart: true, ..self }
    }

    /// The request that one of the connections sends.
    fn of(&self, connection: usize) -> Target {
        let mut target = self.clone();
        if self.apart {
            let at = memchr::memmem::find(&target.request, b"0 HTTP/1.1").expect("a path that ends in 0");
            target.request[at] = b'0' + u8::try_from(connection).expect("a digit");
        }
        target
    }

    /// Load for so long, on one thread, so that the other cores are the server's.
    pub fn load(&self, time: Duration) -> Sample {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let begun = Instant::now();
            let until = begun + time;
            let clients: Vec<_> =
                (0..self.connections).map(|number| tokio::spawn(ask(self.of(number), until))).collect();
            let mut times = Vec::new();
            for client in clients {
                times.extend(client.await.expect("a client"));
            }
            sample(times, begun.elapsed())
        })
    }

    /// One answer: its head and its body.
    pub fn once(&self) -> (String, Vec<u8>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut stream = TcpStream::connect(self.address).await.expect("connected");
            let (mut buffer, mut filled) = (vec![0; 64 * 1024], 0);
            let (head, whole) = exchange(&mut stream, &self.request, &mut buffer, &mut filled).await;
            let text = String::from_utf8_lossy(&buffer[..head]).into_owned();
            (text, buffer[head..whole].to_vec())
        })
    }
}

/// Times of answers, in nanoseconds.
pub fn sample(mut times: Vec<u64>, took: Duration) -> Sample {
    assert!(!times.is_empty(), "nothing was answered in {took:?}");
    times.sort_unstable();
    let at = |part: f64| Duration::from_nanos(times[(times.len() as f64 * part) as usize]);
    Sample { rate: times.len() as f64 / took.as_secs_f64(), p50: at(0.5), p99: at(0.99) }
}

async fn ask(target: Target, until: Instant) -> Vec<u64> {
    let mut times = Vec::with_capacity(1 << 16);
    let mut buffer = vec![0; 64 * 1024];
    let mut stream = None;
    while Instant::now() < until {
        let mut open = match stream.take() {
            Some(open) => open,
            None => {
                let open = TcpStream::connect(target.address).await.expect("connected");
                open.set_nodelay(true).expect("set");
                open
            }
        };
        let begun = Instant::now();
        let mut filled = 0;
        let (head, _) = exchange(&mut open, &target.request, &mut buffer, &mut filled).await;
        times.push(begun.elapsed().as_nanos() as u64);
        // Pode ends a connection now and then.
        let closes = memchr::memmem::find(&buffer[..head], b"onnection: close").is_some();
        stream = (!closes).then_some(open);
    }
    times
}

/// Sends a request and reads its answer into the buffer: where the head ends, and where the body.
async fn exchange(
    stream: &mut TcpStream,
    request: &[u8],
    buffer: &mut [u8],
    filled: &mut usize,
) -> (usize, usize) {
    stream.write_all(request).await.expect("sent");
    loop {
        let read = stream.read(&mut buffer[*filled..]).await.expect("read");
        assert!(read > 0, "closed in an answer: {}", String::from_utf8_lossy(&buffer[..*filled]));
        *filled += read;
        let Some(head) = memchr::memmem::find(&buffer[..*filled], b"\r\n\r\n").map(|at| at + 4) else {
            continue;
        };
        let whole = head + body_length(&buffer[..head]);
        if *filled >= whole {
            let good = buffer.starts_with(b"HTTP/1.1 200") || buffer.starts_with(b"HTTP/1.1 204");
            assert!(good, "{}", String::from_utf8_lossy(&buffer[..whole]));
            return (head, whole);
        }
    }
}

fn body_length(head: &[u8]) -> usize {
    // `ontent-length` finds both spellings that servers use.
    let lower = head.to_ascii_lowercase();
    let Some(at) = memchr::memmem::find(&lower, b"content-length:") else { return 0 };
    let digits = lower[at + 15..].trim_ascii_start();
    digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0, |n, byte| n * 10 + usize::from(byte - b'0'))
}
