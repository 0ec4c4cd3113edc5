//! Unix sockets that only their owner may connect to.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{UnixListener, UnixStream};

use crate::platform::identity;
use crate::platform::local::{LocalBindError, LocalName, LocalPeer};

/// See [`crate::platform::local::BY_PIPES`].
pub(in crate::platform) const BY_PIPES: bool = false;

/// Connections that the kernel keeps for us until they are accepted.
const BACKLOG: i32 = 1024;

pub(in crate::platform) type SystemStream = UnixStream;

pub(in crate::platform) struct SystemListener {
    socket: UnixListener,
    /// Held for its `Drop`.
    _file: SocketFile,
}

/// The file of a socket, removed with its listener, unless it is another's by then.
struct SocketFile {
    path: PathBuf,
    identity: Option<(u64, u64)>,
}

impl SystemListener {
    pub(in crate::platform) fn bind(path: &Path) -> Result<SystemListener, LocalBindError> {
        if let Some(socket) = super::super::system::inherited_unix(path) {
            // The service manager made the file, and removes it.
            socket.set_nonblocking(true)?;
            let file = SocketFile { path: path.to_owned(), identity: None };
            return Ok(SystemListener { socket: UnixListener::from_std(socket)?, _file: file });
        }
        let address = SockAddr::unix(path)?;
        clear_stale(path, &address)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => LocalBindError::NoFolder,
            _ => error.into(),
        })?;
        let file = SocketFile { path: path.to_owned(), identity: look(path) };
        // Nobody can connect before it listens, whatever mode the file was made with.
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        socket.listen(BACKLOG)?;
        Ok(SystemListener { socket: UnixListener::from_std(socket.into())?, _file: file })
    }

    pub(in crate::platform) async fn accept(
        &self,
    ) -> io::Result<(SystemStream, LocalPeer, Option<LocalName>)> {
        let (stream, _) = self.socket.accept().await?;
        let who = stream.peer_cred().ok();
        let peer = LocalPeer {
            uid: who.as_ref().map(|who| who.uid()),
            gid: who.as_ref().map(|who| who.gid()),
            pid: who.and_then(|who| who.pid()),
        };
        let name = super::super::system::name_of_peer(&stream);
        Ok((stream, peer, name))
    }
}

pub(in crate::platform) async fn connect(path: &Path) -> io::Result<SystemStream> {
    UnixStream::connect(path).await
}

/// Removes a socket that nobody listens on any more: one that refuses a connection.
fn clear_stale(path: &Path, address: &SockAddr) -> Result<(), LocalBindError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
        Ok(found) if !found.file_type().is_socket() => return Err(LocalBindError::NotASocket),
        Ok(_) => {}
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A live listener whose backlog is full would block us.
    probe.set_nonblocking(true)?;
    match probe.connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(fs::remove_file(path)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error.into()),
        _ => Err(io::Error::from(io::ErrorKind::AddrInUse).into()),
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.identity.is_some() && self.identity == look(&self.path) {
            // Nothing can be done about a failure; the next start finds a stale socket.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn look(path: &Path) -> Option<(u64, u64)> {
    identity(&fs::symlink_metadata(path).ok()?)
}

/// Two programs never listen on one address here; without the option, those that were connected hold it a while.
pub(in crate::platform) fn claim_address(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_address(true)
}

/// Every user who may enter the folder may connect.
pub(in crate::platform) fn open_to_others(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))
}

#[cfg(test)]
mod tests;
