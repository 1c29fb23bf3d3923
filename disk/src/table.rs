//! [`Table`]: the index in memory, the only thing that `contains` asks.
//!
//! 256 shards by the first byte of the hash, each an open-addressing table behind its own lock, which is held for one table
//! operation and never across I/O. A slot takes 48 bytes. Keys are shortened to the partition and 160 bits of the hash;
//! the record on disk confirms the whole key when it is read.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use hashbrown::HashTable;
use hashbrown::hash_table;
use parking_lot::RwLock;

use crate::key::{RecordKey, RecordKind};
use crate::prologue::Encoding;

/// Bytes of the hash that a slot keeps.
pub(crate) const PREFIX_BYTES: usize = 20;
/// Shards of a table.
pub(crate) const SHARDS: usize = 256;
const FILE_BIT: u64 = 1 << 63;

/// A key as the table sees it.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub(crate) struct ShortKey {
    pub(crate) partition: u16,
    pub(crate) prefix: [u8; PREFIX_BYTES],
    /// 0 for an action result.
    pub(crate) size_bytes: u64,
}

impl ShortKey {
    pub(crate) fn new(partition: u16, key: &RecordKey) -> Self {
        let mut prefix = [0; PREFIX_BYTES];
        let hash = key.hash().as_bytes();
        let length = hash.len().min(PREFIX_BYTES);
        prefix[..length].copy_from_slice(&hash[..length]);
        Self { partition, prefix, size_bytes: key.size_bytes() }
    }
}

/// Where a record's bytes are.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub(crate) enum Location {
    Pack { pack: u32, offset: u32 },
    File { sequence: u64 },
}

impl Location {
    /// `pack id << 32 | offset`, or the sequence number with the top bit set.
    pub(crate) fn to_bits(self) -> u64 {
        match self {
            Self::Pack { pack, offset } => u64::from(pack) << 32 | u64::from(offset),
            Self::File { sequence } => FILE_BIT | sequence,
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "takes the two halves apart")]
    pub(crate) fn from_bits(bits: u64) -> Self {
        if bits & FILE_BIT == 0 {
            Self::Pack { pack: (bits >> 32) as u32, offset: bits as u32 }
        } else {
            Self::File { sequence: bits & !FILE_BIT }
        }
    }
}

/// What the table knows of a record.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) struct Entry {
    pub(crate) key: ShortKey,
    pub(crate) kind: RecordKind,
    pub(crate) location: Location,
    /// Prologue and body.
    pub(crate) record_bytes: u64,
    pub(crate) logical_size_bytes: u64,
    pub(crate) encoding: Encoding,
    /// When it was last stored or asked for, seconds since 1970.
    pub(crate) recency_s: u32,
}

/// An [`Entry`] in 48 bytes.
#[derive(Debug)]
struct Slot {
    location: u64,
    prefix: [u8; PREFIX_BYTES],
    recency_s: AtomicU32,
    record_bytes: [u8; 6],
    logical_size_bytes: [u8; 6],
    partition: u16,
    kind_and_encoding: u8,
    /// Asked for since it was stored, or since eviction last passed.
    touched: AtomicBool,
}

const ACTION_RESULT_BIT: u8 = 1;
const ZSTD_BIT: u8 = 2;

const _: () = assert!(size_of::<Slot>() == 48);

impl Slot {
    fn new(entry: &Entry) -> Self {
        let kind = if entry.kind == RecordKind::ActionResult { ACTION_RESULT_BIT } else { 0 };
        let encoding = if entry.encoding == Encoding::Zstd { ZSTD_BIT } else { 0 };
        Self {
            location: entry.location.to_bits(),
            prefix: entry.key.prefix,
            recency_s: AtomicU32::new(entry.recency_s),
            record_bytes: to_six(entry.record_bytes),
            logical_size_bytes: to_six(entry.logical_size_bytes),
            partition: entry.key.partition,
            kind_and_encoding: kind | encoding,
            touched: AtomicBool::new(false),
        }
    }

    fn entry(&self) -> Entry {
        Entry {
            key: ShortKey {
                partition: self.partition,
                prefix: self.prefix,
                size_bytes: self.identity_size_bytes(),
            },
            kind: if self.is_action_result() { RecordKind::ActionResult } else { RecordKind::Blob },
            location: Location::from_bits(self.location),
            record_bytes: from_six(self.record_bytes),
            logical_size_bytes: from_six(self.logical_size_bytes),
            encoding: if self.kind_and_encoding & ZSTD_BIT == 0 {
                Encoding::Raw
            } else {
                Encoding::Zstd
            },
            recency_s: self.recency_s.load(Ordering::Relaxed),
        }
    }

    fn is_action_result(&self) -> bool {
        self.kind_and_encoding & ACTION_RESULT_BIT != 0
    }

    fn identity_size_bytes(&self) -> u64 {
        if self.is_action_result() { 0 } else { from_six(self.logical_size_bytes) }
    }

    fn is(&self, key: &ShortKey) -> bool {
        self.prefix == key.prefix
            && self.partition == key.partition
            && self.identity_size_bytes() == key.size_bytes
    }
}

/// The index in memory.
#[derive(Debug)]
pub(crate) struct Table {
    /// Each lock guards one table operation.
    shards: Box<[RwLock<HashTable<Slot>>]>,
    /// Clients choose the hashes of action results; this keeps them from choosing the buckets.
    seed: (u64, u64),
}

impl Table {
    pub(crate) fn new() -> Self {
        let random = RandomState::new();
        Self {
            shards: (0..SHARDS).map(|_| RwLock::new(HashTable::new())).collect(),
            seed: (random.hash_one(0), random.hash_one(1)),
        }
    }

    /// What is known of a key.
    pub(crate) fn get(&self, key: &ShortKey) -> Option<Entry> {
        self.shard(key).read().find(self.bucket(key), |slot| slot.is(key)).map(Slot::entry)
    }

    /// The logical size of the record whose key is like this one but for the size.
    pub(crate) fn size_of(&self, key: &ShortKey) -> Option<u64> {
        let alike = |slot: &Slot| slot.prefix == key.prefix && slot.partition == key.partition;
        let shard = self.shard(key).read();
        shard.find(self.bucket(key), alike).map(|slot| from_six(slot.logical_size_bytes))
    }

    /// Whether a key is there; extends its life.
    pub(crate) fn touch(&self, key: &ShortKey, now_s: u32) -> bool {
        let shard = self.shard(key).read();
        let Some(slot) = shard.find(self.bucket(key), |slot| slot.is(key)) else { return false };
        // Loads before stores: a line that all cores only read stays in all their caches.
        if slot.recency_s.load(Ordering::Relaxed) != now_s {
            slot.recency_s.store(now_s, Ordering::Relaxed);
        }
        if !slot.touched.load(Ordering::Relaxed) {
            slot.touched.store(true, Ordering::Relaxed);
        }
        true
    }

    /// Adds an entry unless its key is there; says whether it did.
    pub(crate) fn insert_if_absent(&self, entry: &Entry) -> bool {
        match self.entry_of(&mut self.shard(&entry.key).write(), &entry.key) {
            hash_table::Entry::Occupied(_) => false,
            hash_table::Entry::Vacant(vacant) => {
                vacant.insert(Slot::new(entry));
                true
            }
        }
    }

    /// Adds an entry, and returns the one it replaces.
    pub(crate) fn replace(&self, entry: &Entry) -> Option<Entry> {
        match self.entry_of(&mut self.shard(&entry.key).write(), &entry.key) {
            hash_table::Entry::Occupied(mut occupied) => {
                Some(std::mem::replace(occupied.get_mut(), Slot::new(entry)).entry())
            }
            hash_table::Entry::Vacant(vacant) => {
                vacant.insert(Slot::new(entry));
                None
            }
        }
    }

    /// Removes a key.
    pub(crate) fn remove(&self, key: &ShortKey) -> Option<Entry> {
        self.remove_if(key, |_| true)
    }

    /// Removes a key if it still is where the caller saw it.
    pub(crate) fn remove_at(&self, key: &ShortKey, location: Location) -> Option<Entry> {
        self.remove_if(key, |slot| slot.location == location.to_bits())
    }

    /// Takes the mark that a key was asked for, if it still is where the caller saw it.
    pub(crate) fn take_touched(&self, key: &ShortKey, location: Location) -> bool {
        self.shard(key)
            .read()
            .find(self.bucket(key), |slot| slot.is(key) && slot.location == location.to_bits())
            .is_some_and(|slot| slot.touched.swap(false, Ordering::Relaxed))
    }

    /// Points a key to another place, keeping its recency; `None` if it is no longer where the caller saw it.
    pub(crate) fn relocate(&self, key: &ShortKey, from: Location, to: Location) -> Option<Entry> {
        let mut shard = self.shard(key).write();
        let slot = shard.find_mut(self.bucket(key), |slot| slot.is(key))?;
        if slot.location != from.to_bits() {
            return None;
        }
        slot.location = to.to_bits();
        Some(slot.entry())
    }

    /// Shows all entries, a shard at a time; each shard is locked for readers meanwhile.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(&Entry)) {
        for shard in 0..SHARDS {
            self.for_each_in(shard, &mut visit);
        }
    }

    /// Shows the entries of one of [`SHARDS`] shards.
    pub(crate) fn for_each_in(&self, shard: usize, mut visit: impl FnMut(&Entry)) {
        self.shards[shard].read().iter().for_each(|slot| visit(&slot.entry()));
    }

    fn remove_if(&self, key: &ShortKey, test: impl FnOnce(&Slot) -> bool) -> Option<Entry> {
        let mut shard = self.shard(key).write();
        let occupied = shard.find_entry(self.bucket(key), |slot| slot.is(key)).ok()?;
        test(occupied.get()).then(|| occupied.remove().0.entry())
    }

    fn entry_of<'a>(
        &self,
        shard: &'a mut HashTable<Slot>,
        key: &ShortKey,
    ) -> hash_table::Entry<'a, Slot> {
        shard.entry(
            self.bucket(key),
            |slot| slot.is(key),
            |slot| self.mix(&slot.prefix, slot.partition),
        )
    }

    fn shard(&self, key: &ShortKey) -> &RwLock<HashTable<Slot>> {
        &self.shards[usize::from(key.prefix[0])]
    }

    fn bucket(&self, key: &ShortKey) -> u64 {
        self.mix(&key.prefix, key.partition)
    }

    /// A keyed hash of what already is a hash: one wide multiplication, its halves folded.
    #[expect(clippy::cast_possible_truncation, reason = "takes the two halves apart")]
    fn mix(&self, prefix: &[u8; PREFIX_BYTES], partition: u16) -> u64 {
        let (low, high) = (word(prefix, 0), word(prefix, 8));
        let left = low ^ self.seed.0 ^ u64::from(partition);
        let right = high ^ self.seed.1;
        let product = u128::from(left) * u128::from(right | 1);
        (product as u64) ^ ((product >> 64) as u64)
    }
}

fn word(bytes: &[u8; PREFIX_BYTES], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

/// The low 48 bits; sizes are checked against the limit before they come here.
pub(crate) fn to_six(value: u64) -> [u8; 6] {
    let mut six = [0; 6];
    six.copy_from_slice(&value.to_le_bytes()[..6]);
    six
}

pub(crate) fn from_six(six: [u8; 6]) -> u64 {
    let mut eight = [0; 8];
    eight[..6].copy_from_slice(&six);
    u64::from_le_bytes(eight)
}

#[cfg(test)]
mod tests;
