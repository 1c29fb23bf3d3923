//! [`Peer`]: who is at the other end of a connection, as far as the connection itself tells.

use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Extensions, Request};
use tower_service::Service;

use crate::link::Link;

/// Who is at the other end of a connection; an extension of each of its requests.
#[derive(Debug, Default)]
pub struct Peer {
    /// `None` on a unix socket.
    pub address: Option<IpAddr>,
    /// The names in its certificate, verified; `None` where it showed none.
    pub certificate: Option<Vec<String>>,
    /// The connection itself.
    pub link: Link,
}

impl Peer {
    /// Of a request; `None` where it came over no connection.
    pub(crate) fn of(extensions: &Extensions) -> Option<&Arc<Self>> {
        extensions.get()
    }

    /// Whether it is on this machine.
    pub fn is_local(&self) -> bool {
        self.address.is_none_or(|address| address.to_canonical().is_loopback())
    }
}

/// A service whose requests carry the peer.
#[derive(Clone, Debug)]
pub struct WithPeer<S> {
    inner: S,
    peer: Arc<Peer>,
}

impl<S> WithPeer<S> {
    /// For one connection.
    pub fn new(inner: S, peer: Arc<Peer>) -> Self {
        Self { inner, peer }
    }
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for WithPeer<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        request.extensions_mut().insert(Arc::clone(&self.peer));
        self.inner.call(request)
    }
}
