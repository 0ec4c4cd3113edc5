//! How often memory is taken for one answer from the cache, over the whole way: connection, front, gate, route, cache,
//! audit record. docs/performance.md says where.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::front::Front;
use crate::access::AccessPolicy;
use crate::audit::{AuditSettings, Destination, Trail};
use crate::bridge::{Bridge, Options};
use crate::http::{Door, Gate, Native};
use crate::metrics::Metrics;
use crate::plan::{Bind, Limits, Listener};
use crate::secret::SecretValue;

/// As many as there are today. Whoever makes it more has to say why; whoever makes it fewer lowers it.
const BOUND: u64 = 19;

const ANSWERS: u64 = 1_000;

/// The client's own: it reads into one buffer.
async fn answers(stream: &mut TcpStream, count: u64) {
    let mut buffer = [0; 4096];
    for _ in 0..count {
        stream.write_all(b"GET /kept HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").await.unwrap();
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(buffer[..read].starts_with(b"HTTP/1.1 200") && buffer[..read].ends_with(b"\"v\"}"));
    }
}

async fn served(folder: &std::path::Path) -> (TcpStream, Trail) {
    let text = format!(
        "[vaults.v]\nlocal = true\nfolder = '{}'\ncache_ttl = \"1h\"\n[secrets.Kept]\nvault = \"v\"\nkey = \"k\"\n\
         [[routes]]\npath = \"/kept\"\nsecret = \"Kept\"\n",
        folder.join("vault").display()
    );
    let plan = crate::config::parse(&text, folder).unwrap();
    let bridge = Bridge::start(plan, &Options { pwsh: None }, |_, _| {}).await.unwrap();
    let value = SecretValue::String("v".into());
    bridge.update("Kept", value, None, Instant::now() + Duration::from_secs(60)).await.unwrap();
    let metrics = Arc::<Metrics>::default();
    let to = Destination::File(folder.join("audit.jsonl"));
    let trail = Trail::start(&AuditSettings { to, chain: false }, Some(metrics.clone())).unwrap();
    let site = Native::new(bridge, None).unwrap().counted(metrics.clone());
    let front = Arc::new(Front::new(Arc::new(Gate::new(Arc::new(AccessPolicy::open()), Arc::new(site)))));
    let listener = Listener { bind: Bind::Tcp(([127, 0, 0, 1], 0).into()), tls: None, name: None };
    let door = Door::bind(&[listener]).unwrap().observed(&trail, &metrics);
    let Bind::Tcp(address) = door.addresses()[0].bind else { unreachable!() };
    tokio::spawn(async move { door.serve(front, &Limits::default(), std::future::pending()).await });
    (TcpStream::connect(address).await.unwrap(), trail)
}

/// Of the thread that serves: what formats and writes the audit line is another.
#[test]
fn an_answer_from_the_cache_takes_memory_no_oftener_than_it_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mut stream, trail) = runtime.block_on(served(folder.path()));
    // The first answers fill what is kept: the cache, buffers, the connection's own.
    runtime.block_on(answers(&mut stream, 10));
    let counted = allocation_counter::measure(|| runtime.block_on(answers(&mut stream, ANSWERS)));
    let each = counted.count_total as f64 / ANSWERS as f64;
    // A part of one: what grows now and then, or comes with a tick of a timer.
    assert!(each <= BOUND as f64 + 0.5, "{each} times for an answer, and {BOUND} are said");
    trail.close();
}
