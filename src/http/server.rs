//! The door at work: accepts connections, speaks HTTP/1 on them, and ends in good order.
//!
//! Shutdown goes through four phases. *Leaving*: nothing new is accepted beyond what the kernel already
//! holds, answers say `Connection: close`. After a moment, in which requests on their way still arrive,
//! *closing*: idle connections are closed. At the drain limit, *cut*: what is left is dropped.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::header::{AUTHORIZATION, CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use super::body;
use super::listener::{Door, Entry};
use super::message::{Head, Peer, Reply, Request, Service};
use super::respond::{DoorFault, Problem};
use super::stream::{Duplex, Guarded, Unread};
use crate::plan::Limits;

/// A request's head may be this long, in bytes; hyper answers 431 to a longer one.
const MAX_HEAD: usize = 32 * 1024;

/// How long idle connections stay open once we are leaving: a request that was under way when shutdown
/// began is answered, where closing at once would reset it.
const LEAVE_TIME: Duration = Duration::from_millis(250);

/// A TLS handshake may take this long, or the header time-out if that is shorter.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// First and longest pause after a failed accept, which mostly means that descriptors ran out.
const ACCEPT_PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Drained {
    /// Every request was answered.
    Complete,
    /// The drain limit passed first.
    Cut {
        /// Connections that were dropped.
        connections: usize,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Open,
    Leaving,
    Closing,
    Cut,
}

/// What all connections share.
struct Shared {
    service: Arc<dyn Service>,
    limits: Limits,
    phase: watch::Sender<Phase>,
    /// One permit for each connection allowed.
    seats: Arc<Semaphore>,
    /// Connections and handlers.
    tasks: TaskTracker,
    next_id: AtomicU64,
}

/// One connection, as its requests see it.
#[derive(Clone)]
struct Link {
    peer: Peer,
    listener: usize,
    name: Option<Arc<str>>,
    unread: Unread,
}

/// Serves one connection that was accepted elsewhere, without TLS, until it ends.
pub async fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    peer: Peer,
    service: Arc<dyn Service>,
    limits: &Limits,
) {
    let link = Link { peer, listener: 0, name: None, unread: Unread::marked() };
    converse(Arc::new(Shared::new(service, limits.clone())), link, Box::new(stream)).await;
}

// === impl Door ===

impl Door {
    /// Serves until `shutdown`, then drains.
    ///
    /// Returns when every accepted request is answered, or at the drain limit. A handler that still runs
    /// then is not ended; what it waits for has to end it.
    pub async fn serve(
        self,
        service: Arc<dyn Service>,
        limits: &Limits,
        shutdown: impl Future<Output = ()>,
    ) -> Drained {
        let shared = Arc::new(Shared::new(service, limits.clone()));
        let mut loops = JoinSet::new();
        for (index, entry) in self.entries.into_iter().enumerate() {
            loops.spawn(accept(shared.clone(), index, entry));
        }
        shutdown.await;
        shared.drain(loops).await
    }
}

// === impl Shared ===

impl Shared {
    fn new(service: Arc<dyn Service>, limits: Limits) -> Shared {
        Shared {
            service,
            seats: Arc::new(Semaphore::new(limits.max_connections.min(Semaphore::MAX_PERMITS))),
            limits,
            phase: watch::Sender::new(Phase::Open),
            tasks: TaskTracker::new(),
            next_id: AtomicU64::new(1),
        }
    }

    async fn drain(&self, mut loops: JoinSet<()>) -> Drained {
        let end = Instant::now() + self.limits.drain;
        self.phase.send_replace(Phase::Leaving);
        while loops.join_next().await.is_some() {}
        self.tasks.close();
        let _ = timeout(LEAVE_TIME.min(self.limits.drain), self.tasks.wait()).await;
        self.phase.send_replace(Phase::Closing);
        if timeout_at(end, self.tasks.wait()).await.is_ok() {
            return Drained::Complete;
        }
        let connections = self.limits.max_connections.saturating_sub(self.seats.available_permits());
        self.phase.send_replace(Phase::Cut);
        Drained::Cut { connections }
    }

    fn head(&self, parts: hyper::http::request::Parts, link: &Link) -> Head {
        let received = Instant::now();
        let mut headers = parts.headers;
        if let Some(secret) = headers.get_mut(AUTHORIZATION) {
            secret.set_sensitive(true);
        }
        Head {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            method: parts.method,
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().map(str::to_owned),
            headers,
            version: parts.version,
            peer: link.peer,
            listener: link.listener,
            listener_name: link.name.clone(),
            received,
            deadline: received + self.limits.deadline,
        }
    }

    /// Returns once the phase, or a later one, has come.
    async fn reached(&self, wanted: Phase) {
        // The sender is in `self`, so waiting cannot fail.
        let _ = self.phase.subscribe().wait_for(|phase| *phase >= wanted).await;
    }

    fn is_leaving(&self) -> bool {
        *self.phase.borrow() >= Phase::Leaving
    }
}

// === accepting ===

async fn accept(shared: Arc<Shared>, index: usize, entry: Entry) {
    let mut leaving = pin!(shared.reached(Phase::Leaving));
    let mut pause = ACCEPT_PAUSE.0;
    loop {
        let next = tokio::select! {
            biased;
            () = &mut leaving => break,
            next = next_connection(&shared, &entry) => next,
        };
        match next {
            Ok(admitted) => {
                pause = ACCEPT_PAUSE.0;
                start(&shared, index, &entry, admitted);
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(address = %entry.address, %error, "cannot accept a connection; trying again");
                tokio::select! { () = &mut leaving => break, () = sleep(pause) => {} }
                pause = (pause * 2).min(ACCEPT_PAUSE.1);
            }
        }
    }
    // Clients in the kernel's queue believe that they are connected.
    while let Some(Ok(admitted)) = next_connection(&shared, &entry).now_or_never() {
        start(&shared, index, &entry, admitted);
    }
}

type Admitted = (Box<dyn Duplex>, Peer, OwnedSemaphorePermit);

/// Waits for a free seat first, so that more clients than allowed wait in the kernel's queue.
async fn next_connection(shared: &Shared, entry: &Entry) -> std::io::Result<Admitted> {
    let seat = shared.seats.clone().acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, peer) = entry.socket.accept().await?;
    Ok((stream, peer, seat))
}

/// Errors of the connection that was about to be accepted, not of the listener.
fn is_of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

fn start(shared: &Arc<Shared>, listener: usize, entry: &Entry, (stream, peer, seat): Admitted) {
    let link = Link { peer, listener, name: entry.name.clone(), unread: Unread::marked() };
    let (inner, tls) = (shared.clone(), entry.tls.clone());
    shared.tasks.spawn(async move {
        let _seat = seat;
        tokio::select! {
            () = inner.reached(Phase::Cut) => {}
            () = connection(inner.clone(), link, stream, tls) => {}
        }
    });
}

// === one connection ===

async fn connection(shared: Arc<Shared>, link: Link, stream: Box<dyn Duplex>, tls: Option<TlsAcceptor>) {
    let Some(tls) = tls else { return converse(shared, link, stream).await };
    let limit = HANDSHAKE_LIMIT.min(shared.limits.header_timeout);
    match timeout(limit, tls.accept(stream)).await {
        Ok(Ok(stream)) => converse(shared, link, Box::new(stream)).await,
        Ok(Err(error)) => tracing::debug!(peer = %link.peer, %error, "TLS handshake failed"),
        Err(_) => tracing::debug!(peer = %link.peer, "TLS handshake took too long"),
    }
}

async fn converse(shared: Arc<Shared>, link: Link, stream: Box<dyn Duplex>) {
    let peer = link.peer;
    let phases = shared.clone();
    let io = TokioIo::new(Guarded::new(stream, shared.limits.deadline, link.unread.clone()));
    let header_timeout = shared.limits.header_timeout;
    let service = service_fn(move |request| exchange(shared.clone(), link.clone(), request));
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            // It runs between requests too, so an idle connection ends by it.
            .header_read_timeout(header_timeout)
            .max_header_size(MAX_HEAD)
            .max_buf_size(2 * MAX_HEAD)
            // A client may end its side after the request, and wait for the answer.
            .half_close(true)
            .serve_connection(io, service)
    );
    let end = tokio::select! {
        biased;
        end = connection.as_mut() => end,
        () = phases.reached(Phase::Closing) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = end {
        tracing::debug!(%peer, %error, "connection ended");
    }
}

// === one request ===

/// Hands the request to a task of its own: a client that hangs up then cancels nothing, and a panic
/// ends there.
async fn exchange(
    shared: Arc<Shared>,
    link: Link,
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<Full<bytes::Bytes>>, Infallible> {
    let (parts, incoming) = request.into_parts();
    link.unread.clear();
    let head = Arc::new(shared.head(parts, &link));
    let handler = handle(shared.clone(), head.clone(), incoming, link.unread);
    let mut reply = match shared.tasks.spawn(handler).await {
        Ok(reply) => reply,
        Err(_) => {
            tracing::error!(request = head.id, method = %head.method, path = head.path, "a handler panicked");
            shared.service.refuse(&head, &Problem::Door(DoorFault::Panicked))
        }
    };
    if shared.is_leaving() {
        reply.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let mut response = hyper::Response::new(Full::new(reply.body));
    *response.status_mut() = reply.status;
    if let Some(reason) = reply.reason {
        response.extensions_mut().insert(reason);
    }
    *response.headers_mut() = reply.headers;
    Ok(response)
}

async fn handle(shared: Arc<Shared>, head: Arc<Head>, incoming: Incoming, unread: Unread) -> Reply {
    let service = &shared.service;
    let admitted = match service.admit(&head).await {
        Ok(admitted) => admitted,
        Err(reply) => {
            if !incoming.is_end_stream() {
                unread.mark();
            }
            return *reply;
        }
    };
    match body::collect(incoming, shared.limits.max_body, head.deadline).await {
        Ok(body) => service.answer(Request { head, body, admitted }).await,
        Err(fault) => {
            unread.mark();
            let mut reply = service.refuse(&head, &Problem::Door(fault));
            reply.headers.insert(CONNECTION, HeaderValue::from_static("close"));
            reply
        }
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
