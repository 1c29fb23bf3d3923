//! What the table keeps of a record, in 44 bytes: a [`Slot`], all that a look-up reads, and a [`Place`], where the record is;
//! [`Entry`], the same as others see it.

use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use crate::key::{RecordKey, RecordKind};
use crate::prologue::Encoding;

/// Bytes that a key keeps of a hash: the first ones as they are, and a digest of the others.
pub(crate) const PREFIX_BYTES: usize = 18;
/// Those that a slot keeps.
pub(crate) const TAIL_BYTES: usize = PREFIX_BYTES - 1;
/// Those of a key that are the hash's own.
pub(crate) const RAW_BYTES: usize = 10;
/// The most hits that are counted.
pub(crate) const HITS_LIMIT: u8 = 15;

const FILE_BIT: u64 = 1 << 63;

/// So far ahead of the clock a moment is still believed. A clock that is behind for a while, such as one without a battery, must
/// make nothing older that is used meanwhile; what one was wrong by years must not keep for ever.
const AHEAD_LIMIT_S: u32 = 2 * 366 * 24 * 3_600;

/// When a record was asked for last, as far as that is believed now: long ago where it cannot be.
pub(crate) fn believed_s(recency_s: u32, now_s: u32) -> u32 {
    if recency_s.saturating_sub(now_s) > AHEAD_LIMIT_S { 0 } else { recency_s }
}

/// A key as the table sees it.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) struct ShortKey {
    pub(crate) partition: u16,
    /// What [`Shortener`] makes of the hash.
    pub(crate) prefix: [u8; PREFIX_BYTES],
    /// 0 for an action result.
    pub(crate) size_bytes: u64,
}

impl Hash for ShortKey {
    /// Word by word, which takes a hasher half of what it takes byte by byte.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (words, rest) = self.prefix.as_chunks::<8>();
        for word in words {
            state.write_u64(u64::from_le_bytes(*word));
        }
        let rest =
            rest.iter().fold(u64::from(self.partition), |word, byte| word << 8 | u64::from(*byte));
        state.write_u64(rest);
        state.write_u64(self.size_bytes);
    }
}

impl ShortKey {
    /// Stands for the key where eight bytes must do.
    pub(crate) fn name(&self) -> u64 {
        let bytes = self.prefix[..8].iter();
        let word = bytes.fold(0, |word, byte| word << 8 | u64::from(*byte));
        word ^ u64::from(self.partition) << 32 ^ self.size_bytes
    }

    /// All but the first byte, which is the number of the shard.
    pub(crate) fn tail(&self) -> &[u8; TAIL_BYTES] {
        self.prefix.last_chunk().expect("a prefix is a byte longer")
    }
}

/// Makes short keys, by a secret of the directory's.
///
/// Names come from clients, and one that differs from a stored name in its last bytes only must not be taken for it. So
/// what does not fit is not cut off but folded with keys that no client knows (the universal hash NH, from UMAC, RFC 4418):
/// to find two names that are one here takes 2^60 tries against this very directory.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Shortener {
    keys: [u64; WORDS],
    /// What the pairs from the so-manieth on come to where there are no bytes for them.
    without: [u128; WORDS / 2 + 1],
}

/// Words of the longest hash behind its raw bytes, in pairs.
const WORDS: usize = 8;

impl Shortener {
    pub(crate) fn new(salt: u64) -> Self {
        let mut state = salt;
        let keys: [u64; WORDS] = std::array::from_fn(|_| split_mix(&mut state));
        let mut without = [0; WORDS / 2 + 1];
        for pair in (0..WORDS / 2).rev() {
            let of_pair = product(0, 0, &keys[2 * pair..]);
            without[pair] = of_pair.wrapping_add(without[pair + 1]);
        }
        Self { keys, without }
    }

    pub(crate) fn key(&self, partition: u16, key: &RecordKey) -> ShortKey {
        self.shorten(partition, key.hash().as_bytes(), key.size_bytes())
    }

    #[inline]
    pub(crate) fn shorten(&self, partition: u16, hash: &[u8], size_bytes: u64) -> ShortKey {
        let mut prefix = [0; PREFIX_BYTES];
        let (raw, folded) = prefix.split_at_mut(RAW_BYTES);
        let fold = match (hash.first_chunk::<RAW_BYTES>(), hash.first_chunk::<32>()) {
            // What nearly all hashes are, with a length that the compiler knows.
            (Some(first), Some(whole)) if hash.len() == whole.len() => {
                raw.copy_from_slice(first);
                self.fold(&whole[RAW_BYTES..])
            }
            (Some(first), _) => {
                raw.copy_from_slice(first);
                self.fold_any(&hash[RAW_BYTES..])
            }
            (None, _) => {
                raw[..hash.len()].copy_from_slice(hash);
                self.fold_any(&[])
            }
        };
        folded.copy_from_slice(&fold.to_le_bytes());
        ShortKey { partition, prefix, size_bytes }
    }

    #[inline(never)]
    fn fold_any(&self, rest: &[u8]) -> u64 {
        self.fold(rest)
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "takes the two halves apart")]
    fn fold(&self, rest: &[u8]) -> u64 {
        let mut words = [0; WORDS];
        let (eights, last) = rest.as_chunks::<8>();
        for (word, eight) in words.iter_mut().zip(eights) {
            *word = u64::from_le_bytes(*eight);
        }
        if let Some(word) = words.get_mut(eights.len()).filter(|_| !last.is_empty()) {
            // Read with bytes that come before, which is cheaper than byte by byte.
            *word = rest.last_chunk::<8>().map_or_else(
                || last.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
                |eight| u64::from_le_bytes(*eight) >> (64 - 8 * last.len()),
            );
        }
        let pairs = (rest.len().div_ceil(16)).min(WORDS / 2);
        let mut sum = self.without[pairs];
        for (pair, keys) in words.chunks_exact(2).zip(self.keys.chunks_exact(2)).take(pairs) {
            sum = sum.wrapping_add(product(pair[0], pair[1], keys));
        }
        (sum as u64) ^ ((sum >> 64) as u64)
    }
}

/// What a pair of words adds to the sum, with its keys.
fn product(left: u64, right: u64, keys: &[u64]) -> u128 {
    u128::from(left.wrapping_add(keys[0])) * u128::from(right.wrapping_add(keys[1]))
}

/// The next of a sequence of well-mixed numbers (Steele, Lea, Flood 2014).
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
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

/// What a look-up reads and writes of an [`Entry`]. The first byte of the hash is left out: it is the number of the slot's
/// shard.
///
/// Aligned to its size, so that it always lies in one line of a cache.
#[derive(Default, Debug)]
#[repr(C, align(32))]
pub(crate) struct Slot {
    recency_s: AtomicU32,
    partition: u16,
    record_bytes_high: u16,
    logical_size_bytes: [u8; 6],
    /// Hits in the low four bits, then the flags below.
    flags: AtomicU8,
    tail: [u8; TAIL_BYTES],
}

/// The rest of an [`Entry`]: what is asked of a key that was found.
#[derive(Copy, Clone, Default, Debug)]
pub(crate) struct Place {
    /// Halves, the high one first: as one number it would align each place to 16 bytes.
    location: [u32; 2],
    record_bytes_low: u32,
}

/// A slot and its place.
#[derive(Copy, Clone, Debug)]
pub(crate) struct SlotRef<'a> {
    pub(crate) slot: &'a Slot,
    pub(crate) place: &'a Place,
}

/// A slot and its place, to be changed.
#[derive(Debug)]
pub(crate) struct SlotMut<'a> {
    pub(crate) slot: &'a mut Slot,
    pub(crate) place: &'a mut Place,
}

const ACTION_RESULT_BIT: u8 = 1 << 4;
const ZSTD_BIT: u8 = 1 << 5;
/// Asked for since the index was last told of recency and hits.
const FRESH_BIT: u8 = 1 << 6;
/// The log may hold an older record of the same key.
const HAS_OLDER_BIT: u8 = 1 << 7;

const _: () = assert!(size_of::<Slot>() == 32 && size_of::<Place>() == 12);

impl Slot {
    /// The two parts of an entry.
    #[expect(clippy::cast_possible_truncation, reason = "takes numbers of 48 bits apart")]
    pub(crate) fn of(entry: &Entry) -> (Self, Place) {
        let kind = if entry.kind == RecordKind::ActionResult { ACTION_RESULT_BIT } else { 0 };
        let encoding = if entry.encoding == Encoding::Zstd { ZSTD_BIT } else { 0 };
        let slot = Self {
            recency_s: AtomicU32::new(entry.recency_s),
            partition: entry.key.partition,
            record_bytes_high: (entry.record_bytes >> 32) as u16,
            logical_size_bytes: to_six(entry.logical_size_bytes),
            flags: AtomicU8::new(entry.hits.min(HITS_LIMIT) | kind | encoding),
            tail: *entry.key.tail(),
        };
        let location = halves(entry.location.to_bits());
        (slot, Place { location, record_bytes_low: entry.record_bytes as u32 })
    }

    pub(crate) fn tail(&self) -> &[u8; TAIL_BYTES] {
        &self.tail
    }

    pub(crate) fn partition(&self) -> u16 {
        self.partition
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
        self.tail == *key.tail() && self.partition == key.partition
    }

    /// Notes that it was asked for: once per second of the clock, and never makes it older.
    pub(crate) fn touch(&self, now_s: u32) {
        // Loads before stores: a line that all cores only read stays in all their caches.
        let flags = self.flags.load(Ordering::Relaxed);
        let is_first = believed_s(self.recency_s.load(Ordering::Relaxed), now_s) < now_s;
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

    /// Sets the hits to what eviction leaves of them.
    pub(crate) fn set_hits(&mut self, hits: u8) {
        let flags = self.flags.get_mut();
        *flags = (*flags & !HITS_LIMIT) | hits.min(HITS_LIMIT);
    }

    /// Notes that the log may hold an older record of the same key.
    pub(crate) fn note_older(&mut self) {
        *self.flags.get_mut() |= HAS_OLDER_BIT;
    }

    pub(crate) fn has_older(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & HAS_OLDER_BIT != 0
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

impl SlotRef<'_> {
    pub(crate) fn location(&self) -> Location {
        let [high, low] = self.place.location;
        Location::from_bits(u64::from(high) << 32 | u64::from(low))
    }

    /// What the two say; `shard` is the first byte of the hash.
    pub(crate) fn entry(&self, shard: u8) -> Entry {
        let slot = self.slot;
        let flags = slot.flags.load(Ordering::Relaxed);
        let mut prefix = [shard; PREFIX_BYTES];
        prefix[1..].copy_from_slice(&slot.tail);
        let key =
            ShortKey { partition: slot.partition, prefix, size_bytes: slot.identity_size_bytes() };
        let record_bytes_high = u64::from(slot.record_bytes_high) << 32;
        Entry {
            key,
            kind: if flags & ACTION_RESULT_BIT == 0 {
                RecordKind::Blob
            } else {
                RecordKind::ActionResult
            },
            location: self.location(),
            record_bytes: record_bytes_high | u64::from(self.place.record_bytes_low),
            logical_size_bytes: slot.logical_size_bytes(),
            encoding: if flags & ZSTD_BIT == 0 { Encoding::Raw } else { Encoding::Zstd },
            recency_s: slot.recency_s.load(Ordering::Relaxed),
            hits: flags & HITS_LIMIT,
        }
    }
}

impl SlotMut<'_> {
    pub(crate) fn as_ref(&self) -> SlotRef<'_> {
        SlotRef { slot: self.slot, place: self.place }
    }

    pub(crate) fn set_location(&mut self, location: Location) {
        self.place.location = halves(location.to_bits());
    }

    /// Has it say what another entry says.
    pub(crate) fn set(&mut self, entry: &Entry) {
        (*self.slot, *self.place) = Slot::of(entry);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortened_keys_stay_what_they_are_in_directories_that_exist() {
        let hash: Vec<u8> = (0..64).collect();
        let check = |length: usize, expect: u64| {
            let short = Shortener::new(5).shorten(1, &hash[..length], 7);
            let folded = u64::from_le_bytes(*short.prefix.last_chunk().unwrap());
            assert_eq!(folded, expect, "{length} B: {folded:#x}");
            assert_eq!(short.prefix[..RAW_BYTES], hash[..RAW_BYTES]);
        };
        check(16, 0x57E6_2535_06EA_9581);
        check(20, 0xC327_C87D_C94A_49C9);
        check(32, 0xE841_B289_38D5_9F13);
        check(48, 0x91B8_496A_2E35_B0C9);
        check(64, 0x8C38_D23E_7322_BA3E);
    }

    #[test]
    fn to_be_asked_for_makes_nothing_older_unless_its_moment_cannot_be() {
        let check = |recency_s: u32, now_s: u32, expect: u32| {
            let slot = Slot { recency_s: AtomicU32::new(recency_s), ..Slot::default() };
            slot.touch(now_s);
            assert_eq!(slot.recency_s.load(Ordering::Relaxed), expect, "{recency_s} {now_s}");
        };
        let day_s = 24 * 3_600;
        let now_s = 1_700_000_000;
        check(now_s, now_s + 1, now_s + 1);
        check(now_s, now_s, now_s);
        check(now_s, now_s - 400 * day_s, now_s);
        check(now_s, now_s - 3 * 366 * day_s, now_s - 3 * 366 * day_s);
        check(0, now_s, now_s);
    }

    #[test]
    fn no_byte_of_a_hash_is_left_out_and_each_directory_shortens_in_its_own_way() {
        for length in [16, 20, 32, 48, 64] {
            let hash: Vec<u8> = (0..length).collect();
            let short = |salt: u64, hash: &[u8]| Shortener::new(salt).shorten(1, hash, 7);
            let whole = short(5, &hash);
            for byte in 0..hash.len() {
                let mut other = hash.clone();
                other[byte] ^= 1;
                assert_ne!(short(5, &other), whole, "byte {byte} of {length}");
            }
            assert_ne!(short(6, &hash), whole);
            assert_eq!(short(5, &hash), whole);
        }
    }
}
