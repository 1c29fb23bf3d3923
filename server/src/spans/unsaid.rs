//! [`Unsaid`]: why a request to a collector came to nothing, which the exporter over HTTP keeps to itself.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use larder_disk::with_causes;
use opentelemetry_http::{HttpClient, HttpError};
use parking_lot::Mutex;

/// Why the last request came to nothing, if it did. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub(super) struct Unsaid(Arc<Mutex<Option<String>>>);

/// Notes why requests come to nothing.
#[derive(Debug)]
pub(super) struct Noting<C> {
    client: C,
    unsaid: Unsaid,
}

impl Unsaid {
    /// The reason, with its causes.
    pub(super) fn take(&self) -> Option<String> {
        self.0.lock().take()
    }
}

impl<C> Noting<C> {
    pub(super) fn new(client: C, unsaid: Unsaid) -> Self {
        Self { client, unsaid }
    }
}

#[async_trait]
impl<C: HttpClient> HttpClient for Noting<C> {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.client.send_bytes(request).await;
        *self.unsaid.0.lock() = answer.as_ref().err().map(|error| with_causes(error.as_ref()));
        answer
    }
}
