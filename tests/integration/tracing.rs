//! Spans for a collector: in the feature `otlp` alone.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::Duration;

use crate::support::SOON;
use crate::support::server::Builder;

/// A collector that takes what comes: each message's path and body.
fn collector() -> (String, mpsc::Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
            let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
            let (end, length) = loop {
                match stream.read(&mut buffer) {
                    Ok(0) | Err(_) => return,
                    Ok(count) => read.extend_from_slice(&buffer[..count]),
                }
                let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
                let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                let length: usize = length.and_then(|length| length.trim().parse().ok()).unwrap_or_default();
                break (end + 4, length);
            };
            while read.len() < end + length {
                match stream.read(&mut buffer) {
                    Ok(0) | Err(_) => break,
                    Ok(count) => read.extend_from_slice(&buffer[..count]),
                }
            }
            let path = String::from_utf8_lossy(&read).split(' ').nth(1).unwrap_or_default().to_owned();
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            if sender.send((path, read[end..].to_vec())).is_err() {
                return;
            }
        }
    });
    (address, receiver)
}

const PLAN: &str = "listen = \"127.0.0.1:0\"\nauth.open = true\n[vaults.mine]\nlocal = true\nfolder = \"data\"\nexpose = true\n";

#[test]
fn a_request_is_a_span_of_the_clients_trace_where_the_feature_is_built_in_and_said_where_not() {
    let (address, received) = collector();
    let mut server = Builder::new()
        .config(PLAN)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &address)
        .env("OTEL_BSP_SCHEDULE_DELAY", "100")
        .start();
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let path = "/vaults/mine/secrets/canary-key";
    server.put(path, "text/plain", "canary-value");
    assert_eq!(server.send("GET", path, &[("traceparent", trace)], b"").status, 200);
    if !cfg!(feature = "otlp") {
        assert!(server.stderr().contains("built without the feature otlp"), "{}", server.stderr());
        return;
    }
    let id = [0x0a, 0xf7, 0x65, 0x19, 0x16, 0xcd, 0x43, 0xdd, 0x84, 0x48, 0xeb, 0x21, 0x1c, 0x80, 0x31, 0x9c];
    assert!(server.stop(SOON).success(), "{}", server.stderr());
    let all: Vec<(String, Vec<u8>)> =
        std::iter::from_fn(|| received.recv_timeout(Duration::from_secs(2)).ok()).collect();
    let holds = |what: &[u8]| all.iter().any(|(_, body)| body.windows(what.len()).any(|part| part == what));
    assert!(all.iter().all(|(path, _)| path == "/v1/traces") && !all.is_empty());
    assert!(holds(&id), "the client's trace goes on");
    assert!(holds(b"/vaults/{vault}/secrets/{key}") && holds(b"secretbridge.vault"));
    assert!(!holds(b"canary-key") && !holds(b"canary-value"));
}
