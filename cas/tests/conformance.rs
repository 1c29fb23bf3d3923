//! The conformance suite on every store of this crate, alone and stacked.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use larder_cas::{
    BlobKey, BlobKeys, BlobMetrics, BlobStore, ByteRange, Chunked, Coalesced, DiskTier, Guarded,
    HotTier, HotTierOptions, Metered, Payload, PutOutcome, RequestCx, StoreError, conformance,
};
use larder_disk::{Durability, Engine, EngineOptions, EvictionPolicy, RealIo};
use larder_protos::ChunkingFunction;
use prometheus_client::registry::Registry;

const OPTIONS: HotTierOptions =
    HotTierOptions { capacity_bytes: 8 << 20, max_blob_bytes: 512 << 10 };

fn disk_tier(directory: &tempfile::TempDir) -> DiskTier {
    let options = EngineOptions {
        data_dir: directory.path().to_owned(),
        max_size_bytes: 1 << 30,
        min_free_disk_bytes: 0,
        eviction: EvictionPolicy::Lfu,
        durability: Durability::Interval(Duration::from_secs(1)),
        zstd_level: 1,
        index_cache_bytes: 8 << 20,
        large_blob_bytes: 1 << 20,
        scrub_rate_bytes: 0,
    };
    let engine = Engine::open(options, Arc::new(RealIo)).expect("an empty directory opens");
    DiskTier::new(Arc::new(engine))
}

async fn check(wrap: impl FnOnce(Arc<dyn BlobStore>) -> Arc<dyn BlobStore>) {
    check_over(|disk| wrap(Arc::new(disk))).await;
}

async fn check_over(wrap: impl FnOnce(DiskTier) -> Arc<dyn BlobStore>) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    conformance::check_all(wrap(disk_tier(&directory))).await;
}

/// Cuts every blob that is put and large enough, so that the suite reads chunks.
#[derive(Debug)]
struct AlwaysCut(Chunked);

impl fmt::Display for AlwaysCut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "always cut({})", self.0)
    }
}

#[async_trait::async_trait]
impl BlobStore for AlwaysCut {
    async fn find_missing(&self, cx: &RequestCx, keys: BlobKeys) -> Result<BlobKeys, StoreError> {
        self.0.find_missing(cx, keys).await
    }

    async fn get(
        &self,
        cx: &RequestCx,
        key: &BlobKey,
        range: ByteRange,
    ) -> Result<Option<Payload>, StoreError> {
        self.0.get(cx, key, range).await
    }

    async fn put(
        &self,
        cx: &RequestCx,
        key: &BlobKey,
        payload: Payload,
    ) -> Result<PutOutcome, StoreError> {
        let outcome = self.0.put(cx, key, payload).await?;
        let function = Some(ChunkingFunction::RepMaxCdc);
        let split = self.0.split(cx, key, function).await?.expect("it is there");
        let least_bytes = 512 << 10;
        assert_eq!(split.chunks.len() > 1, key.digest.size_bytes() >= least_bytes, "{key}");
        Ok(outcome)
    }
}

fn metered(inner: Arc<dyn BlobStore>) -> Arc<dyn BlobStore> {
    Arc::new(Metered::new(inner, BlobMetrics::register(&mut Registry::default())))
}

fn guarded(inner: Arc<dyn BlobStore>) -> Arc<dyn BlobStore> {
    Arc::new(Guarded::new(inner, None))
}

fn coalesced(inner: Arc<dyn BlobStore>) -> Arc<dyn BlobStore> {
    Arc::new(Coalesced::new(inner))
}

fn hot(inner: Arc<dyn BlobStore>) -> Arc<dyn BlobStore> {
    Arc::new(HotTier::new(inner, OPTIONS))
}

#[tokio::test]
async fn disk() {
    check(|disk| disk).await;
}

#[tokio::test]
async fn chunked_over_disk() {
    check_over(|disk| Arc::new(Chunked::new(disk))).await;
}

#[tokio::test]
async fn chunks_over_disk() {
    check_over(|disk| Arc::new(AlwaysCut(Chunked::new(disk)))).await;
}

#[tokio::test]
async fn hot_over_chunks() {
    check_over(|disk| hot(Arc::new(AlwaysCut(Chunked::new(disk))))).await;
}

#[tokio::test]
async fn hot_over_disk() {
    check(hot).await;
}

#[tokio::test]
async fn coalesced_over_disk() {
    check(coalesced).await;
}

#[tokio::test]
async fn guarded_over_disk() {
    check(guarded).await;
}

#[tokio::test]
async fn metered_over_disk() {
    check(metered).await;
}

#[tokio::test]
async fn the_whole_stack() {
    check_over(|disk| {
        let stack = metered(guarded(hot(coalesced(Arc::new(Chunked::new(disk))))));
        let shown = "metered(guarded(hot 8 MiB > coalesced(chunked(disk 1 GiB))))";
        assert_eq!(stack.to_string(), shown);
        stack
    })
    .await;
}
