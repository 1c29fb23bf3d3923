//! Chunked blobs over a real engine: what splitting and splicing store, what is refused, and what is left after the worst.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use larder_cas::{
    BlobKey, BlobKeys, BlobStore, ByteRange, Chunked, DiskTier, Encoding, ErrorClass, Keyspace,
    MemoryLender, PutOutcome, RequestCx, RequestMemory, Split, StoreError, UntrustedPayload,
};
use larder_disk::{Durability, Engine, EngineOptions, EvictionPolicy, RealIo, RecordKey};
use larder_protos::{ChunkingFunction, Digest, DigestFunction};
use tempfile::TempDir;

const FAST: Option<ChunkingFunction> = Some(ChunkingFunction::FastCdc2020);
const REP_MAX: Option<ChunkingFunction> = Some(ChunkingFunction::RepMaxCdc);

struct Lab {
    directory: TempDir,
    engine: Arc<Engine>,
    chunked: Chunked,
}

fn open(directory: &Path, max_size_bytes: u64) -> Arc<Engine> {
    let options = EngineOptions {
        data_dir: directory.to_owned(),
        max_size_bytes,
        min_free_disk_bytes: 0,
        eviction: EvictionPolicy::Lru,
        durability: Durability::Interval(Duration::from_secs(1)),
        zstd_level: 1,
        index_cache_bytes: 8 << 20,
        large_blob_bytes: 1 << 20,
        scrub_rate_bytes: 0,
    };
    Arc::new(Engine::open(options, Arc::new(RealIo)).expect("it opens"))
}

impl Lab {
    fn new() -> Self {
        Self::limited(1 << 30)
    }

    fn limited(max_size_bytes: u64) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let engine = open(directory.path(), max_size_bytes);
        let chunked = Chunked::new(DiskTier::new(Arc::clone(&engine)));
        Self { directory, engine, chunked }
    }

    /// Ends the engine and opens its directory again.
    fn reopened(self) -> Self {
        let Self { directory, engine, chunked } = self;
        drop((engine, chunked));
        let engine = open(directory.path(), 1 << 30);
        let chunked = Chunked::new(DiskTier::new(Arc::clone(&engine)));
        Self { directory, engine, chunked }
    }

    async fn store(&self, blob: &Bytes) -> BlobKey {
        let key = key(digest(blob));
        let untrusted = UntrustedPayload::from_bytes(Encoding::Raw, blob.clone());
        let payload = untrusted.verify(&key.digest).await.expect("its own digest");
        self.chunked.put(&RequestCx::RAW, &key, payload).await.expect("stored");
        key
    }

    async fn split(&self, key: &BlobKey, function: Option<ChunkingFunction>) -> Option<Split> {
        self.chunked.split(&RequestCx::RAW, key, function).await.expect("an answer")
    }

    async fn splice(
        &self,
        key: &BlobKey,
        chunks: Vec<Digest>,
        function: Option<ChunkingFunction>,
    ) -> Result<PutOutcome, StoreError> {
        self.chunked.splice(&RequestCx::RAW, key, chunks, function).await
    }

    async fn read(&self, key: &BlobKey) -> Option<Bytes> {
        let found = self.chunked.get(&RequestCx::RAW, key, ByteRange::ALL).await;
        let payload = found.expect("an answer")?;
        Some(payload.into_bytes(u64::MAX).await.expect("a good stream"))
    }

    async fn is_present(&self, key: &BlobKey) -> bool {
        let missing = self.chunked.find_missing(&RequestCx::RAW, key.clone().into()).await;
        missing.expect("an answer").is_empty()
    }

    /// As eviction does.
    async fn evict(&self, digest: &Digest) {
        let record = RecordKey::blob(&keyspace(), digest);
        let engine = Arc::clone(&self.engine);
        let removed = tokio::task::spawn_blocking(move || engine.remove(&record)).await;
        let removed = removed.expect("no panic").expect("removed");
        assert!(removed, "{digest} is not stored");
    }

    fn is_whole(&self, key: &BlobKey) -> bool {
        self.engine.contains(&RecordKey::blob(&key.keyspace, &key.digest))
    }

    fn stored_bytes(&self) -> u64 {
        self.engine.usage().stored_bytes
    }
}

fn keyspace() -> Keyspace {
    Keyspace::new("").expect("a short name")
}

fn digest(bytes: &[u8]) -> Digest {
    Digest::of(DigestFunction::Sha256, bytes)
}

fn key(digest: Digest) -> BlobKey {
    BlobKey { keyspace: keyspace(), digest }
}

/// Bytes that zstd cannot shrink.
fn noise(seed: u64, length: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

#[tokio::test]
async fn a_split_blob_is_its_chunks_and_nothing_more() {
    let lab = Lab::new();
    let blob = noise(1, 10 << 20);
    let key = lab.store(&blob).await;
    let whole_bytes = lab.stored_bytes();
    let split = lab.split(&key, FAST).await.expect("present");
    assert_eq!(split.function, FAST);
    assert!(split.chunks.len() > 5, "{} chunks", split.chunks.len());
    assert!(!lab.is_whole(&key), "the bytes are stored twice");
    let after_bytes = lab.stored_bytes();
    assert!(after_bytes < whole_bytes + 10_000, "{after_bytes} B after {whole_bytes} B");
    let mut joined = Vec::new();
    for chunk in &split.chunks {
        joined.extend(lab.read(&self::key(*chunk)).await.expect("each chunk is a blob"));
    }
    assert!(joined == blob, "the chunks are not the blob");
    assert_eq!(lab.read(&key).await.as_ref(), Some(&blob));
    assert_eq!(lab.split(&key, FAST).await.as_ref(), Some(&split));
    assert_eq!(lab.split(&key, None).await.as_ref(), Some(&split));
    let size = lab.chunked.size_of(&key.keyspace, key.digest.hash()).await.expect("an answer");
    assert_eq!(size, Some(10 << 20));
}

#[tokio::test]
async fn the_function_that_is_asked_for_is_the_one_that_cuts() {
    let lab = Lab::new();
    let blob = noise(2, 6 << 20);
    let key = lab.store(&blob).await;
    let fast = lab.split(&key, FAST).await.expect("present");
    let rep_max = lab.split(&key, REP_MAX).await.expect("present");
    assert_eq!(rep_max.function, REP_MAX);
    assert_ne!(fast.chunks, rep_max.chunks);
    let sizes = || rep_max.chunks.iter().map(Digest::size_bytes);
    assert!(sizes().all(|size| (256 << 10..512 << 10).contains(&size)));
    assert_eq!(lab.split(&key, None).await, Some(rep_max));
    assert_eq!(lab.split(&key, FAST).await, Some(fast));
    assert_eq!(lab.read(&key).await, Some(blob));
}

#[tokio::test]
async fn two_versions_share_what_is_alike() {
    let lab = Lab::new();
    let first = noise(3, 20 << 20);
    let mut second = first.to_vec();
    second.splice(7_000_000..7_000_100, noise(4, 5_000).iter().copied());
    let (first, second) = (lab.store(&first).await, lab.store(&second.into()).await);
    lab.split(&first, FAST).await.expect("present");
    lab.split(&second, FAST).await.expect("present");
    let stored_bytes = lab.stored_bytes();
    assert!(stored_bytes < 26 << 20, "two versions take {stored_bytes} B");
}

#[tokio::test]
async fn small_blobs_are_their_own_only_chunk() {
    let lab = Lab::new();
    for (size, function) in [(0, FAST), (1, FAST), ((2 << 20) - 1, FAST), (500_000, REP_MAX)] {
        let key = lab.store(&noise(5, size)).await;
        let split = lab.split(&key, function).await.expect("present");
        assert_eq!(split, Split { chunks: vec![key.digest], function });
        assert!(size == 0 || lab.is_whole(&key));
    }
    assert_eq!(lab.split(&key(digest(b"absent")), FAST).await, None);
}

#[tokio::test]
async fn a_blob_whose_chunk_is_gone_is_missing_until_it_comes_back() {
    let lab = Lab::new();
    let blob = noise(6, 8 << 20);
    let key = lab.store(&blob).await;
    let split = lab.split(&key, FAST).await.expect("present");
    let lost = split.chunks[2];
    let bytes = lab.read(&self::key(lost)).await.expect("present");
    lab.evict(&lost).await;
    assert!(!lab.is_present(&key).await);
    assert_eq!(lab.read(&key).await, None);
    for function in [None, FAST, REP_MAX] {
        assert_eq!(lab.split(&key, function).await, None, "a partial list");
    }
    lab.store(&bytes).await;
    assert_eq!(lab.read(&key).await.as_ref(), Some(&blob));
    assert_eq!(lab.split(&key, FAST).await.as_ref(), Some(&split));
    // Or the whole comes: then it is what is stored.
    lab.evict(&lost).await;
    lab.store(&blob).await;
    assert!(lab.is_whole(&key));
    assert_eq!(lab.chunked.size_of(&key.keyspace, key.digest.hash()).await.expect("read"), None);
    assert_eq!(lab.split(&key, FAST).await, Some(split));
}

#[tokio::test]
async fn chunks_are_spliced_after_they_were_held_against_the_digest() {
    let lab = Lab::new();
    let parts = [noise(7, 300_000), noise(8, 70), Bytes::new(), noise(9, 1_300_000)];
    let blob = Bytes::from(parts.concat());
    let key = key(digest(&blob));
    let chunks: Vec<_> = parts.iter().map(|part| digest(part)).collect();
    let refused = lab.splice(&key, chunks.clone(), None).await.expect_err("nothing is there");
    assert!(matches!(refused, StoreError::ChunkAbsent { chunk, .. } if chunk == chunks[0]));
    for part in parts.iter().filter(|part| !part.is_empty()) {
        lab.store(part).await;
    }
    for (bad, expect) in [
        (vec![], "ended after 0 B"),
        (chunks[..3].to_vec(), "ended after 300070 B"),
        ([&chunks[..], &chunks[1..2]].concat(), "goes on after its"),
        (chunks.iter().rev().copied().collect(), "have the digest"),
    ] {
        let refused = lab.splice(&key, bad, FAST).await.expect_err("another blob");
        assert_eq!(refused.class(), ErrorClass::Caller);
        assert!(refused.to_string().contains(expect), "{refused}");
        assert!(!lab.is_present(&key).await);
    }
    let before_bytes = lab.stored_bytes();
    assert_eq!(lab.splice(&key, chunks.clone(), FAST).await.expect("spliced"), PutOutcome::Stored);
    assert!(lab.stored_bytes() < before_bytes + 1_000, "the bytes are stored twice");
    assert_eq!(lab.read(&key).await.as_ref(), Some(&blob));
    let again = lab.splice(&key, chunks.clone(), None).await.expect("spliced");
    assert_eq!(again, PutOutcome::AlreadyPresent);
    // What was claimed is not so, and what is empty is nothing.
    let stored = vec![chunks[0], chunks[1], chunks[3]];
    assert_eq!(lab.split(&key, None).await, Some(Split { chunks: stored, function: None }));
    assert_eq!(lab.store(&blob).await, key);
    assert!(!lab.is_whole(&key), "the whole came beside its chunks");
    let part = ByteRange::from_offset(299_999).limited(80);
    let part = lab.chunked.get(&RequestCx::RAW, &key, part).await.expect("an answer");
    let part = part.expect("present").into_bytes(80).await.expect("a good stream");
    assert_eq!(part, blob.slice(299_999..300_079));
}

#[tokio::test]
async fn what_a_function_cuts_is_known_as_such_however_it_came() {
    let (one, other) = (Lab::new(), Lab::new());
    let blob = noise(10, 5 << 20);
    for function in [FAST, REP_MAX] {
        let key = one.store(&blob).await;
        let split = one.split(&key, function).await.expect("present");
        for chunk in &split.chunks {
            other.store(&one.read(&self::key(*chunk)).await.expect("present")).await;
        }
        let other = other.splice(&key, split.chunks.clone(), function).await;
        other.expect("spliced, or present");
    }
    let split = other.split(&key(digest(&blob)), None).await.expect("present");
    assert_eq!(split.function, FAST);
}

#[tokio::test]
async fn chunks_of_chunks_are_taken_apart() {
    let lab = Lab::new();
    let (first, second) = (noise(11, 3 << 20), noise(12, 100_000));
    let blob = Bytes::from([&first[..], &second[..]].concat());
    let (first, second) = (lab.store(&first).await, lab.store(&second).await);
    let split = lab.split(&first, FAST).await.expect("present");
    let key = key(digest(&blob));
    lab.splice(&key, vec![first.digest, second.digest], None).await.expect("spliced");
    let whole = lab.split(&key, None).await.expect("present");
    assert_eq!(whole.chunks, [&split.chunks[..], &[second.digest]].concat());
    // A chunk that is cut after it became one.
    let large = split.chunks.iter().find(|chunk| chunk.size_bytes() >= 512 << 10);
    let large = self::key(*large.expect("their average is 512 KiB"));
    lab.split(&large, REP_MAX).await.expect("present");
    assert!(!lab.is_whole(&large));
    assert_eq!(lab.read(&key).await, Some(blob));
    assert_eq!(lab.split(&key, None).await, Some(whole));
}

#[tokio::test]
async fn a_hundred_thousand_chunks() {
    let lab = Lab::new();
    let parts: Vec<Bytes> = (0..100).map(|seed| noise(100 + seed, 10)).collect();
    for part in &parts {
        lab.store(part).await;
    }
    let names: Vec<_> = parts.iter().map(|part| digest(part)).collect();
    let blob = Bytes::from(parts.concat().repeat(1_000));
    let key = key(digest(&blob));
    let chunks = names.repeat(1_000);
    assert_eq!(chunks.len(), 100_000);
    lab.splice(&key, chunks.clone(), None).await.expect("spliced");
    assert!(lab.is_present(&key).await);
    let part = ByteRange::from_offset(999_985).limited(10);
    let part = lab.chunked.get(&RequestCx::RAW, &key, part).await.expect("an answer");
    let part = part.expect("present").into_bytes(10).await.expect("a good stream");
    assert_eq!(part, blob.slice(999_985..999_995));
    let lab = lab.reopened();
    let split = lab.split(&key, None).await.expect("present");
    assert!(split == Split { chunks, function: None }, "{} chunks", split.chunks.len());
}

/// Lends nothing.
#[derive(Debug)]
struct EmptyPurse;

#[async_trait]
impl MemoryLender for EmptyPurse {
    async fn take(&self, needed_bytes: u64) -> Result<(), StoreError> {
        Err(StoreError::NoMemory { needed_bytes, limit_bytes: 0 })
    }

    fn give_back(&self, _bytes: u64) {}
}

#[tokio::test]
async fn no_long_list_is_read_without_memory_for_it() {
    let lab = Lab::new();
    let bytes: Vec<_> = (0..=u8::MAX).map(|byte| Bytes::from(vec![byte])).collect();
    for byte in &bytes {
        lab.store(byte).await;
    }
    let blob = noise(18, 5_000);
    let chunks = blob.iter().map(|byte| digest(&bytes[usize::from(*byte)])).collect();
    let key = key(digest(&blob));
    lab.splice(&key, chunks, None).await.expect("spliced");
    let cx = RequestCx::raw_within(RequestMemory::counted_by(Arc::new(EmptyPurse)));
    let refused = lab.chunked.split(&cx, &key, None).await.expect_err("no memory");
    assert!(matches!(refused, StoreError::NoMemory { .. }), "{refused}");
    assert_eq!(lab.split(&key, None).await.expect("present").chunks.len(), 5_000);
}

#[tokio::test]
async fn chunks_are_found_after_a_restart() {
    let lab = Lab::new();
    let blob = noise(13, 4 << 20);
    let key = lab.store(&blob).await;
    let split = lab.split(&key, REP_MAX).await.expect("present");
    let lab = lab.reopened();
    assert!(lab.is_present(&key).await);
    assert_eq!(lab.split(&key, REP_MAX).await, Some(split));
    assert_eq!(lab.read(&key).await, Some(blob));
}

#[tokio::test]
async fn a_whole_beside_its_chunks_goes_at_the_next_split() {
    // What a process leaves that is killed between the two.
    let lab = Lab::new();
    let blob = noise(14, 4 << 20);
    let key = lab.store(&blob).await;
    let split = lab.split(&key, FAST).await.expect("present");
    let beside = DiskTier::new(Arc::clone(&lab.engine));
    let untrusted = UntrustedPayload::from_bytes(Encoding::Raw, blob.clone());
    let payload = untrusted.verify(&key.digest).await.expect("its own digest");
    beside.put(&RequestCx::RAW, &key, payload).await.expect("stored");
    assert!(lab.is_whole(&key));
    assert_eq!(lab.split(&key, FAST).await, Some(split));
    assert!(!lab.is_whole(&key));
    assert_eq!(lab.read(&key).await, Some(blob));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn splits_splices_uploads_and_reads_at_once_never_miss() {
    let lab = Arc::new(Lab::new());
    let blob = noise(15, 3 << 20);
    let key = lab.store(&blob).await;
    let chunks = lab.split(&key, FAST).await.expect("present").chunks;
    let mut turns = tokio::task::JoinSet::new();
    for turn in 0..24 {
        let (lab, key, blob, chunks) =
            (Arc::clone(&lab), key.clone(), blob.clone(), chunks.clone());
        turns.spawn(async move {
            match turn % 4 {
                0 => assert!(lab.split(&key, REP_MAX).await.is_some(), "{turn}"),
                1 => assert!(lab.split(&key, FAST).await.is_some(), "{turn}"),
                2 => drop(lab.splice(&key, chunks, FAST).await.expect("present")),
                _ => drop(lab.store(&blob).await),
            }
            assert!(lab.is_present(&key).await, "{turn}");
            assert_eq!(lab.read(&key).await.as_ref(), Some(&blob), "{turn}");
        });
    }
    while let Some(turn) = turns.join_next().await {
        turn.expect("no turn misses");
    }
}

/// Has a blob removed by `remove` while it is cut.
async fn check_gone_while_cut(
    function: Option<ChunkingFunction>,
    remove: impl AsyncFn(&Lab, &BlobKey),
) {
    let lab = Arc::new(Lab::new());
    let blob = noise(20, 24 << 20);
    let key = lab.store(&blob).await;
    let cut_before = lab.engine.usage().records;
    let (cutter, of) = (Arc::clone(&lab), key.clone());
    let mut cutting = tokio::task::JoinSet::new();
    cutting.spawn(async move { cutter.split(&of, function).await });
    while lab.engine.usage().records == cut_before {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    remove(&lab, &key).await;
    assert!(!lab.is_present(&key).await);
    assert_eq!(cutting.join_next().await.expect("a split").expect("no panic"), None);
    assert!(!lab.is_present(&key).await, "the split brought it back");
    assert_eq!(lab.chunked.size_of(&key.keyspace, key.digest.hash()).await.ok(), Some(None));
    // And it may come again.
    lab.store(&blob).await;
    assert!(lab.split(&key, function).await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_that_goes_while_it_is_cut_stays_gone() {
    let purge = async |lab: &Lab, key: &BlobKey| {
        assert!(lab.chunked.remove(key).await.expect("removed"));
    };
    check_gone_while_cut(FAST, purge).await;
    check_gone_while_cut(REP_MAX, async |lab, key| lab.evict(&key.digest).await).await;
}

#[tokio::test]
async fn what_is_cut_pushes_out_little() {
    let lab = Lab::limited(64 << 20);
    // All of it has room.
    let large = lab.store(&noise(30, 20 << 20)).await;
    let split = lab.split(&large, FAST).await.expect("present");
    assert!(split.chunks.len() > 1 && !lab.is_whole(&large));
    assert!(lab.chunked.remove(&large).await.expect("removed"));
    for chunk in split.chunks {
        lab.evict(&chunk).await;
    }
    let larger = lab.store(&noise(31, 36 << 20)).await;
    let large = lab.store(&noise(32, 10 << 20)).await;
    let small = lab.store(&noise(33, 6 << 20)).await;
    let before = lab.engine.usage();
    for key in [&larger, &large] {
        for function in [FAST, REP_MAX] {
            let refused = lab.chunked.split(&RequestCx::RAW, key, function).await;
            let refused = refused.expect_err("no room");
            assert!(matches!(refused, StoreError::TooLargeToCut { .. }), "{refused}");
        }
    }
    let after = lab.engine.usage();
    assert_eq!((after.records, after.evictions), (before.records, before.evictions));
    // An eighth of the limit is cut whatever is free.
    let split = lab.split(&small, FAST).await.expect("present");
    assert!(split.chunks.len() > 1);
    assert_eq!(lab.read(&small).await.expect("present").len(), 6 << 20);
}

#[tokio::test]
async fn a_manifest_in_memory_is_held_against_the_one_on_disk() {
    let lab = Lab::new();
    let blob = noise(17, 4 << 20);
    let key = lab.store(&blob).await;
    let before = lab.split(&key, FAST).await.expect("present").chunks;
    assert!(lab.is_present(&key).await);
    // A put that this one does not see end, as one whose caller went away.
    let beside = Chunked::new(DiskTier::new(Arc::clone(&lab.engine)));
    let again = beside.split(&RequestCx::RAW, &key, REP_MAX).await.expect("an answer");
    let gone = before.iter().find(|chunk| !again.as_ref().expect("present").chunks.contains(chunk));
    lab.evict(gone.expect("they cut elsewhere")).await;
    assert!(lab.is_present(&key).await);
    assert_eq!(lab.read(&key).await, Some(blob));
    assert_eq!(lab.split(&key, None).await, again);
}

#[tokio::test]
async fn missing_ones_keep_their_order_among_chunked_ones() {
    let lab = Lab::new();
    let key = lab.store(&noise(16, 3 << 20)).await;
    lab.split(&key, FAST).await.expect("present");
    let (a, b) = (digest(b"a"), digest(b"b"));
    let digests = vec![b, key.digest, a, key.digest, b];
    let keys = BlobKeys { keyspace: keyspace(), digests };
    let missing = lab.chunked.find_missing(&RequestCx::RAW, keys).await.expect("an answer");
    assert_eq!(missing.digests, [b, a, b]);
}
