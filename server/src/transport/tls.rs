//! [`Tls`]: what the ports encrypt with. Read from files, and again when they change.
//!
//! A new certificate holds for new connections; those that are open keep theirs. ALPN offers h2 and http/1.1, and who asks for
//! neither is told by his first bytes, as without TLS.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::auth::certificate_expiry;
use crate::bounded_read::bounded_read;
use crate::config::{ClientAuth, TlsSettings};
use crate::from_files::{FILE_BYTES_MAX, FromFiles};

/// What both ports encrypt with.
pub type Tls = FromFiles<TlsConfigs, TlsError>;

/// One for each port.
#[derive(Debug)]
pub struct TlsConfigs {
    /// For clients, whose certificates may be asked for.
    pub clients: Arc<ServerConfig>,
    /// For the admin port.
    pub admin: Arc<ServerConfig>,
    /// Up to when the certificate is valid, since 1970; `None` where it does not say so in a way that can be read.
    pub expiry: Option<Duration>,
}

/// Why files cannot be used for TLS.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// It cannot be read, or is no PEM.
    #[error("tls.{key}: {}", path.display())]
    File {
        /// Which setting names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
    /// The key is not the certificate's, or of no kind that is known.
    #[error("tls.cert_file and tls.key_file")]
    Pair {
        /// What is wrong.
        source: rustls::Error,
    },
    /// No certificate of an authority can be used.
    #[error("tls.client_ca_file")]
    Authorities {
        /// What is wrong.
        source: rustls::server::VerifierBuilderError,
    },
}

/// Reads the files that the settings name.
pub fn open_tls(settings: &TlsSettings) -> Result<Tls, TlsError> {
    let files =
        [Some(&settings.cert_file), Some(&settings.key_file), settings.client_ca_file.as_ref()];
    let paths = files.into_iter().flatten().cloned().collect();
    let settings = settings.clone();
    FromFiles::open(paths, move || load(&settings))
}

fn load(settings: &TlsSettings) -> Result<TlsConfigs, TlsError> {
    let chain = certificates("cert_file", &settings.cert_file)?;
    let file = |source| TlsError::File { key: "key_file", path: settings.key_file.clone(), source };
    let text = bounded_read(&settings.key_file, FILE_BYTES_MAX).map_err(file)?;
    let key = PrivateKeyDer::from_pem_slice(text.as_bytes());
    let key = key.map_err(|error| file(io::Error::other(error)))?;
    let verifier = match (settings.client_auth, &settings.client_ca_file) {
        (ClientAuth::None, _) | (_, None) => None,
        (ClientAuth::Optional, Some(path)) => Some(verifier(path, ClientAuth::Optional)?),
        (ClientAuth::Required, Some(path)) => Some(verifier(path, ClientAuth::Required)?),
    };
    let expiry = chain.first().and_then(|certificate| certificate_expiry(certificate));
    Ok(TlsConfigs {
        expiry,
        clients: config(chain.clone(), key.clone_key(), verifier)?,
        admin: config(chain, key, None)?,
    })
}

fn config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let pair = |source| TlsError::Pair { source };
    // Named, since another crate of the program could choose another provider for all.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().map_err(pair)?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(pair)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn verifier(path: &Path, asks: ClientAuth) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("client_ca_file", path)? {
        let added = roots.add(certificate).map_err(io::Error::other);
        let file = |source| TlsError::File { key: "client_ca_file", path: path.to_owned(), source };
        added.map_err(file)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = match asks {
        ClientAuth::Required => builder,
        ClientAuth::Optional | ClientAuth::None => builder.allow_unauthenticated(),
    };
    builder.build().map_err(|source| TlsError::Authorities { source })
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let file = |source| TlsError::File { key, path: path.to_owned(), source };
    let text = bounded_read(path, FILE_BYTES_MAX).map_err(file)?;
    let parsed = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
    let parsed = parsed.map_err(|error| file(io::Error::other(error)))?;
    if parsed.is_empty() {
        let none = io::Error::new(io::ErrorKind::InvalidData, "no certificate in it");
        return Err(file(none));
    }
    Ok(parsed)
}
