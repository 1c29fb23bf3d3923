//! [`BlobStore`]: the one port through which blobs are asked for, read and written.

use std::fmt::{Debug, Display};

use async_trait::async_trait;

use crate::{BlobKey, BlobKeys, ByteRange, Payload, PutOutcome, RequestCx, StoreError};

/// A store of blobs: a tier, or a decorator around one.
///
/// `Display` shows the store with all that it wraps, so that a log line tells the whole stack. Dropping a returned
/// future cancels the call and leaves nothing half stored.
#[async_trait]
pub trait BlobStore: Debug + Display + Send + Sync + 'static {
    /// Which of `keys` are absent, in the order asked; extends the life of those present.
    async fn find_missing(&self, cx: &RequestCx, keys: BlobKeys) -> Result<BlobKeys, StoreError>;

    /// The bytes of `range`, or `None` where the blob is absent. The payload is zstd only if `cx` accepts that and
    /// the range is the whole blob.
    async fn get(
        &self,
        cx: &RequestCx,
        key: &BlobKey,
        range: ByteRange,
    ) -> Result<Option<Payload>, StoreError>;

    /// Stores the blob; visible to others once this has returned, and not before.
    async fn put(
        &self,
        cx: &RequestCx,
        key: &BlobKey,
        payload: Payload,
    ) -> Result<PutOutcome, StoreError>;
}
