//! [`HotCache`]: what is worth keeping in memory, under a limit that can change.
//!
//! What comes in must prove itself: it is among the first to go until it is asked for again, and comes back as one of the others where
//! it is asked for soon after it went (`quick_cache`'s S3-FIFO). docs/adr/0014-memory-cache.md has why this one, and numbers.

use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter};

/// The share of what has not proved itself; what was stored a moment ago and is read soon is in it.
const PROVEN_SHARE: f64 = 0.9;

/// By which the number of entries is estimated that went and are still known, half as many as stay.
const USUAL_COST_BYTES: u64 = 4 * 1024;

/// A part, which has a lock and a limit of its own, is not smaller than this …
const LEAST_PART_BYTES: u64 = 32 * 1024 * 1024;
/// … and has room for so many of the largest values.
const LARGEST_IN_PART: u64 = 4;
/// More do not make it less likely that two threads meet.
const MOST_PARTS: u64 = 64;

/// A lower limit is met in so many steps: who looks something up waits for one of them at most.
const STEPS: u64 = 64;

/// What a [`HotCache`] keeps.
pub trait HotValue: Send + Sync + 'static {
    /// The memory that it takes, its key and the cache's own bookkeeping included. Always the same.
    fn cost_bytes(&self) -> u64;
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

/// Values under a limit in bytes.
pub struct HotCache<K, V> {
    entries: Cache<K, Arc<V>, ByCost, DefaultHashBuilder, Evictions<K, V>>,
    capacity_bytes: u64,
    limit_bytes: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
    evictions: Arc<AtomicU64>,
    started: Instant,
}

impl<K: Clone + Eq + Hash + Send + Sync + 'static, V: HotValue> HotCache<K, V> {
    /// Holds at most `capacity_bytes`, and values that cost up to `largest_bytes` unless these are nearly all that it may hold.
    pub fn new(capacity_bytes: u64, largest_bytes: u64) -> Self {
        let least_bytes = largest_bytes.saturating_mul(LARGEST_IN_PART).max(LEAST_PART_BYTES);
        let parts = (capacity_bytes / least_bytes).clamp(1, MOST_PARTS);
        let entries = capacity_bytes / USUAL_COST_BYTES;
        let options = OptionsBuilder::new()
            .weight_capacity(capacity_bytes)
            .estimated_items_capacity(usize::try_from(entries).unwrap_or(usize::MAX))
            .hot_allocation(PROVEN_SHARE)
            // Rounded up to a power of two by the cache, so down to one here.
            .shards(1 << parts.ilog2())
            .build()
            .expect("all that has no default is said");
        let evictions = Arc::<AtomicU64>::default();
        let lifecycle = Evictions { count: Arc::clone(&evictions), entries: PhantomData };
        Self {
            entries: Cache::with_options(options, ByCost, DefaultHashBuilder::default(), lifecycle),
            capacity_bytes,
            limit_bytes: AtomicU64::new(capacity_bytes),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            evictions,
            started: Instant::now(),
        }
    }

    /// The value, counted as a hit or a miss.
    pub fn get(&self, key: &K) -> Option<Arc<V>> {
        self.get_if(key, |_| true)
    }

    /// The value where `is_good`; what is not is a miss.
    pub fn get_if(&self, key: &K, is_good: impl FnOnce(&V) -> bool) -> Option<Arc<V>> {
        let found = self.entries.get(key).filter(|value| is_good(value));
        let count = if found.is_some() { &self.hits } else { &self.misses };
        count.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// The value; not counted.
    pub fn get_uncounted(&self, key: &K) -> Option<Arc<V>> {
        self.entries.get(key)
    }

    /// Whether it is here; not counted.
    pub fn contains(&self, key: &K) -> bool {
        self.entries.contains_key(key)
    }

    /// Takes a value in, and makes room for it.
    pub fn insert(&self, key: K, value: V) {
        self.entries.insert(key, Arc::new(value));
    }

    /// Lets a value go that is of no more use.
    pub fn remove(&self, key: &K) {
        self.entries.remove(key);
    }

    /// Changes what may be held, up to the capacity; what is over the new limit goes at once, the coldest first. Takes time in
    /// proportion to what goes, during which reads go on.
    pub fn set_limit(&self, limit_bytes: u64) {
        let limit_bytes = limit_bytes.min(self.capacity_bytes);
        let mut now_bytes = self.limit_bytes.swap(limit_bytes, Ordering::Relaxed);
        let step_bytes = (self.capacity_bytes / STEPS).max(1);
        while now_bytes != limit_bytes {
            now_bytes = limit_bytes.max(now_bytes.saturating_sub(step_bytes));
            // Each part would round its own share up.
            let parts = self.entries.num_shards() as u64;
            self.entries.set_capacity(now_bytes / parts * parts);
        }
    }

    /// What it holds and did.
    pub fn stats(&self) -> HotStats {
        HotStats {
            bytes: self.entries.weight(),
            limit_bytes: self.limit_bytes.load(Ordering::Relaxed),
            capacity_bytes: self.capacity_bytes,
            entries: self.entries.len() as u64,
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            evictions: self.evictions.load(Ordering::Relaxed),
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
}

impl<K, V> fmt::Debug for HotCache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HotCache")
            .field("capacity_bytes", &self.capacity_bytes)
            .field("limit_bytes", &self.limit_bytes)
            .field("evictions", &self.evictions)
            .finish_non_exhaustive()
    }
}

#[derive(Clone)]
struct ByCost;

impl<K, V: HotValue> Weighter<K, Arc<V>> for ByCost {
    fn weight(&self, _: &K, value: &Arc<V>) -> u64 {
        value.cost_bytes()
    }
}

/// Counts what goes to make room; what is replaced or removed does not.
struct Evictions<K, V> {
    count: Arc<AtomicU64>,
    entries: PhantomData<fn(K, V)>,
}

impl<K, V> Clone for Evictions<K, V> {
    fn clone(&self) -> Self {
        Self { count: Arc::clone(&self.count), entries: PhantomData }
    }
}

impl<K, V> Lifecycle<K, Arc<V>> for Evictions<K, V> {
    type RequestState = ();

    fn before_evict(&self, (): &mut (), _: &K, _: &mut Arc<V>) {
        self.count.fetch_add(1, Ordering::Relaxed);
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

    fn empty(capacity_bytes: u64) -> HotCache<u64, Thing> {
        HotCache::new(capacity_bytes, ENTRY_BYTES)
    }

    fn filled(entries: u64, capacity_bytes: u64) -> HotCache<u64, Thing> {
        let cache = empty(capacity_bytes);
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
        assert!(warm.iter().all(|number| cache.contains(number)));
        let expect = HotStats {
            bytes: 8 * ENTRY_BYTES,
            limit_bytes: 8 * ENTRY_BYTES,
            capacity_bytes: 100 * ENTRY_BYTES,
            entries: 8,
            hits: 7,
            misses: 0,
            evictions: 92,
        };
        assert_eq!(cache.stats(), expect);
        (100..110).for_each(|number| insert(&cache, number));
        assert_eq!(cache.stats().entries, 8, "the coldest makes room for the next");
        cache.set_limit(100 * ENTRY_BYTES);
        assert_eq!(cache.stats().entries, 8);
        (200..300).for_each(|number| insert(&cache, number));
        let stats = cache.stats();
        assert!(stats.entries > 90 && stats.bytes <= 100 * ENTRY_BYTES, "{stats:?}");
    }

    #[test]
    fn what_was_asked_for_outlives_what_was_only_stored() {
        let cache = filled(50, 100 * ENTRY_BYTES);
        for _ in 0..2 {
            assert!((0..50).all(|number| cache.get(&number).is_some()));
        }
        // As many writes as would fill it ten times.
        (1_000..2_000).for_each(|number| insert(&cache, number));
        assert!((0..50).all(|number| cache.contains(&number)));
        assert_eq!(cache.stats().entries, 100);
        // What was stored last is still there.
        assert!(cache.contains(&1_999));
    }

    #[test]
    fn what_is_no_good_is_a_miss() {
        let cache = filled(10, 100 * ENTRY_BYTES);
        assert_eq!(cache.get_if(&1, |thing| *thing == Thing(1)).as_deref(), Some(&Thing(1)));
        assert!(cache.get_if(&1, |thing| *thing != Thing(1)).is_none());
        assert_eq!((cache.stats().hits, cache.stats().misses), (1, 1));
    }

    #[test]
    fn what_is_replaced_or_removed_is_not_counted_as_evicted() {
        let cache = filled(10, 100 * ENTRY_BYTES);
        cache.insert(1, Thing(7));
        assert_eq!(cache.get(&1).as_deref(), Some(&Thing(7)));
        assert_eq!((cache.stats().entries, cache.stats().bytes), (10, 10 * ENTRY_BYTES));
        cache.remove(&2);
        assert_eq!((cache.stats().entries, cache.stats().bytes), (9, 9 * ENTRY_BYTES));
        assert!(!cache.contains(&2));
        assert_eq!(cache.stats().evictions, 0);
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
        cache.set_limit(10 * ENTRY_BYTES);
        insert(&cache, 1);
        assert_eq!(cache.stats().entries, 1);
    }

    #[test]
    fn the_largest_has_room_in_its_part() {
        struct Large(u64);
        impl HotValue for Large {
            fn cost_bytes(&self) -> u64 {
                self.0
            }
        }
        for capacity_bytes in [1 << 20, 100 << 20, 1 << 30, 100 << 30] {
            for largest_bytes in [1 << 10, 1 << 20, 100 << 20] {
                let cache = HotCache::<u64, Large>::new(capacity_bytes, largest_bytes);
                let fits = largest_bytes <= capacity_bytes / 10 * 9;
                cache.insert(1, Large(largest_bytes));
                assert_eq!(cache.contains(&1), fits, "{largest_bytes} of {capacity_bytes}");
            }
        }
    }

    #[test]
    fn the_limit_holds_while_many_write_and_it_changes() {
        let cache = empty(64 * ENTRY_BYTES);
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
        let stats = cache.stats();
        assert!(stats.bytes <= stats.limit_bytes, "{stats:?}");
        assert_eq!(stats.bytes, stats.entries * ENTRY_BYTES);
    }
}
