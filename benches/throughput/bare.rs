//! The two yardsticks: a hyper handler that does nothing, and a loop over JSON lines that does nothing.

use std::convert::Infallible;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use integration::support::pwsh::Pwsh;
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::integration;
use crate::load::{Sample, sample};

/// The argument with which this program is the bare server.
pub const ARGUMENT: &str = "--bare-hyper";

/// A process of its own, like the server that is compared with it.
pub struct Hyper {
    process: Child,
    pub address: SocketAddr,
}

// === impl Hyper ===

impl Hyper {
    /// Answers with this head's fields and this body.
    pub fn start(head: &str, body: &[u8]) -> Hyper {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.arg(ARGUMENT).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("started");
        let mut stdin = process.stdin.take().expect("a pipe");
        // What hyper adds by itself is left out.
        let own = ["date", "content-length", "connection"];
        for line in head.lines().skip(1).filter(|line| !line.is_empty()) {
            let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
            if !own.contains(&name.as_str()) {
                writeln!(stdin, "{line}").expect("sent");
            }
        }
        writeln!(stdin, "\n{}", String::from_utf8_lossy(body)).expect("sent");
        drop(stdin);
        let mut address = String::new();
        BufReader::new(process.stdout.take().expect("a pipe")).read_line(&mut address).expect("an address");
        Hyper { process, address: address.trim().parse().expect("an address") }
    }
}

impl Drop for Hyper {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The bare server itself: fields and a body from standard input, then requests until it is killed.
pub fn serve() {
    let mut lines = std::io::stdin().lines().map(|line| line.expect("text"));
    let fields: Vec<(HeaderName, HeaderValue)> = lines
        .by_ref()
        .take_while(|line| !line.is_empty())
        .map(|line| {
            let (name, value) = line.split_once(':').expect("a field");
            (name.parse().expect("a name"), value.trim().parse().expect("a value"))
        })
        .collect();
    let body = Bytes::from(lines.next().expect("a body"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bound");
        #[allow(clippy::print_stdout, reason = "whoever started it reads it")]
        {
            println!("{}", listener.local_addr().expect("an address"));
        }
        loop {
            let (stream, _) = listener.accept().await.expect("accepted");
            stream.set_nodelay(true).expect("set");
            let (fields, body) = (fields.clone(), body.clone());
            tokio::spawn(async move {
                let service = service_fn(|_| {
                    let mut response = hyper::Response::new(Full::new(body.clone()));
                    for (name, value) in &fields {
                        response.headers_mut().insert(name.clone(), value.clone());
                    }
                    async { Ok::<_, Infallible>(response) }
                });
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
}

/// A pwsh that answers lines of JSON: what a worker without any of our plumbing could do.
pub struct Lines {
    process: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

const LOOP: &str = "
    $out = [Console]::OpenStandardOutput()
    $in = [System.IO.StreamReader]::new([Console]::OpenStandardInput())
    while ($null -ne ($line = $in.ReadLine())) {
        $call = ConvertFrom-Json $line
        $block = { $null }
        $null = & $block
        $answer = @{ id = $call.id; ok = @{ status = 200 } } | ConvertTo-Json -Compress
        $bytes = [System.Text.Encoding]::UTF8.GetBytes($answer + \"`n\")
        $out.Write($bytes, 0, $bytes.Length)
        $out.Flush()
    }";

// === impl Lines ===

impl Lines {
    pub fn start(pwsh: &Pwsh, home: &std::path::Path) -> Lines {
        let script = home.join("lines.ps1");
        std::fs::write(&script, LOOP).expect("written");
        let mut command = Command::new(&pwsh.program);
        command.args(["-NoLogo", "-NoProfile", "-NonInteractive", "-File"]).arg(script);
        command.env("HOME", home).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("started");
        let stdin = process.stdin.take().expect("a pipe");
        let stdout = BufReader::new(process.stdout.take().expect("a pipe"));
        Lines { process, stdin, stdout }
    }

    pub fn load(&mut self, time: Duration) -> Sample {
        let begun = Instant::now();
        let (mut times, mut answer) = (Vec::new(), String::new());
        while begun.elapsed() < time {
            let asked = Instant::now();
            writeln!(self.stdin, "{{\"id\":{},\"call\":{{\"op\":\"ping\"}}}}", times.len()).expect("sent");
            answer.clear();
            self.stdout.read_line(&mut answer).expect("an answer");
            assert!(answer.contains("200"), "{answer}");
            times.push(asked.elapsed().as_nanos() as u64);
        }
        sample(times, begun.elapsed())
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
