//! Where a server is, as people write it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

use crate::platform::local::{BY_PIPES, pipe, shown};

/// The port of a server whose address names none.
const DEFAULT_PORT: u16 = 8085;

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerAddress {
    /// A host and a port.
    Tcp {
        /// A name or an IP address, without brackets.
        host: String,
        /// The port.
        port: u16,
        /// Whether it speaks TLS.
        tls: bool,
    },
    /// A Unix socket, or a named pipe of Windows.
    Unix(PathBuf),
}

/// Why text is no address of a server.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "'{0}' is no server's address (hint: http://127.0.0.1:8085, https://host:8443, unix:/path/to/socket, on Windows pipe:NAME)"
)]
pub struct ServerAddressError(String);

impl ServerAddress {
    /// Whether it speaks TLS.
    pub fn is_tls(&self) -> bool {
        matches!(self, ServerAddress::Tcp { tls: true, .. })
    }

    /// What a request names as its host.
    pub fn authority(&self) -> String {
        match self {
            ServerAddress::Tcp { host, port, .. } if host.contains(':') => format!("[{host}]:{port}"),
            ServerAddress::Tcp { host, port, .. } => format!("{host}:{port}"),
            ServerAddress::Unix(_) => "localhost".to_owned(),
        }
    }
}

impl FromStr for ServerAddress {
    type Err = ServerAddressError;

    fn from_str(text: &str) -> Result<ServerAddress, ServerAddressError> {
        let wrong = || ServerAddressError(text.to_owned());
        for start in ["unix://", "unix:", "http+unix://", "http+unix:"] {
            if let Some(path) = text.strip_prefix(start) {
                return if path.is_empty() { Err(wrong()) } else { Ok(ServerAddress::Unix(path.into())) };
            }
        }
        for start in ["pipe:", "http+pipe:"] {
            if let Some(name) = text.strip_prefix(start) {
                return pipe(name).filter(|_| BY_PIPES).map(ServerAddress::Unix).ok_or_else(wrong);
            }
        }
        let (tls, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some(_) => return Err(wrong()),
            None => (false, text),
        };
        // A password in an address would be shown in every message that shows the address.
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '@', '?', '#']) {
            return Err(wrong());
        }
        let (host, port) = match rest.strip_prefix('[') {
            Some(inner) => {
                let (host, after) = inner.split_once(']').ok_or_else(wrong)?;
                (host, after.strip_prefix(':').or(if after.is_empty() { None } else { Some(after) }))
            }
            None => match rest.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        let port = port.map_or(Ok(DEFAULT_PORT), str::parse).map_err(|_| wrong())?;
        if host.is_empty() {
            return Err(wrong());
        }
        Ok(ServerAddress::Tcp { host: host.to_owned(), port, tls })
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerAddress::Tcp { tls, .. } => {
                write!(f, "{}://{}", if *tls { "https" } else { "http" }, self.authority())
            }
            ServerAddress::Unix(path) => f.write_str(&shown(path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_people_write_it() {
        for (text, shown) in [
            ("http://127.0.0.1:8085", "http://127.0.0.1:8085"),
            ("https://vault.example/", "https://vault.example:8085"),
            ("localhost:9", "http://localhost:9"),
            ("http://[::1]:8085", "http://[::1]:8085"),
            ("https://[::1]", "https://[::1]:8085"),
            ("unix:/run/s.sock", "unix:/run/s.sock"),
            ("http+unix:/run/s.sock", "unix:/run/s.sock"),
            ("unix:///run/s.sock", "unix:/run/s.sock"),
        ] {
            assert_eq!(text.parse::<ServerAddress>().unwrap().to_string(), shown);
        }
        for wrong in
            ["", "http://", "ftp://host", "http://host:port", "http://u:p@host", "http://host/path", "unix:"]
        {
            assert!(wrong.parse::<ServerAddress>().is_err(), "{wrong}");
        }
        for text in ["pipe:bridge", "http+pipe:bridge"] {
            let read = text.parse::<ServerAddress>().map(|address| address.to_string());
            assert_eq!(read.ok(), BY_PIPES.then(|| "pipe:bridge".to_owned()), "{text}");
        }
        assert!("pipe:".parse::<ServerAddress>().is_err() && "pipe:a/b".parse::<ServerAddress>().is_err());
        assert_eq!(ServerAddress::Unix(pipe("bridge").unwrap()).to_string(), "pipe:bridge");
    }
}
