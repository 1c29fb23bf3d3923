//! [`HotCache`]: verified bytes in memory under a limit that can change.
//!
//! moka fixes the capacity of a cache when it is built. A lower limit is kept here: the coldest blobs are taken out, and
//! nothing comes in that would pass it. That takes no memory, which is what there is none of when the limit falls; a first form
//! moved the warm blobs to a smaller cache and was killed for it.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use moka::notification::RemovalCause;
use moka::sync::Cache;

use crate::{BlobKey, Encoding};

/// What a cached blob costs besides its bytes: its key, moka's entry and bookkeeping (about; moka does not tell).
const ENTRY_OVERHEAD_BYTES: u64 = 400;

/// Below its capacity the cache is emptied to so many eighths of the limit, so that new blobs have room until the next time.
const TRIMMED_EIGHTHS: u64 = 7;

/// What a blob of so many bytes, as they are kept, takes of the limit.
pub(crate) fn cost_bytes(kept_bytes: u64) -> u64 {
    kept_bytes.saturating_add(ENTRY_OVERHEAD_BYTES)
}

/// A blob in memory.
#[derive(Debug)]
pub(crate) struct HotBlob {
    pub(crate) encoding: Encoding,
    pub(crate) bytes: Bytes,
    /// When the tier behind last heard of it, in seconds of the tier's own clock.
    pub(crate) touched_seconds: AtomicU64,
    /// Hits since it came in; tells what to keep when the limit falls.
    hits: AtomicU64,
}

impl HotBlob {
    pub(crate) fn new(encoding: Encoding, bytes: Bytes, now_seconds: u64) -> Self {
        let touched_seconds = AtomicU64::new(now_seconds);
        Self { encoding, bytes, touched_seconds, hits: AtomicU64::new(0) }
    }

    fn weight(&self) -> u32 {
        u32::try_from(cost_bytes(self.bytes.len() as u64)).unwrap_or(u32::MAX)
    }

    /// The warmest is the largest: used lately, then used often.
    fn warmth(&self) -> (u64, u64) {
        (self.touched_seconds.load(Ordering::Relaxed), self.hits.load(Ordering::Relaxed))
    }
}

/// What the hot tier holds, and what happened to it since the start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct HotStats {
    /// Bytes of its blobs, their bookkeeping included.
    pub bytes: u64,
    /// What it may hold now; less than its capacity while memory is short.
    pub limit_bytes: u64,
    /// Blobs.
    pub entries: u64,
    /// Reads that it answered.
    pub hits: u64,
    /// Reads that went to the tier behind.
    pub misses: u64,
    /// Blobs that went to make room, or because the limit fell.
    pub evictions: u64,
}

/// Blobs under a limit in bytes, admitted by frequency (moka's `TinyLFU`).
#[derive(Debug)]
pub(crate) struct HotCache {
    blobs: Cache<BlobKey, Arc<HotBlob>>,
    capacity_bytes: u64,
    limit_bytes: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
    counts: Arc<Counts>,
}

/// What moka's listener, which sees every blob that leaves, counts too.
#[derive(Debug, Default)]
struct Counts {
    /// Of the blobs within, exactly: moka's own sum lags behind.
    bytes: AtomicU64,
    evictions: AtomicU64,
}

impl HotCache {
    pub(crate) fn new(capacity_bytes: u64) -> Self {
        let counts = Arc::<Counts>::default();
        let leaving = Arc::clone(&counts);
        let blobs = Cache::builder()
            .max_capacity(capacity_bytes)
            .weigher(|_, blob: &Arc<HotBlob>| blob.weight())
            .eviction_listener(move |_, blob: Arc<HotBlob>, cause| {
                leaving.bytes.fetch_sub(blob.weight().into(), Ordering::Relaxed);
                if cause == RemovalCause::Size {
                    leaving.evictions.fetch_add(1, Ordering::Relaxed);
                }
            })
            .build();
        Self {
            blobs,
            capacity_bytes,
            limit_bytes: AtomicU64::new(capacity_bytes),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            counts,
        }
    }

    /// The blob, counted as a hit or a miss.
    pub(crate) fn get(&self, key: &BlobKey) -> Option<Arc<HotBlob>> {
        let found = self.blobs.get(key);
        let count = match &found {
            Some(blob) => {
                blob.hits.fetch_add(1, Ordering::Relaxed);
                &self.hits
            }
            None => &self.misses,
        };
        count.fetch_add(1, Ordering::Relaxed);
        found
    }

    pub(crate) fn contains(&self, key: &BlobKey) -> bool {
        self.blobs.contains_key(key)
    }

    /// Takes a blob in; moka makes room for it, or leaves it out. Under a lower limit it comes in where there is room.
    pub(crate) fn insert(&self, key: BlobKey, blob: HotBlob) {
        let weight = u64::from(blob.weight());
        if weight > self.capacity_bytes {
            return;
        }
        let bytes = self.counts.bytes.fetch_add(weight, Ordering::Relaxed) + weight;
        let limit_bytes = self.limit_bytes.load(Ordering::Relaxed);
        if limit_bytes < self.capacity_bytes && bytes > limit_bytes {
            self.counts.bytes.fetch_sub(weight, Ordering::Relaxed);
            return;
        }
        self.blobs.insert(key, Arc::new(blob));
    }

    /// Changes what may be held, and takes out the coldest while that is less than the capacity. To be called now and then
    /// under a lower limit, the same one too, so that new blobs get room. Takes time in proportion to the blobs, during which
    /// reads go on.
    pub(crate) fn set_limit(&self, limit_bytes: u64) {
        self.limit_bytes.store(limit_bytes, Ordering::Relaxed);
        if limit_bytes >= self.capacity_bytes || self.bytes() <= limit_bytes / 8 * TRIMMED_EIGHTHS {
            return;
        }
        let warmth =
            |(key, blob): (Arc<BlobKey>, Arc<HotBlob>)| (blob.warmth(), key, blob.weight());
        let mut blobs: Vec<_> = self.blobs.iter().map(warmth).collect();
        blobs.sort_unstable_by_key(|(warmth, ..)| Reverse(*warmth));
        let mut excess_bytes = self.bytes().saturating_sub(limit_bytes / 8 * TRIMMED_EIGHTHS);
        while excess_bytes > 0
            && let Some((_, key, weight)) = blobs.pop()
        {
            self.blobs.invalidate(&*key);
            self.counts.evictions.fetch_add(1, Ordering::Relaxed);
            excess_bytes = excess_bytes.saturating_sub(weight.into());
        }
        self.blobs.run_pending_tasks();
    }

    pub(crate) fn stats(&self) -> HotStats {
        // Otherwise what moka has yet to take out counts, up to some hundred blobs.
        self.blobs.run_pending_tasks();
        HotStats {
            bytes: self.bytes(),
            limit_bytes: self.limit_bytes.load(Ordering::Relaxed),
            entries: self.blobs.entry_count(),
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            evictions: self.counts.evictions.load(Ordering::Relaxed),
        }
    }

    fn bytes(&self) -> u64 {
        self.counts.bytes.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use larder_disk::Keyspace;
    use larder_protos::{Digest, DigestFunction};

    use super::*;

    const BLOB_BYTES: usize = 600;
    const ENTRY_BYTES: u64 = 1_000;

    fn key(number: u64) -> BlobKey {
        let digest = Digest::of(DigestFunction::Sha256, &number.to_le_bytes());
        BlobKey { keyspace: Keyspace::new("").expect("a short name"), digest }
    }

    fn insert(cache: &HotCache, number: u64) {
        let blob = HotBlob::new(Encoding::Raw, vec![0; BLOB_BYTES].into(), 0);
        cache.insert(key(number), blob);
    }

    fn filled(entries: u64, capacity_bytes: u64) -> HotCache {
        let cache = HotCache::new(capacity_bytes);
        (0..entries).for_each(|number| insert(&cache, number));
        cache
    }

    #[test]
    fn a_lower_limit_keeps_the_warmest_and_a_higher_one_all() {
        let cache = filled(100, 100 * ENTRY_BYTES);
        let warm: Vec<u64> = (0..100).filter(|number| number % 14 == 3).collect();
        for number in &warm {
            assert!(cache.get(&key(*number)).is_some());
        }
        cache.set_limit(8 * ENTRY_BYTES);
        let kept: Vec<u64> = (0..100).filter(|number| cache.contains(&key(*number))).collect();
        assert_eq!(kept, warm, "seven eighths of the limit");
        let expect = HotStats {
            bytes: 7 * ENTRY_BYTES,
            limit_bytes: 8 * ENTRY_BYTES,
            entries: 7,
            hits: 7,
            misses: 0,
            evictions: 93,
        };
        assert_eq!(cache.stats(), expect);
        (100..110).for_each(|number| insert(&cache, number));
        assert_eq!(cache.stats().entries, 8, "one has room");
        cache.set_limit(8 * ENTRY_BYTES);
        assert_eq!(cache.stats().entries, 7, "and the coldest makes room for the next");
        assert!(warm.iter().all(|number| cache.contains(&key(*number))));
        cache.set_limit(100 * ENTRY_BYTES);
        assert_eq!(cache.stats().entries, 7);
        (200..300).for_each(|number| insert(&cache, number));
        let stats = cache.stats();
        assert!(stats.entries > 90 && stats.bytes <= 100 * ENTRY_BYTES, "{stats:?}");
    }

    #[test]
    fn bytes_are_those_of_the_blobs_within() {
        let cache = filled(100, 50 * ENTRY_BYTES);
        (0..20).for_each(|number| insert(&cache, number));
        let stats = cache.stats();
        assert_eq!(stats.bytes, stats.entries * ENTRY_BYTES);
        assert!(stats.bytes <= 50 * ENTRY_BYTES, "{stats:?}");
    }

    #[test]
    fn a_capacity_or_a_limit_of_nothing_holds_nothing() {
        let cache = filled(10, 0);
        assert_eq!((cache.stats().bytes, cache.stats().entries), (0, 0));
        let cache = filled(10, 10 * ENTRY_BYTES);
        cache.set_limit(0);
        insert(&cache, 1);
        assert_eq!((cache.stats().bytes, cache.stats().entries), (0, 0));
        assert!(cache.get(&key(1)).is_none());
    }

    #[test]
    fn the_limit_holds_while_many_write_and_it_changes() {
        let cache = HotCache::new(64 * ENTRY_BYTES);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let cache = &cache;
                scope.spawn(move || {
                    (0..2_000).for_each(|number| insert(cache, thread * 10_000 + number));
                });
            }
            for step in [16, 4, 32, 8] {
                cache.set_limit(step * ENTRY_BYTES);
            }
        });
        cache.set_limit(8 * ENTRY_BYTES);
        let stats = cache.stats();
        assert!(stats.bytes <= stats.limit_bytes, "{stats:?}");
        assert_eq!(stats.bytes, stats.entries * ENTRY_BYTES);
    }
}
