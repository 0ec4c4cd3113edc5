//! A small blocking HTTP/1.1 client: one connection a request, a limit on every wait, raw bytes if wanted.

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Who is asked, and how long an answer may take.
#[derive(Debug, Clone)]
pub struct Client {
    pub address: SocketAddr,
    /// Sent as `Authorization: Bearer …` with every request.
    pub token: Option<String>,
    /// For connecting and for each read and write.
    pub timeout: Duration,
}

/// An answer.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// In order, names as they came.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Client {
    /// One without a token.
    pub fn new(address: SocketAddr) -> Client {
        Client { address, token: None, timeout: Duration::from_secs(60) }
    }

    /// The same with another token.
    pub fn with_token(&self, token: &str) -> Client {
        Client { token: Some(token.to_owned()), ..self.clone() }
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        self.send("GET", path, &[], b"")
    }

    #[track_caller]
    pub fn delete(&self, path: &str) -> Response {
        self.send("DELETE", path, &[], b"")
    }

    #[track_caller]
    pub fn post(&self, path: &str, content_type: &str, body: impl AsRef<[u8]>) -> Response {
        self.send("POST", path, &[("Content-Type", content_type)], body.as_ref())
    }

    #[track_caller]
    pub fn put(&self, path: &str, content_type: &str, body: impl AsRef<[u8]>) -> Response {
        self.send("PUT", path, &[("Content-Type", content_type)], body.as_ref())
    }

    /// Sends a request that must be answered.
    #[track_caller]
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        self.try_send(method, path, headers, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// Sends a request that may fail, as those to a server that stops do.
    pub fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Response> {
        exchange(self.connect()?, &self.request(method, path, headers, body))
    }

    /// Sends bytes as they are, and reads one answer.
    pub fn raw(&self, request: &[u8]) -> io::Result<Response> {
        exchange(self.connect()?, request)
    }

    /// A connection, for requests in pieces.
    pub fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.address, self.timeout)?;
        stream.set_read_timeout(Some(self.timeout))?;
        stream.set_write_timeout(Some(self.timeout))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// The bytes of a request that closes its connection.
    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address);
        if let Some(token) = &self.token {
            head.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() || matches!(method, "POST" | "PUT") {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        [head.as_bytes(), body].concat()
    }
}

impl Response {
    /// A header, its name compared without case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    #[track_caller]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {:?}", String::from_utf8_lossy(&self.body)))
    }
}

/// Sends a request over any stream (TCP, Unix socket, TLS) and reads one answer.
///
/// An early answer counts: a server may refuse a body before all of it is sent.
pub fn exchange(mut stream: impl Read + Write, request: &[u8]) -> io::Result<Response> {
    let sent = stream.write_all(request).and_then(|()| stream.flush());
    match read_response(stream) {
        Ok(response) => Ok(response),
        Err(error) => Err(sent.err().unwrap_or(error)),
    }
}

/// Reads one answer; after it the connection may go on.
pub fn read_response(stream: impl Read) -> io::Result<Response> {
    let mut reader = BufReader::new(stream);
    let status_line = read_line(&mut reader)?;
    let status = status_line
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split(' ').nth(1))
        .and_then(|status| status.parse().ok())
        .ok_or_else(|| invalid(format!("no status line: {status_line:?}")))?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(&mut reader)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| invalid(format!("no header: {line:?}")))?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut response = Response { status, headers, body: Vec::new() };
    response.body = read_body(&mut reader, &response)?;
    Ok(response)
}

fn read_body(reader: &mut impl Read, head: &Response) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if matches!(head.status, 100..=199 | 204 | 304) {
        return Ok(body);
    }
    match head.header("content-length").map(str::parse::<usize>) {
        Some(Ok(length)) => {
            body.resize(length, 0);
            reader.read_exact(&mut body)?;
        }
        Some(Err(_)) => return Err(invalid("a content-length that is no number".to_owned())),
        None if head.header("transfer-encoding").is_some() => {
            return Err(invalid("a transfer-encoding, which this client cannot read".to_owned()));
        }
        None => {
            reader.read_to_end(&mut body)?;
        }
    }
    Ok(body)
}

fn read_line(reader: &mut BufReader<impl Read>) -> io::Result<String> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    /// Answers one request with these bytes, and tells what it was asked.
    fn answering(answer: &'static str) -> (Client, thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let client = Client::new(listener.local_addr().expect("bound"));
        let asked = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut asked = vec![0; 4096];
            let length = stream.read(&mut asked).expect("a request");
            stream.write_all(answer.as_bytes()).expect("sent");
            String::from_utf8_lossy(&asked[..length]).into_owned()
        });
        (client, asked)
    }

    #[test]
    fn an_answer_is_read_to_its_length() {
        let (client, asked) = answering("HTTP/1.1 405 No\r\nALLOW: GET\r\nContent-Length: 2\r\n\r\nokay");
        let response = client.with_token("t").post("/a?b", "text/plain", "v=1");
        assert_eq!((response.status, response.text()), (405, "ok"));
        assert_eq!(response.header("Allow"), Some("GET"));
        let asked = asked.join().expect("answered");
        assert!(asked.starts_with("POST /a?b HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains("\r\nAuthorization: Bearer t\r\n"), "{asked}");
        assert!(asked.ends_with("\r\nContent-Length: 3\r\n\r\nv=1"), "{asked}");
    }

    #[test]
    fn an_answer_cut_short_is_an_error() {
        let (client, asked) = answering("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort");
        assert!(client.raw(b"GET / HTTP/1.1\r\n\r\n").is_err());
        asked.join().expect("answered");
    }
}
