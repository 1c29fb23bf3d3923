//! [`Orderer`]: who gives an order on the admin port, as far as it is known; what the log says of him.

use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::access::Granted;
use super::peer::Peer;

/// Who gives an order on the admin port.
#[derive(Clone, Debug, Default)]
pub struct Orderer {
    /// The name of his credential, or of his certificate where no line of the file has that; `None` where nobody is asked.
    name: Option<Arc<str>>,
    /// Where he calls from.
    address: Option<IpAddr>,
}

impl Orderer {
    /// Who may signal the process.
    pub(crate) fn signal(name: &'static str) -> Self {
        Self { name: Some(name.into()), address: None }
    }

    /// The name of his credential or certificate, for a log line.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Where he calls from, for a log line.
    pub(crate) fn address(&self) -> Option<impl fmt::Display + tracing::Value + use<>> {
        self.address.map(tracing::field::display)
    }
}

impl<S: Sync> FromRequestParts<S> for Orderer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let name = parts.extensions.get::<Granted>().and_then(|granted| granted.admin.clone());
        let address = Peer::of(&parts.extensions).and_then(|peer| peer.address);
        Ok(Self { name, address })
    }
}
