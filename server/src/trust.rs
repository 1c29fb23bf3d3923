//! Whom this program trusts where it calls others over TLS: origins, collectors of spans, a server's admin port.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;
use tokio_rustls::TlsConnector;

use crate::bounded_read::bounded_read;

const CA_FILE_LIMIT_BYTES: u64 = 4 << 20;

/// Why nobody can be called over TLS.
#[derive(Debug, Error)]
pub enum TrustError {
    /// A file of authorities cannot be used; who names it says which setting it is.
    #[error("{}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls {
        /// What it says.
        #[from]
        source: rustls::Error,
    },
}

/// Who is trusted.
pub(crate) struct Trusted {
    pub(crate) roots: RootCertStore,
    pub(crate) nobody: Option<NobodyTrusted>,
}

/// The system has no authorities, and no file has any.
#[derive(Debug)]
pub(crate) struct NobodyTrusted {
    errors: Vec<rustls_native_certs::Error>,
}

impl NobodyTrusted {
    /// Says so in the log.
    pub(crate) fn warn(&self) {
        let errors = &self.errors;
        tracing::warn!(
            ?errors,
            "the system has no trusted certificates: nothing is had over https"
        );
    }
}

/// Trusts the system's authorities, and those in `ca_file`. Warns where there are none.
pub(crate) fn tls_connector(ca_file: Option<&Path>) -> Result<TlsConnector, TrustError> {
    let Trusted { roots, nobody } = trusted(ca_file)?;
    if let Some(nobody) = nobody {
        nobody.warn();
    }
    Ok(TlsConnector::from(Arc::new(tls_config(roots)?)))
}

/// The system's authorities, and those in `ca_file`.
pub(crate) fn trusted(ca_file: Option<&Path>) -> Result<Trusted, TrustError> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    let (of_system, _) = roots.add_parsable_certificates(system.certs);
    if let Some(path) = ca_file {
        let unusable = |source| TrustError::CaFile { path: path.to_owned(), source };
        let text = bounded_read(path, CA_FILE_LIMIT_BYTES).map_err(unusable)?;
        let own = parse_certificates(&text).map_err(unusable)?;
        for certificate in own {
            roots.add(certificate).map_err(|error| unusable(io::Error::other(error)))?;
        }
    }
    let nobody =
        (ca_file.is_none() && of_system == 0).then_some(NobodyTrusted { errors: system.errors });
    Ok(Trusted { roots, nobody })
}

/// For who calls somebody over TLS.
pub(crate) fn tls_config(roots: RootCertStore) -> Result<ClientConfig, TrustError> {
    // Named, since another crate of the program could choose another provider for all.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

fn parse_certificates(text: &str) -> io::Result<Vec<CertificateDer<'static>>> {
    let parsed = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
    let parsed = parsed.map_err(io::Error::other)?;
    if parsed.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "no certificate in it"));
    }
    Ok(parsed)
}
