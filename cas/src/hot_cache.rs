//! [`HotCache`]: what is worth keeping in memory, under a limit that can change.
//!
//! moka fixes the capacity of a cache when it is built. A lower limit is kept here: the coldest entries are taken out, and
//! nothing comes in that would pass it. That takes no memory, which is what there is none of when the limit falls; a first form
//! moved the warm blobs to a smaller cache and was killed for it.

use std::cmp::Reverse;
use std::fmt;
use std::hash::Hash;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use moka::notification::RemovalCause;
use moka::sync::Cache;

/// Below its capacity the cache is emptied to so many eighths of the limit, so that new entries have room until the next time.
const TRIMMED_EIGHTHS: u64 = 7;

/// Entries used within the same span, seconds, are told apart by how often they were used.
const WARMTH_SPAN_SECONDS: u64 = 60;

/// What a [`HotCache`] keeps.
pub trait HotValue: Send + Sync + 'static {
    /// The memory that it takes, its key and the cache's own bookkeeping included. Always the same.
    fn cost_bytes(&self) -> u64;
}

/// A value in a [`HotCache`].
#[derive(Debug)]
pub struct Hot<V> {
    value: V,
    /// By the cache's clock.
    used_seconds: AtomicU64,
    /// How often it was asked for.
    uses: AtomicU64,
}

impl<V> Deref for Hot<V> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.value
    }
}

impl<V: HotValue> Hot<V> {
    fn weight(&self) -> u32 {
        u32::try_from(self.value.cost_bytes()).unwrap_or(u32::MAX)
    }

    /// The warmest is the largest: used lately, then used often.
    fn warmth(&self) -> (u64, u64) {
        let span = self.used_seconds.load(Ordering::Relaxed) / WARMTH_SPAN_SECONDS;
        (span, self.uses.load(Ordering::Relaxed))
    }
}

/// What a [`HotCache`] holds, and what happened to it since the start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct HotStats {
    /// Bytes of its entries, their bookkeeping included.
    pub bytes: u64,
    /// What it may hold now; less than its capacity while memory is short.
    pub limit_bytes: u64,
    /// What it may hold when memory is not short.
    pub capacity_bytes: u64,
    /// Entries.
    pub entries: u64,
    /// Reads that it answered.
    pub hits: u64,
    /// Reads that went to what is behind.
    pub misses: u64,
    /// Entries that went to make room, or because the limit fell.
    pub evictions: u64,
}

/// Values under a limit in bytes, admitted by frequency (moka's `TinyLFU`).
pub struct HotCache<K, V> {
    entries: Cache<K, Arc<Hot<V>>>,
    capacity_bytes: u64,
    limit_bytes: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
    counts: Arc<Counts>,
    started: Instant,
}

/// What moka's listener, which sees every entry that leaves, counts too.
#[derive(Debug, Default)]
struct Counts {
    /// Of the entries within, exactly: moka's own sum lags behind.
    bytes: AtomicU64,
    evictions: AtomicU64,
}

impl<K: Clone + Eq + Hash + Send + Sync + 'static, V: HotValue> HotCache<K, V> {
    /// Holds at most `capacity_bytes`.
    pub fn new(capacity_bytes: u64) -> Self {
        let counts = Arc::<Counts>::default();
        let leaving = Arc::clone(&counts);
        let entries = Cache::builder()
            .max_capacity(capacity_bytes)
            .weigher(|_, hot: &Arc<Hot<V>>| hot.weight())
            .eviction_listener(move |_, hot: Arc<Hot<V>>, cause| {
                leaving.bytes.fetch_sub(hot.weight().into(), Ordering::Relaxed);
                if cause == RemovalCause::Size {
                    leaving.evictions.fetch_add(1, Ordering::Relaxed);
                }
            })
            .build();
        Self {
            entries,
            capacity_bytes,
            limit_bytes: AtomicU64::new(capacity_bytes),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            counts,
            started: Instant::now(),
        }
    }

    /// The value, counted as a hit or a miss.
    pub fn get(&self, key: &K) -> Option<Arc<Hot<V>>> {
        self.get_if(key, |_| true)
    }

    /// The value where `is_good`; what is not is a miss.
    pub fn get_if(&self, key: &K, is_good: impl FnOnce(&V) -> bool) -> Option<Arc<Hot<V>>> {
        let found = self.entries.get(key).filter(|hot| is_good(hot));
        let count = match &found {
            Some(hot) => {
                hot.uses.fetch_add(1, Ordering::Relaxed);
                hot.used_seconds.store(self.now_seconds(), Ordering::Relaxed);
                &self.hits
            }
            None => &self.misses,
        };
        count.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// The value; not counted.
    pub fn get_uncounted(&self, key: &K) -> Option<Arc<Hot<V>>> {
        self.entries.get(key)
    }

    /// Whether it is here; not counted.
    pub fn contains(&self, key: &K) -> bool {
        self.entries.contains_key(key)
    }

    /// Takes a value in that was asked for; moka makes room for it, or leaves it out. Under a lower limit it comes in where
    /// there is room.
    pub fn insert(&self, key: K, value: V) {
        self.admit(key, value, 1);
    }

    /// Takes a value in that nobody has asked for yet.
    pub fn insert_unasked(&self, key: K, value: V) {
        self.admit(key, value, 0);
    }

    fn admit(&self, key: K, value: V, uses: u64) {
        let used_seconds = AtomicU64::new(self.now_seconds());
        let hot = Hot { value, used_seconds, uses: AtomicU64::new(uses) };
        let weight = u64::from(hot.weight());
        if weight > self.capacity_bytes {
            return;
        }
        let bytes = self.counts.bytes.fetch_add(weight, Ordering::Relaxed) + weight;
        let limit_bytes = self.limit_bytes.load(Ordering::Relaxed);
        if limit_bytes < self.capacity_bytes && bytes > limit_bytes {
            self.counts.bytes.fetch_sub(weight, Ordering::Relaxed);
            // What it would have replaced is of no more use.
            self.entries.invalidate(&key);
            return;
        }
        self.entries.insert(key, Arc::new(hot));
    }

    /// Lets a value go that is of no more use.
    pub fn remove(&self, key: &K) {
        self.entries.invalidate(key);
    }

    /// Changes what may be held, up to the capacity, and takes out the coldest while that is less than the capacity. To be called
    /// now and then under a lower limit, the same one too, so that new entries get room. Takes time in proportion to the entries,
    /// during which reads go on.
    pub fn set_limit(&self, limit_bytes: u64) {
        let limit_bytes = limit_bytes.min(self.capacity_bytes);
        self.limit_bytes.store(limit_bytes, Ordering::Relaxed);
        if limit_bytes >= self.capacity_bytes || self.bytes() <= limit_bytes / 8 * TRIMMED_EIGHTHS {
            return;
        }
        let warmth = |(key, hot): (Arc<K>, Arc<Hot<V>>)| (hot.warmth(), key, hot.weight());
        let mut entries: Vec<_> = self.entries.iter().map(warmth).collect();
        entries.sort_unstable_by_key(|(warmth, ..)| Reverse(*warmth));
        let mut excess_bytes = self.bytes().saturating_sub(limit_bytes / 8 * TRIMMED_EIGHTHS);
        while excess_bytes > 0
            && let Some((_, key, weight)) = entries.pop()
        {
            self.entries.invalidate(&*key);
            self.counts.evictions.fetch_add(1, Ordering::Relaxed);
            excess_bytes = excess_bytes.saturating_sub(weight.into());
        }
        self.entries.run_pending_tasks();
    }

    /// What it holds and did.
    pub fn stats(&self) -> HotStats {
        // Otherwise what moka has yet to take out counts, up to some hundred entries.
        self.entries.run_pending_tasks();
        HotStats {
            bytes: self.bytes(),
            limit_bytes: self.limit_bytes.load(Ordering::Relaxed),
            capacity_bytes: self.capacity_bytes,
            entries: self.entries.entry_count(),
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            evictions: self.counts.evictions.load(Ordering::Relaxed),
        }
    }

    /// What it may hold when memory is not short.
    pub fn capacity_bytes(&self) -> u64 {
        self.capacity_bytes
    }

    /// Since it was made.
    pub fn now_seconds(&self) -> u64 {
        self.started.elapsed().as_secs()
    }

    fn bytes(&self) -> u64 {
        self.counts.bytes.load(Ordering::Relaxed)
    }
}

impl<K, V> fmt::Debug for HotCache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HotCache")
            .field("capacity_bytes", &self.capacity_bytes)
            .field("limit_bytes", &self.limit_bytes)
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY_BYTES: u64 = 1_000;

    #[derive(Debug, Eq, PartialEq)]
    struct Thing(u64);

    impl HotValue for Thing {
        fn cost_bytes(&self) -> u64 {
            ENTRY_BYTES
        }
    }

    fn insert(cache: &HotCache<u64, Thing>, number: u64) {
        cache.insert(number, Thing(number));
    }

    fn filled(entries: u64, capacity_bytes: u64) -> HotCache<u64, Thing> {
        let cache = HotCache::new(capacity_bytes);
        (0..entries).for_each(|number| insert(&cache, number));
        cache
    }

    #[test]
    fn a_lower_limit_keeps_the_warmest_and_a_higher_one_all() {
        let cache = filled(100, 100 * ENTRY_BYTES);
        let warm: Vec<u64> = (0..100).filter(|number| number % 14 == 3).collect();
        for number in &warm {
            assert!(cache.get(number).is_some());
        }
        cache.set_limit(8 * ENTRY_BYTES);
        let kept: Vec<u64> = (0..100).filter(|number| cache.contains(number)).collect();
        assert_eq!(kept, warm, "seven eighths of the limit");
        let expect = HotStats {
            bytes: 7 * ENTRY_BYTES,
            limit_bytes: 8 * ENTRY_BYTES,
            capacity_bytes: 100 * ENTRY_BYTES,
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
        assert!(warm.iter().all(|number| cache.contains(number)));
        cache.set_limit(100 * ENTRY_BYTES);
        assert_eq!(cache.stats().entries, 7);
        (200..300).for_each(|number| insert(&cache, number));
        let stats = cache.stats();
        assert!(stats.entries > 90 && stats.bytes <= 100 * ENTRY_BYTES, "{stats:?}");
    }

    #[test]
    fn what_nobody_asked_for_goes_first() {
        let cache = HotCache::new(100 * ENTRY_BYTES);
        for number in 0..16 {
            if number % 2 == 0 {
                cache.insert_unasked(number, Thing(number));
            } else {
                insert(&cache, number);
            }
        }
        cache.set_limit(10 * ENTRY_BYTES);
        assert!((1..16).step_by(2).all(|number| cache.contains(&number)));
        assert_eq!(cache.stats().entries, 8);
    }

    #[test]
    fn what_is_no_good_is_a_miss_and_goes_when_it_cannot_be_replaced() {
        let cache = filled(10, 100 * ENTRY_BYTES);
        assert_eq!(cache.get_if(&1, |thing| *thing == Thing(1)).as_deref().map(|it| it.0), Some(1));
        assert!(cache.get_if(&1, |thing| *thing != Thing(1)).is_none());
        assert_eq!((cache.stats().hits, cache.stats().misses), (1, 1));
        cache.set_limit(12 * ENTRY_BYTES);
        (20..22).for_each(|number| insert(&cache, number));
        insert(&cache, 1);
        assert!(!cache.contains(&1), "no room for both, and the old one is of no use");
        assert_eq!((cache.stats().entries, cache.stats().bytes), (11, 11 * ENTRY_BYTES));
        cache.remove(&2);
        assert_eq!((cache.stats().entries, cache.stats().bytes), (10, 10 * ENTRY_BYTES));
    }

    #[test]
    fn bytes_are_those_of_the_entries_within() {
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
        assert!(cache.get(&1).is_none());
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
