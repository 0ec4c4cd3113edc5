//! Whom the client trusts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

/// Why no server could be trusted.
#[derive(Debug, Error)]
pub enum ClientTlsError {
    /// The file with the authority does not do.
    #[error("the authority file {} does not do: {source} (hint: PEM, one or more certificates)", .path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// The file holds no certificate, or none that can be used; or the system has none.
    #[error("{0} holds no certificate that can be used (hint: name a PEM file with --ca-file)")]
    Nothing(String),
    /// rustls refused.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// A connector that trusts this file's authorities, or the system's.
pub(super) fn connector(ca_file: Option<&Path>) -> Result<TlsConnector, ClientTlsError> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            let fail = |source| ClientTlsError::Authority { path: path.to_owned(), source };
            for certificate in CertificateDer::pem_file_iter(path).map_err(fail)? {
                roots.add(certificate.map_err(fail)?)?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        let place =
            ca_file.map_or_else(|| "the system's store".to_owned(), |path| path.display().to_string());
        return Err(ClientTlsError::Nothing(place));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
