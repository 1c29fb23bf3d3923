//! [`Metered`]: counts what is asked of a store and what came of it.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};

use crate::{
    BlobKey, BlobKeys, BlobStore, ByteRange, ErrorClass, Payload, PutOutcome, RequestCx, StoreError,
};

/// The counters of one metered store. Cloning shares them.
#[derive(Clone, Debug)]
pub struct BlobMetrics {
    present: Counter,
    missing: Counter,
    hits: Counter,
    misses: Counter,
    hit_bytes: Counter,
    stored: Counter,
    already_present: Counter,
    put_bytes: Counter,
    errors: [Counter; ErrorClass::ALL.len()],
}

type Label = [(&'static str, &'static str); 1];

impl BlobMetrics {
    /// Creates the counters and names them in `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let lookups = Family::<Label, Counter>::default();
        registry.register(
            "blob_lookups",
            "Blobs that were asked for without being read: by FindMissingBlobs, for an action result, before an upload or a \
             conditional HTTP read; nearly all missing means that builds share nothing",
            lookups.clone(),
        );
        let reads = Family::<Label, Counter>::default();
        registry.register(
            "blob_reads",
            "Reads of blobs that began; over gRPC clients ask first, so misses stay near zero unless blobs are evicted too early",
            reads.clone(),
        );
        let puts = Family::<Label, Counter>::default();
        registry.register(
            "blob_puts",
            "Blobs uploaded; many already present means that clients do not ask before they send",
            puts.clone(),
        );
        let errors = Family::<Label, Counter>::default();
        registry.register(
            "blob_errors",
            "Blob operations and reads under way that ended in an error, by who must act; internal and corrupt should be zero",
            errors.clone(),
        );
        let bytes = Family::<Label, Counter>::default();
        registry.register_with_unit(
            "blob",
            "Logical bytes of the blobs and ranges read, and of the blobs stored",
            Unit::Bytes,
            bytes.clone(),
        );
        let outcome = |family: &Family<Label, Counter>, outcome| {
            family.get_or_create_owned(&[("outcome", outcome)])
        };
        Self {
            present: outcome(&lookups, "present"),
            missing: outcome(&lookups, "missing"),
            hits: outcome(&reads, "hit"),
            misses: outcome(&reads, "miss"),
            hit_bytes: bytes.get_or_create_owned(&[("direction", "read")]),
            stored: outcome(&puts, "stored"),
            already_present: outcome(&puts, "already_present"),
            put_bytes: bytes.get_or_create_owned(&[("direction", "stored")]),
            errors: ErrorClass::ALL
                .map(|class| errors.get_or_create_owned(&[("class", class.label())])),
        }
    }

    fn observe<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &result {
            self.observe_error(error);
        }
        result
    }

    fn observe_error(&self, error: &StoreError) {
        self.errors[error.class() as usize].inc();
    }
}

/// Counts what is asked of `inner` and what came of it.
#[derive(Debug)]
pub struct Metered {
    inner: Arc<dyn BlobStore>,
    metrics: Arc<BlobMetrics>,
}

impl Metered {
    /// Counts into `metrics`.
    pub fn new(inner: Arc<dyn BlobStore>, metrics: BlobMetrics) -> Self {
        Self { inner, metrics: Arc::new(metrics) }
    }
}

impl fmt::Display for Metered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "metered({})", self.inner)
    }
}

#[async_trait]
impl BlobStore for Metered {
    async fn find_missing(&self, cx: &RequestCx, keys: BlobKeys) -> Result<BlobKeys, StoreError> {
        let asked = keys.digests.len() as u64;
        let missing = self.metrics.observe(self.inner.find_missing(cx, keys).await)?;
        let absent = missing.digests.len() as u64;
        self.metrics.present.inc_by(asked - absent);
        self.metrics.missing.inc_by(absent);
        Ok(missing)
    }

    async fn get(
        &self,
        cx: &RequestCx,
        key: &BlobKey,
        range: ByteRange,
    ) -> Result<Option<Payload>, StoreError> {
        let Some(payload) = self.metrics.observe(self.inner.get(cx, key, range).await)? else {
            self.metrics.misses.inc();
            return Ok(None);
        };
        self.metrics.hits.inc();
        self.metrics.hit_bytes.inc_by(payload.size_bytes());
        let metrics = Arc::clone(&self.metrics);
        Ok(Some(payload.inspect_err(move |error| metrics.observe_error(error))))
    }

    async fn put(
        &self,
        cx: &RequestCx,
        key: &BlobKey,
        payload: Payload,
    ) -> Result<PutOutcome, StoreError> {
        let outcome = self.metrics.observe(self.inner.put(cx, key, payload).await)?;
        match outcome {
            PutOutcome::Stored => {
                self.metrics.stored.inc();
                self.metrics.put_bytes.inc_by(key.digest.size_bytes());
            }
            PutOutcome::AlreadyPresent => {
                self.metrics.already_present.inc();
            }
        }
        Ok(outcome)
    }
}
