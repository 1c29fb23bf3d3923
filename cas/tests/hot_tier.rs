//! The hot tier over a disk tier: what it holds, what it does not hold on to, and how it is filled after a start.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use larder_cas::{
    BlobKey, BlobStore, ByteRange, DiskTier, Encoding, HotTier, HotTierOptions, Keyspace, Payload,
    RequestCx, UntrustedPayload, Warmed, warm,
};
use larder_disk::{Durability, Engine, EngineOptions, EvictionPolicy, GoOn, PurgeRule, RealIo};
use larder_protos::{Digest, DigestFunction};
use tempfile::TempDir;
use tokio::time::Instant;

const BLOB_BYTES: usize = 10_000;
const NO_PACE: u64 = u64::MAX;

fn disk(directory: &TempDir) -> Arc<DiskTier> {
    Arc::new(DiskTier::new(engine(directory)))
}

fn engine(directory: &TempDir) -> Arc<Engine> {
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
    Arc::new(Engine::open(options, Arc::new(RealIo)).expect("a directory of its own opens"))
}

fn hot(disk: &Arc<DiskTier>, capacity_bytes: u64) -> HotTier {
    let options = HotTierOptions { capacity_bytes, max_blob_bytes: 1 << 20 };
    HotTier::new(Arc::<DiskTier>::clone(disk), options)
}

fn blob(number: usize) -> (BlobKey, Bytes) {
    let bytes: Bytes = number.to_le_bytes().repeat(BLOB_BYTES / 8).into();
    let digest = Digest::of(DigestFunction::Sha256, &bytes);
    (BlobKey { keyspace: Keyspace::new("").expect("a short name"), digest }, bytes)
}

async fn put(store: &dyn BlobStore, key: &BlobKey, bytes: Bytes) {
    let untrusted = UntrustedPayload::from_bytes(Encoding::Raw, bytes);
    let payload = untrusted.verify(&key.digest).await.expect("its own digest");
    store.put(&RequestCx::RAW, key, payload).await.expect("stored");
}

async fn stored(disk: &DiskTier, count: usize) -> Vec<BlobKey> {
    let mut keys = Vec::new();
    for number in 0..count {
        let (key, bytes) = blob(number);
        put(disk, &key, bytes).await;
        keys.push(key);
    }
    keys
}

/// Bytes that tell when the last handle on them is gone.
struct Watched(Bytes, Arc<AtomicBool>);

impl AsRef<[u8]> for Watched {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.1.store(true, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_hot_blob_does_not_keep_the_message_it_came_in() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let hot = hot(&disk(&directory), 1 << 20);
    let (key, bytes) = blob(1);
    let gone = Arc::new(AtomicBool::new(false));
    let message = [&[0; 100], &bytes[..]].concat().into();
    let message = Bytes::from_owner(Watched(message, Arc::clone(&gone)));
    put(&hot, &key, message.slice(100..)).await;
    drop(message);
    assert!(gone.load(Ordering::Relaxed), "the message is still in memory");
    let found = hot.get(&RequestCx::RAW, &key, ByteRange::ALL).await.expect("no error");
    assert_eq!(found.expect("present").bytes(), Some(&bytes));
    assert_eq!(hot.stats().hits, 1);
}

/// These blobs, as a tier behind would read them.
fn read(numbers: std::ops::Range<usize>) -> impl Stream<Item = (BlobKey, Payload)> {
    stream::iter(numbers).then(async |number| {
        let (key, bytes) = blob(number);
        let untrusted = UntrustedPayload::from_bytes(Encoding::Raw, bytes);
        let payload = untrusted.verify(&key.digest).await.expect("its own digest");
        (key, payload)
    })
}

#[tokio::test]
async fn warming_takes_the_hottest_up_to_its_share() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let hot = hot(&disk(&directory), 40 * BLOB_BYTES as u64);
    let warmed = warm(&hot, read(0..100), NO_PACE).await;
    let stats = hot.stats();
    assert!(stats.bytes <= stats.limit_bytes / 4 * 3, "{stats:?}");
    assert_eq!(warmed.blobs, stats.entries);
    assert_eq!((stats.hits, stats.misses), (0, 0), "nobody asked");
    assert!((25..=30).contains(&warmed.blobs), "{warmed:?}");
    for number in 0..25 {
        let (key, _) = blob(number);
        hot.get(&RequestCx::RAW, &key, ByteRange::ALL).await.expect("no error").expect("hot");
    }
    assert_eq!(hot.stats().hits, 25);
    let again = warm(&hot, read(0..100), NO_PACE).await;
    assert!(again.blobs <= 5, "what is in memory does not come in again: {again:?}");
}

#[tokio::test]
async fn of_what_was_warmed_the_hottest_stays_the_longest() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let hot = hot(&disk(&directory), 40 * BLOB_BYTES as u64);
    let is_hot = async |number| {
        let (key, _) = blob(number);
        hot.get(&RequestCx::RAW, &key, ByteRange::ALL).await.expect("no error").is_some()
    };
    let warmed = usize::try_from(warm(&hot, read(0..100), NO_PACE).await.blobs).expect("a few");
    for number in 1_000..1_022 {
        let (key, bytes) = blob(number);
        put(&hot, &key, bytes).await;
        assert!(is_hot(number).await, "{number}");
    }
    let mut stay = Vec::new();
    for number in 0..warmed {
        stay.push(is_hot(number).await);
    }
    assert!(stay[..warmed / 3].iter().all(|&is_hot| is_hot), "{stay:?}");
    assert!(stay[warmed - warmed / 4..].iter().all(|&is_hot| !is_hot), "{stay:?}");
}

#[tokio::test]
async fn warming_leaves_alone_what_the_tier_does_not_take() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let disk = disk(&directory);
    let options = HotTierOptions { capacity_bytes: 1 << 20, max_blob_bytes: 9_999 };
    let hot = HotTier::new(Arc::<DiskTier>::clone(&disk), options);
    assert_eq!(warm(&hot, read(0..10), NO_PACE).await, Warmed::default());
    let off = HotTier::new(disk, HotTierOptions { capacity_bytes: 0, ..options });
    assert_eq!(warm(&off, read(0..10), NO_PACE).await, Warmed::default());
}

#[tokio::test(start_paused = true)]
async fn warming_keeps_its_pace() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let hot = hot(&disk(&directory), 64 << 20);
    let begun = Instant::now();
    let warmed = warm(&hot, read(0..500), 1_000_000).await;
    assert_eq!(warmed, Warmed { blobs: 500, bytes: 5_000_000 });
    // The last step, of less than a MiB, is not paid for any more.
    let seconds = begun.elapsed().as_secs_f64();
    assert!((4.0..=5.1).contains(&seconds), "{seconds} s");
}

#[tokio::test]
async fn what_was_asked_for_is_known_after_a_restart() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    {
        let disk = disk(&directory);
        let keys = stored(&disk, 100).await;
        for key in &keys[10..30] {
            disk.get(&RequestCx::RAW, key, ByteRange::ALL).await.expect("no error").expect("there");
        }
    }
    let disk = disk(&directory);
    let mut recent: Vec<_> = disk.recent(1 << 20, 1 << 20).await.expect("a list").collect().await;
    recent.sort_by_key(|(key, _)| key.to_string());
    let mut expect: Vec<_> = (10..30).map(blob).collect();
    expect.sort_by_key(|(key, _)| key.to_string());
    assert_eq!(recent.len(), 20);
    for ((key, payload), (expect_key, expect_bytes)) in recent.iter().zip(&expect) {
        assert_eq!((key, payload.bytes()), (expect_key, Some(expect_bytes)));
    }
    let few = disk.recent(35_000, 1 << 20).await.expect("a list").collect::<Vec<_>>().await;
    assert_eq!(few.len(), 3, "no more bytes than asked for");
    let small = disk.recent(1 << 20, 9_999).await.expect("a list").collect::<Vec<_>>().await;
    assert!(small.is_empty(), "{small:?}");
}

#[tokio::test]
async fn what_is_purged_after_a_start_is_not_warmed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    {
        let disk = disk(&directory);
        for key in &stored(&disk, 20).await {
            disk.get(&RequestCx::RAW, key, ByteRange::ALL).await.expect("no error").expect("there");
        }
    }
    let engine = engine(&directory);
    let disk = Arc::new(DiskTier::new(Arc::clone(&engine)));
    let hot = hot(&disk, 1 << 20);
    let listed_before = disk.recent(1 << 20, 1 << 20).await.expect("a list");
    let purge = move || engine.purge(&PurgeRule::default(), &mut |_| GoOn::Yes);
    let purged = tokio::task::spawn_blocking(purge).await.expect("no panic").expect("no error");
    assert_eq!(purged.records, 20);
    hot.clear();
    assert_eq!(warm(&hot, listed_before, NO_PACE).await, Warmed::default());
    assert_eq!(hot.stats().entries, 0);
}
