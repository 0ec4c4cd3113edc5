use std::net::SocketAddr;

use bytes::Bytes;
use hyper::{HeaderMap, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use super::*;
use crate::access::Caller;
use crate::http::message::{Admitted, BoxFuture, RefusedRequest};
use crate::plan::{Bind, Listener, Tls};

mod trust;

/// Echoes bodies; some paths do something of their own.
#[derive(Default)]
struct Echo {
    /// Told when `/held` has begun.
    begun: Notify,
    /// Lets `/held` end.
    release: Notify,
    /// Told when `/held` has ended.
    ended: Notify,
}

fn reply(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    Reply::new(status, HeaderMap::new(), body)
}

impl Service for Echo {
    fn admit(&self, head: &Head) -> Result<Admitted, Box<RefusedRequest>> {
        match head.path.as_str() {
            "/refused" => Err(RefusedRequest::at_once(reply(StatusCode::UNAUTHORIZED, "no"))),
            _ => Ok(Admitted::new(Caller::Anyone, None)),
        }
    }

    fn answer(&self, request: Request) -> BoxFuture<'_, Reply> {
        Box::pin(async move {
            match request.head.path.as_str() {
                "/panic" => panic!("on purpose"),
                "/held" => {
                    self.begun.notify_one();
                    self.release.notified().await;
                    self.ended.notify_one();
                    reply(StatusCode::OK, "held")
                }
                "/large" => reply(StatusCode::OK, vec![b'x'; 32 * 1024 * 1024]),
                _ => reply(StatusCode::OK, request.body),
            }
        })
    }

    fn refuse(&self, _: &Head, problem: &Problem) -> Reply {
        reply(problem.status(), "fault")
    }
}

struct Running {
    address: SocketAddr,
    echo: Arc<Echo>,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Drained>,
}

impl Running {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends the bytes and reads until the server closes.
    async fn talk(&self, request: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect().await;
        let _ = stream.write_all(request.as_ref()).await;
        read_all(&mut stream).await
    }
}

async fn read_all(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut all = Vec::new();
    let read = timeout(Duration::from_secs(10), stream.read_to_end(&mut all)).await;
    read.expect("the server closes").expect("without a reset");
    String::from_utf8(all).unwrap()
}

/// Reads up to and including `end`.
async fn read_until(stream: &mut (impl tokio::io::AsyncRead + Unpin), end: &str) -> String {
    let mut all = Vec::new();
    while !all.ends_with(end.as_bytes()) {
        let byte = timeout(Duration::from_secs(10), stream.read_u8()).await;
        let seen = String::from_utf8_lossy(&all).into_owned();
        all.push(byte.expect("in time").unwrap_or_else(|error| panic!("{error} after {seen:?}")));
    }
    String::from_utf8(all).unwrap()
}

fn limits() -> Limits {
    Limits { max_body: 1000, ..Limits::default() }
}

fn start_on(listener: Listener, limits: Limits) -> Running {
    let door = Door::bind(&[listener]).unwrap();
    let address = match &door.addresses()[0].bind {
        Bind::Tcp(address) => *address,
        Bind::Unix(_) => SocketAddr::from(([0, 0, 0, 0], 0)),
    };
    let echo = Arc::new(Echo::default());
    let (stop, stopped) = oneshot::channel();
    let service = echo.clone();
    let served = tokio::spawn(async move { door.serve(service, &limits, async { _ = stopped.await }).await });
    Running { address, echo, stop, served }
}

fn start_with(limits: Limits) -> Running {
    let bind = Bind::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)));
    start_on(Listener { bind, tls: None, name: None }, limits)
}

fn post(path: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn last_post(path: &str, body: &str) -> String {
    post(path, body).replace("Host: h\r\n", "Host: h\r\nConnection: close\r\n")
}

#[tokio::test]
async fn a_connection_is_kept_and_pipelined_requests_are_answered_in_order() {
    let server = start_with(limits());
    let answers = server.talk(post("/", "one") + &post("/", "two") + &last_post("/", "three")).await;
    let places: Vec<_> = ["one", "two", "three"].iter().map(|body| answers.find(body)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{answers}");
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 3);
    assert_eq!(answers.to_ascii_lowercase().matches("connection: close").count(), 1);
}

#[tokio::test]
async fn malformed_heads_are_400_and_the_server_goes_on() {
    let server = start_with(limits());
    for head in [
        "\0\0\0\0\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n",
    ] {
        let answer = server.talk(head).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{head:?}: {answer:?}");
    }
    assert!(server.talk(last_post("/", "alive")).await.ends_with("alive"));
}

#[tokio::test]
async fn an_oversized_head_is_431() {
    let server = start_with(limits());
    let field = "x".repeat(10 * MAX_HEAD);
    let answer = server.talk(format!("GET / HTTP/1.1\r\nHost: h\r\nX: {field}\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer:?}");
}

#[tokio::test]
async fn a_body_that_stops_is_408_at_the_deadline() {
    let server = start_with(Limits { deadline: Duration::from_millis(200), ..limits() });
    let mut stream = server.connect().await;
    stream.write_all(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf").await.unwrap();
    let answer = read_all(&mut stream).await.to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 408 ") && answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn a_head_that_stops_and_an_idle_connection_are_closed() {
    let short = Duration::from_millis(200);
    let server = start_with(Limits { header_timeout: short, idle_timeout: short, ..limits() });
    for begun in ["", "GET / HT"] {
        assert_eq!(server.talk(begun).await, "");
    }
    let answer = server.talk(post("/", "then idle")).await;
    assert!(answer.ends_with("then idle"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_pause_between_two_requests_lasts_the_idle_timeout_and_no_longer() {
    let limits = Limits { idle_timeout: Duration::from_secs(40), ..limits() };
    let (ours, mut theirs) = tokio::io::duplex(4096);
    let peer = Peer::Unix { uid: None, gid: None, pid: None };
    tokio::spawn(async move { serve_connection(ours, peer, Arc::new(Echo::default()), &limits).await });
    let mut answer = Vec::new();
    for pause in [39, 39, 1, 0] {
        theirs.write_all(post("/", "asked").as_bytes()).await.unwrap();
        answer.clear();
        while !answer.ends_with(b"asked") {
            assert_ne!(theirs.read_buf(&mut answer).await.unwrap(), 0, "it is still there");
        }
        sleep(Duration::from_secs(pause)).await;
    }
    let answered = Instant::now();
    assert_eq!(theirs.read_buf(&mut answer).await.unwrap(), 0);
    assert_eq!(answered.elapsed().as_secs(), 40);
}

#[tokio::test]
async fn a_head_that_comes_byte_by_byte_ends_long_before_an_idle_connection() {
    let server = start_with(Limits { header_timeout: Duration::from_millis(200), ..limits() });
    let mut idle = server.connect().await;
    idle.write_all(post("/", "one").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"one") {
        assert_ne!(idle.read_buf(&mut answer).await.unwrap(), 0);
    }
    // After a request as before the first: it is the head that is timed, not the connection.
    for before in ["", "one"] {
        let mut slow = server.connect().await;
        if !before.is_empty() {
            slow.write_all(post("/", before).as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(before.as_bytes()) {
                assert_ne!(slow.read_buf(&mut answer).await.unwrap(), 0);
            }
        }
        let dripped = async {
            let mut byte = [0];
            for letter in b"GET / HTTP/1.1\r\nX: ".iter().chain(std::iter::repeat(&b'x')) {
                if slow.write_all(&[*letter]).await.is_err() {
                    return;
                }
                let read = tokio::time::timeout(Duration::from_millis(20), slow.read(&mut byte)).await;
                if matches!(read, Ok(Ok(0) | Err(_))) {
                    return;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), dripped).await.expect("it is closed while it sends");
    }
    idle.write_all(post("/", "two").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"two") {
        assert_ne!(idle.read_buf(&mut answer).await.unwrap(), 0, "an idle connection is still there");
    }
}

#[tokio::test]
async fn a_body_above_the_limit_is_413_and_the_client_can_read_it() {
    let server = start_with(limits());
    let declared = server.talk(post("/", &"x".repeat(1_000_000))).await;
    assert!(declared.starts_with("HTTP/1.1 413 "), "{declared}");
    let chunked = format!(
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n{}",
        "x".repeat(0xfff)
    );
    let answer = server.talk(chunked).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn a_chunked_body_with_bad_framing_is_400() {
    let server = start_with(limits());
    let answer =
        server.talk("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_to_go_on_only_if_admitted() {
    let server = start_with(limits());
    let asking = |path: &str, length: usize| {
        format!("POST {path} HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n")
    };
    let mut stream = server.connect().await;
    stream.write_all(asking("/", 4).as_bytes()).await.unwrap();
    assert!(read_until(&mut stream, "\r\n\r\n").await.starts_with("HTTP/1.1 100 "));
    stream.write_all(b"body").await.unwrap();
    assert!(read_until(&mut stream, "body").await.starts_with("HTTP/1.1 200 "));
    for (path, length, status) in [("/refused", 4, "401"), ("/", 1001, "413")] {
        let mut stream = server.connect().await;
        stream.write_all(asking(path, length).as_bytes()).await.unwrap();
        let answer = read_until(&mut stream, "\r\n").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
}

#[tokio::test]
async fn the_body_of_a_refused_request_is_never_waited_for() {
    let server = start_with(limits());
    let mut stream = server.connect().await;
    stream.write_all(b"POST /refused HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n").await.unwrap();
    assert!(read_until(&mut stream, "\r\n").await.starts_with("HTTP/1.1 401 "));
}

#[tokio::test]
async fn head_has_the_length_and_no_body() {
    let server = start_with(limits());
    let answer = server
        .talk("HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello")
        .await
        .to_ascii_lowercase();
    assert!(answer.contains("content-length: 5\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn a_panic_is_a_500_and_the_connection_goes_on() {
    let server = start_with(limits());
    let answers = server.talk(post("/panic", "") + &last_post("/", "alive")).await;
    assert!(answers.starts_with("HTTP/1.1 500 ") && answers.ends_with("alive"), "{answers}");
}

#[tokio::test]
async fn a_client_that_half_closes_gets_its_answer() {
    let server = start_with(limits());
    let mut stream = server.connect().await;
    stream.write_all(post("/", "half").as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    assert!(read_all(&mut stream).await.ends_with("half"));
}

#[tokio::test]
async fn a_hang_up_does_not_cancel_the_handler() {
    let server = start_with(limits());
    let mut stream = server.connect().await;
    stream.write_all(post("/held", "").as_bytes()).await.unwrap();
    server.echo.begun.notified().await;
    // No lingering: the server sees a reset at once.
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
    // The connection is gone for the server when its one task besides the handler has ended; a second
    // exchange gives it the time to see that.
    assert!(server.talk(last_post("/", "next")).await.ends_with("next"));
    server.echo.release.notify_one();
    timeout(Duration::from_secs(5), server.echo.ended.notified()).await.expect("it ran to its end");
}

#[tokio::test]
async fn no_more_connections_are_served_than_allowed() {
    let server = start_with(Limits { max_connections: 1, ..limits() });
    let mut first = server.connect().await;
    first.write_all(post("/held", "").as_bytes()).await.unwrap();
    server.echo.begun.notified().await;
    let mut second = server.connect().await;
    second.write_all(last_post("/held", "").as_bytes()).await.unwrap();
    let begun = timeout(Duration::from_millis(100), server.echo.begun.notified()).await;
    assert!(begun.is_err(), "it waits for a seat");
    server.echo.release.notify_one();
    read_until(&mut first, "held").await;
    drop(first);
    server.echo.begun.notified().await;
    server.echo.release.notify_one();
    assert!(read_all(&mut second).await.ends_with("held"), "served once the seat is free");
}

#[tokio::test]
async fn a_drain_answers_what_was_accepted_and_says_close() {
    let server = start_with(limits());
    let mut busy = server.connect().await;
    busy.write_all(post("/held", "").as_bytes()).await.unwrap();
    server.echo.begun.notified().await;
    let mut idle = server.connect().await;
    idle.write_all(post("/", "kept").as_bytes()).await.unwrap();
    read_until(&mut idle, "kept").await;
    server.stop.send(()).unwrap();
    // The idle connection is closed, which shows that the drain is under way.
    assert_eq!(read_all(&mut idle).await, "");
    server.echo.release.notify_one();
    let answer = read_all(&mut busy).await.to_ascii_lowercase();
    assert!(answer.ends_with("held") && answer.contains("connection: close"), "{answer}");
    assert_eq!(server.served.await.unwrap(), Drained::Complete);
    assert!(TcpStream::connect(server.address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_request_in_the_kernels_queue_at_shutdown_is_answered() {
    let bind = Bind::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)));
    let door = Door::bind(&[Listener { bind, tls: None, name: None }]).unwrap();
    let Bind::Tcp(address) = door.addresses()[0].bind else { unreachable!() };
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(post("/", "queued").as_bytes()).await.unwrap();
    let drained = door.serve(Arc::new(Echo::default()), &limits(), async {}).await;
    assert!(read_all(&mut stream).await.ends_with("queued"));
    assert_eq!(drained, Drained::Complete);
}

#[tokio::test]
async fn the_drain_limit_cuts_what_does_not_end() {
    let server = start_with(Limits { drain: Duration::from_millis(100), ..limits() });
    let mut stream = server.connect().await;
    stream.write_all(post("/held", "").as_bytes()).await.unwrap();
    server.echo.begun.notified().await;
    server.stop.send(()).unwrap();
    assert_eq!(server.served.await.unwrap(), Drained::Cut { connections: 1 });
    assert_eq!(read_all(&mut stream).await, "");
}

#[tokio::test]
async fn a_reader_that_takes_nothing_in_gives_its_seat_back() {
    let server = start_with(Limits { max_connections: 1, deadline: Duration::from_millis(300), ..limits() });
    let mut stream = server.connect().await;
    stream.write_all(post("/large", "").as_bytes()).await.unwrap();
    assert!(server.talk(last_post("/", "next")).await.ends_with("next"));
    drop(stream);
}

#[tokio::test]
async fn a_self_signed_listener_speaks_tls_and_a_silent_client_does_not_block_it() {
    use tokio_rustls::rustls::pki_types::ServerName;
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};
    let bind = Bind::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)));
    let limits = Limits { header_timeout: Duration::from_millis(500), ..limits() };
    let server = start_on(Listener { bind, tls: Some(Tls::SelfSigned), name: None }, limits);
    let mut silent = server.connect().await;
    let (seen, verifier) = trust::any();
    let mut config =
        ClientConfig::builder_with_provider(Arc::new(tokio_rustls::rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
    config.dangerous().set_certificate_verifier(verifier);
    let name = ServerName::try_from("localhost").unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(name, server.connect().await).await.unwrap();
    stream.write_all(post("/", "sealed").as_bytes()).await.unwrap();
    assert!(read_until(&mut stream, "sealed").await.starts_with("HTTP/1.1 200 "));
    assert!(seen.load(Ordering::Relaxed), "a certificate was shown");
    assert_eq!(read_all(&mut silent).await, "", "the silent client is closed in time");
}

#[tokio::test]
async fn whatever_comes_in_leaves_a_line_of_the_trail() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit");
    let to = crate::audit::Destination::File(file.clone());
    let trail = Trail::start(&crate::audit::AuditSettings { to, chain: false }, None).unwrap();
    let tcp = Listener { bind: Bind::Tcp("127.0.0.1:0".parse().unwrap()), tls: None, name: None };
    let door = Door::bind(&[tcp]).unwrap().observed(&trail, &Arc::default());
    let Bind::Tcp(address) = door.addresses()[0].bind else { unreachable!() };
    let service = Arc::new(Echo::default());
    let served = tokio::spawn(async move { door.serve(service, &limits(), std::future::pending()).await });
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for (method, path, fields) in [
        ("GET", "/fine?secret=query", ""),
        ("GET", "/traced", &*format!("traceparent: {trace}\r\n")),
        ("GET", "/untraced", "traceparent: 00-secret\r\n"),
        ("GET", "/refused", ""),
        ("POST", "/large", "Content-Length: 999999\r\n"),
        ("GET", "/panic", ""),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{fields}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        read_all(&mut stream).await;
    }
    served.abort();
    trail.close();
    let text = std::fs::read_to_string(file).unwrap();
    assert!(!text.contains("secret"), "{text}");
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seen: Vec<(&str, u64)> = lines
        .iter()
        .filter(|line| line["event"] == "request")
        .map(|line| (line["path"].as_str().unwrap(), line["status"].as_u64().unwrap()))
        .collect();
    let expected = [
        ("/fine", 200),
        ("/traced", 200),
        ("/untraced", 200),
        ("/refused", 401),
        ("/large", 413),
        ("/panic", 500),
    ];
    assert_eq!(seen, expected);
    assert_eq!((&lines[2]["traceparent"], lines[3].get("traceparent")), (&trace.into(), None));
}

#[tokio::test]
async fn idle_connections_do_not_silence_a_listener() {
    let tcp = Listener { bind: Bind::Tcp("127.0.0.1:0".parse().unwrap()), tls: None, name: None };
    let few = Limits { max_connections: 8, max_connections_per_peer: 4, ..limits() };
    let running = start_on(tcp, few);
    let mut idle = Vec::new();
    for sent in ["", "GET / HTTP/1.1\r\nHost:", "GET / HTTP/1.1\r\nHost: h\r\n\r\n"].iter().cycle().take(60) {
        let mut stream = running.connect().await;
        let _ = stream.write_all(sent.as_bytes()).await;
        idle.push(stream);
    }
    let answer = running.talk("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
