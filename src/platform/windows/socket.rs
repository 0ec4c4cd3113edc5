//! Named pipes.

use std::io;
use std::os::windows::io::{AsRawHandle as _, AsRawSocket as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::Socket;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::windows::named_pipe::{ClientOptions, NamedPipeClient, NamedPipeServer, ServerOptions};
use tokio::sync::Mutex;
use windows_sys::Win32::Foundation::ERROR_PIPE_BUSY;
use windows_sys::Win32::Networking::WinSock::{SO_EXCLUSIVEADDRUSE, SOL_SOCKET, setsockopt};
use windows_sys::Win32::Security::Authorization::SE_KERNEL_OBJECT;
use windows_sys::Win32::System::Pipes::GetNamedPipeClientProcessId;

use super::access::{Descriptor, owner_and_others};
use crate::platform::local::{LocalBindError, LocalName, LocalPeer};
use crate::platform::{FileKind, FileOwner};

/// See [`crate::platform::local::BY_PIPES`].
pub(in crate::platform) const BY_PIPES: bool = true;

/// How long a caller waits where all instances are taken: the listener makes the next one at once.
const BUSY_WAIT: Duration = Duration::from_millis(20);

/// See [`BUSY_WAIT`].
const BUSY_TRIES: u32 = 250;

/// Either end of a pipe.
pub enum SystemStream {
    /// The listener's end.
    Server(NamedPipeServer),
    /// The caller's end.
    Client(NamedPipeClient),
}

pub(in crate::platform) struct SystemListener {
    name: PathBuf,
    /// The instance that the next caller gets: there is always one, so that no caller finds none.
    next: Mutex<NamedPipeServer>,
}

impl SystemListener {
    pub(in crate::platform) fn bind(path: &Path) -> Result<SystemListener, LocalBindError> {
        if !path.as_os_str().to_string_lossy().starts_with(r"\\.\pipe\") {
            return Err(LocalBindError::NotASocket);
        }
        let first = instance(path, true).map_err(|error| match error.kind() {
            // Of the first instance, this says that there is another's.
            io::ErrorKind::PermissionDenied => io::Error::from(io::ErrorKind::AddrInUse),
            _ => error,
        })?;
        Ok(SystemListener { name: path.to_owned(), next: Mutex::new(first) })
    }

    pub(in crate::platform) async fn accept(
        &self,
    ) -> io::Result<(SystemStream, LocalPeer, Option<LocalName>)> {
        let mut next = self.next.lock().await;
        next.connect().await?;
        let connected = std::mem::replace(&mut *next, instance(&self.name, false)?);
        let peer = peer(&connected);
        Ok((SystemStream::Server(connected), peer, None))
    }
}

fn instance(name: &Path, first: bool) -> io::Result<NamedPipeServer> {
    let descriptor = Descriptor::private(FileKind::File)?;
    let mut attributes = descriptor.attributes();
    let mut options = ServerOptions::new();
    options.first_pipe_instance(first).reject_remote_clients(true);
    // SAFETY: a whole structure that outlives the call.
    unsafe { options.create_with_security_attributes_raw(name, (&raw mut attributes).cast()) }
}

/// Who made a connection. That it cannot be told is no reason to refuse: the list of the pipe has let it in.
fn peer(pipe: &NamedPipeServer) -> LocalPeer {
    let mut pid = 0;
    // SAFETY: the handle is open, and the number is ours.
    let known = unsafe { GetNamedPipeClientProcessId(pipe.as_raw_handle(), &raw mut pid) != 0 };
    LocalPeer { uid: None, gid: None, pid: known.then_some(pid).and_then(|pid| i32::try_from(pid).ok()) }
}

pub(in crate::platform) async fn connect(path: &Path) -> io::Result<SystemStream> {
    let mut tries = 0;
    let pipe = loop {
        match ClientOptions::new().open(path) {
            Err(error) if error.raw_os_error() == Some(ERROR_PIPE_BUSY as i32) && tries < BUSY_TRIES => {
                tries += 1;
                tokio::time::sleep(BUSY_WAIT).await;
            }
            outcome => break outcome?,
        }
    };
    // Anybody may make a pipe of any name: a caller must not tell its secrets to a stranger's.
    match owner_and_others(&pipe, SE_KERNEL_OBJECT)?.0 {
        FileOwner::Other(who) => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("the pipe {} is another user's ({who})", path.display()),
        )),
        FileOwner::Us | FileOwner::System => Ok(SystemStream::Client(pipe)),
    }
}

impl AsyncRead for SystemStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            SystemStream::Server(pipe) => Pin::new(pipe).poll_read(cx, buf),
            SystemStream::Client(pipe) => Pin::new(pipe).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for SystemStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            SystemStream::Server(pipe) => Pin::new(pipe).poll_write(cx, bytes),
            SystemStream::Client(pipe) => Pin::new(pipe).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            SystemStream::Server(pipe) => Pin::new(pipe).poll_flush(cx),
            SystemStream::Client(pipe) => Pin::new(pipe).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            SystemStream::Server(pipe) => Pin::new(pipe).poll_shutdown(cx),
            SystemStream::Client(pipe) => Pin::new(pipe).poll_shutdown(cx),
        }
    }
}

/// `SO_REUSEADDR` lets any program listen on an address that is in use here, and take its callers away. Connections
/// that have ended hold no address.
pub(in crate::platform) fn claim_address(socket: &Socket) -> io::Result<()> {
    let on = 1_i32;
    // SAFETY: the socket is open, and the number is ours and as long as said.
    let failed = unsafe {
        setsockopt(
            socket.as_raw_socket() as usize,
            SOL_SOCKET,
            SO_EXCLUSIVEADDRUSE,
            (&raw const on).cast(),
            size_of_val(&on) as i32,
        )
    };
    if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A pipe stays its user's own: its callers have no numbers that a rule could name.
pub(in crate::platform) fn open_to_others(_path: &Path) -> io::Result<()> {
    Ok(())
}
