//! Clients over TLS and with credentials, as an operator sets them up: certificates that openssl makes, and a file of credentials
//! that `larder hash-credential` writes.

mod builds;
mod curl;
mod grpcurl;
mod keys;

use std::path::Path;

use self::keys::Keys;
use crate::error::CompatError;
use crate::lab::Lab;
use crate::larder::{Larder, Launch};
use crate::report::Report;

/// What the command line calls it.
pub(crate) const NAME: &str = "secure";

/// Whose certificate is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Clients {
    /// Nobody's: credentials decide.
    ShowNone,
    /// Everybody's, and it may write; credentials decide for nobody.
    ShowCertificates,
}

/// Each client, let in and turned away.
pub(crate) fn run(lab: &Lab, report: &mut Report<'_>) -> Result<(), CompatError> {
    let keys = Keys::make(lab, &lab.dir(NAME)?)?;
    curl::run(lab, &keys, report)?;
    grpcurl::run(lab, &keys, report)?;
    builds::run(lab, &keys, report)
}

/// A server that speaks TLS.
fn start(lab: &Lab, dir: &Path, keys: &Keys, clients: Clients) -> Result<Larder, CompatError> {
    let path = |name: &str| keys.path(name).display().to_string();
    let mut settings =
        vec![("tls.cert_file", path("server.crt")), ("tls.key_file", path("server.key"))];
    settings.extend(match clients {
        Clients::ShowNone => vec![("auth.credentials_file", path("credentials"))],
        Clients::ShowCertificates => vec![
            ("tls.client_ca_file", path("clients.crt")),
            ("tls.client_auth", "required".to_owned()),
            ("auth.certificates", "write".to_owned()),
        ],
    });
    Larder::launch(lab, dir, Launch { wrapper: Vec::new(), settings, data_dir: dir.join("data") })
}
