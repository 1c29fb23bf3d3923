//! [`HotTier`]: small blobs in memory, in front of another store.
//!
//! The tier behind stays the truth: what is present is asked there, and hits here extend lives there too, so that a blob
//! which is only ever read from memory does not grow cold on disk.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use larder_protos::Digest;
use moka::sync::Cache;

use crate::{
    Accepts, BlobKey, BlobKeys, BlobStore, ByteRange, Encoding, Payload, PutOutcome, RequestCx,
    StoreError,
};

/// How often a blob that is hit in memory is touched in the tier behind; far below any useful retention.
const TOUCH_EVERY: Duration = Duration::from_mins(1);

/// What a cached blob costs besides its bytes: its key, moka's entry and bookkeeping (about; moka does not tell).
const ENTRY_OVERHEAD_BYTES: u32 = 400;

/// How large the hot tier may grow, and what it takes in.
#[derive(Clone, Copy, Debug)]
pub struct HotTierOptions {
    /// Memory for blobs, their bookkeeping included.
    pub capacity_bytes: u64,
    /// Larger blobs are not admitted; they are read in sequence, which the page cache does well.
    pub max_blob_bytes: u64,
}

/// Small blobs in memory, weighed by bytes, admitted by frequency (moka's `TinyLFU`).
pub struct HotTier {
    inner: Arc<dyn BlobStore>,
    options: HotTierOptions,
    blobs: Cache<BlobKey, Arc<HotBlob>>,
    started: Instant,
}

struct HotBlob {
    encoding: Encoding,
    bytes: Bytes,
    /// Seconds after `started`.
    touched_seconds: AtomicU64,
}

impl HotTier {
    /// Keeps what passes to and from `inner`.
    pub fn new(inner: Arc<dyn BlobStore>, options: HotTierOptions) -> Self {
        let weigh = |_: &BlobKey, blob: &Arc<HotBlob>| {
            u32::try_from(blob.bytes.len()).unwrap_or(u32::MAX).saturating_add(ENTRY_OVERHEAD_BYTES)
        };
        let blobs = Cache::builder().max_capacity(options.capacity_bytes).weigher(weigh).build();
        Self { inner, options, blobs, started: Instant::now() }
    }

    fn admit(&self, key: &BlobKey, payload: &Payload) {
        if let Some(bytes) = payload.bytes()
            && bytes.len() as u64 <= self.options.max_blob_bytes
        {
            let blob = HotBlob {
                encoding: payload.encoding(),
                bytes: bytes.clone(),
                touched_seconds: AtomicU64::new(self.started.elapsed().as_secs()),
            };
            self.blobs.insert(key.clone(), Arc::new(blob));
        }
    }

    async fn touch_behind(
        &self,
        cx: &RequestCx,
        key: &BlobKey,
        blob: &HotBlob,
    ) -> Result<(), StoreError> {
        let now_seconds = self.started.elapsed().as_secs();
        let touched_seconds = blob.touched_seconds.load(Ordering::Relaxed);
        if now_seconds >= touched_seconds + TOUCH_EVERY.as_secs() {
            blob.touched_seconds.store(now_seconds, Ordering::Relaxed);
            self.inner.find_missing(cx, key.clone().into()).await?;
        }
        Ok(())
    }
}

impl HotBlob {
    async fn payload(
        &self,
        accepts: Accepts,
        digest: &Digest,
        range: ByteRange,
    ) -> Result<Payload, StoreError> {
        let size_bytes = digest.size_bytes();
        let payload = Payload::from_trusted_bytes(size_bytes, self.encoding, self.bytes.clone());
        let whole = range.is_whole(size_bytes);
        if whole && (self.encoding == Encoding::Raw || accepts == Accepts::RawOrZstd) {
            return Ok(payload);
        }
        let wanted = range.within(digest)?;
        let raw = payload.into_bytes(size_bytes).await?;
        let slice = |bound: u64| usize::try_from(bound).unwrap_or(raw.len()).min(raw.len());
        let part = raw.slice(slice(wanted.start)..slice(wanted.end));
        Ok(Payload::from_trusted_bytes(wanted.end - wanted.start, Encoding::Raw, part))
    }
}

#[async_trait]
impl BlobStore for HotTier {
    async fn find_missing(&self, cx: &RequestCx, keys: BlobKeys) -> Result<BlobKeys, StoreError> {
        self.inner.find_missing(cx, keys).await
    }

    async fn get(
        &self,
        cx: &RequestCx,
        key: &BlobKey,
        range: ByteRange,
    ) -> Result<Option<Payload>, StoreError> {
        if let Some(blob) = self.blobs.get(key) {
            self.touch_behind(cx, key, &blob).await?;
            return blob.payload(cx.accepts, &key.digest, range).await.map(Some);
        }
        let found = self.inner.get(cx, key, range).await?;
        if let Some(payload) = &found
            && range.is_whole(key.digest.size_bytes())
        {
            self.admit(key, payload);
        }
        Ok(found)
    }

    async fn put(
        &self,
        cx: &RequestCx,
        key: &BlobKey,
        payload: Payload,
    ) -> Result<PutOutcome, StoreError> {
        let copy = payload.bytes().cloned().map(|bytes| {
            Payload::from_trusted_bytes(payload.size_bytes(), payload.encoding(), bytes)
        });
        let outcome = self.inner.put(cx, key, payload).await?;
        if let Some(copy) = copy {
            self.admit(key, &copy);
        }
        Ok(outcome)
    }
}

impl fmt::Display for HotTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hot {} MiB > {}", self.options.capacity_bytes >> 20, self.inner)
    }
}

impl fmt::Debug for HotTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HotTier")
            .field("inner", &self.inner)
            .field("options", &self.options)
            .field("bytes", &self.blobs.weighted_size())
            .finish_non_exhaustive()
    }
}
