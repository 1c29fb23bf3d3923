//! [`HotCache`]: verified bytes in memory under a limit that can change.
//!
//! moka fixes the capacity of a cache when it is built, so a new limit is a new cache, into which the entries that were
//! used most recently move. What is put in while that happens may be lost, which for a copy is no more than a miss.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use moka::notification::RemovalCause;
use moka::sync::Cache;
use parking_lot::{Mutex, RwLock};

use crate::{BlobKey, Encoding};

/// What a cached blob costs besides its bytes: its key, moka's entry and bookkeeping (about; moka does not tell).
const ENTRY_OVERHEAD_BYTES: u64 = 400;

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

type Blobs = Cache<BlobKey, Arc<HotBlob>>;

/// Blobs under a limit in bytes, admitted by frequency (moka's `TinyLFU`).
#[derive(Debug)]
pub(crate) struct HotCache {
    /// Guards the exchange of the cache; moka locks for itself.
    blobs: RwLock<Blobs>,
    /// Held while the limit changes, so that two changes do not cross.
    limit_bytes: Mutex<u64>,
    hits: AtomicU64,
    misses: AtomicU64,
    evictions: Arc<AtomicU64>,
}

impl HotCache {
    pub(crate) fn new(limit_bytes: u64) -> Self {
        let evictions = Arc::default();
        Self {
            blobs: RwLock::new(cache(limit_bytes, &evictions)),
            limit_bytes: Mutex::new(limit_bytes),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            evictions,
        }
    }

    /// The blob, counted as a hit or a miss.
    pub(crate) fn get(&self, key: &BlobKey) -> Option<Arc<HotBlob>> {
        let found = self.blobs.read().get(key);
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
        self.blobs.read().contains_key(key)
    }

    pub(crate) fn insert(&self, key: BlobKey, blob: HotBlob) {
        self.blobs.read().insert(key, Arc::new(blob));
    }

    /// Changes what may be held; the coldest go at once where it is less. Takes time in proportion to the entries, during
    /// which reads go on.
    pub(crate) fn set_limit(&self, limit_bytes: u64) {
        let mut limit = self.limit_bytes.lock();
        if *limit == limit_bytes {
            return;
        }
        let old = self.blobs.read().clone();
        let mut entries: Vec<_> =
            old.iter().map(|(key, blob)| (blob.warmth(), key, blob)).collect();
        entries.sort_unstable_by_key(|(warmth, _, _)| Reverse(*warmth));
        let new = cache(limit_bytes, &self.evictions);
        let (mut room_bytes, mut evicted) = (limit_bytes, 0);
        for (_, key, blob) in entries {
            match room_bytes.checked_sub(u64::from(blob.weight())) {
                Some(left_bytes) => {
                    room_bytes = left_bytes;
                    new.insert((*key).clone(), blob);
                }
                None => evicted += 1,
            }
        }
        new.run_pending_tasks();
        *self.blobs.write() = new;
        self.evictions.fetch_add(evicted, Ordering::Relaxed);
        *limit = limit_bytes;
    }

    pub(crate) fn stats(&self) -> HotStats {
        let blobs = self.blobs.read().clone();
        // Otherwise the sums lag behind by up to some hundred inserts.
        blobs.run_pending_tasks();
        HotStats {
            bytes: blobs.weighted_size(),
            limit_bytes: *self.limit_bytes.lock(),
            entries: blobs.entry_count(),
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            evictions: self.evictions.load(Ordering::Relaxed),
        }
    }
}

fn cache(limit_bytes: u64, evictions: &Arc<AtomicU64>) -> Blobs {
    let evictions = Arc::clone(evictions);
    Cache::builder()
        .max_capacity(limit_bytes)
        .weigher(|_, blob: &Arc<HotBlob>| blob.weight())
        .eviction_listener(move |_, _, cause| {
            if cause == RemovalCause::Size {
                evictions.fetch_add(1, Ordering::Relaxed);
            }
        })
        .build()
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

    fn filled(entries: u64, limit_bytes: u64) -> HotCache {
        let cache = HotCache::new(limit_bytes);
        for number in 0..entries {
            let blob = HotBlob::new(Encoding::Raw, vec![0; BLOB_BYTES].into(), 0);
            cache.insert(key(number), blob);
        }
        cache
    }

    #[test]
    fn a_lower_limit_keeps_the_warmest_and_a_higher_one_all() {
        let cache = filled(100, 100 * ENTRY_BYTES);
        let warm: Vec<u64> = (0..100).filter(|number| number % 10 == 3).collect();
        for number in &warm {
            assert!(cache.get(&key(*number)).is_some());
        }
        cache.set_limit(10 * ENTRY_BYTES);
        let kept: Vec<u64> = (0..100).filter(|number| cache.contains(&key(*number))).collect();
        assert_eq!(kept, warm);
        let expect = HotStats {
            bytes: 10 * ENTRY_BYTES,
            limit_bytes: 10 * ENTRY_BYTES,
            entries: 10,
            hits: 10,
            misses: 0,
            evictions: 90,
        };
        assert_eq!(cache.stats(), expect);
        cache.set_limit(50 * ENTRY_BYTES);
        let limit_bytes = 50 * ENTRY_BYTES;
        assert_eq!(cache.stats(), HotStats { limit_bytes, ..expect });
        for number in 100..140 {
            let blob = HotBlob::new(Encoding::Raw, vec![0; BLOB_BYTES].into(), 0);
            cache.insert(key(number), blob);
        }
        assert_eq!(cache.stats().entries, 50, "the room is used again");
    }

    #[test]
    fn a_limit_of_nothing_holds_nothing() {
        let cache = filled(10, 10 * ENTRY_BYTES);
        cache.set_limit(0);
        assert_eq!(cache.stats().bytes, 0);
        cache.insert(key(1), HotBlob::new(Encoding::Raw, vec![0; BLOB_BYTES].into(), 0));
        assert_eq!(cache.stats().entries, 0);
        assert!(cache.get(&key(1)).is_none());
    }

    #[test]
    fn the_limit_holds_while_many_write_and_it_changes() {
        let cache = HotCache::new(64 * ENTRY_BYTES);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let cache = &cache;
                scope.spawn(move || {
                    for number in 0..2_000 {
                        let blob = HotBlob::new(Encoding::Raw, vec![0; BLOB_BYTES].into(), number);
                        cache.insert(key(thread * 10_000 + number), blob);
                    }
                });
            }
            for step in [16, 4, 32, 8] {
                cache.set_limit(step * ENTRY_BYTES);
            }
        });
        let stats = cache.stats();
        assert_eq!(stats.limit_bytes, 8 * ENTRY_BYTES);
        assert!(stats.bytes <= stats.limit_bytes, "{stats:?}");
    }
}
