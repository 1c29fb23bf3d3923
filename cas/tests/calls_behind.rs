//! What the hot tier and coalescing ask the store behind them: a tier that keeps nothing, or a decorator that shares nothing,
//! passes the conformance suite; it does not pass here.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use larder_cas::{
    BlobKey, BlobKeys, BlobMetrics, BlobStore, ByteRange, Coalesced, Encoding, HotTier,
    HotTierOptions, Keyspace, Metered, Payload, PutOutcome, RequestCx, StoreError,
    UntrustedPayload,
};
use larder_protos::{Digest, DigestFunction};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;

/// Blobs from this size on come as a stream.
const STREAMED_BYTES: usize = 1 << 20;

/// A store in memory that counts how often it is asked.
#[derive(Default, Debug)]
struct Counting(Mutex<Counted>);

#[derive(Default, Debug)]
struct Counted {
    blobs: HashMap<BlobKey, Bytes>,
    finds: usize,
    gets: usize,
    puts: usize,
    /// Whether streams end in an error.
    breaks: bool,
}

impl Counting {
    /// Look-ups, reads and puts so far.
    fn calls(&self) -> (usize, usize, usize) {
        let counted = self.0.lock();
        (counted.finds, counted.gets, counted.puts)
    }

    /// Lets all who come together in before any of them is answered.
    async fn meet_others() {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }
}

impl fmt::Display for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("counting")
    }
}

#[async_trait]
impl BlobStore for Counting {
    async fn find_missing(
        &self,
        _cx: &RequestCx,
        mut keys: BlobKeys,
    ) -> Result<BlobKeys, StoreError> {
        let mut counted = self.0.lock();
        counted.finds += 1;
        let BlobKeys { keyspace, digests } = &mut keys;
        digests.retain(|digest| {
            let key = BlobKey { keyspace: keyspace.clone(), digest: *digest };
            !counted.blobs.contains_key(&key)
        });
        Ok(keys)
    }

    async fn get(
        &self,
        _cx: &RequestCx,
        key: &BlobKey,
        range: ByteRange,
    ) -> Result<Option<Payload>, StoreError> {
        let (blob, breaks) = {
            let mut counted = self.0.lock();
            counted.gets += 1;
            (counted.blobs.get(key).cloned(), counted.breaks)
        };
        Self::meet_others().await;
        let Some(blob) = blob else { return Ok(None) };
        let wanted = range.within(&key.digest)?;
        let bound = |at: u64| usize::try_from(at).expect("a small test");
        let part = blob.slice(bound(wanted.start)..bound(wanted.end));
        let digest = Digest::of(DigestFunction::Sha256, &part);
        let untrusted = if part.len() < STREAMED_BYTES {
            UntrustedPayload::from_bytes(Encoding::Raw, part)
        } else {
            let broken = breaks.then(|| Err(StoreError::ShuttingDown.into()));
            let chunks =
                [Ok(part.slice(..10))].into_iter().chain(broken).chain([Ok(part.slice(10..))]);
            UntrustedPayload::from_stream(
                Encoding::Raw,
                stream::iter(chunks.collect::<Vec<_>>()).boxed(),
            )
        };
        untrusted.verify(&digest).await.map(Some)
    }

    async fn put(
        &self,
        _cx: &RequestCx,
        key: &BlobKey,
        payload: Payload,
    ) -> Result<PutOutcome, StoreError> {
        self.0.lock().puts += 1;
        Self::meet_others().await;
        let bytes = payload.into_bytes(u64::MAX).await?;
        let before = self.0.lock().blobs.insert(key.clone(), bytes);
        Ok(if before.is_some() { PutOutcome::AlreadyPresent } else { PutOutcome::Stored })
    }
}

fn blob(size: usize) -> (BlobKey, Bytes) {
    let bytes = Bytes::from(vec![b'x'; size]);
    let digest = Digest::of(DigestFunction::Sha256, &bytes);
    (BlobKey { keyspace: Keyspace::new("").expect("a short name"), digest }, bytes)
}

async fn put(store: &dyn BlobStore, size: usize) -> BlobKey {
    let (key, bytes) = blob(size);
    let untrusted = UntrustedPayload::from_bytes(Encoding::Raw, bytes);
    let payload = untrusted.verify(&key.digest).await.expect("its own digest");
    store.put(&RequestCx::RAW, &key, payload).await.expect("stored");
    key
}

async fn get(store: &dyn BlobStore, key: &BlobKey, range: ByteRange) -> Option<Bytes> {
    let found = store.get(&RequestCx::RAW, key, range).await.expect("an answer")?;
    Some(found.into_bytes(u64::MAX).await.expect("a good stream"))
}

fn hot(inner: &Arc<Counting>) -> HotTier {
    let options = HotTierOptions { capacity_bytes: 1 << 20, max_blob_bytes: 1_000 };
    HotTier::new(Arc::clone(inner) as Arc<dyn BlobStore>, options)
}

#[tokio::test]
async fn what_was_put_or_read_is_read_from_memory() {
    let behind = Arc::new(Counting::default());
    let (cold, warm) = (put(&*behind, 900).await, hot(&behind));
    let fresh = put(&warm, 800).await;
    for key in [&fresh, &cold, &cold, &fresh] {
        assert_eq!(get(&warm, key, ByteRange::ALL).await, Some(blob_of(key)));
    }
    // The first hit of what was only stored is told behind, so that it is remembered as used.
    assert_eq!(behind.calls(), (1, 1, 2), "only the cold blob was read, once");
    let part = ByteRange::from_offset(100).limited(50);
    assert_eq!(get(&warm, &cold, part).await, Some(blob_of(&cold).slice(100..150)));
    assert_eq!(behind.calls(), (1, 1, 2), "a part is cut from memory");
}

#[tokio::test]
async fn what_was_read_before_a_purge_is_not_in_memory_after() {
    let behind = Arc::new(Counting::default());
    let key = put(&*behind, 900).await;
    let shared = Arc::new(Coalesced::new(Arc::clone(&behind) as Arc<dyn BlobStore>));
    let options = HotTierOptions { capacity_bytes: 1 << 20, max_blob_bytes: 1_000 };
    let hot = HotTier::new(Arc::clone(&shared) as Arc<dyn BlobStore>, options);
    let before = get(&hot, &key, ByteRange::ALL);
    let purge_and_get = async {
        tokio::task::yield_now().await;
        behind.0.lock().blobs.clear();
        shared.close_boarding();
        hot.clear();
        get(&hot, &key, ByteRange::ALL).await
    };
    assert_eq!(tokio::join!(before, purge_and_get), (Some(blob_of(&key)), None));
    assert_eq!(get(&hot, &key, ByteRange::ALL).await, None);
    let put_meanwhile = async {
        tokio::task::yield_now().await;
        hot.clear();
    };
    tokio::join!(put(&hot, 800), put_meanwhile);
    assert_eq!(hot.stats().entries, 0, "a purge may have removed what was being stored");
    put(&hot, 800).await;
    assert_eq!(hot.stats().entries, 1);
}

#[tokio::test]
async fn what_may_not_enter_memory_is_read_behind() {
    let behind = Arc::new(Counting::default());
    let warm = hot(&behind);
    let large = put(&warm, 1_001).await;
    let absent = blob(500).0;
    for round in 1..=3 {
        assert_eq!(get(&warm, &large, ByteRange::ALL).await, Some(blob_of(&large)));
        assert_eq!(get(&warm, &absent, ByteRange::ALL).await, None, "a miss is not remembered");
        assert_eq!(behind.calls(), (0, 2 * round, 1));
    }
    let part_only = put(&*behind, 600).await;
    for _ in 0..2 {
        let part = ByteRange::from_offset(1).limited(5);
        assert_eq!(get(&warm, &part_only, part).await, Some(blob_of(&part_only).slice(1..6)));
    }
    assert_eq!(behind.calls(), (0, 8, 2), "a part is no whole blob to keep");
}

fn blob_of(key: &BlobKey) -> Bytes {
    blob(usize::try_from(key.digest.size_bytes()).expect("a small test")).1
}

#[tokio::test]
async fn concurrent_reads_and_puts_of_one_blob_are_one_call() {
    let behind = Arc::new(Counting::default());
    let mut registry = Registry::default();
    let shared = Coalesced::new_in(Arc::clone(&behind) as Arc<dyn BlobStore>, &mut registry);
    let keys = join_all((0..8).map(|_| put(&shared, 5_000))).await;
    assert_eq!(behind.calls(), (0, 0, 1));
    let reads = join_all(keys.iter().map(|key| get(&shared, key, ByteRange::ALL))).await;
    assert!(reads.iter().all(|read| *read == Some(blob_of(&keys[0]))));
    assert_eq!(behind.calls(), (0, 1, 1));
    let absent = blob(501).0;
    let misses = join_all((0..8).map(|_| get(&shared, &absent, ByteRange::ALL))).await;
    assert_eq!((misses, behind.calls()), (vec![None; 8], (0, 2, 1)));
    let both = [ByteRange::ALL, ByteRange::from_offset(1)];
    join_all(both.map(|range| get(&shared, &keys[0], range))).await;
    assert_eq!(behind.calls(), (0, 4, 1), "a part is not the whole");
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).expect("text");
    for line in [
        "coalesced_calls_total{operation=\"read\"} 14",
        "coalesced_calls_total{operation=\"put\"} 7",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    join_all((0..3).map(|_| put(&shared, 500))).await;
    assert_eq!(behind.calls(), (0, 4, 4), "a small put is cheaper than to share it");
}

#[tokio::test]
async fn streams_are_not_shared() {
    let behind = Arc::new(Counting::default());
    let key = put(&*behind, STREAMED_BYTES + 1).await;
    let shared = Coalesced::new(Arc::clone(&behind) as Arc<dyn BlobStore>);
    let reads = join_all((0..3).map(|_| get(&shared, &key, ByteRange::ALL))).await;
    assert!(reads.iter().all(|read| *read == Some(blob_of(&key))));
    assert_eq!(behind.calls(), (0, 3, 1));
}

#[tokio::test]
async fn an_error_within_a_stream_is_counted() {
    let behind = Arc::new(Counting::default());
    let key = put(&*behind, STREAMED_BYTES + 1).await;
    let mut registry = Registry::default();
    let metered = Metered::new(
        Arc::clone(&behind) as Arc<dyn BlobStore>,
        BlobMetrics::register(&mut registry),
    );
    let errors = || {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("text");
        let line = text.lines().find(|line| line.contains("errors_total{class=\"dependency\"}"));
        line.expect("the metric").rsplit(' ').next().expect("a value").to_owned()
    };
    get(&metered, &key, ByteRange::ALL).await.expect("present");
    assert_eq!(errors(), "0");
    behind.0.lock().breaks = true;
    let found = metered.get(&RequestCx::RAW, &key, ByteRange::ALL).await.expect("it begins");
    found.expect("present").into_bytes(u64::MAX).await.expect_err("it breaks");
    assert_eq!(errors(), "1");
}
