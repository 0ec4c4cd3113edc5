//! The other end of a connection.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::platform::local::KIND;

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A process on a Unix socket, or on a named pipe of Windows.
    Unix {
        /// Its user, as the kernel says.
        uid: Option<u32>,
        /// Its user's first group.
        gid: Option<u32>,
        /// Its process id, where the kernel says.
        pid: Option<i32>,
    },
}

impl Peer {
    /// Whose limits count: an address without its port, or a user of this machine. Of an IPv6 address it is the
    /// network, since whoever has one has all of it.
    pub fn place(&self) -> String {
        match self {
            Peer::Tcp(address) => match address.ip().to_canonical() {
                IpAddr::V4(ip) => ip.to_string(),
                IpAddr::V6(ip) if ip.is_loopback() => ip.to_string(),
                IpAddr::V6(ip) => {
                    let [a, b, c, d, ..] = ip.segments();
                    format!("{}/64", Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
                }
            },
            Peer::Unix { uid: Some(uid), .. } => format!("uid {uid}"),
            Peer::Unix { uid: None, .. } => KIND.to_owned(),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Tcp(address) => address.fmt(f),
            Peer::Unix { uid, pid, .. } => {
                f.write_str(KIND)?;
                uid.map_or(Ok(()), |uid| write!(f, " uid={uid}"))?;
                pid.map_or(Ok(()), |pid| write!(f, " pid={pid}"))
            }
        }
    }
}
