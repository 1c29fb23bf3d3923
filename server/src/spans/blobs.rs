//! [`SpannedBlobs`]: a blob store whose calls have spans, where their requests are sampled.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use larder_cas::{
    BlobKey, BlobKeys, BlobStore, ByteRange, Payload, PutOutcome, RequestCx, StoreError,
};
use tracing::Instrument as _;

use super::tier_span;

/// Gives each call of `inner` a span that is named after the tier. It ends with the call: what a payload reads later belongs
/// to the request.
#[derive(Debug)]
pub struct SpannedBlobs {
    tier: &'static str,
    inner: Arc<dyn BlobStore>,
}

impl SpannedBlobs {
    /// Spans called `tier`.
    pub fn new(tier: &'static str, inner: Arc<dyn BlobStore>) -> Self {
        Self { tier, inner }
    }
}

impl fmt::Display for SpannedBlobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spanned({})", self.inner)
    }
}

#[async_trait]
impl BlobStore for SpannedBlobs {
    async fn find_missing(&self, cx: &RequestCx, keys: BlobKeys) -> Result<BlobKeys, StoreError> {
        let span = tier_span(self.tier, "find_missing");
        let asked = keys.digests.len();
        let missing = self.inner.find_missing(cx, keys).instrument(span.clone()).await;
        match &missing {
            Ok(missing) => {
                span.record("outcome", format_args!("{} of {asked} missing", missing.digests.len()))
            }
            Err(error) => span.record("outcome", error.class().label()),
        };
        missing
    }

    async fn get(
        &self,
        cx: &RequestCx,
        key: &BlobKey,
        range: ByteRange,
    ) -> Result<Option<Payload>, StoreError> {
        let span = tier_span(self.tier, "get");
        let found = self.inner.get(cx, key, range).instrument(span.clone()).await;
        span.record(
            "outcome",
            match &found {
                Ok(Some(_)) => "hit",
                Ok(None) => "miss",
                Err(error) => error.class().label(),
            },
        );
        found
    }

    async fn put(
        &self,
        cx: &RequestCx,
        key: &BlobKey,
        payload: Payload,
    ) -> Result<PutOutcome, StoreError> {
        let span = tier_span(self.tier, "put");
        let put = self.inner.put(cx, key, payload).instrument(span.clone()).await;
        span.record(
            "outcome",
            match &put {
                Ok(PutOutcome::Stored) => "stored",
                Ok(PutOutcome::AlreadyPresent) => "already_present",
                Err(error) => error.class().label(),
            },
        );
        put
    }
}
