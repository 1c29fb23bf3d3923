//! [`Shard`]: one part of the table, a Robin Hood hash table of slots that lie in one array.
//!
//! Slots stand in the order of their distance from home, so a search ends as soon as it meets a slot that is nearer to its
//! home than the search is: absent keys cost no more than present ones, and six slots of seven may be full. The array
//! grows by a fifth, not twofold, so that it never is more than three tenths empty.

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
    full: usize,
}

impl Shard {
    pub(crate) fn new(number: u8, mixer: Mixer) -> Self {
        Self { number, mixer, slots: Vec::new(), full: 0 }
    }

    pub(crate) fn number(&self) -> u8 {
        self.number
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().filter(|slot| !slot.is_empty())
    }

    /// Reads where a search for `hash` begins. Several of these take as long as one, since none waits for another.
    pub(crate) fn warm(&self, hash: u64) -> u32 {
        let home = self.home(hash);
        let at = |index: usize| self.slots.get(index).map_or(0, Slot::glance);
        at(home) ^ at(home + 2)
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
            if self.slots[next].is_empty() || self.distance(next) == 0 {
                return Some(removed);
            }
            self.slots.swap(gap, next);
            gap = next;
        }
    }

    fn index_of(&self, hash: u64, is: impl Fn(&Slot) -> bool) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        let mut index = self.home(hash);
        let mut distance = 0;
        // Ends: one slot in seven is empty.
        loop {
            let slot = &self.slots[index];
            if is(slot) {
                return Some(index);
            }
            if slot.is_empty() || self.distance(index) < distance {
                return None;
            }
            index = self.after(index);
            distance += 1;
        }
    }

    fn place(&mut self, hash: u64, mut slot: Slot) {
        self.full += 1;
        let mut index = self.home(hash);
        let mut distance = 0;
        loop {
            if self.slots[index].is_empty() {
                self.slots[index] = slot;
                return;
            }
            let theirs = self.distance(index);
            if theirs < distance {
                std::mem::swap(&mut self.slots[index], &mut slot);
                distance = theirs;
            }
            index = self.after(index);
            distance += 1;
        }
    }

    fn grow_to(&mut self, length: usize) {
        let mut slots = Vec::new();
        slots.resize_with(length, Slot::default);
        let old = std::mem::replace(&mut self.slots, slots);
        self.full = 0;
        for slot in old.into_iter().filter(|slot| !slot.is_empty()) {
            let hash = self.mixer.of_slot(&slot);
            self.place(hash, slot);
        }
    }

    /// How far the slot at `index` is from its home.
    fn distance(&self, index: usize) -> usize {
        let home = self.home(self.mixer.of_slot(&self.slots[index]));
        if index >= home { index - home } else { index + self.slots.len() - home }
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
