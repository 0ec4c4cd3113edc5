//! A worker's channel: two pairs of sockets. Unlike a pipe, a socket cannot be opened once more through
//! `/proc/self/fd`, so that code in the worker cannot read along.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use tokio::process::{Child, Command};

use crate::platform::{ChannelReader, ChannelWriter};

pub(in crate::platform) struct Channel {
    reader: UnixStream,
    writer: UnixStream,
}

impl Channel {
    pub(in crate::platform) fn attach(command: &mut Command) -> io::Result<Channel> {
        let (writer, input) = UnixStream::pair()?;
        let (reader, output) = UnixStream::pair()?;
        command.stdin(OwnedFd::from(input)).stdout(OwnedFd::from(output));
        Ok(Channel { reader, writer })
    }

    pub(in crate::platform) fn open(self, _child: &mut Child) -> io::Result<(ChannelReader, ChannelWriter)> {
        let ours = |stream: UnixStream| {
            stream.set_nonblocking(true)?;
            tokio::net::UnixStream::from_std(stream)
        };
        Ok((Box::new(ours(self.reader)?), Box::new(ours(self.writer)?)))
    }
}
