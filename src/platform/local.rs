//! Connections between programs of one machine: Unix sockets, on Windows named pipes. Only this user may
//! connect, unless the system's own accounts do.

use std::io;
use std::path::Path;

use thiserror::Error;

use super::system;

/// A listener that only programs of this machine and this user can reach. Its file goes with it.
pub struct LocalListener(system::socket::Listener);

/// One connection, from either end.
pub type LocalStream = system::socket::Stream;

/// The other end of a connection, as the system says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LocalPeer {
    /// The number of its user, where users have numbers.
    pub uid: Option<u32>,
    /// The number of its group, where groups have numbers.
    pub gid: Option<u32>,
    /// Its process id.
    pub pid: Option<i32>,
}

/// Why a listener could not be made.
#[derive(Debug, Error)]
pub enum LocalBindError {
    /// The folder of the socket is missing.
    #[error("the folder does not exist")]
    NoFolder,
    /// Something else has the path of the socket.
    #[error("something that is not a socket is there")]
    NotASocket,
    /// The system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl LocalListener {
    /// Listens at a path; on Windows at a pipe's name, `\\.\pipe\NAME`. A socket that nobody listens on
    /// any more is replaced. Needs a tokio runtime around it.
    pub fn bind(path: &Path) -> Result<LocalListener, LocalBindError> {
        system::socket::Listener::bind(path).map(LocalListener)
    }

    /// Has other users of this machine connect too: whoever listens has a rule for each of them.
    pub fn open_to_others(path: &Path) -> io::Result<()> {
        system::socket::open_to_others(path)
    }

    /// The next connection and who made it. Cancel safe.
    pub async fn accept(&self) -> io::Result<(LocalStream, LocalPeer)> {
        self.0.accept().await
    }
}

/// Connects to a listener at a path; on Windows at a pipe's name.
pub async fn connect(path: &Path) -> io::Result<LocalStream> {
    system::socket::connect(path).await
}
