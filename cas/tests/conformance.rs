//! The conformance suite on every store of this crate, alone and stacked.

use std::sync::Arc;
use std::time::Duration;

use larder_cas::{
    BlobMetrics, BlobStore, Coalesced, DiskTier, Guarded, HotTier, HotTierOptions, Metered,
    conformance,
};
use larder_disk::{Durability, Engine, EngineOptions, EvictionPolicy, RealIo};
use prometheus_client::registry::Registry;

const OPTIONS: HotTierOptions =
    HotTierOptions { capacity_bytes: 8 << 20, max_blob_bytes: 512 << 10 };

fn disk_tier(directory: &tempfile::TempDir) -> Arc<dyn BlobStore> {
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
    Arc::new(DiskTier::new(Arc::new(engine)))
}

async fn check(wrap: impl FnOnce(Arc<dyn BlobStore>) -> Arc<dyn BlobStore>) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    conformance::check_all(wrap(disk_tier(&directory))).await;
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
    check(|disk| {
        let stack = metered(guarded(coalesced(hot(disk))));
        assert_eq!(stack.to_string(), "metered(guarded(coalesced(hot 8 MiB > disk 1 GiB)))");
        stack
    })
    .await;
}
