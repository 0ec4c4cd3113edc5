//! Connections between programs of one machine: Unix sockets, on Windows named pipes. Only this user may
//! connect, unless the system's own accounts do.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::system;

/// Where Windows has its named pipes.
const PIPES: &str = r"\\.\pipe\";

/// The longest name of a pipe: with what is before it, the system takes 256 characters.
const LONGEST_PIPE: usize = 200;

/// Local connections are named pipes here, not sockets.
pub const BY_PIPES: bool = system::socket::BY_PIPES;

/// What the way of such a connection is called.
pub const KIND: &str = if BY_PIPES { "pipe" } else { "unix" };

/// A listener that only programs of this machine and this user can reach. Its file goes with it.
pub struct LocalListener(system::socket::SystemListener);

/// One connection, from either end.
pub type LocalStream = system::socket::SystemStream;

/// The name that the other end of a connection has given itself (on Linux an abstract address).
pub type LocalName = Box<[u8]>;

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
    #[cfg_attr(windows, allow(dead_code, reason = "a pipe is in no folder"))]
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
        system::socket::SystemListener::bind(path).map(LocalListener)
    }

    /// Has other users of this machine connect too: whoever listens has a rule for each of them.
    pub fn open_to_others(path: &Path) -> io::Result<()> {
        system::socket::open_to_others(path)
    }

    /// The next connection, who made it, and the name that they gave themselves. Cancel safe.
    pub async fn accept(&self) -> io::Result<(LocalStream, LocalPeer, Option<LocalName>)> {
        self.0.accept().await
    }
}

/// Where the pipe of this name is, if it can be a name.
pub fn pipe(name: &str) -> Option<PathBuf> {
    let plain = |c: char| c.is_alphanumeric() || "._-".contains(c);
    let fits = !name.is_empty() && name.chars().count() <= LONGEST_PIPE && name.chars().all(plain);
    fits.then(|| format!("{PIPES}{name}").into())
}

/// The place of a listener as people write it: `pipe:NAME`, `unix:/path`.
pub fn shown(path: &Path) -> String {
    match path.to_str().and_then(|path| path.strip_prefix(PIPES)) {
        Some(name) => format!("pipe:{name}"),
        None => format!("unix:{}", path.display()),
    }
}

/// Connects to a listener at a path; on Windows at a pipe's name.
pub async fn connect(path: &Path) -> io::Result<LocalStream> {
    system::socket::connect(path).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_s_name_leads_to_it_and_nowhere_else() {
        for name in ["secretbridge", "a.b-c_1", "schlüssel"] {
            let path = pipe(name).unwrap();
            assert_eq!(path.to_str().unwrap(), format!(r"\\.\pipe\{name}"));
            assert_eq!(shown(&path), format!("pipe:{name}"));
        }
        let long = "x".repeat(201);
        for name in ["", r"a\b", "a/b", r"\\host\pipe\x", "a b", "a:b", "*", &long] {
            assert_eq!(pipe(name), None, "{name}");
        }
        assert_eq!(shown(Path::new("/run/b.sock")), "unix:/run/b.sock");
    }
}
