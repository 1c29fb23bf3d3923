//! [`Table`]: the index in memory, the only thing that `contains` asks.
//!
//! 256 shards by the first byte of the hash, each behind its own lock, which is held for one table operation and never
//! across I/O. Keys are shortened; the record on disk confirms the whole key when it is read.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{RwLock, RwLockReadGuard};

use crate::shard::{Candidates, Home, Mixer, Shard};
use crate::slot::{Entry, Location, ShortKey, SlotRef};

/// Shards of a table.
pub(crate) const SHARDS: usize = 256;
/// Keys that are looked up at the same time: enough to wait for memory once instead of each time, few enough to stay in
/// the first cache.
const GROUP: usize = 64;

/// The index in memory.
#[derive(Debug)]
pub(crate) struct Table {
    /// Each lock guards one table operation.
    shards: Box<[RwLock<Shard>]>,
    mixer: Mixer,
    /// Keys that were taken out. Counted behind the lock of the key's shard: who reads the count and then finds the key there, and
    /// later reads the same count, knows that the key has been there all the while.
    removals: AtomicU64,
}

/// What an entry that was offered came upon.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Offered {
    Inserted,
    /// It took the place of an older one.
    Replaced(Entry),
    /// What is there is at least as new.
    Ignored,
}

impl Table {
    pub(crate) fn new() -> Self {
        let random = RandomState::new();
        let mixer = Mixer { seed: (random.hash_one(0), random.hash_one(1)) };
        let shards = (0..=u8::MAX).map(|it| RwLock::new(Shard::new(it, mixer))).collect();
        Self { shards, mixer, removals: AtomicU64::new(0) }
    }

    /// Makes room for so many entries in all, if hashes are spread as hashes are.
    pub(crate) fn reserve(&self, entries: u64) {
        let share = usize::try_from(entries / SHARDS as u64).unwrap_or(0);
        let spread = share.isqrt() * 3;
        self.shards.iter().for_each(|shard| shard.write().reserve(share + spread));
    }

    /// What is known of a key.
    pub(crate) fn get(&self, key: &ShortKey) -> Option<Entry> {
        let shard = self.shard(key).read();
        shard.find(self.hash(key), |slot| slot.is(key)).map(|found| found.entry(shard.number()))
    }

    /// The logical size of the record whose key is like this one but for the size.
    pub(crate) fn size_of(&self, key: &ShortKey) -> Option<u64> {
        let shard = self.shard(key).read();
        let found = shard.find(self.hash(key), |slot| slot.is_like(key))?;
        Some(found.slot.logical_size_bytes())
    }

    /// Whether a key is there; extends its life.
    pub(crate) fn touch(&self, key: &ShortKey, now_s: u32) -> bool {
        self.touch_at(key, now_s).is_some()
    }

    /// Where a key is; extends its life.
    pub(crate) fn touch_at(&self, key: &ShortKey, now_s: u32) -> Option<Location> {
        let shard = self.shard(key).read();
        let found = shard.find(self.hash(key), |slot| slot.is(key))?;
        found.slot.touch(now_s);
        Some(found.location())
    }

    /// Which of many keys are there, in their order; extends their life. Cheaper than one by one: the shards are visited
    /// in order, and memory is asked for several keys at a time.
    pub(crate) fn touch_all(&self, keys: &[ShortKey], now_s: u32) -> Vec<bool> {
        let mut found = vec![false; keys.len()];
        for group in by_shard(keys).chunks(GROUP) {
            // Three passes, each of which asks for the memory that the next one reads.
            let mut locked: Vec<RwLockReadGuard<'_, Shard>> = Vec::with_capacity(GROUP);
            let mut homes = [(0, Home::default()); GROUP];
            for (home, index) in homes.iter_mut().zip(group) {
                let key = &keys[*index as usize];
                if locked.last().is_none_or(|last| last.number() != key.prefix[0]) {
                    // A writer holds one lock at a time and waits for none, so holding several for reading ends.
                    locked.push(self.shard(key).read());
                }
                let shard = locked.len() - 1;
                *home = (shard, locked[shard].home(self.hash(key)));
                locked[shard].prefetch_marks(home.1);
            }
            let mut candidates = [Candidates::default(); GROUP];
            for ((shard, home), candidates) in homes[..group.len()].iter().zip(&mut candidates) {
                *candidates = locked[*shard].candidates(*home);
                locked[*shard].prefetch_first(*candidates);
            }
            for (((shard, _), candidates), index) in homes.iter().zip(candidates).zip(group) {
                let key = &keys[*index as usize];
                if let Some((_, slot)) = locked[*shard].choose(candidates, |slot| slot.is(key)) {
                    slot.touch(now_s);
                    found[*index as usize] = true;
                }
            }
        }
        found
    }

    /// Adds an entry unless its key is there; says whether it did.
    pub(crate) fn insert_if_absent(&self, entry: &Entry) -> bool {
        self.update(entry, |_| false) == Offered::Inserted
    }

    /// Adds an entry, and returns the one it replaces.
    pub(crate) fn replace(&self, entry: &Entry) -> Option<Entry> {
        match self.update(entry, |_| true) {
            Offered::Replaced(old) => Some(old),
            Offered::Inserted | Offered::Ignored => None,
        }
    }

    /// Adds an entry unless what is there stands behind it in the log, or is a file.
    pub(crate) fn offer(&self, entry: &Entry) -> Offered {
        self.update(entry, |there| match (there, entry.location) {
            (Location::Pack { .. }, Location::Pack { .. }) => there < entry.location,
            _ => false,
        })
    }

    /// Removes a key if it is where `test` says.
    pub(crate) fn remove_if(
        &self,
        key: &ShortKey,
        test: impl Fn(Location) -> bool,
    ) -> Option<Entry> {
        let (mut shard, hash) = (self.shard(key).write(), self.hash(key));
        shard.find(hash, |slot| slot.is(key)).filter(|found| test(found.location()))?;
        let removed = shard.remove(hash, |slot| slot.is(key))?;
        self.removals.fetch_add(1, Ordering::AcqRel);
        Some(removed)
    }

    /// How many keys were taken out so far.
    pub(crate) fn removals(&self) -> u64 {
        self.removals.load(Ordering::Acquire)
    }

    /// Removes a key if it still is where the caller saw it.
    pub(crate) fn remove_at(&self, key: &ShortKey, location: Location) -> Option<Entry> {
        self.remove_if(key, |there| there == location)
    }

    /// Sets how often a key counts as asked for, if it still is where the caller saw it.
    pub(crate) fn set_hits(&self, key: &ShortKey, location: Location, hits: u8) {
        let mut shard = self.shard(key).write();
        let found = shard.find_mut(self.hash(key), |slot| slot.is(key));
        if let Some(found) = found.filter(|found| found.as_ref().location() == location) {
            found.slot.set_hits(hits);
        }
    }

    /// Notes that the log may hold an older record of a key; says whether there is one at all in the table.
    pub(crate) fn note_older(&self, key: &ShortKey) -> bool {
        let mut shard = self.shard(key).write();
        let found = shard.find_mut(self.hash(key), |slot| slot.is(key));
        found.map(|found| found.slot.note_older()).is_some()
    }

    /// Whether the log may hold an older record of a key that still is where the caller saw it.
    pub(crate) fn has_older(&self, key: &ShortKey, location: Location) -> bool {
        let shard = self.shard(key).read();
        let found = shard.find(self.hash(key), |slot| slot.is(key));
        found.is_some_and(|found| found.location() == location && found.slot.has_older())
    }

    /// Points a key to another place, keeping its recency; `None` if it is no longer where the caller saw it.
    pub(crate) fn relocate(&self, key: &ShortKey, from: Location, to: Location) -> Option<Entry> {
        let mut shard = self.shard(key).write();
        let number = shard.number();
        let mut found = shard.find_mut(self.hash(key), |slot| slot.is(key))?;
        if found.as_ref().location() != from {
            return None;
        }
        found.set_location(to);
        Some(found.as_ref().entry(number))
    }

    /// Shows all entries, a shard at a time; each shard is locked for readers meanwhile.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(&Entry)) {
        self.for_each_slot(|found, shard| visit(&found.entry(shard)));
    }

    /// Shows the entries of one shard, which is locked for readers meanwhile.
    pub(crate) fn for_each_in(&self, shard: usize, mut visit: impl FnMut(&Entry)) {
        let shard = self.shards[shard].read();
        shard.iter().for_each(|found| visit(&found.entry(shard.number())));
    }

    /// Shows all slots and the shards they are in, a shard at a time.
    pub(crate) fn for_each_slot(&self, mut visit: impl FnMut(SlotRef<'_>, u8)) {
        for shard in &self.shards {
            let shard = shard.read();
            shard.iter().for_each(|found| visit(found, shard.number()));
        }
    }

    fn update(&self, entry: &Entry, replaces: impl Fn(Location) -> bool) -> Offered {
        let mut shard = self.shard(&entry.key).write();
        let (number, hash) = (shard.number(), self.hash(&entry.key));
        let Some(mut found) = shard.find_mut(hash, |slot| slot.is(&entry.key)) else {
            shard.insert(hash, entry);
            return Offered::Inserted;
        };
        if !replaces(found.as_ref().location()) {
            found.slot.note_older();
            return Offered::Ignored;
        }
        let old = found.as_ref().entry(number);
        found.set(entry);
        found.slot.note_older();
        Offered::Replaced(old)
    }

    fn shard(&self, key: &ShortKey) -> &RwLock<Shard> {
        &self.shards[usize::from(key.prefix[0])]
    }

    fn hash(&self, key: &ShortKey) -> u64 {
        self.mixer.of_key(key)
    }
}

/// The places of the keys, those of one shard together.
fn by_shard(keys: &[ShortKey]) -> Vec<u32> {
    let mut places = [0_u32; SHARDS];
    for key in keys {
        places[usize::from(key.prefix[0])] += 1;
    }
    let mut begin = 0;
    for place in &mut places {
        begin += std::mem::replace(place, begin);
    }
    let mut order = vec![0; keys.len()];
    for (index, key) in (0..).zip(keys) {
        let place = &mut places[usize::from(key.prefix[0])];
        order[*place as usize] = index;
        *place += 1;
    }
    order
}

#[cfg(test)]
mod tests;
