//! [`HotTier`]: small blobs in memory, in front of another store.
//!
//! The tier behind stays the truth: what is present is asked there, and hits here extend lives there too, so that a blob
//! which is only ever read from memory does not grow cold on disk.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use larder_protos::Digest;

use crate::hot_cache::{HotCache, HotEpoch, HotStats, HotValue};
use crate::payload::OWN_BYTES;
use crate::{
    Accepts, BlobKey, BlobKeys, BlobStore, ByteRange, Encoding, Payload, PutOutcome, RequestCx,
    StoreError,
};

/// What a blob costs besides its bytes: its key, its entry and the cache's bookkeeping (about; the cache does not tell).
const ENTRY_OVERHEAD_BYTES: u64 = 400;

/// How often a blob that is hit in memory is touched in the tier behind; far below any useful retention.
const TOUCH_EVERY: Duration = Duration::from_mins(1);

/// How large the hot tier may grow, and what it takes in.
#[derive(Clone, Copy, Debug)]
pub struct HotTierOptions {
    /// Memory for blobs, their bookkeeping included.
    pub capacity_bytes: u64,
    /// Larger blobs are not admitted; they are read in sequence, which the page cache does well.
    pub max_blob_bytes: u64,
}

/// Whether a blob that comes in has been asked for, and the tier behind knows it. Where not, the first hit tells it: what
/// was only ever stored is remembered as less than what was used.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asked {
    Now,
    NotYet,
}

/// A blob in memory.
#[derive(Debug)]
struct HotBlob {
    encoding: Encoding,
    bytes: Bytes,
    /// When the tier behind last heard of it, in seconds of the tier's own clock.
    touched_seconds: AtomicU64,
}

impl HotValue for HotBlob {
    fn cost_bytes(&self) -> u64 {
        cost_bytes(self.bytes.len() as u64)
    }
}

/// What a blob of so many bytes, as they are kept, takes of the limit.
pub(crate) fn cost_bytes(kept_bytes: u64) -> u64 {
    kept_bytes.saturating_add(ENTRY_OVERHEAD_BYTES)
}

/// Small blobs in memory, weighed by bytes.
pub struct HotTier {
    inner: Arc<dyn BlobStore>,
    options: HotTierOptions,
    blobs: HotCache<BlobKey, HotBlob>,
}

impl HotTier {
    /// Keeps what passes to and from `inner`.
    pub fn new(inner: Arc<dyn BlobStore>, options: HotTierOptions) -> Self {
        let blobs = HotCache::new(options.capacity_bytes, cost_bytes(options.max_blob_bytes));
        Self { inner, options, blobs }
    }

    /// What it holds, and what happened since it was made.
    pub fn stats(&self) -> HotStats {
        self.blobs.stats()
    }

    /// Its limit where memory is not short.
    pub fn capacity_bytes(&self) -> u64 {
        self.options.capacity_bytes
    }

    /// The largest blob that it takes in.
    pub fn max_blob_bytes(&self) -> u64 {
        self.options.max_blob_bytes
    }

    /// Changes how much it may hold, up to its capacity; the coldest blobs go at once. Blocks while they are sorted out.
    pub fn set_limit(&self, limit_bytes: u64) {
        self.blobs.set_limit(limit_bytes);
    }

    /// Lets all blobs go. What was read behind before that, or is being stored, does not come in any more.
    pub fn clear(&self) {
        self.blobs.clear();
    }

    /// To be asked for before a blob is read behind.
    pub(crate) fn epoch(&self) -> HotEpoch {
        self.blobs.epoch()
    }

    /// Whether a blob is not here and may come in.
    pub(crate) fn has_place_for(&self, key: &BlobKey) -> bool {
        self.admits(key.digest.size_bytes()) && !self.blobs.contains(key)
    }

    /// Takes a whole blob in that was read behind in this epoch, if it is in memory and not too large; the bytes it takes.
    pub(crate) fn admit_payload(
        &self,
        epoch: HotEpoch,
        key: &BlobKey,
        payload: &Payload,
        asked: Asked,
    ) -> Option<u64> {
        let bytes = payload.bytes().filter(|bytes| self.admits(bytes.len() as u64))?;
        self.admit(epoch, key, payload.encoding(), bytes.clone(), asked);
        Some(bytes.len() as u64)
    }

    /// Lets a blob make room later, as a read does, which this is not counted as.
    pub(crate) fn prove(&self, key: &BlobKey) {
        let _proven = self.blobs.get_uncounted(key);
    }

    fn admits(&self, kept_bytes: u64) -> bool {
        kept_bytes <= self.options.max_blob_bytes && self.blobs.admits(cost_bytes(kept_bytes))
    }

    fn admit(
        &self,
        epoch: HotEpoch,
        key: &BlobKey,
        encoding: Encoding,
        bytes: Bytes,
        asked: Asked,
    ) {
        let now_seconds = self.now_seconds();
        let touched_seconds = AtomicU64::new(match asked {
            Asked::Now => now_seconds,
            Asked::NotYet => now_seconds - TOUCH_EVERY.as_secs(),
        });
        self.blobs.insert_of(epoch, key.clone(), HotBlob { encoding, bytes, touched_seconds });
    }

    /// Begins at the touch interval, so that a blob can be due at once.
    fn now_seconds(&self) -> u64 {
        self.blobs.now_seconds() + TOUCH_EVERY.as_secs()
    }

    async fn touch_behind(
        &self,
        cx: &RequestCx,
        key: &BlobKey,
        blob: &HotBlob,
    ) -> Result<(), StoreError> {
        let now_seconds = self.now_seconds();
        let touched_seconds = blob.touched_seconds.load(Ordering::Relaxed);
        if now_seconds >= touched_seconds + TOUCH_EVERY.as_secs() {
            blob.touched_seconds.store(now_seconds, Ordering::Relaxed);
            self.inner.find_missing(cx, key.clone().into()).await?;
        }
        Ok(())
    }
}

/// A copy, but of small ones, which were copied when they were verified: what came from a client is a slice of its message, which would
/// stay in memory for as long as the slice.
fn to_keep(bytes: &Bytes) -> Bytes {
    if bytes.len() <= OWN_BYTES { bytes.clone() } else { Bytes::copy_from_slice(bytes) }
}

async fn payload_of(
    blob: &HotBlob,
    accepts: Accepts,
    digest: &Digest,
    range: ByteRange,
) -> Result<Payload, StoreError> {
    let size_bytes = digest.size_bytes();
    let payload = Payload::from_trusted_bytes(size_bytes, blob.encoding, blob.bytes.clone());
    let whole = range.is_whole(size_bytes);
    if whole && (blob.encoding == Encoding::Raw || accepts == Accepts::RawOrZstd) {
        return Ok(payload);
    }
    let wanted = range.within(digest)?;
    let raw = payload.into_bytes(size_bytes).await?;
    let slice = |bound: u64| usize::try_from(bound).unwrap_or(raw.len()).min(raw.len());
    let part = raw.slice(slice(wanted.start)..slice(wanted.end));
    Ok(Payload::from_trusted_bytes(wanted.end - wanted.start, Encoding::Raw, part))
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
            return payload_of(&blob, cx.accepts, &key.digest, range).await.map(Some);
        }
        let epoch = self.epoch();
        let found = self.inner.get(cx, key, range).await?;
        if let Some(payload) = &found
            && range.is_whole(key.digest.size_bytes())
        {
            self.admit_payload(epoch, key, payload, Asked::Now);
        }
        Ok(found)
    }

    async fn put(
        &self,
        cx: &RequestCx,
        key: &BlobKey,
        payload: Payload,
    ) -> Result<PutOutcome, StoreError> {
        let small = payload.bytes().filter(|bytes| self.admits(bytes.len() as u64));
        let kept = small.map(|bytes| (payload.encoding(), to_keep(bytes)));
        let epoch = self.epoch();
        let outcome = self.inner.put(cx, key, payload).await?;
        if let Some((encoding, bytes)) = kept {
            self.admit(epoch, key, encoding, bytes, Asked::NotYet);
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
            .field("stats", &self.blobs.stats())
            .finish_non_exhaustive()
    }
}
