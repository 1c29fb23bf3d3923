//! [`Guard`]: what stands before both ports, access control and TLS, and the files that both come from.

use std::error::Error;
use std::sync::Arc;

use larder_disk::with_causes;
use tokio_util::sync::CancellationToken;

use crate::auth::{Access, Port};
use crate::config::{Config, ListenAddress};
use crate::from_files::{FromFiles, Refreshed};
use crate::run::StartError;
use crate::telemetry::AccessMetrics;
use crate::transport::{Encryption, Tls, open_tls};

/// What stands before both ports. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    pub(crate) access: Arc<Access>,
    tls: Option<Arc<Tls>>,
}

impl Guard {
    /// Reads certificates and credentials. `ending` is cancelled when the drain begins.
    pub(crate) fn open(config: &Config, ending: CancellationToken) -> Result<Self, StartError> {
        let tls = config.tls.as_ref().map(open_tls).transpose()?.map(Arc::new);
        let access = Arc::new(Access::open(config.auth.as_ref(), ending)?);
        if access.credentials().is_some() && tls.is_none() && is_exposed(config) {
            tracing::warn!(
                "credentials pass over the network in plain text: give tls.cert_file, or encrypt before this server"
            );
        }
        Ok(Self { access, tls })
    }

    /// What the connections of a port are encrypted with, if they are.
    pub(crate) fn encryption(&self, port: Port) -> Option<Encryption> {
        self.tls.as_ref().map(|tls| Encryption { tls: Arc::clone(tls), port })
    }

    pub(crate) fn metrics(&self) -> AccessMetrics {
        AccessMetrics { access: Arc::clone(&self.access), tls: self.tls.clone() }
    }

    /// Takes over what has changed in the files; says what did, and what cannot be used.
    pub(crate) fn refresh(&self) -> Vec<(&'static str, Result<(), String>)> {
        let credentials = self.access.credentials();
        let credentials = credentials.and_then(|file| refreshed("auth.credentials_file", file));
        let tls = self.tls.as_ref().and_then(|tls| refreshed("tls", tls));
        credentials.into_iter().chain(tls).collect()
    }
}

fn refreshed<T, E: Error + 'static>(
    what: &'static str,
    files: &FromFiles<T, E>,
) -> Option<(&'static str, Result<(), String>)> {
    match files.refresh() {
        Refreshed::Same => None,
        Refreshed::Replaced => {
            tracing::info!("{what} is read again");
            Some((what, Ok(())))
        }
        Refreshed::Refused(error) => {
            let problem = with_causes(&error);
            tracing::warn!(problem, "{what} has changed and cannot be used: what was before holds");
            Some((what, Err(problem)))
        }
        // The log has it.
        Refreshed::StillRefused(error) => Some((what, Err(with_causes(&error)))),
    }
}

/// Whether clients of other machines can connect.
fn is_exposed(config: &Config) -> bool {
    let addresses = config.listen.iter().filter_map(ListenAddress::tcp);
    addresses.chain([config.admin_listen]).any(|address| !address.ip().to_canonical().is_loopback())
}
