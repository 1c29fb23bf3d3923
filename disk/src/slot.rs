//! [`Slot`]: what the table keeps of a record, in 44 bytes; [`Entry`], the same as others see it.
//!
//! A slot is empty while its location is zero, which no record has: packs are counted from 1.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use crate::key::{RecordKey, RecordKind};
use crate::prologue::Encoding;

/// Bytes of the hash that a key keeps: 144 bits, so chance makes no two alike. Who seeks two that are finds only that one
/// of his own blobs hides the other.
pub(crate) const PREFIX_BYTES: usize = 18;
/// The most hits that are counted.
pub(crate) const HITS_LIMIT: u8 = 15;

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
        Self::of(partition, key.hash().as_bytes(), key.size_bytes())
    }

    pub(crate) fn of(partition: u16, hash: &[u8], size_bytes: u64) -> Self {
        let mut prefix = [0; PREFIX_BYTES];
        let length = hash.len().min(PREFIX_BYTES);
        prefix[..length].copy_from_slice(&hash[..length]);
        Self { partition, prefix, size_bytes }
    }
}

/// Where a record's bytes are. In packs, later ones are greater.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
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
    /// How often it was asked for since it was stored, or since eviction last took its hits; at most [`HITS_LIMIT`].
    pub(crate) hits: u8,
}

/// An [`Entry`] in 44 bytes. The first byte of the hash is left out: it is the number of the slot's shard.
#[derive(Default, Debug)]
pub(crate) struct Slot {
    recency_s: AtomicU32,
    /// Halves, the high one first: as one number it would align each slot to 48 bytes.
    location: [u32; 2],
    tail: [u8; PREFIX_BYTES - 1],
    /// Hits in the low four bits, then the flags below.
    flags: AtomicU8,
    partition: u16,
    record_bytes: [u8; 6],
    logical_size_bytes: [u8; 6],
}

const ACTION_RESULT_BIT: u8 = 1 << 4;
const ZSTD_BIT: u8 = 1 << 5;
/// Asked for since the index was last told of recency and hits.
const FRESH_BIT: u8 = 1 << 6;

const _: () = assert!(size_of::<Slot>() == 44);

impl Slot {
    pub(crate) fn new(entry: &Entry) -> Self {
        let mut tail = [0; PREFIX_BYTES - 1];
        tail.copy_from_slice(&entry.key.prefix[1..]);
        let kind = if entry.kind == RecordKind::ActionResult { ACTION_RESULT_BIT } else { 0 };
        let encoding = if entry.encoding == Encoding::Zstd { ZSTD_BIT } else { 0 };
        Self {
            recency_s: AtomicU32::new(entry.recency_s),
            location: halves(entry.location.to_bits()),
            tail,
            flags: AtomicU8::new(entry.hits.min(HITS_LIMIT) | kind | encoding),
            partition: entry.key.partition,
            record_bytes: to_six(entry.record_bytes),
            logical_size_bytes: to_six(entry.logical_size_bytes),
        }
    }

    /// Something of the slot, for the sake of having read it.
    pub(crate) fn glance(&self) -> u32 {
        self.recency_s.load(Ordering::Relaxed)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.location == [0, 0]
    }

    /// What the slot says; `shard` is the first byte of its hash.
    pub(crate) fn entry(&self, shard: u8) -> Entry {
        let flags = self.flags.load(Ordering::Relaxed);
        Entry {
            key: ShortKey {
                partition: self.partition,
                prefix: self.prefix(shard),
                size_bytes: self.identity_size_bytes(),
            },
            kind: if flags & ACTION_RESULT_BIT == 0 {
                RecordKind::Blob
            } else {
                RecordKind::ActionResult
            },
            location: self.location(),
            record_bytes: from_six(self.record_bytes),
            logical_size_bytes: self.logical_size_bytes(),
            encoding: if flags & ZSTD_BIT == 0 { Encoding::Raw } else { Encoding::Zstd },
            recency_s: self.recency_s.load(Ordering::Relaxed),
            hits: flags & HITS_LIMIT,
        }
    }

    pub(crate) fn prefix(&self, shard: u8) -> [u8; PREFIX_BYTES] {
        let mut prefix = [shard; PREFIX_BYTES];
        prefix[1..].copy_from_slice(&self.tail);
        prefix
    }

    pub(crate) fn partition(&self) -> u16 {
        self.partition
    }

    pub(crate) fn location(&self) -> Location {
        Location::from_bits(u64::from(self.location[0]) << 32 | u64::from(self.location[1]))
    }

    pub(crate) fn set_location(&mut self, location: Location) {
        self.location = halves(location.to_bits());
    }

    pub(crate) fn logical_size_bytes(&self) -> u64 {
        from_six(self.logical_size_bytes)
    }

    /// Whether this is the record of a key, the first byte of its hash aside.
    pub(crate) fn is(&self, key: &ShortKey) -> bool {
        self.is_like(key) && self.identity_size_bytes() == key.size_bytes
    }

    /// Whether this is the record of a key but for the size.
    pub(crate) fn is_like(&self, key: &ShortKey) -> bool {
        self.tail == key.prefix[1..] && self.partition == key.partition && !self.is_empty()
    }

    /// Notes that it was asked for: once per second of the clock.
    pub(crate) fn touch(&self, now_s: u32) {
        // Loads before stores: a line that all cores only read stays in all their caches.
        let flags = self.flags.load(Ordering::Relaxed);
        let is_first = self.recency_s.load(Ordering::Relaxed) != now_s;
        if is_first {
            self.recency_s.store(now_s, Ordering::Relaxed);
        }
        let hits = flags & HITS_LIMIT;
        if (is_first && hits < HITS_LIMIT) || hits == 0 {
            // Two readers at once may count as one.
            self.flags.store((flags + 1) | FRESH_BIT, Ordering::Relaxed);
        } else if is_first && flags & FRESH_BIT == 0 {
            self.flags.store(flags | FRESH_BIT, Ordering::Relaxed);
        }
    }

    /// Sets the hits back to none, and says how many there were.
    pub(crate) fn take_hits(&self) -> u8 {
        self.flags.fetch_and(!HITS_LIMIT, Ordering::Relaxed) & HITS_LIMIT
    }

    /// Whether it was asked for since this was last called.
    pub(crate) fn take_fresh(&self) -> bool {
        self.is_fresh() && self.flags.fetch_and(!FRESH_BIT, Ordering::Relaxed) & FRESH_BIT != 0
    }

    pub(crate) fn is_fresh(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & FRESH_BIT != 0
    }

    fn identity_size_bytes(&self) -> u64 {
        if self.flags.load(Ordering::Relaxed) & ACTION_RESULT_BIT == 0 {
            self.logical_size_bytes()
        } else {
            0
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "takes the two halves apart")]
fn halves(bits: u64) -> [u32; 2] {
    [(bits >> 32) as u32, bits as u32]
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
