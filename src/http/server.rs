//! The door at work: accepts connections, speaks HTTP/1 on them, and ends in good order.
//!
//! Shutdown goes through four phases. *Leaving*: nothing new is accepted beyond what the kernel already
//! holds, answers say `Connection: close`. After a moment, in which requests on their way still arrive,
//! *closing*: idle connections are closed. At the drain limit, *cut*: what is left is dropped.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::header::{AUTHORIZATION, CONNECTION, HOST, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
#[cfg(feature = "fake-pwsh")]
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use super::body;
use super::content::Content;
use super::credential::CredentialAnswer;
use super::crowd::Crowd;
use super::listener::{Door, Listening};
use super::message::{Head, Reply, Request, Service};
use super::problem::{DoorFault, Problem};
use super::seats::{HeldSeat, Seat, Seats};
use super::stream::{Duplex, GuardedStream, RequestCount, UnreadRest};
use super::tls;
use crate::access::{Caller, Certificate, Holder, Peer};
use crate::audit::Trail;
use crate::plan::Limits;
use crate::plan::credentials::UnitCredentials;
use crate::platform::local::LocalName;

mod noted;

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
enum ConnectionPhase {
    Open,
    Leaving,
    Closing,
    Cut,
}

/// What all connections share.
struct SharedServer {
    service: Arc<dyn Service>,
    limits: Limits,
    phase: watch::Sender<ConnectionPhase>,
    /// The same as the phase, for those who ask at each answer: without a lock.
    leaving: AtomicBool,
    /// Where requests are noted.
    trail: Option<Trail>,
    /// Connections and handlers.
    tasks: TaskTracker,
    /// Connections.
    connections: AtomicU64,
    next_id: AtomicU64,
}

/// One connection, as its requests see it. Each holds it by one handle.
struct ConnectionLink {
    shared: Arc<SharedServer>,
    peer: Peer,
    listener: usize,
    certificate: Option<Arc<Certificate>>,
    holder: Option<Holder>,
    unread: UnreadRest,
    asked: RequestCount,
    seat: Option<Arc<Seat>>,
}

/// Serves one connection that was accepted elsewhere, without TLS, until it ends. For tests over a pipe in memory.
#[cfg(feature = "fake-pwsh")]
pub async fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    peer: Peer,
    service: Arc<dyn Service>,
    limits: &Limits,
) {
    let (unread, asked) = (UnreadRest::marked(), RequestCount::default());
    let shared = Arc::new(SharedServer::new(service, limits.clone(), None));
    let (certificate, holder) = (None, None);
    let link = ConnectionLink { shared, peer, listener: 0, certificate, holder, unread, asked, seat: None };
    converse(link, Box::new(stream)).await;
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
        let shared = Arc::new(SharedServer::new(service, limits.clone(), self.trail));
        let mut loops = JoinSet::new();
        for (index, entry) in self.entries.into_iter().enumerate() {
            let address = entry.address.to_string();
            let counts = self.metrics.listener(&address);
            if let Some(secured) = entry.tls.clone() {
                self.metrics.certificate(&address, move || secured.expires());
            }
            let seats = Seats::new(limits.max_connections, limits.max_connections_per_peer, counts);
            loops.spawn(accept(shared.clone(), index, entry, seats));
        }
        shutdown.await;
        shared.drain(loops).await
    }
}

// === impl SharedServer ===

impl SharedServer {
    fn new(service: Arc<dyn Service>, limits: Limits, trail: Option<Trail>) -> SharedServer {
        SharedServer {
            service,
            limits,
            phase: watch::Sender::new(ConnectionPhase::Open),
            leaving: AtomicBool::new(false),
            trail,
            tasks: TaskTracker::new(),
            connections: AtomicU64::new(0),
            next_id: AtomicU64::new(1),
        }
    }

    async fn drain(&self, mut loops: JoinSet<()>) -> Drained {
        let end = Instant::now() + self.limits.drain;
        self.leaving.store(true, Ordering::Release);
        self.phase.send_replace(ConnectionPhase::Leaving);
        while loops.join_next().await.is_some() {}
        self.tasks.close();
        let _ = timeout(LEAVE_TIME.min(self.limits.drain), self.tasks.wait()).await;
        self.phase.send_replace(ConnectionPhase::Closing);
        if timeout_at(end, self.tasks.wait()).await.is_ok() {
            return Drained::Complete;
        }
        let connections = self.connections.load(Ordering::Relaxed) as usize;
        self.phase.send_replace(ConnectionPhase::Cut);
        Drained::Cut { connections }
    }

    fn head(&self, parts: hyper::http::request::Parts, link: &ConnectionLink) -> Head {
        let received = Instant::now();
        let mut headers = parts.headers;
        // A target that names its host says more than the field does.
        if let Some(authority) = parts.uri.authority()
            && let Ok(host) = HeaderValue::from_str(authority.as_str())
        {
            headers.insert(HOST, host);
        }
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
            certificate: link.certificate.clone(),
            holder: link.holder.clone(),
            listener: link.listener,
            received,
            deadline: received + self.limits.deadline,
        }
    }

    /// Returns once the phase, or a later one, has come.
    async fn reached(&self, wanted: ConnectionPhase) {
        // The sender is in `self`, so waiting cannot fail.
        let _ = self.phase.subscribe().wait_for(|phase| *phase >= wanted).await;
    }

    fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }

    /// Notes what a request came to, where somebody wants to know.
    async fn note(&self, head: &Head, caller: Option<Caller>, reply: &mut Reply) {
        if let Some(trail) = &self.trail {
            trail.record(noted::record(head, caller, reply)).await;
        }
    }
}

// === accepting ===

async fn accept(shared: Arc<SharedServer>, index: usize, entry: Listening, seats: Arc<Seats>) {
    let mut crowd = Crowd::new(seats);
    let mut leaving = pin!(shared.reached(ConnectionPhase::Leaving));
    let mut pause = ACCEPT_PAUSE.0;
    loop {
        let next = tokio::select! {
            biased;
            () = &mut leaving => break,
            next = entry.socket.accept() => next,
        };
        match next {
            Ok((stream, peer, from)) => {
                pause = ACCEPT_PAUSE.0;
                let held = tokio::select! {
                    biased;
                    // Every accepted connection is answered, up to the drain limit.
                    () = &mut leaving => crowd.seats.take(&peer).ok(),
                    held = crowd.seat(&peer, &entry.address) => held,
                };
                if let Some(held) = held {
                    start(&shared, index, &entry, (stream, peer, from), held);
                }
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(address = %entry.address, %error, "cannot accept a connection; trying again");
                tokio::select! { () = &mut leaving => break, () = sleep(pause) => {} }
                pause = (pause * 2).min(ACCEPT_PAUSE.1);
            }
        }
    }
    // Connections that the kernel has queued count as connected for their clients.
    while let Some(Ok((stream, peer, from))) = entry.socket.accept().now_or_never() {
        if let Ok(held) = crowd.seats.take(&peer) {
            start(&shared, index, &entry, (stream, peer, from), held);
        }
    }
}

/// Errors of the connection that was about to be accepted, not of the listener.
fn is_of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

fn start(
    shared: &Arc<SharedServer>,
    listener: usize,
    entry: &Listening,
    (stream, peer, from): (Box<dyn Duplex>, Peer, Option<LocalName>),
    held: HeldSeat,
) {
    let seat = held.seat.clone();
    let link = ConnectionLink {
        shared: shared.clone(),
        peer,
        listener,
        certificate: None,
        holder: None,
        unread: UnreadRest::marked(),
        asked: RequestCount::default(),
        seat: Some(seat.clone()),
    };
    let (inner, tls) = (shared.clone(), entry.tls.as_ref().map(|secured| secured.acceptor()));
    let credentials = entry.credentials.clone();
    shared.connections.fetch_add(1, Ordering::Relaxed);
    shared.tasks.spawn(async move {
        tokio::select! {
            () = inner.reached(ConnectionPhase::Cut) => {}
            () = evicted(&seat) => tracing::debug!(%peer, "an idle connection made room for another"),
            () = async {
                match &credentials {
                    Some(credentials) => hand_over(credentials, link, stream, from).await,
                    None => connection(link, stream, tls).await,
                }
            } => {}
        }
        inner.connections.fetch_sub(1, Ordering::Relaxed);
        drop(held);
    });
}

/// Returns once the connection should go, and nothing is asked on it.
async fn evicted(seat: &Seat) {
    seat.asked_to_leave().await;
    // A request that came at the same moment is answered.
    while seat.is_busy() {
        sleep(ACCEPT_PAUSE.0).await;
    }
}

// === one connection ===

async fn connection(mut link: ConnectionLink, stream: Box<dyn Duplex>, tls: Option<TlsAcceptor>) {
    let Some(tls) = tls else { return converse(link, stream).await };
    let limit = HANDSHAKE_LIMIT.min(link.shared.limits.header_timeout);
    match timeout(limit, tls.accept(stream)).await {
        Ok(Ok(stream)) => {
            link.certificate = tls::certificate_of(stream.get_ref().1).map(Arc::new);
            converse(link, Box::new(stream)).await;
        }
        Ok(Err(error)) => tracing::debug!(peer = %link.peer, %error, "TLS handshake failed"),
        Err(_) => tracing::debug!(peer = %link.peer, "TLS handshake took too long"),
    }
}

/// Answers systemd, which speaks no HTTP, as the request that it stands for.
async fn hand_over(
    credentials: &UnitCredentials,
    mut link: ConnectionLink,
    stream: Box<dyn Duplex>,
    from: Option<LocalName>,
) {
    let answer = CredentialAnswer::to(from.as_deref(), credentials);
    link.holder = answer.holder.clone();
    let shared = link.shared.clone();
    let head = Arc::new(shared.head(answer.parts(), &link));
    let mut reply = answer.read(shared.service.as_ref(), &head).await;
    shared.note(&head, link.holder.map(Caller::Peer), &mut reply).await;
    answer.give(stream, &reply, shared.limits.deadline).await;
}

async fn converse(link: ConnectionLink, stream: Box<dyn Duplex>) {
    let (peer, shared) = (link.peer, link.shared.clone());
    let limits = &shared.limits;
    let io = TokioIo::new(GuardedStream::new(stream, limits.deadline, link.unread.clone()).with_heads(
        limits.first_byte_timeout,
        limits.header_timeout,
        limits.idle_timeout.max(limits.header_timeout),
        link.asked.clone(),
    ));
    let link = Arc::new(link);
    let service = service_fn(move |request| exchange(link.clone(), request));
    let mut connection = pin!(
        http1::Builder::new()
            .max_header_size(MAX_HEAD)
            .max_buf_size(2 * MAX_HEAD)
            // A client may end its side after the request, and wait for the answer.
            .half_close(true)
            .serve_connection(io, service)
    );
    let end = tokio::select! {
        biased;
        end = connection.as_mut() => end,
        () = shared.reached(ConnectionPhase::Closing) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = end {
        tracing::debug!(%peer, %error, "connection ended");
    }
}

// === one request ===

/// Answers a request. Most answers are there at once; what takes longer goes on in a task of its own, so that
/// a client that hangs up cancels nothing.
async fn exchange(
    link: Arc<ConnectionLink>,
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<Content>, Infallible> {
    let (parts, incoming) = request.into_parts();
    link.unread.clear();
    link.asked.begin();
    if let Some(seat) = &link.seat {
        seat.begin();
    }
    let shared = &link.shared;
    let head = Arc::new(shared.head(parts, &link));
    let mut answer = Box::pin(answer(link.clone(), head.clone(), incoming));
    let mut reply = match std::future::poll_fn(|cx| Poll::Ready(answer.as_mut().poll(cx))).await {
        Poll::Ready(reply) => reply,
        Poll::Pending => match shared.tasks.spawn(answer).await {
            Ok(reply) => reply,
            // The runtime ends.
            Err(_) => shared.service.refuse(&head, &Problem::Door(DoorFault::Panicked)),
        },
    };
    link.asked.end();
    if let Some(seat) = &link.seat {
        seat.end(head.id);
    }
    if shared.is_leaving() {
        reply.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let mut response = hyper::Response::new(Content::of(&mut reply));
    *response.status_mut() = reply.status;
    if let Some(reason) = reply.reason {
        response.extensions_mut().insert(reason);
    }
    *response.headers_mut() = reply.headers;
    Ok(response)
}

/// The answer, noted. A panic ends here, as a 500.
async fn answer(link: Arc<ConnectionLink>, head: Arc<Head>, incoming: Incoming) -> Reply {
    let shared = &link.shared;
    let handled = AssertUnwindSafe(handle(&link, &head, incoming)).catch_unwind().await;
    let (caller, mut reply) = handled.unwrap_or_else(|_| {
        tracing::error!(request = head.id, method = %head.method, path = head.path, "a handler panicked");
        (None, shared.service.refuse(&head, &Problem::Door(DoorFault::Panicked)))
    });
    shared.note(&head, caller, &mut reply).await;
    reply
}

async fn handle(link: &ConnectionLink, head: &Arc<Head>, incoming: Incoming) -> (Option<Caller>, Reply) {
    let (shared, unread) = (&link.shared, &link.unread);
    let service = &shared.service;
    let admitted = match service.admit(head) {
        Ok(admitted) => admitted,
        Err(refused) => {
            if !incoming.is_end_stream() {
                unread.mark();
            }
            return (None, refused.answer().await);
        }
    };
    let caller = Some(admitted.caller.clone());
    match body::collect(incoming, shared.limits.max_body, head.deadline).await {
        Ok(body) => (caller, service.answer(Request { head: head.clone(), body, admitted }).await),
        Err(fault) => {
            unread.mark();
            let mut reply = service.refuse(head, &Problem::Door(fault));
            reply.headers.insert(CONNECTION, HeaderValue::from_static("close"));
            (caller, reply)
        }
    }
}

#[cfg(test)]
mod tests;
