//! Binds the plan's listeners, all of them or none, and says in plain words why one cannot be bound.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use socket2::{Domain, Socket, Type};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::stream::Duplex;
use super::tls::{self, TlsError};
use crate::access::Peer;
use crate::audit::Trail;
use crate::metrics::Metrics;
use crate::plan::credentials::UnitCredentials;
use crate::plan::{Bind, Listener, Tls};
use crate::platform;
use crate::platform::local::{self, LocalBindError, LocalListener, LocalName};

/// Connections that the kernel keeps for us until they are accepted.
const BACKLOG: i32 = 1024;

/// Bound listeners, not serving yet.
#[derive(Debug)]
pub struct Door {
    pub(super) entries: Vec<Listening>,
    /// Where requests are noted.
    pub(super) trail: Option<Trail>,
    /// Where connections are counted.
    pub(super) metrics: Arc<Metrics>,
}

/// One bound listener.
pub(super) struct Listening {
    pub(super) socket: BoundSocket,
    pub(super) tls: Option<Arc<Secured>>,
    pub(super) address: BoundAddress,
    /// It speaks no HTTP, and answers what systemd asks for.
    pub(super) credentials: Option<Arc<UnitCredentials>>,
}

/// A listening socket.
pub(super) enum BoundSocket {
    Tcp(TcpListener),
    /// The file goes when the listener goes.
    Unix(LocalListener),
}

/// The TLS of a listener, whose certificate can be replaced while it listens.
pub(super) struct Secured {
    tls: Tls,
    address: Option<SocketAddr>,
    shown: RwLock<tls::ServedTls>,
}

/// The certificates of a door, to be read again while it serves.
#[derive(Clone, Default)]
pub struct Certificates(Vec<Arc<Secured>>);

/// Certificates that were read again and are right, not in force yet.
#[must_use]
pub struct Renewed(Vec<(Arc<Secured>, tls::ServedTls)>);

/// Where a listener can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundAddress {
    /// The address really bound: a port 0 of the plan is a real port here.
    pub bind: Bind,
    /// Whether it speaks TLS.
    pub tls: bool,
}

/// Why a listener could not be bound.
#[derive(Debug, Error)]
#[error("cannot listen on {address}: {kind}")]
pub struct BindError {
    /// The address as the plan has it.
    pub address: String,
    /// What is in the way.
    #[source]
    pub kind: BindErrorKind,
}

/// What is in the way of a listener.
#[derive(Debug, Error)]
pub enum BindErrorKind {
    /// Another program has it.
    #[error(
        "it is in use (hint: stop the other program, or choose another address; port 0 takes a free one)"
    )]
    InUse,
    /// We may not.
    #[error(
        "permission denied (hint: ports below 1024 need a privilege; a socket needs a folder that is writable)"
    )]
    Denied,
    /// Not an address of this machine.
    #[error("this machine has no such address (hint: 127.0.0.1 is this machine only, [::] is every address)")]
    NotLocal,
    /// The folder of the socket is missing.
    #[error("its folder does not exist (hint: make it, with mode 0700)")]
    NoFolder,
    /// Something else has the path of the socket.
    #[error("something that is not a socket is there (hint: remove it, or choose another path)")]
    NotASocket,
    /// The certificate or its key.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Anything else.
    #[error(transparent)]
    Io(io::Error),
}

// === impl Door ===

impl Door {
    /// Binds every listener, or none. Needs a tokio runtime around it.
    pub fn bind(listeners: &[Listener]) -> Result<Door, BindError> {
        let entries = listeners
            .iter()
            .map(|listener| Listening::bind(listener, listeners))
            .collect::<Result<_, _>>()?;
        Ok(Door { entries, trail: None, metrics: Arc::default() })
    }

    /// Notes requests in the trail, and counts connections.
    pub fn observed(mut self, trail: &Trail, metrics: &Arc<Metrics>) -> Door {
        self.trail = Some(trail.clone());
        self.metrics = metrics.clone();
        self
    }

    /// Binds the socket that systemd loads credentials from.
    pub fn add_credentials(&mut self, credentials: &UnitCredentials) -> Result<(), BindError> {
        let bind = Bind::Unix(credentials.socket.clone());
        let listener = Listener { bind, tls: None, name: None };
        self.entries.push(Listening::bind(&listener, std::slice::from_ref(&listener))?);
        if let Some(entry) = self.entries.last_mut() {
            entry.credentials = Some(Arc::new(credentials.clone()));
        }
        Ok(())
    }

    /// The certificates of its listeners.
    pub fn certificates(&self) -> Certificates {
        Certificates(self.entries.iter().filter_map(|entry| entry.tls.clone()).collect())
    }

    /// Where each listener can be reached, in the plan's order.
    pub fn addresses(&self) -> Vec<BoundAddress> {
        self.entries.iter().map(|entry| entry.address.clone()).collect()
    }
}

// === impl Listening ===

impl Listening {
    fn bind(listener: &Listener, all: &[Listener]) -> Result<Listening, BindError> {
        let wanted = BoundAddress { bind: listener.bind.clone(), tls: listener.tls.is_some() };
        let fail = |kind| BindError { address: wanted.to_string(), kind };
        let (socket, bind) = match &listener.bind {
            Bind::Tcp(address) => {
                let socket = tcp(*address, dual_stack(*address, all)).map_err(|error| fail(error.into()))?;
                let real = socket.local_addr().map_err(|error| fail(error.into()))?;
                (BoundSocket::Tcp(socket), Bind::Tcp(real))
            }
            Bind::Unix(path) => {
                let socket = LocalListener::bind(path).map_err(|error| fail(error.into()))?;
                (BoundSocket::Unix(socket), Bind::Unix(path.clone()))
            }
        };
        let ip = match &bind {
            Bind::Tcp(address) => Some(*address),
            Bind::Unix(_) => None,
        };
        let secured = |tls: &Tls| {
            let shown = RwLock::new(tls::shown(tls, ip)?);
            Ok(Arc::new(Secured { tls: tls.clone(), address: ip, shown }))
        };
        let tls: Result<_, TlsError> = listener.tls.as_ref().map(secured).transpose();
        Ok(Listening {
            socket,
            tls: tls.map_err(|error| fail(error.into()))?,
            address: BoundAddress { bind, tls: wanted.tls },
            credentials: None,
        })
    }
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listening({})", self.address)
    }
}

// === impl Secured, Certificates ===

impl Secured {
    /// For the next connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.shown.read().unwrap_or_else(PoisonError::into_inner).acceptor.clone()
    }

    /// When the certificate in force ends, in seconds since 1970.
    pub(super) fn expires(&self) -> Option<i64> {
        self.shown.read().unwrap_or_else(PoisonError::into_inner).expires
    }
}

impl Certificates {
    /// The files that they are read from.
    pub fn files(&self) -> Vec<PathBuf> {
        let of = |secured: &Arc<Secured>| match &secured.tls {
            Tls::Files { certificate, key, clients } => {
                [Some(certificate), Some(key), clients.as_ref()].into_iter().flatten().cloned().collect()
            }
            Tls::SelfSigned => Vec::new(),
        };
        self.0.iter().flat_map(of).collect()
    }

    /// Reads every certificate again, all or none. One that was made at the start stays.
    pub fn read_again(&self) -> Result<Renewed, TlsError> {
        let files = self.0.iter().filter(|secured| matches!(secured.tls, Tls::Files { .. }));
        let read = |secured: &Arc<Secured>| Ok((secured.clone(), tls::shown(&secured.tls, secured.address)?));
        files.map(read).collect::<Result<_, _>>().map(Renewed)
    }

    /// Those of more doors.
    pub fn add(&mut self, more: Certificates) {
        self.0.extend(more.0);
    }
}

impl Renewed {
    /// Puts them in force for connections to come.
    pub fn put_in_force(self) {
        for (secured, shown) in self.0 {
            *secured.shown.write().unwrap_or_else(PoisonError::into_inner) = shown;
        }
    }
}

// === impl BoundSocket ===

impl BoundSocket {
    /// The next connection, who made it, and where from, if that is a name.
    pub(super) async fn accept(&self) -> io::Result<(Box<dyn Duplex>, Peer, Option<LocalName>)> {
        match self {
            BoundSocket::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // Answers are small and whole; waiting for more to send only delays them. A connection
                // that is gone already fails here, and is found out when it is read.
                let _ = stream.set_nodelay(true);
                Ok((Box::new(stream), Peer::Tcp(address), None))
            }
            BoundSocket::Unix(listener) => {
                let (stream, who, name) = listener.accept().await?;
                Ok((Box::new(stream), Peer::Unix { uid: who.uid, gid: who.gid, pid: who.pid }, name))
            }
        }
    }
}

// === sockets ===

/// `[::]` takes IPv4 too, unless the plan gives the same port of IPv4 to a listener of its own.
fn dual_stack(address: SocketAddr, all: &[Listener]) -> bool {
    let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
    address.port() == 0 || !all.iter().any(|other| other.bind == Bind::Tcp(v4))
}

fn tcp(address: SocketAddr, dual: bool) -> io::Result<TcpListener> {
    if let Some(bound) = platform::inherited_tcp(address) {
        bound.set_nonblocking(true)?;
        return TcpListener::from_std(bound);
    }
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(!dual)?;
    }
    platform::claim_address(&socket)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

// === impl BoundAddress, BindErrorKind ===

impl fmt::Display for BoundAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        match &self.bind {
            Bind::Tcp(address) => write!(f, "{scheme}://{address}"),
            Bind::Unix(path) => write!(f, "{scheme}+{}", local::shown(path)),
        }
    }
}

impl From<LocalBindError> for BindErrorKind {
    fn from(error: LocalBindError) -> BindErrorKind {
        match error {
            LocalBindError::NoFolder => BindErrorKind::NoFolder,
            LocalBindError::NotASocket => BindErrorKind::NotASocket,
            LocalBindError::Io(error) => error.into(),
        }
    }
}

impl From<io::Error> for BindErrorKind {
    fn from(error: io::Error) -> BindErrorKind {
        match error.kind() {
            io::ErrorKind::AddrInUse => BindErrorKind::InUse,
            io::ErrorKind::PermissionDenied => BindErrorKind::Denied,
            io::ErrorKind::AddrNotAvailable => BindErrorKind::NotLocal,
            _ => BindErrorKind::Io(error),
        }
    }
}

#[cfg(test)]
mod tests;
