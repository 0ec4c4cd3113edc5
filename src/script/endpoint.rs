//! The script's endpoints, and the listeners that they come to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};

use serde::Serialize;

use super::protocol::ask::EndpointAdd;
use crate::plan::{Bind, Listener, Tls};
use crate::secret::fold;

/// An endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Endpoint {
    /// `http` or `https`.
    pub protocol: &'static str,
    /// Where it is bound.
    pub address: String,
    /// Its port.
    pub port: u16,
    /// Its name, empty where it has none.
    pub name: String,
    /// Requests for this host only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// As it was declared, where that is a name.
    #[serde(skip)]
    called: Option<String>,
    #[serde(skip)]
    bind: SocketAddr,
    #[serde(skip)]
    tls: Option<Tls>,
}

/// The endpoints, in order.
#[derive(Default)]
pub struct Endpoints(RwLock<Vec<Endpoint>>);

impl Endpoints {
    /// Adds an endpoint at `ip`. The same address again is the endpoint that is there.
    pub fn add(&self, declared: EndpointAdd, ip: IpAddr, root: Option<&str>) -> Result<Endpoint, String> {
        let tls = tls(&declared, root)?;
        let protocol = if tls.is_some() { "https" } else { "http" };
        let port = match declared.port {
            0 if tls.is_some() => 8443,
            0 => 8080,
            port => port,
        };
        let bind = SocketAddr::new(ip, port);
        let name = declared.name.unwrap_or_default();
        let endpoint = Endpoint {
            protocol,
            address: ip.to_string(),
            port,
            name,
            hostname: declared.hostname,
            called: Some(declared.address).filter(|name| name.parse::<IpAddr>().is_err() && !name.is_empty()),
            bind,
            tls,
        };
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if !endpoint.name.is_empty() && all.iter().any(|other| fold(&other.name) == fold(&endpoint.name)) {
            return Err(format!("An endpoint named '{}' has already been defined", endpoint.name));
        }
        if let Some(other) = all.iter().find(|other| other.bind == bind && other.tls != endpoint.tls) {
            return Err(format!("the address {bind} is already that of an endpoint for {}", other.protocol));
        }
        let same = |other: &&Endpoint| other.bind == bind && other.hostname == endpoint.hostname;
        if let Some(present) = all.iter().find(same).filter(|_| endpoint.name.is_empty()) {
            return Ok(present.clone());
        }
        all.push(endpoint.clone());
        Ok(endpoint)
    }

    /// Whether there is one of that name.
    pub fn has(&self, name: &str) -> bool {
        self.all().iter().any(|endpoint| fold(&endpoint.name) == fold(name))
    }

    /// The names under which requests for them come.
    pub fn names(&self) -> Vec<String> {
        let all = self.all();
        let known = all.iter().flat_map(|endpoint| [&endpoint.hostname, &endpoint.called]).flatten();
        let known = known.filter(|name| !matches!(name.as_str(), "*") && !name.eq_ignore_ascii_case("all"));
        known.cloned().collect()
    }

    /// All of them.
    pub fn all(&self) -> Vec<Endpoint> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What to listen on: one listener for each address.
    pub fn listeners(&self) -> Vec<Listener> {
        let mut listeners: Vec<Listener> = Vec::new();
        for endpoint in self.all() {
            let bind = Bind::Tcp(endpoint.bind);
            if !listeners.iter().any(|listener| listener.bind == bind) {
                let name = Some(endpoint.name).filter(|name| !name.is_empty());
                listeners.push(Listener { bind, tls: endpoint.tls, name });
            }
        }
        listeners
    }

    /// The endpoint of a request: of those at its listener the one for its host, else the one for any.
    pub fn find(&self, listener: usize, host: Option<&str>) -> Option<Endpoint> {
        let Bind::Tcp(bind) = self.listeners().get(listener)?.bind.clone() else { return None };
        let all: Vec<Endpoint> = self.all().into_iter().filter(|endpoint| endpoint.bind == bind).collect();
        let host = host.map(|host| fold(without_port(host)));
        let named = all
            .iter()
            .find(|endpoint| endpoint.hostname.is_some() && endpoint.hostname.as_deref().map(fold) == host);
        named.or_else(|| all.iter().find(|endpoint| endpoint.hostname.is_none())).cloned()
    }
}

impl Endpoint {
    /// Whether another host can reach it.
    pub fn is_open(&self) -> bool {
        !self.bind.ip().to_canonical().is_loopback()
    }

    /// As people write it.
    pub fn url(&self) -> String {
        format!("{}://{}", self.protocol, self.bind)
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

fn tls(declared: &EndpointAdd, root: Option<&str>) -> Result<Option<Tls>, String> {
    let has_certificate = declared.certificate.is_some() || declared.self_signed;
    match declared.protocol.to_ascii_lowercase().as_str() {
        "" | "http" if has_certificate => return Err("a certificate needs -Protocol Https".into()),
        "" | "http" => return Ok(None),
        "https" => {}
        other => {
            return Err(format!("endpoints of the protocol '{other}' are not served: use Http or Https"));
        }
    }
    if declared.pfx {
        return Err("a certificate is read from PEM files, not from PKCS#12: convert it with 'openssl pkcs12 -in x.pfx -nodes'".into());
    }
    if declared.password.is_some() {
        return Err(
            "a certificate's key is read without a pass phrase: take it off with 'openssl pkey'".into()
        );
    }
    let absolute = |path: &PathBuf| root.map_or_else(|| path.clone(), |root| PathBuf::from(root).join(path));
    match (&declared.certificate, declared.self_signed) {
        (Some(_), true) => Err("a certificate is either a file or self-signed".into()),
        (Some(certificate), false) => {
            let key = absolute(declared.key.as_ref().unwrap_or(certificate));
            Ok(Some(Tls::Files { certificate: absolute(certificate), key, clients: None }))
        }
        (None, true) => Ok(Some(Tls::SelfSigned)),
        (None, false) => Err("an Https endpoint needs -Certificate or -SelfSigned".into()),
    }
}

/// The address that a script's word means; a name is looked up.
pub async fn resolve(address: &str, loopback: bool) -> Result<IpAddr, String> {
    let bare = address.trim().trim_start_matches('[').trim_end_matches(']');
    let ip = match bare.to_ascii_lowercase().as_str() {
        "" | "localhost" => Ipv4Addr::LOCALHOST.into(),
        "*" | "all" => Ipv4Addr::UNSPECIFIED.into(),
        name => match name.parse::<IpAddr>() {
            Ok(ip) => ip,
            Err(_) => tokio::net::lookup_host((name, 0))
                .await
                .map_err(|error| format!("the address '{address}' could not be looked up: {error}"))?
                .map(|found| found.ip())
                .next()
                .ok_or_else(|| format!("the address '{address}' is not known"))?,
        },
    };
    Ok(match ip {
        _ if !loopback => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(name: &str, port: u16) -> EndpointAdd {
        EndpointAdd { name: Some(name.into()), port, protocol: "Http".into(), ..EndpointAdd::default() }
    }

    const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

    #[tokio::test]
    async fn addresses_are_read_as_pode_does_and_loopback_wins() {
        for (address, open, closed) in [
            ("*", "0.0.0.0", "127.0.0.1"),
            ("all", "0.0.0.0", "127.0.0.1"),
            ("localhost", "127.0.0.1", "127.0.0.1"),
            ("[::]", "::", "::1"),
        ] {
            assert_eq!(resolve(address, false).await.unwrap().to_string(), open);
            assert_eq!(resolve(address, true).await.unwrap().to_string(), closed);
        }
        assert!(resolve("no such host.invalid", false).await.is_err());
    }

    #[test]
    fn names_are_unique_and_hosts_share_an_address() {
        let all = Endpoints::default();
        assert_eq!(all.add(declared("", 0), ANY, None).unwrap().port, 8080);
        assert_eq!(all.add(declared("", 8080), ANY, None).unwrap().port, 8080);
        assert_eq!(all.all().len(), 1, "the same again is the same");
        all.add(EndpointAdd { hostname: Some("a.test".into()), ..declared("a", 8080) }, ANY, None).unwrap();
        assert!(all.add(declared("A", 9000), ANY, None).is_err());
        assert_eq!(all.listeners().len(), 1);
        assert_eq!(all.find(0, Some("A.test:8080")).unwrap().name, "a");
        assert_eq!(all.find(0, Some("other")).unwrap().name, "");
        assert!(all.find(1, None).is_none());
    }

    #[test]
    fn what_tls_cannot_do_is_refused_by_name() {
        let https = || EndpointAdd { protocol: "Https".into(), ..EndpointAdd::default() };
        let add = |declared| Endpoints::default().add(declared, ANY, Some("/root"));
        assert!(add(https()).is_err());
        assert!(
            add(EndpointAdd { certificate: Some("x.pfx".into()), pfx: true, ..https() })
                .unwrap_err()
                .contains("PKCS#12")
        );
        assert!(add(EndpointAdd { protocol: "Smtp".into(), ..https() }).unwrap_err().contains("smtp"));
        let with_phrase: EndpointAdd = serde_json::from_value(serde_json::json!({
            "protocol": "https", "certificate": "c.pem", "password": { "t": "securestring", "v": "canary" },
        }))
        .unwrap();
        assert!(!format!("{with_phrase:?}").contains("canary"));
        assert!(add(with_phrase).unwrap_err().contains("pass phrase"));
        let own = add(EndpointAdd { self_signed: true, ..https() }).unwrap();
        assert_eq!((own.port, own.tls), (8443, Some(Tls::SelfSigned)));
        let files = add(EndpointAdd { certificate: Some("c.pem".into()), ..https() }).unwrap();
        let (certificate, key) = (PathBuf::from("/root/c.pem"), PathBuf::from("/root/c.pem"));
        assert_eq!(files.tls, Some(Tls::Files { certificate, key, clients: None }));
    }
}
