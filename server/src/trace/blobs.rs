//! [`TracedBlobs`]: notes what is asked of a store of blobs.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use larder_cas::{
    BlobKey, BlobKeys, BlobStore, ByteRange, Payload, PutOutcome, RequestCx, StoreError,
};
use larder_disk::RecordKey;
use larder_disk::eviction::trace::TraceOp;

use super::Recorder;

/// Notes what is asked of `inner`, and whether it was there.
#[derive(Debug)]
pub struct TracedBlobs {
    inner: Arc<dyn BlobStore>,
    recorder: Arc<Recorder>,
}

impl TracedBlobs {
    /// Tells `recorder`.
    pub fn new(inner: Arc<dyn BlobStore>, recorder: Arc<Recorder>) -> Self {
        Self { inner, recorder }
    }
}

impl fmt::Display for TracedBlobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "traced({})", self.inner)
    }
}

#[async_trait]
impl BlobStore for TracedBlobs {
    async fn find_missing(&self, cx: &RequestCx, keys: BlobKeys) -> Result<BlobKeys, StoreError> {
        let asked = keys.clone();
        let missing = self.inner.find_missing(cx, keys).await?;
        // Those that are missing come in the order asked.
        let mut absent = missing.digests.iter().peekable();
        for digest in asked.digests.iter().filter(|digest| !digest.is_empty_blob()) {
            let was_hit = absent.next_if(|next| *next == digest).is_none();
            self.recorder.note(TraceOp::Find, was_hit, &RecordKey::blob(&asked.keyspace, digest));
        }
        Ok(missing)
    }

    async fn get(
        &self,
        cx: &RequestCx,
        key: &BlobKey,
        range: ByteRange,
    ) -> Result<Option<Payload>, StoreError> {
        let found = self.inner.get(cx, key, range).await?;
        if !key.digest.is_empty_blob() {
            let record = RecordKey::blob(&key.keyspace, &key.digest);
            self.recorder.note(TraceOp::Read, found.is_some(), &record);
        }
        Ok(found)
    }

    async fn put(
        &self,
        cx: &RequestCx,
        key: &BlobKey,
        payload: Payload,
    ) -> Result<PutOutcome, StoreError> {
        let outcome = self.inner.put(cx, key, payload).await?;
        if !key.digest.is_empty_blob() {
            let record = RecordKey::blob(&key.keyspace, &key.digest);
            self.recorder.note(TraceOp::StoreBlob, false, &record);
        }
        Ok(outcome)
    }
}
