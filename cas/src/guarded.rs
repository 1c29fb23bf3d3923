//! [`Guarded`]: answers what no tier need be asked: the empty blob, which is always there, and blobs over the limit.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::{BlobKey, BlobKeys, BlobStore, ByteRange, Payload, PutOutcome, RequestCx, StoreError};

/// Answers for the empty blob and refuses blobs over a limit; asks `inner` for the rest.
#[derive(Debug)]
pub struct Guarded {
    inner: Arc<dyn BlobStore>,
    max_blob_bytes: Option<u64>,
}

impl Guarded {
    /// Refuses blobs of more than `max_blob_bytes`, if there is a limit.
    pub fn new(inner: Arc<dyn BlobStore>, max_blob_bytes: Option<u64>) -> Self {
        Self { inner, max_blob_bytes }
    }
}

impl fmt::Display for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "guarded({})", self.inner)
    }
}

#[async_trait]
impl BlobStore for Guarded {
    async fn find_missing(
        &self,
        cx: &RequestCx,
        mut keys: BlobKeys,
    ) -> Result<BlobKeys, StoreError> {
        keys.digests.retain(|digest| !digest.is_empty_blob());
        if keys.is_empty() { Ok(keys) } else { self.inner.find_missing(cx, keys).await }
    }

    async fn get(
        &self,
        cx: &RequestCx,
        key: &BlobKey,
        range: ByteRange,
    ) -> Result<Option<Payload>, StoreError> {
        range.within(&key.digest)?;
        if key.digest.is_empty_blob() {
            return Ok(Some(Payload::empty()));
        }
        self.inner.get(cx, key, range).await
    }

    async fn put(
        &self,
        cx: &RequestCx,
        key: &BlobKey,
        payload: Payload,
    ) -> Result<PutOutcome, StoreError> {
        if key.digest.is_empty_blob() {
            return Ok(PutOutcome::AlreadyPresent);
        }
        if let Some(limit_bytes) = self.max_blob_bytes
            && key.digest.size_bytes() > limit_bytes
        {
            return Err(StoreError::OverSizeLimit { digest: key.digest, limit_bytes });
        }
        self.inner.put(cx, key, payload).await
    }
}
