//! The door, over the real HTTP service and a pipe in memory: whatever a client sends, however slowly.
//!
//! Time is tokio's paused clock, so that a client who rests for seconds costs none.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::BoxFuture;
use hyper::{HeaderMap, StatusCode};
use proptest::collection::vec;
use proptest::prelude::*;
use secretbridge::inside::access::{AccessPolicy, Caller};
use secretbridge::inside::bridge::answer;
use secretbridge::inside::http::{
    Admitted, Gate, Head, Native, Peer, Problem, RefusedRequest, Reply, Request, Secrets, Service,
    serve_connection,
};
use secretbridge::inside::plan::{self, Action, Limits, Route, Template};
use secretbridge::{
    Answer, BridgeError, Freshness, Health, Metadata, Plan, Reading, SecretInfo, SecretValue, Text, Vault,
    VaultKind,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex, split};
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep, timeout};

use super::fuzz;

const MAX_BODY: usize = 4_000;

/// An answer may take as long as the head, the body and the rest of an unread body may.
const LATEST: Duration = Duration::from_secs(2 + 3 + 1);

fn limits() -> Limits {
    Limits {
        max_body: MAX_BODY,
        header_timeout: Duration::from_secs(2),
        deadline: Duration::from_secs(3),
        ..Limits::default()
    }
}

fn paused() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime")
}

/// What a client sends, each piece after a rest.
type Pieces = Vec<(Duration, Vec<u8>)>;

/// Sends, ends its side, and gives what came back; `None` if the connection did not end in time.
async fn talk(service: Arc<dyn Service>, pieces: Pieces, room: usize) -> Option<Vec<u8>> {
    let (ours, theirs) = duplex(room);
    let peer = Peer::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 9)));
    let server = tokio::spawn(async move { serve_connection(theirs, peer, service, &limits()).await });
    let (mut reader, mut writer) = split(ours);
    let sending = tokio::spawn(async move {
        for (rest, piece) in pieces {
            sleep(rest).await;
            if writer.write_all(&piece).await.is_err() {
                break;
            }
        }
        let _ = writer.shutdown().await;
        Instant::now()
    });
    let mut answer = Vec::new();
    // A pipe that breaks is an end, too.
    let _ = timeout(Duration::from_secs(3_600), reader.read_to_end(&mut answer)).await.ok()?;
    let sent = sending.await.expect("no panic");
    server.await.expect("no panic");
    (sent.elapsed() <= LATEST).then_some(answer)
}

/// The status of each answer in a stream of them; `None` if it is no such stream.
fn statuses(mut stream: &[u8]) -> Option<Vec<u16>> {
    let mut all = Vec::new();
    while !stream.is_empty() {
        let end = stream.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&stream[..end]).ok()?;
        let status = head.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
        let field = |line: &str| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        };
        let length = if status < 200 { 0 } else { head.lines().find_map(field).unwrap_or(0) };
        stream = stream.get(end + 4 + length..)?;
        all.push(status);
    }
    Some(all)
}

/// As [`statuses`], where the last answer may be cut: hyper itself answers a head that is none, and does not
/// wait until a client that reads slowly has taken that answer in.
fn statuses_of_broken(stream: &[u8]) -> Option<Vec<u16>> {
    let starts = (0..stream.len()).rev();
    let is_start = |at: &usize| stream[*at..].starts_with(b"H");
    let mut cuts = std::iter::once(stream.len()).chain(starts.filter(is_start));
    cuts.find_map(|at| {
        let rest = &stream[at..];
        let is_bad_request = rest.starts_with(b"HTTP/1.1 4") || b"HTTP/1.1 4".starts_with(rest);
        statuses(&stream[..at]).filter(|_| is_bad_request)
    })
}

static PLAN: LazyLock<Plan> = LazyLock::new(|| {
    let mut vault = Vault::new("v", VaultKind::Local { folder: None, key: None });
    vault.exposed = true;
    let route =
        |method: &str, action| Route { method: method.to_owned(), path: "/secret".to_owned(), action };
    let routes = vec![
        route("GET", Action::Respond(Template::Secret("k".to_owned()))),
        route("POST", Action::Update { secret: "k".to_owned(), field: "Value".to_owned() }),
    ];
    plan::of(vec![vault], routes, Vec::new())
});

/// One vault in memory.
#[derive(Clone, Default)]
struct Shelf(Arc<Mutex<HashMap<String, SecretValue>>>);

impl Shelf {
    fn all(&self) -> MutexGuard<'_, HashMap<String, SecretValue>> {
        self.0.lock().expect("nothing panics in here")
    }

    fn kept(&self, key: &str) -> Option<SecretValue> {
        self.all().get(key).cloned()
    }
}

impl Secrets for Shelf {
    async fn read(&self, mount: &str, reading: Reading, deadline: Instant) -> Result<Answer, BridgeError> {
        self.get("v", mount, reading, deadline).await
    }

    async fn update(&self, mount: &str, value: SecretValue, deadline: Instant) -> Result<(), BridgeError> {
        self.set("v", mount, value, None, deadline).await
    }

    async fn remove_mounted(&self, mount: &str, deadline: Instant) -> Result<(), BridgeError> {
        self.remove("v", mount, deadline).await
    }

    async fn get(&self, vault: &str, key: &str, _: Reading, _: Instant) -> Result<Answer, BridgeError> {
        let missing = || BridgeError::NotFound { vault: vault.to_owned(), key: key.to_owned() };
        let freshness = Freshness::default();
        self.kept(key).map(|value| answer(value, freshness)).ok_or_else(missing)
    }

    async fn set(
        &self,
        _: &str,
        key: &str,
        value: SecretValue,
        _: Option<Metadata>,
        _: Instant,
    ) -> Result<(), BridgeError> {
        self.all().insert(key.to_owned(), value);
        Ok(())
    }

    async fn set_member(
        &self,
        vault: &str,
        key: &str,
        _: String,
        value: SecretValue,
        metadata: Option<Metadata>,
        deadline: Instant,
    ) -> Result<(), BridgeError> {
        self.set(vault, key, value, metadata, deadline).await
    }

    async fn set_metadata(
        &self,
        vault: &str,
        key: &str,
        _: Metadata,
        deadline: Instant,
    ) -> Result<(), BridgeError> {
        self.get(vault, key, Reading::Kept, deadline).await.map(drop)
    }

    async fn unlock(&self, _: &str, _: Option<Text>, _: Instant) -> Result<(), BridgeError> {
        Ok(())
    }

    fn lock(&self, _: &str) -> Result<(), BridgeError> {
        Ok(())
    }

    fn clear_cache(&self) {}

    async fn remove(&self, vault: &str, key: &str, _: Instant) -> Result<(), BridgeError> {
        let missing = || BridgeError::NotFound { vault: vault.to_owned(), key: key.to_owned() };
        self.all().remove(key).map(drop).ok_or_else(missing)
    }

    async fn list(&self, _: &str, _: Instant) -> Result<Vec<SecretInfo>, BridgeError> {
        Ok(Vec::new())
    }

    fn renew(&self, _: &str, _: &str) -> Result<bool, BridgeError> {
        Ok(false)
    }

    fn over_azure(&self, _: &str) -> Vec<String> {
        Vec::new()
    }

    fn is_stopping(&self) -> bool {
        false
    }

    fn plan(&self) -> &Plan {
        &PLAN
    }

    fn health(&self) -> Health {
        let mut health = Health::default();
        health.ready = true;
        health
    }
}

fn native(shelf: &Shelf) -> Arc<dyn Service> {
    let native = Native::new(shelf.clone(), Some("v".to_owned())).expect("routes");
    Arc::new(Gate::new(Arc::new(AccessPolicy::open()), Arc::new(native)))
}

/// Parts of heads and bodies, right and wrong; together they are nearly requests.
fn nearly_a_request() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![
        "GET /health HTTP/1.1\r\n",
        "GET /secret HTTP/1.1\r\n",
        "POST /secret HTTP/1.1\r\n",
        "PUT /vaults/v/secrets/k HTTP/1.1\r\n",
        "DELETE /secrets/%00 HTTP/1.0\r\n",
        "GET http://h/secrets/k HTTP/1.1\r\n",
        "OPTIONS * HTTP/1.1\r\n",
        "CONNECT h:1 HTTP/1.1\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET / HTTP/9.9\r\n",
        "Host: h\r\n",
        "Host:\r\n",
        "Content-Length: 7\r\n",
        "Content-Length: 7\r\nContent-Length: 8\r\n",
        "Content-Length: +7\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 4001\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Content-Type: application/json\r\n",
        "Content-Type: multipart/form-data; boundary=x\r\n",
        "Content-Type: text/plain; charset=utf-16\r\n",
        "Content-Encoding: gzip\r\n",
        "Expect: 100-continue\r\n",
        "Connection: upgrade\r\nUpgrade: websocket\r\n",
        "Connection: close\r\n",
        "X: a\r\n b\r\n",
        "X\r\n",
        ": empty\r\n",
        "\r\n",
        "\n",
        "{\"Value\":\"x\"}",
        "Value=x",
        "--x\r\nContent-Disposition: form-data; name=Value\r\n\r\nx\r\n--x--\r\n",
        "3\r\nabc\r\n",
        "3;ext=\"\r\n\"\r\nabc\r\n",
        "0\r\n\r\n",
        "0\r\nTrailer: x\r\n\r\n",
        "ffffffffffffffff\r\n",
        "fffffffffffffffff\r\n",
    ])
    .prop_map(|text| text.as_bytes().to_vec());
    let large = (prop::sample::select(vec![3_900_usize, 4_100, 33_000, 70_000]), any::<bool>());
    let large = large.prop_map(|(length, field)| {
        let mut bytes = if field { b"X-Large: ".to_vec() } else { Vec::new() };
        bytes.resize(length, b'x');
        bytes.extend_from_slice(if field { b"\r\n" } else { b"" });
        bytes
    });
    prop_oneof![12 => known, 3 => vec(any::<u8>(), 0..40), 1 => large]
}

fn rest() -> impl Strategy<Value = Duration> {
    // Mostly none, now and then beyond the limits.
    prop_oneof![6 => Just(0_u64), 2 => 1..500_u64, 1 => 500..5_000_u64].prop_map(Duration::from_millis)
}

#[test]
fn whatever_is_sent_the_connection_ends_in_time_and_no_answer_is_a_500() {
    let runtime = paused();
    let inputs = (vec((rest(), nearly_a_request()), 0..14), 16_usize..70_000);
    fuzz("door, broken requests", inputs, |(pieces, room)| {
        let shelf = Shelf::default();
        let answer = runtime.block_on(talk(native(&shelf), pieces, room));
        let answer = answer.ok_or_else(|| TestCaseError::fail("the connection did not end in time"))?;
        let statuses = statuses_of_broken(&answer);
        let statuses = statuses
            .ok_or_else(|| TestCaseError::fail(format!("no HTTP: {}", String::from_utf8_lossy(&answer))))?;
        prop_assert!(statuses.iter().all(|status| *status < 500), "{statuses:?}");
        // And it goes on.
        let alive = b"GET /health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".to_vec();
        let answer = runtime.block_on(talk(native(&shelf), vec![(Duration::ZERO, alive)], 1_000));
        prop_assert!(answer.is_some_and(|answer| answer.starts_with(b"HTTP/1.1 200")));
        Ok(())
    });
}

#[test]
fn a_slow_reader_of_an_answer_to_a_bad_head_loses_the_end_of_that_answer_alone() {
    let pieces = vec![(Duration::ZERO, b"CONNECT localhost:1 HTTP/1.1\r\n\r\nGET / HTTP/9.9\r\n".to_vec())];
    let answer = paused().block_on(talk(native(&Shelf::default()), pieces, 36)).expect("an end");
    assert_eq!(statuses_of_broken(&answer).and_then(|all| all.first().copied()), Some(404));
}

/// Notes what comes in, and sends bodies back.
#[derive(Default)]
struct Echo(Mutex<Vec<(String, Vec<u8>)>>);

impl Service for Echo {
    fn admit(&self, _: &Head) -> Result<Admitted, Box<RefusedRequest>> {
        Ok(Admitted::new(Caller::Anyone, None))
    }

    fn answer(&self, request: Request) -> BoxFuture<'_, Reply> {
        let path = request.head.path.clone();
        self.0.lock().expect("nothing panics in here").push((path, request.body.to_vec()));
        Box::pin(async move { Reply::new(StatusCode::OK, HeaderMap::new(), request.body) })
    }

    fn refuse(&self, _: &Head, problem: &Problem) -> Reply {
        panic!("a whole request has no {problem:?}");
    }
}

/// A request that is right, with its body in one piece or in chunks.
#[derive(Debug, Clone)]
struct Whole {
    body: Vec<u8>,
    chunks: Option<Vec<prop::sample::Index>>,
}

impl Whole {
    fn bytes(&self, number: usize) -> Vec<u8> {
        let head = format!("POST /{number} HTTP/1.1\r\nHost: h\r\n");
        let mut bytes = head.into_bytes();
        let Some(cuts) = &self.chunks else {
            bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", self.body.len()).as_bytes());
            bytes.extend_from_slice(&self.body);
            return bytes;
        };
        bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(self.body.len() + 1)).collect();
        cuts.extend([0, self.body.len()]);
        cuts.sort_unstable();
        for pair in cuts.windows(2).filter(|pair| pair[0] < pair[1]) {
            bytes.extend_from_slice(format!("{:x}\r\n", pair[1] - pair[0]).as_bytes());
            bytes.extend_from_slice(&self.body[pair[0]..pair[1]]);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        bytes
    }
}

fn whole() -> impl Strategy<Value = Whole> {
    let body = prop_oneof![
        vec(any::<u8>(), 0..60),
        Just(b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n".to_vec()),
        Just(b"0\r\n\r\nPOST /smuggled HTTP/1.1\r\n\r\n".to_vec()),
        (0..MAX_BODY).prop_map(|length| vec![b'y'; length]),
    ];
    let chunks = proptest::option::of(vec(any::<prop::sample::Index>(), 0..5));
    (body, chunks).prop_map(|(body, chunks)| Whole { body, chunks })
}

#[test]
fn whole_requests_arrive_as_they_were_sent_however_they_are_cut() {
    let runtime = paused();
    let cuts = vec((any::<prop::sample::Index>(), 0..300_u64), 0..8);
    fuzz(
        "door, whole requests in pieces",
        (vec(whole(), 1..5), cuts, 16_usize..20_000),
        |(all, cuts, room)| {
            let bytes: Vec<u8> =
                all.iter().enumerate().flat_map(|(number, request)| request.bytes(number)).collect();
            let mut cuts: Vec<_> = cuts.iter().map(|(cut, rest)| (cut.index(bytes.len()), *rest)).collect();
            cuts.push((bytes.len(), 0));
            cuts.sort_unstable();
            let mut from = 0;
            let pieces = cuts.into_iter().map(|(to, rest)| {
                let piece = bytes[from..to].to_vec();
                from = to;
                (Duration::from_millis(rest), piece)
            });
            let echo = Arc::new(Echo::default());
            let answer = runtime.block_on(talk(echo.clone(), pieces.collect(), room));
            let answer = answer.ok_or_else(|| TestCaseError::fail("the connection did not end in time"))?;
            let sent: Vec<_> = all
                .into_iter()
                .enumerate()
                .map(|(number, request)| (format!("/{number}"), request.body))
                .collect();
            prop_assert_eq!(statuses(&answer), Some(vec![200; sent.len()]));
            prop_assert_eq!(&*echo.0.lock().unwrap(), &sent);
            Ok(())
        },
    );
}

fn field(name: &str, value: &str) -> String {
    if value.is_empty() { String::new() } else { format!("{name}: {value}\r\n") }
}

/// Bodies in the forms that routes take, and in encodings that they do not.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let json = super::text().prop_map(|text| serde_json::json!({ "Value": text }).to_string().into_bytes());
    let utf16 = super::text().prop_map(|text| text.encode_utf16().flat_map(u16::to_be_bytes).collect());
    let form = super::text().prop_map(|text| {
        form_urlencoded::Serializer::new(String::new()).append_pair("Value", &text).finish().into_bytes()
    });
    let part = super::text().prop_map(|text| {
        format!("--x\r\nContent-Disposition: form-data; name=\"Value\"\r\n\r\n{text}\r\n--x--\r\n")
            .into_bytes()
    });
    prop_oneof![json, utf16, form, part, super::text().prop_map(String::into_bytes), vec(any::<u8>(), 0..80)]
}

#[test]
fn a_body_of_any_kind_is_kept_as_it_is_or_refused() {
    let runtime = paused();
    let media = prop::sample::select(vec![
        "",
        "text/plain",
        "text/plain; charset=utf-8",
        "text/plain; charset=utf-16",
        "text/plain; charset=\"",
        "application/octet-stream",
        "application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "multipart/form-data",
        "application/xml",
        "/",
    ]);
    let coding = prop::sample::select(vec!["", "identity", "gzip", "br, gzip", "x"]);
    let line = prop::sample::select(vec!["PUT /vaults/v/secrets/k", "POST /secret"]);
    fuzz("door, bodies", (line, media, coding, body()), |(line, media, coding, body)| {
        let shelf = Shelf::default();
        let mut sent = format!(
            "{line} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{}{}Content-Length: {}\r\n\r\n",
            field("Content-Type", media),
            field("Content-Encoding", coding),
            body.len()
        )
        .into_bytes();
        sent.extend_from_slice(&body);
        let answer = runtime.block_on(talk(native(&shelf), vec![(Duration::ZERO, sent)], 10_000));
        let status = answer.as_deref().and_then(statuses).and_then(|all| all.first().copied());
        let kept = shelf.kept("k");
        match status {
            Some(200 | 204) => {
                let kept = kept.ok_or_else(|| TestCaseError::fail("said to be kept, and is not"))?;
                let is_plain = line.starts_with("PUT") && media.starts_with("text/plain");
                if is_plain {
                    prop_assert_eq!(kept.as_text().map(str::as_bytes), Some(&body[..]));
                } else if line.starts_with("PUT") && media == "application/octet-stream" {
                    prop_assert!(matches!(&kept, SecretValue::Bytes(bytes) if bytes.expose() == body));
                }
            }
            Some(400..500) => prop_assert!(kept.is_none(), "refused, and kept"),
            other => return Err(TestCaseError::fail(format!("{other:?}"))),
        }
        Ok(())
    });
}
