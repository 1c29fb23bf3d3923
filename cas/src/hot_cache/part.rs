//! [`Part`]: some of the entries, under a lock and a limit of their own.
//!
//! `quick_cache` rounds down how many keys without values it may know whenever its limit changes, forgets its shares under a limit of
//! nothing, and keeps its table as large as it ever was. So under another limit another cache takes its place.
//!
//! Invariant: what waits to move into it and what is in it together take no more than the limit before or the limit now, whichever is
//! more. Locks guard operations of a table; values are freed after.

use std::hash::BuildHasherDefault;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock, RwLockWriteGuard};
use quick_cache::unsync::Cache;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};

use super::HotValue;
use super::hashed::{Hashed, KnownHash};

/// The rest is for what has not proved itself; what was stored a moment ago and is read soon is in it.
const PROVEN_PERCENT: u32 = 90;

/// By which the number of entries is estimated that went and are still known, half as many as stay.
const USUAL_COST_BYTES: u64 = 4 * 1024;

/// So many entries move at once into another cache: who looks something up waits for them at most.
const MOVED_AT_ONCE: usize = 256;

/// What a slot has beside an entry: its state, its use, and its place in a list.
const SLOT_OVERHEAD_BYTES: usize = 24;

type Entry<K, V> = (Hashed<K>, Arc<V>);
type Entries<K, V> =
    Cache<Hashed<K>, Arc<V>, ByCost, BuildHasherDefault<KnownHash>, Departures<K, V>>;

/// What of a limit is for what proved itself. A value that costs more is not taken in.
pub(super) fn proven_bytes(limit_bytes: u64) -> u64 {
    limit_bytes / 100 * u64::from(PROVEN_PERCENT)
}

/// A part of a [`HotCache`](super::HotCache).
pub(super) struct Part<K, V> {
    held: RwLock<Held<K, V>>,
    evictions: Arc<AtomicU64>,
}

struct Held<K, V> {
    entries: Entries<K, V>,
    departed: Arc<Mutex<Departed<K, V>>>,
    /// What is still to come from the cache that was here before. Until it has come, nothing else does.
    waiting: Option<Size>,
}

/// How much is in a part.
#[derive(Clone, Copy, Default)]
pub(super) struct Size {
    pub(super) bytes: u64,
    pub(super) entries: u64,
}

/// What has left a cache, in the order in which it did, and is to be freed or moved.
struct Departed<K, V> {
    newcomers: Vec<Entry<K, V>>,
    proven: Vec<Entry<K, V>>,
    /// How many of them made room, or found none; the others were replaced.
    evictions: u64,
}

impl<K: Eq, V: HotValue> Part<K, V> {
    /// Under this limit; adds to `evictions`.
    pub(super) fn new(limit_bytes: u64, evictions: Arc<AtomicU64>) -> Self {
        Self { held: RwLock::new(Held::new(limit_bytes)), evictions }
    }

    /// The value, which thereby proves itself.
    pub(super) fn get(&self, key: &Hashed<&K>) -> Option<Arc<V>> {
        self.held.read().entries.get(key).cloned()
    }

    pub(super) fn contains(&self, key: &Hashed<&K>) -> bool {
        self.held.read().entries.contains_key(key)
    }

    /// Takes a value in unless it costs too much, the part moves, or it may not come, which is asked when nobody else can change the
    /// part.
    pub(super) fn insert(&self, key: Hashed<K>, value: Arc<V>, may_come: impl FnOnce() -> bool) {
        let mut held = self.held.write();
        if held.waiting.is_some()
            || value.cost_bytes() > proven_bytes(held.entries.capacity())
            || !may_come()
        {
            return;
        }
        held.entries.insert(key, value);
        let departed = held.take_departed();
        drop(held);
        self.count(&departed);
    }

    pub(super) fn remove(&self, key: &Hashed<&K>) {
        let removed = self.held.write().entries.remove(key);
        drop(removed);
    }

    /// Lets all go, and what is known of what went before.
    pub(super) fn clear(&self) {
        let fresh = Held::new(self.limit_bytes());
        let before = mem::replace(&mut *self.held.write(), fresh);
        drop(before);
    }

    /// Not to be called by two at once. What has not moved yet is missed meanwhile, which costs its readers less than to wait for all.
    pub(super) fn set_limit(&self, limit_bytes: u64) {
        if limit_bytes == self.limit_bytes() && !self.is_sparse() {
            return;
        }
        let mut entries = self.replace(limit_bytes).into_moving(limit_bytes).peekable();
        while entries.peek().is_some() {
            let mut held = self.held.write();
            for (key, value) in entries.by_ref().take(MOVED_AT_ONCE) {
                held.move_in(key, value);
            }
            let departed = held.take_departed();
            RwLockWriteGuard::unlock_fair(held);
            self.count(&departed);
        }
        self.held.write().waiting = None;
    }

    /// Begins anew under this limit; what was here is to move in.
    fn replace(&self, limit_bytes: u64) -> Held<K, V> {
        let mut held = self.held.write();
        let fresh = Held { waiting: Some(held.size()), ..Held::new(limit_bytes) };
        mem::replace(&mut *held, fresh)
    }

    fn count(&self, departed: &Departed<K, V>) {
        if departed.evictions > 0 {
            self.evictions.fetch_add(departed.evictions, Ordering::Relaxed);
        }
    }

    /// Whether it has more than twice the slots that are of use: many small entries gave way to few large ones.
    fn is_sparse(&self) -> bool {
        let entries = self.held.read().entries.len();
        self.slots() > 2 * (entries + usual_entries(self.limit_bytes()) / 2)
    }

    pub(super) fn limit_bytes(&self) -> u64 {
        self.held.read().entries.capacity()
    }

    /// What is held, what waits to move included.
    pub(super) fn size(&self) -> Size {
        self.held.read().size()
    }

    /// How many entries and keys its slab has had at once; its memory may be for twice as many.
    pub(super) fn slots(&self) -> usize {
        let slots_bytes = self.held.read().entries.memory_used().entries;
        slots_bytes / (size_of::<Entry<K, V>>() + SLOT_OVERHEAD_BYTES)
    }
}

impl<K: Eq, V: HotValue> Held<K, V> {
    fn new(limit_bytes: u64) -> Self {
        let options = OptionsBuilder::new()
            .weight_capacity(limit_bytes)
            .estimated_items_capacity(usual_entries(limit_bytes))
            .hot_allocation(f64::from(PROVEN_PERCENT) / 100.0)
            .build()
            .expect("all that has no default is said");
        let departed = Arc::<Mutex<Departed<K, V>>>::default();
        let departures = Departures(Arc::clone(&departed));
        let entries =
            Cache::with_options(options, ByCost, BuildHasherDefault::default(), departures);
        Self { entries, departed, waiting: None }
    }

    fn size(&self) -> Size {
        let Size { bytes, entries } = self.waiting.unwrap_or_default();
        Size { bytes: bytes + self.entries.weight(), entries: entries + self.entries.len() as u64 }
    }

    fn take_departed(&self) -> Departed<K, V> {
        mem::take(&mut *self.departed.lock())
    }

    fn move_in(&mut self, key: Hashed<K>, value: Arc<V>) {
        if let Some(waiting) = &mut self.waiting {
            waiting.bytes -= value.cost_bytes();
            waiting.entries -= 1;
        }
        self.entries.insert(key, value);
    }

    /// All entries, as they are to come into an empty cache, where what comes first counts as proven while there is room among these:
    /// the warmest for which there is, and after them the others, both from their coldest on.
    fn into_moving(mut self, limit_bytes: u64) -> impl Iterator<Item = Entry<K, V>> {
        self.entries.set_capacity(0);
        let Departed { newcomers, proven, .. } = self.take_departed();
        let mut room_bytes = proven_bytes(limit_bytes);
        let has_room = |(_, value): &Entry<K, V>| {
            let rest_bytes = room_bytes.checked_sub(value.cost_bytes());
            rest_bytes.inspect(|rest_bytes| room_bytes = *rest_bytes).is_some()
        };
        let warmest_first = newcomers.into_iter().chain(proven).rev();
        let (proven, others): (Vec<_>, Vec<_>) = warmest_first.partition(has_room);
        proven.into_iter().rev().chain(others.into_iter().rev())
    }
}

fn usual_entries(limit_bytes: u64) -> usize {
    usize::try_from(limit_bytes / USUAL_COST_BYTES).unwrap_or(usize::MAX)
}

struct ByCost;

impl<K, V: HotValue> Weighter<Hashed<K>, Arc<V>> for ByCost {
    fn weight(&self, _: &Hashed<K>, value: &Arc<V>) -> u64 {
        value.cost_bytes()
    }
}

/// Keeps what leaves a cache for who called it.
struct Departures<K, V>(Arc<Mutex<Departed<K, V>>>);

impl<K, V> Lifecycle<Hashed<K>, Arc<V>> for Departures<K, V> {
    type RequestState = ();

    /// Not called for what is replaced.
    fn before_evict(&self, (): &mut (), _: &Hashed<K>, _: &mut Arc<V>) {
        self.0.lock().evictions += 1;
    }

    fn on_evict_cold(&self, (): &mut (), key: Hashed<K>, value: Arc<V>) {
        self.0.lock().newcomers.push((key, value));
    }

    fn on_evict_hot(&self, (): &mut (), key: Hashed<K>, value: Arc<V>) {
        self.0.lock().proven.push((key, value));
    }
}

impl<K, V> Default for Departed<K, V> {
    fn default() -> Self {
        Self { newcomers: Vec::new(), proven: Vec::new(), evictions: 0 }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;
    use std::sync::Weak;
    use std::sync::atomic::AtomicBool;

    use super::*;

    struct Costly(u64);

    impl HotValue for Costly {
        fn cost_bytes(&self) -> u64 {
            self.0
        }
    }

    fn hashed<Q>(number: u64, key: Q) -> Hashed<Q> {
        Hashed { hash: number.wrapping_mul(0x9e37_79b9_7f4a_7c15), key }
    }

    fn part<V: HotValue>(limit_bytes: u64) -> Part<u64, V> {
        Part::new(limit_bytes, Arc::default())
    }

    fn insert<V: HotValue>(part: &Part<u64, V>, number: u64, value: V) {
        part.insert(hashed(number, number), Arc::new(value), || true);
    }

    fn get<V: HotValue>(part: &Part<u64, V>, number: u64) -> Option<Arc<V>> {
        part.get(&hashed(number, &number))
    }

    fn count<V: HotValue>(part: &Part<u64, V>, numbers: Range<u64>) -> usize {
        numbers.filter(|number| part.contains(&hashed(*number, number))).count()
    }

    /// Full: the first 90 are proven, and of 200 newcomers the last 10 are still here.
    fn with_newcomers() -> Part<u64, Costly> {
        let part = part(100_000);
        (0..90).for_each(|number| insert(&part, number, Costly(1_000)));
        assert!((0..90).all(|number| get(&part, number).is_some()));
        (1_000..1_200).for_each(|number| insert(&part, number, Costly(1_000)));
        assert_eq!((count(&part, 0..90), count(&part, 1_190..1_200)), (90, 10));
        part
    }

    #[test]
    fn a_newcomer_that_was_read_leaves_what_is_proven_its_place() {
        for read in [&[][..], &[1_190], &[1_195], &[1_199]] {
            for steps in [&[75, 56, 42, 31, 23, 17, 12, 9, 6][..], &[50], &[25], &[12]] {
                let part = with_newcomers();
                assert!(read.iter().all(|number| get(&part, *number).is_some()));
                for entries in steps {
                    part.set_limit(entries * 1_000);
                    let proven = count(&part, 0..90) + read.len();
                    assert!(proven as u64 >= *entries, "{read:?} read, {proven} of {entries}");
                }
            }
        }
    }

    #[test]
    fn a_large_one_that_was_asked_for_leaves_the_others_their_places() {
        for (large_bytes, limit_bytes, expect) in [(50_000, 40_000, 36), (30_000, 31_000, 27)] {
            let part = part(100_000);
            (0..40).for_each(|number| insert(&part, number, Costly(1_000)));
            insert(&part, 999, Costly(large_bytes));
            assert!((0..40).chain([999]).all(|number| get(&part, number).is_some()));
            (1_000..1_200).for_each(|number| insert(&part, number, Costly(1_000)));
            assert_eq!(count(&part, 0..40), 40);
            part.set_limit(limit_bytes);
            (2_000..2_200).for_each(|number| insert(&part, number, Costly(1_000)));
            assert_eq!(count(&part, 0..40), expect, "{large_bytes} B under {limit_bytes} B");
        }
    }

    #[test]
    fn what_waits_to_move_counts_and_keeps_others_out() {
        static ALIVE: AtomicU64 = AtomicU64::new(0);
        static MOST_ALIVE: AtomicU64 = AtomicU64::new(0);
        struct Live;
        impl Live {
            fn new() -> Self {
                let alive = ALIVE.fetch_add(1, Ordering::Relaxed) + 1;
                MOST_ALIVE.fetch_max(alive, Ordering::Relaxed);
                Self
            }
        }
        impl Drop for Live {
            fn drop(&mut self) {
                ALIVE.fetch_sub(1, Ordering::Relaxed);
            }
        }
        impl HotValue for Live {
            fn cost_bytes(&self) -> u64 {
                1_000
            }
        }

        let part = part(20_000_000);
        (0..20_000).for_each(|number| insert(&part, number, Live::new()));
        let is_done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let numbers = (20_000..).take_while(|_| !is_done.load(Ordering::Relaxed));
                numbers.for_each(|number| insert(&part, number, Live::new()));
            });
            scope.spawn(|| {
                while !is_done.load(Ordering::Relaxed) {
                    let size = part.size();
                    assert!((19_000..=20_000).contains(&size.entries), "{}", size.entries);
                    assert_eq!(size.bytes, size.entries * 1_000);
                }
            });
            for _ in 0..10 {
                part.set_limit(19_000_000);
                part.set_limit(20_000_000);
            }
            is_done.store(true, Ordering::Relaxed);
        });
        // One is there before it comes in.
        assert!(MOST_ALIVE.load(Ordering::Relaxed) <= 20_001);
        (0..1_000).for_each(|number| insert(&part, number, Live::new()));
        assert_eq!(count(&part, 999..1_000), 1, "they come in again");
    }

    #[test]
    fn values_are_freed_when_the_lock_is() {
        struct Watcher(Weak<Part<u64, Watcher>>, Arc<AtomicU64>);
        impl HotValue for Watcher {
            fn cost_bytes(&self) -> u64 {
                1_000
            }
        }
        impl Drop for Watcher {
            fn drop(&mut self) {
                if self.0.upgrade().is_some_and(|part| part.held.try_write().is_some()) {
                    self.1.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        let part = Arc::new(part(100_000));
        let freed_unlocked = Arc::<AtomicU64>::default();
        let insert = |number| {
            insert(&part, number, Watcher(Arc::downgrade(&part), Arc::clone(&freed_unlocked)));
        };
        (0..110).for_each(insert);
        let check = |expect| assert_eq!(freed_unlocked.swap(0, Ordering::Relaxed), expect);
        check(10);
        insert(50);
        check(1);
        part.remove(&hashed(50, &50));
        check(1);
        part.set_limit(60_000);
        check(39);
        part.clear();
        check(60);
        part.set_limit(500);
        insert(1);
        check(1);
    }
}
