//! A small HTTP client for the command line: one server, over TCP, TLS or a Unix socket.
//!
//! Connections are kept for the next request. A read that met a connection which the server had closed
//! meanwhile is sent again; a write is not, because it may have been done.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use zeroize::Zeroizing;

use crate::secret::Text;
pub use address::{ServerAddress, ServerAddressError};
pub use tls::ClientTlsError;

mod address;
mod tls;

/// No answer is larger: the largest value there is, in JSON, with room.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// A connection is given up after this time, so that a wrong address is told soon.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// A server, and what it is told with each request. `Debug` shows the address only.
pub struct Client {
    address: ServerAddress,
    token: Option<Text>,
    tls: Option<TlsConnector>,
    timeout: Duration,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

/// An answer. Its body is wiped when it is dropped.
pub struct ServerAnswer {
    /// The status.
    pub status: StatusCode,
    /// The body.
    pub body: Zeroizing<Vec<u8>>,
}

/// A request without its path.
#[derive(Default)]
pub struct Sent<'a> {
    /// The media type of the body, where there is one.
    pub content_type: Option<&'a str>,
    /// The media type that is wanted.
    pub accept: Option<&'a str>,
    /// The body.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// The server.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The certificate does not do, or the server speaks no TLS.
    #[error("no secure connection to {address}: {source}")]
    Handshake {
        /// The server.
        address: String,
        /// What TLS said.
        source: std::io::Error,
    },
    /// The server said nothing in time.
    #[error("{address} did not answer in time")]
    Timeout {
        /// The server.
        address: String,
    },
    /// The connection ended, or spoke no HTTP.
    #[error("{address} ended the connection: {source}")]
    Broken {
        /// The server.
        address: String,
        /// What hyper said.
        source: hyper::Error,
    },
    /// What was to be sent is no request.
    #[error("no request can be made for {path}")]
    Request {
        /// The path.
        path: String,
    },
    /// The answer is larger than any secret.
    #[error("the answer of {address} is larger than {MAX_ANSWER} bytes")]
    Large {
        /// The server.
        address: String,
    },
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({})", self.address)
    }
}

impl Client {
    /// A client of that server. The authority in `ca_file` alone is trusted where it is given, else those of
    /// the system.
    pub fn new(
        address: ServerAddress,
        token: Option<Text>,
        ca_file: Option<&std::path::Path>,
        timeout: Duration,
    ) -> Result<Client, ClientTlsError> {
        let tls = if address.is_tls() { Some(tls::connector(ca_file)?) } else { None };
        Ok(Client { address, token, tls, timeout, idle: Mutex::default() })
    }

    /// The server.
    pub fn address(&self) -> &ServerAddress {
        &self.address
    }

    /// Whether somebody listens there.
    pub async fn is_reachable(&self) -> bool {
        match self.connect().await {
            Ok(sender) => {
                self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
                true
            }
            Err(_) => false,
        }
    }

    /// Sends a request and reads the answer.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        sent: Sent<'_>,
    ) -> Result<ServerAnswer, ClientError> {
        let timed_out = || ClientError::Timeout { address: self.address.to_string() };
        timeout(self.timeout, self.exchange(method, path, sent)).await.map_err(|_| timed_out())?
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        sent: Sent<'_>,
    ) -> Result<ServerAnswer, ClientError> {
        let broken = |source| ClientError::Broken { address: self.address.to_string(), source };
        let body = Bytes::from_owner(Zeroizing::new(sent.body));
        let request = |body: Bytes| self.request(&method, path, sent.content_type, sent.accept, body);
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(mut sender) = idle.filter(|sender| !sender.is_closed()) {
            match sender.send_request(request(body.clone())?).await {
                Ok(answer) => return self.read(answer, sender).await,
                Err(error) if method.is_safe() || error.is_canceled() => {}
                Err(error) => return Err(broken(error)),
            }
        }
        let mut sender = self.connect().await?;
        let answer = sender.send_request(request(body)?).await.map_err(broken)?;
        self.read(answer, sender).await
    }

    fn request(
        &self,
        method: &Method,
        path: &str,
        content_type: Option<&str>,
        accept: Option<&str>,
        body: Bytes,
    ) -> Result<hyper::Request<Full<Bytes>>, ClientError> {
        let mut builder = hyper::Request::builder().method(method).uri(path);
        builder = builder.header(HOST, self.address.authority()).header(USER_AGENT, "secretbridge");
        if let Some(token) = &self.token {
            let bearer = Zeroizing::new(format!("Bearer {}", token.expose()));
            if let Ok(mut value) = HeaderValue::from_str(&bearer) {
                value.set_sensitive(true);
                builder = builder.header(AUTHORIZATION, value);
            }
        }
        for (name, value) in [(CONTENT_TYPE, content_type), (ACCEPT, accept)] {
            if let Some(value) = value {
                builder = builder.header(name, value);
            }
        }
        builder.body(Full::new(body)).map_err(|_| ClientError::Request { path: path.to_owned() })
    }

    async fn read(
        &self,
        answer: hyper::Response<Incoming>,
        sender: SendRequest<Full<Bytes>>,
    ) -> Result<ServerAnswer, ClientError> {
        let address = || self.address.to_string();
        let status = answer.status();
        let mut incoming = answer.into_body();
        let mut body = Zeroizing::new(Vec::new());
        while let Some(frame) = incoming.frame().await {
            let frame = frame.map_err(|source| ClientError::Broken { address: address(), source })?;
            let Some(data) = frame.data_ref() else { continue };
            if body.len() + data.len() > MAX_ANSWER {
                return Err(ClientError::Large { address: address() });
            }
            // A buffer that grows by itself leaves unwiped copies behind.
            if body.capacity() - body.len() < data.len() {
                let mut larger = Zeroizing::new(Vec::with_capacity((body.len() + data.len()) * 2));
                larger.extend_from_slice(&body);
                body = larger;
            }
            body.extend_from_slice(data);
        }
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        Ok(ServerAnswer { status, body })
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, ClientError> {
        let address = || self.address.to_string();
        let failed = |source| ClientError::Connect { address: address(), source };
        let slow = || failed(std::io::ErrorKind::TimedOut.into());
        let limit = CONNECT_LIMIT.min(self.timeout);
        match &self.address {
            ServerAddress::Unix(path) => {
                let stream = crate::platform::local::connect(path);
                let stream = timeout(limit, stream).await.map_err(|_| slow())?.map_err(failed)?;
                self.converse(stream).await
            }
            ServerAddress::Tcp { host, port, .. } => {
                let stream = TcpStream::connect((host.as_str(), *port));
                let stream = timeout(limit, stream).await.map_err(|_| slow())?.map_err(failed)?;
                // Requests are small and whole; waiting for more to send only delays them.
                let _ = stream.set_nodelay(true);
                let Some(tls) = &self.tls else { return self.converse(stream).await };
                let refused = |source| ClientError::Handshake { address: address(), source };
                let name = ServerName::try_from(host.clone())
                    .map_err(|error| refused(std::io::Error::other(error.to_string())))?;
                let stream = timeout(limit, tls.connect(name, stream)).await.map_err(|_| slow())?;
                self.converse(stream.map_err(refused)?).await
            }
        }
    }

    async fn converse(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> Result<SendRequest<Full<Bytes>>, ClientError> {
        let broken = |source| ClientError::Broken { address: self.address.to_string(), source };
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // It ends with the connection; whoever waits for an answer is told why.
        tokio::spawn(connection);
        Ok(sender)
    }
}
