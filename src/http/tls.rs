//! TLS for a listener: a certificate from PEM files, or one made at start and kept in memory only.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};
use x509_parser::extensions::GeneralName;

use crate::access::Certificate;
use crate::plan::Tls;
use crate::platform;
use crate::private_file::{PrivateFileError, read_private};
use crate::trusted;

/// Why a listener's TLS could not be set up.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read, or others may read or change it.
    #[error(transparent)]
    File(#[from] PrivateFileError),
    /// The certificate file does not do.
    #[error("the certificate file {} does not do: {source} (hint: PEM, the server's own certificate first)", .path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// The key file does not do.
    #[error("the key file {} does not do: {source} (hint: PEM, without a pass phrase)", .path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// Certificate and key do not go together, or are of a kind that rustls does not take.
    #[error("certificate and key do not go together: {0}")]
    Pair(#[from] rustls::Error),
    /// The authorities of client certificates do not do.
    #[error("the client authorities in {} do not do: {source}", .path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: VerifierBuilderError,
    },
    /// No certificate could be made.
    #[error("could not make a certificate: {0}")]
    SelfSigned(#[from] rcgen::Error),
}

/// What a listener shows its clients.
#[derive(Clone)]
pub(super) struct ServedTls {
    pub(super) acceptor: TlsAcceptor,
    /// When its own certificate ends, in seconds since 1970.
    pub(super) expires: Option<i64>,
}

/// Whether a listener's certificate, key and authorities can be used.
pub fn check(tls: &Tls) -> Result<(), TlsError> {
    shown(tls, None).map(drop)
}

/// Reads or makes the certificate, and checks that its key goes with it.
pub(super) fn shown(tls: &Tls, address: Option<SocketAddr>) -> Result<ServedTls, TlsError> {
    let ((chain, key), clients) = match tls {
        Tls::Files { certificate, key, clients } => {
            ((read_chain(certificate)?, read_key(key)?), clients.as_deref())
        }
        Tls::SelfSigned => (self_signed(address)?, None),
    };
    let provider = Arc::new(ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let builder = match clients {
        // A client without a certificate may still show a token.
        Some(path) => builder.with_client_cert_verifier(
            WebPkiClientVerifier::builder_with_provider(authorities(path)?, provider)
                .allow_unauthenticated()
                .build()
                .map_err(|source| TlsError::Authorities { path: path.to_owned(), source })?,
        ),
        None => builder.with_no_client_auth(),
    };
    let expires = chain.first().and_then(|leaf| x509_parser::parse_x509_certificate(leaf).ok());
    let expires = expires.map(|(_, leaf)| leaf.validity().not_after.timestamp());
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(ServedTls { acceptor: TlsAcceptor::from(Arc::new(config)), expires })
}

fn authorities(path: &Path) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_chain(path)? {
        roots.add(certificate)?;
    }
    Ok(Arc::new(roots))
}

/// Subject and names of the certificate that a client showed, and that was verified.
pub(super) fn certificate_of(connection: &rustls::ServerConnection) -> Option<Certificate> {
    let leaf = connection.peer_certificates()?.first()?;
    let (_, parsed) = x509_parser::parse_x509_certificate(leaf).ok()?;
    let mut names = vec![parsed.subject().to_string()];
    let alternatives = parsed.subject_alternative_name().ok().flatten();
    for name in alternatives.iter().flat_map(|found| &found.value.general_names) {
        match name {
            GeneralName::DNSName(name) | GeneralName::URI(name) | GeneralName::RFC822Name(name) => {
                names.push((*name).to_owned());
            }
            _ => {}
        }
    }
    Some(Certificate { names })
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let fail = |source| TlsError::Certificate { path: path.to_owned(), source };
    let text = trusted::read(path)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().map_err(fail)?;
    if chain.is_empty() { Err(fail(pem::Error::NoItemsFound)) } else { Ok(chain) }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = read_private(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|source| TlsError::Key { path: path.to_owned(), source })
}

type CertAndKey = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn self_signed(address: Option<SocketAddr>) -> Result<CertAndKey, TlsError> {
    let made = rcgen::generate_simple_self_signed(names(address.map(|address| address.ip())))?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    Ok((vec![made.cert.der().clone()], key.into()))
}

/// The names that a client on this machine or in its network would use.
fn names(address: Option<IpAddr>) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let bound = address.filter(|address| !address.is_unspecified()).map(|address| address.to_string());
    for name in bound.into_iter().chain(platform::machine_name()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private_file::write_private_new;

    fn write_pair(folder: &Path, of: &str) -> Tls {
        let made = rcgen::generate_simple_self_signed(vec![of.to_owned()]).unwrap();
        let (certificate, key) = (folder.join(format!("{of}.crt")), folder.join(format!("{of}.key")));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        let _ = std::fs::remove_file(&key);
        write_private_new(&key, made.signing_key.serialize_pem().as_bytes()).unwrap();
        Tls::Files { certificate, key, clients: None }
    }

    fn error(tls: &Tls) -> String {
        shown(tls, None).err().expect("fails").to_string()
    }

    #[test]
    fn a_pair_of_pem_files_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        assert!(shown(&write_pair(folder.path(), "a.test"), None).is_ok());
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        write_pair(folder.path(), "a.test");
        write_pair(folder.path(), "b.test");
        let mixed = Tls::Files {
            certificate: folder.path().join("a.test.crt"),
            key: folder.path().join("b.test.key"),
            clients: None,
        };
        assert!(error(&mixed).starts_with("certificate and key do not go together"), "{}", error(&mixed));
    }

    #[test]
    fn a_file_that_is_missing_or_empty_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let Tls::Files { certificate, key, .. } = write_pair(folder.path(), "a.test") else { unreachable!() };
        write_private_new(&folder.path().join("empty"), b"").unwrap();
        for missing in ["absent", "empty"] {
            let missing = folder.path().join(missing);
            let no_chain = Tls::Files { certificate: missing.clone(), key: key.clone(), clients: None };
            assert!(error(&no_chain).contains(&*missing.to_string_lossy()));
            let no_key = Tls::Files { certificate: certificate.clone(), key: missing.clone(), clients: None };
            assert!(error(&no_key).contains(&*missing.to_string_lossy()));
        }
    }

    #[test]
    fn a_made_certificate_names_the_bound_address_once() {
        let names = names(Some("10.1.2.3".parse().unwrap()));
        assert!(names.contains(&"10.1.2.3".to_owned()) && names.contains(&"localhost".to_owned()));
        let loopback = super::names(Some("127.0.0.1".parse().unwrap()));
        assert_eq!(loopback.iter().filter(|name| *name == "127.0.0.1").count(), 1);
    }

    /// An authority, and a client's certificate of it.
    fn client(folder: &Path) -> (PathBuf, CertAndKey) {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).unwrap();
        let path = folder.join("clients.pem");
        std::fs::write(&path, authority.pem()).unwrap();
        let issuer = rcgen::Issuer::new(params, key);
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["backup.example".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, "backup");
        let leaf = params.signed_by(&key, &issuer).unwrap();
        (path, (vec![leaf.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into()))
    }

    /// What the server learns of a client, and the certificate that the client was shown.
    async fn shake(
        acceptor: &TlsAcceptor,
        trusted: &[PathBuf],
        shown: Option<CertAndKey>,
    ) -> (Option<Certificate>, CertificateDer<'static>) {
        let mut roots = RootCertStore::empty();
        for path in trusted {
            roots.add(read_chain(path).unwrap().remove(0)).unwrap();
        }
        let builder = rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match shown {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
            None => builder.with_no_client_auth(),
        };
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let name = "a.test".try_into().unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let (server, client) = tokio::join!(acceptor.accept(ours), connector.connect(name, theirs));
        let (server, client) = (server.unwrap(), client.unwrap());
        let leaf = client.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned();
        (certificate_of(server.get_ref().1), leaf)
    }

    #[tokio::test]
    async fn a_client_is_known_by_the_subject_and_the_names_of_its_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let Tls::Files { certificate, key, .. } = write_pair(folder.path(), "a.test") else { unreachable!() };
        let (authorities, pair) = client(folder.path());
        let trusted = [certificate.clone()];
        let tls = Tls::Files { certificate, key, clients: Some(authorities) };
        let acceptor = shown(&tls, None).unwrap().acceptor;
        let (known, _) = shake(&acceptor, &trusted, Some(pair)).await;
        assert_eq!(known.unwrap().names, ["CN=backup", "backup.example"]);
        let (unknown, _) = shake(&acceptor, &trusted, None).await;
        assert_eq!(unknown, None, "whoever shows none may still show a token");
    }

    #[tokio::test]
    async fn a_certificate_that_was_replaced_is_shown_to_the_next_connection() {
        let folder = tempfile::tempdir().unwrap();
        let tls = write_pair(folder.path(), "a.test");
        let Tls::Files { certificate, .. } = &tls else { unreachable!() };
        let listener = crate::plan::Listener {
            bind: crate::plan::Bind::Tcp(([127, 0, 0, 1], 0).into()),
            tls: Some(tls.clone()),
            name: None,
        };
        let door = super::super::Door::bind(&[listener]).unwrap();
        let certificates = door.certificates();
        let now = || door.entries[0].tls.as_ref().unwrap().acceptor();
        let (_, old) = shake(&now(), std::slice::from_ref(certificate), None).await;
        write_pair(folder.path(), "a.test");
        certificates.read_again().unwrap().put_in_force();
        let (_, new) = shake(&now(), std::slice::from_ref(certificate), None).await;
        assert_ne!(old, new);
        std::fs::write(certificate, "no certificate").unwrap();
        assert!(certificates.read_again().is_err());
    }
}
