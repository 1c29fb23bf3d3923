//! [`HotCache`]: what is worth keeping in memory, under a limit that can change.
//!
//! What comes in must prove itself: it is among the first to go until it is asked for again, and comes back as one of the others where
//! it is asked for soon after it went (`quick_cache`'s S3-FIFO). docs/adr/0014-memory-cache.md has why this one, and numbers.

mod hashed;
mod part;

use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use quick_cache::DefaultHashBuilder;

use hashed::Hashed;
use part::{Part, Size, proven_bytes};

/// A part, which has a lock and a limit of its own, is not smaller than this …
const LEAST_PART_BYTES: u64 = 32 * 1024 * 1024;
/// … and has room for so many of the largest values.
const LARGEST_IN_PART: u64 = 4;
/// More do not make it less likely that two threads meet.
const MOST_PARTS: u64 = 64;

/// What a [`HotCache`] keeps.
pub trait HotValue: Send + Sync + 'static {
    /// The memory that it takes, its key and the cache's own bookkeeping included; never nothing. The same at every call: the
    /// cache adds it on the way in and takes it off on the way out.
    fn cost_bytes(&self) -> u64;
}

/// What a [`HotCache`] holds, and what happened to it since the start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct HotStats {
    /// Bytes of its entries, their bookkeeping included.
    pub bytes: u64,
    /// What it may hold now; less than its capacity while memory is short. It holds more until what is over it has gone.
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

/// From one [`HotCache::clear`] to the next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HotEpoch(u64);

/// Values under a limit in bytes.
pub struct HotCache<K, V> {
    /// A power of two of them.
    parts: Box<[Part<K, V>]>,
    hasher: DefaultHashBuilder,
    capacity_bytes: u64,
    limit_bytes: AtomicU64,
    /// Held by who changes all parts, so that none is left with another's limit.
    change: Mutex<()>,
    epoch: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
    evictions: Arc<AtomicU64>,
    started: Instant,
}

impl<K: Eq + Hash, V: HotValue> HotCache<K, V> {
    /// Holds at most `capacity_bytes`, and values that cost up to `largest_bytes` unless these are nearly all that it may hold.
    pub fn new(capacity_bytes: u64, largest_bytes: u64) -> Self {
        let least_bytes = largest_bytes.saturating_mul(LARGEST_IN_PART).max(LEAST_PART_BYTES);
        let parts = 1 << (capacity_bytes / least_bytes).clamp(1, MOST_PARTS).ilog2();
        let evictions = Arc::<AtomicU64>::default();
        let part = |_| Part::new(capacity_bytes / parts, Arc::clone(&evictions));
        Self {
            parts: (0..parts).map(part).collect(),
            hasher: DefaultHashBuilder::default(),
            capacity_bytes,
            limit_bytes: AtomicU64::new(capacity_bytes),
            change: Mutex::new(()),
            epoch: AtomicU64::new(0),
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
        let found = self.get_uncounted(key).filter(|value| is_good(value));
        let count = if found.is_some() { &self.hits } else { &self.misses };
        count.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// The value; not counted.
    pub fn get_uncounted(&self, key: &K) -> Option<Arc<V>> {
        let key = self.hashed(key);
        self.part(&key).get(&key)
    }

    /// Whether it is here; not counted.
    pub fn contains(&self, key: &K) -> bool {
        let key = self.hashed(key);
        self.part(&key).contains(&key)
    }

    /// Whether a value that costs so much is taken in under the limit that holds now: up to nine tenths of a part's share of it.
    pub fn admits(&self, cost_bytes: u64) -> bool {
        cost_bytes <= proven_bytes(self.part_limit_bytes())
    }

    /// Takes a value in, and makes room for it. Not while its part moves to another limit, some milliseconds, and not where it costs too
    /// much ([`admits`](Self::admits)): what is there under the key then stays.
    pub fn insert(&self, key: K, value: V) {
        let key = self.hashed(key);
        self.part(&key).insert(key, Arc::new(value), || true);
    }

    /// To be asked for before a value is read that must not come in once all was let go.
    pub fn epoch(&self) -> HotEpoch {
        HotEpoch(self.epoch.load(Ordering::Acquire))
    }

    /// Takes a value in that was read in this epoch, unless the epoch is over.
    pub fn insert_of(&self, epoch: HotEpoch, key: K, value: V) {
        let key = self.hashed(key);
        // A part is emptied after the epoch is over, so what comes in too early to be refused goes with the rest.
        self.part(&key).insert(key, Arc::new(value), || self.epoch() == epoch);
    }

    /// Lets a value go that is of no more use. It may be back when the limit changes meanwhile.
    pub fn remove(&self, key: &K) {
        let key = self.hashed(key);
        self.part(&key).remove(&key);
    }

    /// Changes what may be held, up to the capacity; what is over the new limit goes at once, the coldest first, and so does what costs
    /// too much for it ([`admits`](Self::admits)), whatever the largest was said to be. Takes time in proportion to what is here. Reads
    /// go on meanwhile, and miss some of it; nothing comes into the part that is at it. Under the same limit only tables that are far
    /// too large by now are given back.
    pub fn set_limit(&self, limit_bytes: u64) {
        let _alone = self.change.lock();
        let limit_bytes = limit_bytes.min(self.capacity_bytes);
        self.limit_bytes.store(limit_bytes, Ordering::Relaxed);
        let part_bytes = self.part_limit_bytes();
        self.parts.iter().for_each(|part| part.set_limit(part_bytes));
    }

    /// Lets all go, and the memory of its tables. Nothing of that counts as evicted.
    pub fn clear(&self) {
        let _alone = self.change.lock();
        self.epoch.fetch_add(1, Ordering::Release);
        self.parts.iter().for_each(Part::clear);
    }

    /// What it holds and did.
    pub fn stats(&self) -> HotStats {
        let sizes = self.parts.iter().map(Part::size);
        let held = sizes.fold(Size::default(), |sum, part| Size {
            bytes: sum.bytes + part.bytes,
            entries: sum.entries + part.entries,
        });
        HotStats {
            bytes: held.bytes,
            limit_bytes: self.limit_bytes.load(Ordering::Relaxed),
            capacity_bytes: self.capacity_bytes,
            entries: held.entries,
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

    fn part_limit_bytes(&self) -> u64 {
        self.limit_bytes.load(Ordering::Relaxed) / self.parts.len() as u64
    }

    fn hashed<Q: Hash>(&self, key: Q) -> Hashed<Q> {
        Hashed { hash: self.hasher.hash_one(&key), key }
    }

    fn part<Q>(&self, key: &Hashed<Q>) -> &Part<K, V> {
        // The table of a part uses the bits at both ends.
        let part = (key.hash >> 32) & (self.parts.len() as u64 - 1);
        &self.parts[usize::try_from(part).expect("less than there are parts")]
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

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

    /// Of a cache for 100 entries: its first 50 are used, and stay.
    fn check_that_what_was_asked_for_outlives_what_was_only_stored(cache: &HotCache<u64, Thing>) {
        (0..50).for_each(|number| insert(cache, number));
        for _ in 0..2 {
            assert!((0..50).all(|number| cache.get(&number).is_some()));
        }
        // As many writes as would fill it ten times.
        (1_000..2_000).for_each(|number| insert(cache, number));
        assert!((0..50).all(|number| cache.contains(&number)));
        assert_eq!(cache.stats().entries, 100);
        // What was stored last is still there, a tenth of all.
        assert!((1_990..2_000).all(|number| cache.contains(&number)));
    }

    /// Of a cache for 100 entries that is full: what comes again soon after it went is kept as if it had been used.
    fn check_that_what_went_is_known(cache: &HotCache<u64, Thing>) {
        (3_000..4_000).for_each(|number| insert(cache, number));
        let went = (3_000..4_000).rev().find(|number| !cache.contains(number)).expect("most went");
        insert(cache, went);
        (5_000..5_050).for_each(|number| insert(cache, number));
        assert!(cache.contains(&went), "{went} is not known");
    }

    #[test]
    fn what_was_asked_for_outlives_what_was_only_stored() {
        let cache = empty(100 * ENTRY_BYTES);
        check_that_what_was_asked_for_outlives_what_was_only_stored(&cache);
        check_that_what_went_is_known(&cache);
    }

    #[test]
    fn it_knows_as_much_after_it_was_emptied() {
        let cache = filled(200, 100 * ENTRY_BYTES);
        cache.clear();
        check_that_what_was_asked_for_outlives_what_was_only_stored(&cache);
        check_that_what_went_is_known(&cache);
    }

    #[test]
    fn it_knows_as_much_after_its_limit_fell_and_rose() {
        let limits = [[0, 100], [1, 100], [40, 100], [60, 100], [99, 100]];
        for steps in limits {
            let cache = filled(200, 100 * ENTRY_BYTES);
            for _ in 0..100 {
                for entries in steps {
                    cache.set_limit(entries * ENTRY_BYTES);
                }
            }
            check_that_what_was_asked_for_outlives_what_was_only_stored(&cache);
            check_that_what_went_is_known(&cache);
        }
    }

    #[test]
    fn what_was_asked_for_outlives_a_limit_that_falls_and_rises() {
        let cache = filled(100, 100 * ENTRY_BYTES);
        let warm: Vec<u64> = (0..100).filter(|number| number % 14 == 3).collect();
        for number in &warm {
            assert!(cache.get(number).is_some());
        }
        for entries in [75, 30, 8, 100] {
            cache.set_limit(entries * ENTRY_BYTES);
            assert!(warm.iter().all(|number| cache.contains(number)), "{entries} entries");
        }
    }

    #[test]
    fn to_empty_it_leaves_its_limit_and_its_counts() {
        let cache = filled(50, 100 * ENTRY_BYTES);
        cache.set_limit(40 * ENTRY_BYTES);
        let hits = (0..50).filter(|number| cache.get(number).is_some()).count();
        assert_eq!(hits, 40);
        cache.clear();
        let expect = HotStats {
            bytes: 0,
            limit_bytes: 40 * ENTRY_BYTES,
            capacity_bytes: 100 * ENTRY_BYTES,
            entries: 0,
            hits: 40,
            misses: 10,
            evictions: 10,
        };
        assert_eq!(cache.stats(), expect);
        (0..50).for_each(|number| insert(&cache, number));
        assert_eq!(cache.stats().entries, 40);
    }

    #[test]
    fn what_was_read_before_it_was_emptied_does_not_come_in_after() {
        let cache = empty(100 * ENTRY_BYTES);
        let before = cache.epoch();
        cache.insert_of(before, 1, Thing(1));
        assert!(cache.contains(&1));
        cache.clear();
        cache.insert_of(before, 1, Thing(1));
        assert!(!cache.contains(&1));
        cache.insert_of(cache.epoch(), 1, Thing(1));
        assert!(cache.contains(&1));
    }

    #[test]
    fn what_is_read_while_it_is_emptied_does_not_stay() {
        let cache = empty(100 * ENTRY_BYTES);
        for round in 0..200 {
            std::thread::scope(|scope| {
                let (cache, epoch) = (&cache, cache.epoch());
                scope.spawn(move || {
                    (0..50).for_each(|number| cache.insert_of(epoch, number, Thing(number)));
                });
                scope.spawn(|| cache.clear());
            });
            assert_eq!(cache.stats().entries, 0, "round {round}");
        }
    }

    #[test]
    fn tables_are_as_large_as_the_limit_asks_for() {
        let cache = filled(20_000, 20_000 * ENTRY_BYTES);
        let slots = || cache.parts.iter().map(Part::slots).sum::<usize>();
        assert_eq!(slots(), 20_000);
        // Keys that went take an eighth more.
        for (entries, most) in [(15_000, 17_000), (10_000, 11_300), (6_000, 6_800)] {
            cache.set_limit(entries * ENTRY_BYTES);
            assert_eq!(cache.stats().entries, entries);
            assert!(slots() <= most, "{} for {entries}", slots());
        }
        cache.clear();
        assert_eq!(slots(), 0);
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
        let check = |cache: &HotCache<u64, Thing>, evictions| {
            let stats = cache.stats();
            assert_eq!((stats.bytes, stats.entries, stats.evictions), (0, 0, evictions));
            assert!(cache.get(&1).is_none());
        };
        check(&filled(10, 0), 0);
        let cache = filled(10, 10 * ENTRY_BYTES);
        cache.set_limit(0);
        insert(&cache, 1);
        check(&cache, 10);
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
                assert_eq!(cache.admits(largest_bytes), fits);
                cache.insert(1, Large(largest_bytes));
                assert_eq!(cache.contains(&1), fits, "{largest_bytes} of {capacity_bytes}");
                assert_eq!(cache.stats().evictions, 0);
                cache.set_limit(largest_bytes);
                assert!(!cache.admits(largest_bytes) && !cache.contains(&1));
                assert_eq!(cache.stats().evictions, u64::from(fits));
            }
        }
    }

    #[test]
    fn it_holds_what_it_says_whatever_is_done_at_once() {
        let cache = empty(200 * ENTRY_BYTES);
        let check = |most_bytes| {
            let stats = cache.stats();
            assert!(stats.bytes <= most_bytes, "{stats:?}");
            assert_eq!(stats.bytes, stats.entries * ENTRY_BYTES);
        };
        let use_it = |mut random: u64| {
            for _ in 0..2_000 {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let number = random % 400;
                match random >> 60 {
                    0..7 => assert!(cache.get(&number).is_none_or(|thing| thing.0 == number)),
                    7..12 => insert(&cache, number),
                    12 => cache.remove(&number),
                    _ => cache.insert_of(cache.epoch(), number, Thing(number)),
                }
            }
        };
        for round in 1..=20 {
            std::thread::scope(|scope| {
                (1..=3)
                    .for_each(|thread| drop(scope.spawn(move || use_it(round * 7_919 * thread))));
                scope.spawn(|| {
                    (1..=20)
                        .for_each(|step| cache.set_limit(step * (round + 36) % 201 * ENTRY_BYTES));
                });
                scope.spawn(|| (0..5).for_each(|_| cache.clear()));
                (0..200).for_each(|_| check(cache.capacity_bytes()));
            });
            check(cache.stats().limit_bytes);
            let there = (0..400).filter(|number| cache.contains(number)).count();
            assert_eq!(cache.stats().entries, there as u64);
        }
    }

    #[test]
    fn a_table_does_not_stay_large_when_large_values_come() {
        struct Sized(u64);
        impl HotValue for Sized {
            fn cost_bytes(&self) -> u64 {
                self.0
            }
        }
        let cache = HotCache::<u64, Sized>::new(1 << 24, 1 << 20);
        let fill = |count: u64, cost_bytes| {
            for number in 0..count {
                cache.insert(number << 32 | cost_bytes, Sized(cost_bytes));
                assert!(cache.get_uncounted(&(number << 32 | cost_bytes)).is_some());
            }
        };
        let slots = || cache.parts.iter().map(Part::slots).sum::<usize>();
        fill(1 << 16, 1 << 8);
        cache.set_limit(1 << 24);
        assert_eq!(slots(), 1 << 16);
        fill(1 << 14, 1 << 12);
        let warm: Vec<u64> =
            (0..1 << 14).filter(|number| cache.contains(&(number << 32 | 1 << 12))).collect();
        assert_eq!((slots(), warm.len()), (1 << 16, 1 << 12));
        cache.set_limit(1 << 24);
        assert!(slots() < 2 << 12, "{}", slots());
        assert!(warm.iter().all(|number| cache.contains(&(number << 32 | 1 << 12))));
    }

    #[test]
    fn two_who_change_the_limit_leave_one_of_theirs() {
        let cache = empty(100 * ENTRY_BYTES);
        for round in 0..100 {
            let is_done = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let mut limits = [0, 100].into_iter().cycle();
                    while !is_done.load(Ordering::Relaxed)
                        && let Some(entries) = limits.next()
                    {
                        cache.set_limit(entries * ENTRY_BYTES);
                    }
                });
                for _ in 0..20 {
                    cache.set_limit(50 * ENTRY_BYTES);
                    cache.set_limit(75 * ENTRY_BYTES);
                }
                is_done.store(true, Ordering::Relaxed);
            });
            (0..200).for_each(|number| insert(&cache, number));
            let stats = cache.stats();
            assert_eq!(stats.bytes, stats.limit_bytes, "round {round}");
        }
    }
}
