//! [`Part`]: some of the entries, under a lock and a limit of their own.
//!
//! `quick_cache` rounds down how many keys without values it may know whenever its limit changes, forgets its shares under a limit of
//! nothing, and keeps its table as large as it ever was. So under another limit another cache takes its place.

use std::hash::BuildHasherDefault;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

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

/// A part of a [`HotCache`](super::HotCache).
pub(super) struct Part<K, V> {
    held: RwLock<Held<K, V>>,
    evictions: Arc<AtomicU64>,
}

struct Held<K, V> {
    entries: Entries<K, V>,
    moved: Moved<K, V>,
}

/// Where what leaves is put from when another cache takes the place of this one.
type Moved<K, V> = Arc<OnceLock<Mutex<Vec<Entry<K, V>>>>>;

impl<K: Eq, V: HotValue> Part<K, V> {
    /// Under this limit; adds to `evictions`.
    pub(super) fn new(limit_bytes: u64, evictions: Arc<AtomicU64>) -> Self {
        Self { held: RwLock::new(Held::new(limit_bytes, &evictions)), evictions }
    }

    /// The value, which thereby proves itself.
    pub(super) fn get(&self, key: &Hashed<&K>) -> Option<Arc<V>> {
        self.held.read().entries.get(key).cloned()
    }

    pub(super) fn contains(&self, key: &Hashed<&K>) -> bool {
        self.held.read().entries.contains_key(key)
    }

    /// Takes a value in where it still `may_come`, which is asked when nobody else can change the part.
    pub(super) fn insert(&self, key: Hashed<K>, value: Arc<V>, may_come: impl FnOnce() -> bool) {
        let mut held = self.held.write();
        if may_come() {
            held.entries.insert(key, value);
        }
    }

    pub(super) fn remove(&self, key: &Hashed<&K>) {
        self.held.write().entries.remove(key);
    }

    /// Lets all go, and what is known of what went before.
    pub(super) fn clear(&self) {
        let before = self.replace(self.limit_bytes());
        drop(before);
    }

    /// Not to be called by two at once. What has not moved yet is missed meanwhile, which costs its readers less than to wait for all.
    pub(super) fn set_limit(&self, limit_bytes: u64) {
        if limit_bytes == self.limit_bytes() && !self.is_sparse() {
            return;
        }
        let mut entries = self.replace(limit_bytes).into_coldest_first();
        let proven_bytes = limit_bytes / 100 * u64::from(PROVEN_PERCENT);
        put_warmest_first(&mut entries, proven_bytes);
        let mut entries = entries.into_iter();
        while entries.len() > 0 {
            let mut held = self.held.write();
            for (key, value) in entries.by_ref().take(MOVED_AT_ONCE) {
                // One that came meanwhile is no older.
                if !held.entries.contains_key(&key) {
                    held.entries.insert(key, value);
                }
            }
            RwLockWriteGuard::unlock_fair(held);
        }
    }

    /// Begins with nothing under this limit.
    fn replace(&self, limit_bytes: u64) -> Held<K, V> {
        let fresh = Held::new(limit_bytes, &self.evictions);
        mem::replace(&mut *self.held.write(), fresh)
    }

    /// Whether it has more than twice the slots that are of use: many small entries gave way to few large ones.
    fn is_sparse(&self) -> bool {
        let entries = self.held.read().entries.len();
        self.slots() > 2 * (entries + usual_entries(self.limit_bytes()) / 2)
    }

    pub(super) fn limit_bytes(&self) -> u64 {
        self.held.read().entries.capacity()
    }

    /// Bytes of the entries, and how many these are.
    pub(super) fn held(&self) -> (u64, u64) {
        let held = self.held.read();
        (held.entries.weight(), held.entries.len() as u64)
    }

    /// For how many entries and keys it has memory, about.
    pub(super) fn slots(&self) -> usize {
        let slots_bytes = self.held.read().entries.memory_used().entries;
        slots_bytes / (size_of::<Entry<K, V>>() + SLOT_OVERHEAD_BYTES)
    }
}

impl<K: Eq, V: HotValue> Held<K, V> {
    fn new(limit_bytes: u64, evictions: &Arc<AtomicU64>) -> Self {
        let options = OptionsBuilder::new()
            .weight_capacity(limit_bytes)
            .estimated_items_capacity(usual_entries(limit_bytes))
            .hot_allocation(f64::from(PROVEN_PERCENT) / 100.0)
            .build()
            .expect("all that has no default is said");
        let moved = Moved::default();
        let departures = Departures { evictions: Arc::clone(evictions), moved: Arc::clone(&moved) };
        let hasher = BuildHasherDefault::default();
        Self { entries: Cache::with_options(options, ByCost, hasher, departures), moved }
    }

    /// In the order in which they would make room.
    fn into_coldest_first(mut self) -> Vec<Entry<K, V>> {
        let all = self.entries.len();
        let moved = self.moved.get_or_init(|| Mutex::new(Vec::with_capacity(all)));
        self.entries.set_capacity(0);
        mem::take(&mut *moved.lock())
    }
}

fn usual_entries(limit_bytes: u64) -> usize {
    usize::try_from(limit_bytes / USUAL_COST_BYTES).unwrap_or(usize::MAX)
}

/// What comes into an empty cache first counts as proven while there is room among these: the warmest then, and after them the others,
/// both from their coldest on.
fn put_warmest_first<K, V: HotValue>(coldest_first: &mut [Entry<K, V>], mut proven_bytes: u64) {
    let has_no_room = |(_, value): &Entry<K, V>| match proven_bytes.checked_sub(value.cost_bytes())
    {
        Some(rest_bytes) => {
            proven_bytes = rest_bytes;
            false
        }
        None => true,
    };
    let others = coldest_first.iter().rposition(has_no_room).map_or(0, |last| last + 1);
    coldest_first.rotate_left(others);
}

struct ByCost;

impl<K, V: HotValue> Weighter<Hashed<K>, Arc<V>> for ByCost {
    fn weight(&self, _: &Hashed<K>, value: &Arc<V>) -> u64 {
        value.cost_bytes()
    }
}

/// Counts what goes to make room; what is replaced, removed or moved does not.
struct Departures<K, V> {
    evictions: Arc<AtomicU64>,
    moved: Moved<K, V>,
}

impl<K, V> Lifecycle<Hashed<K>, Arc<V>> for Departures<K, V> {
    type RequestState = ();

    fn before_evict(&self, (): &mut (), _: &Hashed<K>, _: &mut Arc<V>) {
        if self.moved.get().is_none() {
            self.evictions.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn on_evict(&self, (): &mut (), key: Hashed<K>, value: Arc<V>) {
        if let Some(moved) = self.moved.get() {
            moved.lock().push((key, value));
        }
    }
}
