//! Listening addresses as people write them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use thiserror::Error;

use crate::plan::Bind;
use crate::platform::local::{BY_PIPES, pipe, shown};

/// Why an address cannot be listened on, and what to write.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message} ({hint})")]
pub struct ListenAddressError {
    /// What is wrong.
    pub message: &'static str,
    /// What to write.
    pub hint: String,
}

/// An address, and what it says about TLS: `Some(true)` for `https://`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ListenAddress {
    pub bind: Bind,
    pub https: Option<bool>,
}

/// Reads `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`, `*:8080` (every interface, IPv4 and IPv6),
/// `unix:/run/bridge.sock` or, on Windows, `pipe:bridge`. Host names other than `localhost` are not looked up.
pub fn parse_bind(text: &str) -> Result<Bind, ListenAddressError> {
    let address = parse_address(text)?;
    match address.https {
        Some(true) => Err(refused("https needs a certificate", "write [[listeners]] with tls in a file")),
        _ => Ok(address.bind),
    }
}

/// The same, with `http://` or `https://` before it.
pub(super) fn parse_address(text: &str) -> Result<ListenAddress, ListenAddressError> {
    let local = |path| Ok(ListenAddress { bind: Bind::Unix(path), https: None });
    if let Some(path) = text.strip_prefix("unix:") {
        return match path {
            "" => Err(refused("names no socket", "write unix:/run/secretbridge.sock")),
            path => local(PathBuf::from(path)),
        };
    }
    if let Some(name) = text.strip_prefix("pipe:") {
        return match pipe(name) {
            None => Err(refused(
                "names no pipe",
                "write pipe:secretbridge: letters, digits, '.', '_' and '-', at most 200",
            )),
            Some(_) if !BY_PIPES => {
                Err(refused("names a pipe, which only Windows has", "write unix:/run/secretbridge.sock"))
            }
            Some(path) => local(path),
        };
    }
    let (https, rest) = match text.split_once("://") {
        Some(("http", rest)) => (Some(false), rest.trim_end_matches('/')),
        Some(("https", rest)) => (Some(true), rest.trim_end_matches('/')),
        Some(_) => return Err(refused("has an unknown scheme", "write address:port, e.g. 127.0.0.1:8085")),
        None => (None, text),
    };
    Ok(ListenAddress { bind: Bind::Tcp(parse_socket(rest)?), https })
}

fn parse_socket(text: &str) -> Result<SocketAddr, ListenAddressError> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    if text.parse::<IpAddr>().is_ok() {
        let shown = if text.contains(':') { format!("[{text}]") } else { text.to_owned() };
        return Err(refused("has no port", format!("write {shown}:8085")));
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(match text.parse::<u16>() {
            Ok(port) => refused("has no address", format!("write 127.0.0.1:{port}, or *:{port} for all")),
            Err(_) => refused("is not address:port", "e.g. 127.0.0.1:8085, or unix:/run/secretbridge.sock"),
        });
    };
    let port: u16 = port.parse().map_err(|_| refused("has no port from 0 to 65535", "e.g. :8085"))?;
    match host {
        "*" => Ok((Ipv6Addr::UNSPECIFIED, port).into()),
        "" => Err(refused("has no address", format!("write 127.0.0.1:{port}, or *:{port} for all"))),
        _ if host.eq_ignore_ascii_case("localhost") => Ok((Ipv4Addr::LOCALHOST, port).into()),
        _ => Err(refused(
            "is not an IP address",
            format!("host names are not looked up; write *:{port} for all"),
        )),
    }
}

/// Writes an address so that it reads back the same.
pub(super) fn format_bind(bind: &Bind) -> String {
    match bind {
        Bind::Tcp(address) => address.to_string(),
        Bind::Unix(path) => shown(path),
    }
}

fn refused(message: &'static str, hint: impl Into<String>) -> ListenAddressError {
    ListenAddressError { message, hint: hint.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_as_people_write_it() {
        for (text, bind) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("[::1]:0", "[::1]:0"),
            ("localhost:8080", "127.0.0.1:8080"),
            ("LocalHost:8080", "127.0.0.1:8080"),
            ("*:8080", "[::]:8080"),
            ("http://127.0.0.1:8080/", "127.0.0.1:8080"),
            ("unix:run/b.sock", "unix:run/b.sock"),
        ] {
            assert_eq!(parse_bind(text).map(|bind| format_bind(&bind)), Ok(bind.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_pipe_is_listened_on_where_the_system_has_pipes() {
        let read = parse_bind("pipe:bridge").map(|bind| format_bind(&bind));
        match BY_PIPES {
            true => assert_eq!(read, Ok("pipe:bridge".to_owned())),
            false => assert_eq!(read.unwrap_err().hint, "write unix:/run/secretbridge.sock"),
        }
        assert_eq!(format_bind(&Bind::Unix(pipe("bridge").unwrap())), "pipe:bridge");
    }

    #[test]
    fn a_wrong_address_tells_what_to_write() {
        for (text, hint) in [
            ("8080", "write 127.0.0.1:8080, or *:8080 for all"),
            (":8080", "write 127.0.0.1:8080, or *:8080 for all"),
            ("::1", "write [::1]:8085"),
            ("10.0.0.1", "write 10.0.0.1:8085"),
            ("example.org:80", "host names are not looked up; write *:80 for all"),
            ("localhost:99999", "e.g. :8085"),
            ("unix:", "write unix:/run/secretbridge.sock"),
            ("pipe:", "write pipe:secretbridge: letters, digits, '.', '_' and '-', at most 200"),
            (r"pipe:\\.\pipe\x", "write pipe:secretbridge: letters, digits, '.', '_' and '-', at most 200"),
            ("ftp://x", "write address:port, e.g. 127.0.0.1:8085"),
            ("https://127.0.0.1:1", "write [[listeners]] with tls in a file"),
            ("", "e.g. 127.0.0.1:8085, or unix:/run/secretbridge.sock"),
        ] {
            assert_eq!(parse_bind(text).map_err(|error| error.hint), Err(hint.to_owned()), "{text}");
        }
    }
}
