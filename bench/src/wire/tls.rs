//! [`Tls`]: TLS to servers that prove who they are.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, pem};
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Speaks TLS to servers whose certificates are trusted. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Tls {
    http2: TlsConnector,
    http1: TlsConnector,
}

/// What is spoken within.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// Why nobody can be trusted.
#[derive(Debug, Error)]
pub(crate) enum TlsError {
    #[error("--tls-ca {}", path.display())]
    File { path: PathBuf, source: pem::Error },
    #[error("--tls-ca {}: no certificate in it", path.display())]
    Empty { path: PathBuf },
    #[error("--tls-ca {}", path.display())]
    Certificate { path: PathBuf, source: rustls::Error },
    #[error("TLS")]
    Config(#[from] rustls::Error),
}

impl Tls {
    /// Trusts the authorities in this file, or those of the system where none is named.
    pub(crate) fn trusting(ca_file: Option<&Path>) -> Result<Self, TlsError> {
        let roots = Arc::new(roots(ca_file)?);
        let connector = |protocol: &[u8]| -> Result<TlsConnector, TlsError> {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let mut config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()?
                .with_root_certificates(Arc::clone(&roots))
                .with_no_client_auth();
            config.alpn_protocols = vec![protocol.to_vec()];
            Ok(Arc::new(config).into())
        };
        Ok(Self { http2: connector(b"h2")?, http1: connector(b"http/1.1")? })
    }

    /// Shakes hands with the server of this name.
    pub(super) async fn over(
        &self,
        stream: TcpStream,
        name: &ServerName<'static>,
        protocol: Protocol,
    ) -> io::Result<TlsStream<TcpStream>> {
        let connector = match protocol {
            Protocol::Http1 => &self.http1,
            Protocol::Http2 => &self.http2,
        };
        connector.connect(name.clone(), stream).await
    }
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let Some(path) = ca_file else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(roots);
    };
    let file = |source| TlsError::File { path: path.to_owned(), source };
    for certificate in CertificateDer::pem_file_iter(path).map_err(file)? {
        let certificate = certificate.map_err(file)?;
        let unusable = |source| TlsError::Certificate { path: path.to_owned(), source };
        roots.add(certificate).map_err(unusable)?;
    }
    if roots.is_empty() {
        return Err(TlsError::Empty { path: path.to_owned() });
    }
    Ok(roots)
}
