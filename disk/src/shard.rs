//! [`Shard`]: one part of the table, a Robin Hood hash table of slots that lie in one array.
//!
//! Slots stand in the order of their distance from home, so a search ends as soon as it meets a slot that is nearer to its
//! home than the search is: absent keys cost no more than present ones, and six slots of seven may be full. The array
//! grows by a fifth, not twofold, so that it never is more than three tenths empty.
//! The distances stand in an array of their own, a byte each, which stays in the caches: a search reads those, and of the slots
//! hardly any but the one that it looks for.
//! Invariant: a mark is 0 where the slot is empty, else one more than the slot's distance from home.

use crate::slot::{ShortKey, Slot, TAIL_BYTES};

/// The smallest array.
const FIRST_SLOTS: usize = 16;
/// The part of an array that may be full: at six of seven a search looks at four slots, at seven of eight at five.
const FULLEST: (usize, usize) = (6, 7);

/// A keyed hash. Clients choose the hashes of action results; the key keeps them from choosing the slots.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Mixer {
    pub(crate) seed: (u64, u64),
}

impl Mixer {
    pub(crate) fn of_key(self, key: &ShortKey) -> u64 {
        self.mix(key.tail(), key.partition)
    }

    fn of_slot(self, slot: &Slot) -> u64 {
        self.mix(slot.tail(), slot.partition())
    }

    /// What is mixed is a hash already: one wide multiplication, its halves folded. The size takes no part, so that blobs
    /// that differ in nothing else are neighbours.
    #[expect(clippy::cast_possible_truncation, reason = "takes the two halves apart")]
    fn mix(self, tail: &[u8; TAIL_BYTES], partition: u16) -> u64 {
        let left = word(tail, 0) ^ self.seed.0 ^ u64::from(partition);
        let right = word(tail, 8) ^ self.seed.1;
        let product = u128::from(left) * u128::from(right | 1);
        (product as u64) ^ ((product >> 64) as u64)
    }
}

/// One part of the table: the keys whose hash begins with `number`.
#[derive(Debug)]
pub(crate) struct Shard {
    number: u8,
    mixer: Mixer,
    slots: Vec<Slot>,
    /// As long as `slots`.
    marks: Vec<u8>,
    full: usize,
}

/// Where a search has come.
#[derive(Copy, Clone, Default, Debug)]
pub(crate) struct Probe {
    index: usize,
    /// The mark of a slot that stands here and has the home where the search began.
    mark: u8,
}

impl Shard {
    pub(crate) fn new(number: u8, mixer: Mixer) -> Self {
        Self { number, mixer, slots: Vec::new(), marks: Vec::new(), full: 0 }
    }

    pub(crate) fn number(&self) -> u8 {
        self.number
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().filter(|slot| !slot.is_empty())
    }

    /// Where a search for `hash` begins, and the mark there: reading several takes as long as one, since none waits for another.
    pub(crate) fn begin(&self, hash: u64) -> (Probe, u8) {
        let index = self.home(hash);
        (Probe { index, mark: 1 }, self.marks.get(index).copied().unwrap_or_default())
    }

    /// Takes a search to the next slot of its home, and reads of that, for the same reason; `None` where it ends.
    #[inline]
    pub(crate) fn next(&self, mut probe: Probe) -> Option<(Probe, u32)> {
        loop {
            let mark = *self.marks.get(probe.index)?;
            if mark < probe.mark {
                return None;
            }
            if mark == probe.mark {
                return Some((probe, self.slots[probe.index].glance()));
            }
            probe = self.behind(probe)?;
        }
    }

    /// Ends a search that has come to a slot of its home.
    #[inline]
    pub(crate) fn end(&self, mut probe: Probe, is: impl Fn(&Slot) -> bool) -> Option<&Slot> {
        loop {
            let slot = &self.slots[probe.index];
            if is(slot) {
                return Some(slot);
            }
            probe = self.next(self.behind(probe)?)?.0;
        }
    }

    fn behind(&self, probe: Probe) -> Option<Probe> {
        Some(Probe { index: self.after(probe.index), mark: probe.mark.checked_add(1)? })
    }

    pub(crate) fn find(&self, hash: u64, is: impl Fn(&Slot) -> bool) -> Option<&Slot> {
        self.index_of(hash, is).map(|index| &self.slots[index])
    }

    pub(crate) fn find_mut(&mut self, hash: u64, is: impl Fn(&Slot) -> bool) -> Option<&mut Slot> {
        self.index_of(hash, is).map(|index| &mut self.slots[index])
    }

    /// Adds a slot whose key is not there.
    pub(crate) fn insert(&mut self, hash: u64, slot: Slot) {
        if (self.full + 1) * FULLEST.1 > self.slots.len() * FULLEST.0 {
            self.grow_to((self.slots.len() * 6 / 5).max(FIRST_SLOTS));
        }
        self.place(hash, slot);
    }

    /// Makes room for so many slots in all.
    pub(crate) fn reserve(&mut self, slots: usize) {
        let wanted = slots * 5 / 4;
        if wanted > self.slots.len() {
            self.grow_to(wanted);
        }
    }

    pub(crate) fn remove(&mut self, hash: u64, is: impl Fn(&Slot) -> bool) -> Option<Slot> {
        let mut gap = self.index_of(hash, is)?;
        let removed = std::mem::take(&mut self.slots[gap]);
        self.full -= 1;
        loop {
            let next = self.after(gap);
            if self.marks[next] <= 1 {
                self.marks[gap] = 0;
                return Some(removed);
            }
            self.slots.swap(gap, next);
            self.marks[gap] = self.marks[next] - 1;
            gap = next;
        }
    }

    fn index_of(&self, hash: u64, is: impl Fn(&Slot) -> bool) -> Option<usize> {
        let mut probe = self.begin(hash).0;
        loop {
            probe = self.next(probe)?.0;
            if is(&self.slots[probe.index]) {
                return Some(probe.index);
            }
            probe = self.behind(probe)?;
        }
    }

    fn place(&mut self, hash: u64, mut slot: Slot) {
        let mut probe = self.begin(hash).0;
        loop {
            let theirs = self.marks[probe.index];
            if theirs == 0 {
                self.marks[probe.index] = probe.mark;
                self.slots[probe.index] = slot;
                self.full += 1;
                return;
            }
            if theirs < probe.mark {
                std::mem::swap(&mut self.slots[probe.index], &mut slot);
                std::mem::swap(&mut self.marks[probe.index], &mut probe.mark);
            }
            let Some(next) = self.behind(probe) else {
                // Further from home than a mark can say; no hash that is one comes to this.
                self.grow_to(self.slots.len() * 6 / 5);
                return self.place(self.mixer.of_slot(&slot), slot);
            };
            probe = next;
        }
    }

    fn grow_to(&mut self, length: usize) {
        let mut slots = Vec::new();
        slots.resize_with(length, Slot::default);
        let old = std::mem::replace(&mut self.slots, slots);
        self.marks = vec![0; length];
        self.full = 0;
        for slot in old.into_iter().filter(|slot| !slot.is_empty()) {
            let hash = self.mixer.of_slot(&slot);
            self.place(hash, slot);
        }
    }

    /// The place in the array that a hash is as far along as among all hashes.
    #[expect(clippy::cast_possible_truncation, reason = "less than the length of the array")]
    fn home(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.slots.len() as u128) >> 64) as usize
    }

    fn after(&self, index: usize) -> usize {
        if index + 1 == self.slots.len() { 0 } else { index + 1 }
    }
}

fn word(bytes: &[u8; TAIL_BYTES], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}
