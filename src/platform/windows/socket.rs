//! Named pipes.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::windows::named_pipe::{ClientOptions, NamedPipeClient, NamedPipeServer, ServerOptions};
use tokio::sync::Mutex;

use crate::platform::local::{LocalBindError, LocalPeer};

/// Either end of a pipe.
pub enum Stream {
    /// The listener's end.
    Server(NamedPipeServer),
    /// The caller's end.
    Client(NamedPipeClient),
}

pub(in crate::platform) struct Listener {
    name: std::path::PathBuf,
    /// The instance that the next caller gets: there is always one, so that no caller finds none.
    next: Mutex<NamedPipeServer>,
}

impl Listener {
    pub(in crate::platform) fn bind(path: &Path) -> Result<Listener, LocalBindError> {
        if !path.as_os_str().to_string_lossy().starts_with(r"\\.\pipe\") {
            return Err(LocalBindError::NotASocket);
        }
        let first = instance(path, true).map_err(|error| match error.kind() {
            // Of the first instance, this says that there is another's.
            io::ErrorKind::PermissionDenied => io::Error::from(io::ErrorKind::AddrInUse),
            _ => error,
        })?;
        Ok(Listener { name: path.to_owned(), next: Mutex::new(first) })
    }

    pub(in crate::platform) async fn accept(&self) -> io::Result<(Stream, LocalPeer)> {
        let mut next = self.next.lock().await;
        next.connect().await?;
        let connected = std::mem::replace(&mut *next, instance(&self.name, false)?);
        Ok((Stream::Server(connected), LocalPeer::default()))
    }
}

fn instance(name: &Path, first: bool) -> io::Result<NamedPipeServer> {
    ServerOptions::new().first_pipe_instance(first).reject_remote_clients(true).create(name)
}

pub(in crate::platform) async fn connect(path: &Path) -> io::Result<Stream> {
    ClientOptions::new().open(path).map(Stream::Client)
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Server(pipe) => Pin::new(pipe).poll_read(cx, buf),
            Stream::Client(pipe) => Pin::new(pipe).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Server(pipe) => Pin::new(pipe).poll_write(cx, bytes),
            Stream::Client(pipe) => Pin::new(pipe).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Server(pipe) => Pin::new(pipe).poll_flush(cx),
            Stream::Client(pipe) => Pin::new(pipe).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Server(pipe) => Pin::new(pipe).poll_shutdown(cx),
            Stream::Client(pipe) => Pin::new(pipe).poll_shutdown(cx),
        }
    }
}
