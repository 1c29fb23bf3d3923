//! [`Shard`]: one part of the table, a Robin Hood hash table of slots that lie in one array.
//!
//! Slots stand in the order of their distance from home, so a search ends as soon as it meets a slot that is nearer to its
//! home than the search is: absent keys cost no more than present ones, and six slots of seven may be full. The array
//! grows by a fifth, not twofold, so that it never is more than three tenths empty.
//! The distances stand in an array of their own, a byte each with two bits of the hash, which stays in the caches: a search reads
//! those, and of the slots hardly any but the one that it looks for. Eight are compared at once, as one word, without a branch to
//! be guessed wrong. So a search asks the memory for two lines, and what it finds for a third, its place.
//! Invariant: a mark is 0 where the slot is empty, else four times one more than the slot's distance from home, and the low two
//! bits of its hash.

use prefetch_index::prefetch_index;

use crate::slot::{Entry, Place, ShortKey, Slot, SlotMut, SlotRef, TAIL_BYTES};

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
    /// As long as `slots`, as are the marks.
    places: Vec<Place>,
    marks: Vec<u8>,
    full: usize,
}

/// What a mark grows by with each step away from home.
const STEP: u8 = 4;
/// The bits of a mark that are the hash's own: three of four slots that have the same home by chance are told apart by them.
const TINT: u8 = STEP - 1;
/// Marks that are compared at once.
const NEAR: usize = 8;
/// Those of eight slots of which the first is the home of all, without tint.
const OF_ONE_HOME: u64 = u64::from_le_bytes([4, 8, 12, 16, 20, 24, 28, LAST_NEAR]);
const LAST_NEAR: u8 = 8 * STEP;

/// Where a hash belongs, and the mark of its slot if that stands right there.
#[derive(Copy, Clone, Default, Debug)]
pub(crate) struct Home {
    index: usize,
    mark: u8,
}

/// The slots that a search has to look at: those near their home, known from one word of marks, then those that are further away,
/// if any.
#[derive(Copy, Clone, Default, Debug)]
pub(crate) struct Candidates {
    home: usize,
    /// The top bit of each byte whose slot is one.
    near: u64,
    /// The mark to go on with behind those; 0 where none can follow.
    next_mark: u8,
}

impl Shard {
    pub(crate) fn new(number: u8, mixer: Mixer) -> Self {
        Self { number, mixer, slots: Vec::new(), places: Vec::new(), marks: Vec::new(), full: 0 }
    }

    pub(crate) fn number(&self) -> u8 {
        self.number
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = SlotRef<'_>> {
        let slots = self.slots.iter().zip(&self.places).zip(&self.marks);
        slots.filter(|(_, mark)| **mark != 0).map(|((slot, place), _)| SlotRef { slot, place })
    }

    /// The place in the array that a hash is as far along as among all hashes.
    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "less than the length of the array, and low bits"
    )]
    pub(crate) fn home(&self, hash: u64) -> Home {
        let index = ((u128::from(hash) * self.slots.len() as u128) >> 64) as usize;
        Home { index, mark: STEP | (hash as u8 & TINT) }
    }

    /// Asks for the marks at a home.
    #[inline]
    pub(crate) fn prefetch_marks(&self, home: Home) {
        prefetch_index(&self.marks, home.index);
    }

    /// The slots that have this home and tint.
    #[inline]
    pub(crate) fn candidates(&self, home: Home) -> Candidates {
        const LOW: u64 = u64::from_le_bytes([0x7F; NEAR]);
        const EACH: u64 = u64::from_le_bytes([1; NEAR]);
        let Home { index, mark } = home;
        let Some(marks) = self.marks.get(index..).and_then(|marks| marks.first_chunk::<NEAR>())
        else {
            // Near the end of the array, so one by one.
            return Candidates { home: index, near: 0, next_mark: mark };
        };
        let marks = u64::from_le_bytes(*marks);
        let tint = mark & TINT;
        // Zero bytes are those that are alike; adding within the low seven bits carries into no other byte.
        let unlike = marks ^ (OF_ONE_HOME + u64::from(tint) * EACH);
        let near = !(((unlike & LOW) + LOW) | unlike | LOW);
        let goes_on = marks >> (64 - u8::BITS) >= u64::from(LAST_NEAR);
        let next_mark = if goes_on { (LAST_NEAR + STEP) | tint } else { 0 };
        Candidates { home: index, near, next_mark }
    }

    /// Asks for the nearest of them.
    #[inline]
    pub(crate) fn prefetch_first(&self, candidates: Candidates) {
        let distance = candidates.near.trailing_zeros() as usize / 8;
        prefetch_index(&self.slots, candidates.home + distance);
    }

    /// The candidate that is meant, and its place.
    #[inline]
    pub(crate) fn choose(
        &self,
        candidates: Candidates,
        is: impl Fn(&Slot) -> bool,
    ) -> Option<(usize, &Slot)> {
        let Candidates { home, mut near, next_mark } = candidates;
        while near != 0 {
            let index = home + near.trailing_zeros() as usize / 8;
            if let Some(slot) = self.slots.get(index).filter(|slot| is(slot)) {
                return Some((index, slot));
            }
            near &= near - 1;
        }
        if next_mark == 0 { None } else { self.go_on(home, next_mark, is) }
    }

    /// Goes on one by one, from the slot whose mark would be this.
    fn go_on(
        &self,
        home: usize,
        mut mark: u8,
        is: impl Fn(&Slot) -> bool,
    ) -> Option<(usize, &Slot)> {
        loop {
            let index = self.at_distance(home, mark / STEP - 1);
            let theirs = *self.marks.get(index)?;
            if theirs / STEP < mark / STEP {
                return None;
            }
            let slot = &self.slots[index];
            if theirs == mark && is(slot) {
                return Some((index, slot));
            }
            mark = mark.checked_add(STEP)?;
        }
    }

    pub(crate) fn find(&self, hash: u64, is: impl Fn(&Slot) -> bool) -> Option<SlotRef<'_>> {
        self.search(hash, is).map(|(index, slot)| SlotRef { slot, place: &self.places[index] })
    }

    pub(crate) fn find_mut(
        &mut self,
        hash: u64,
        is: impl Fn(&Slot) -> bool,
    ) -> Option<SlotMut<'_>> {
        let index = self.index_of(hash, is)?;
        Some(SlotMut { slot: &mut self.slots[index], place: &mut self.places[index] })
    }

    /// Adds an entry whose key is not there.
    pub(crate) fn insert(&mut self, hash: u64, entry: &Entry) {
        if (self.full + 1) * FULLEST.1 > self.slots.len() * FULLEST.0 {
            self.grow_to((self.slots.len() * 6 / 5).max(FIRST_SLOTS));
        }
        self.place(hash, Slot::of(entry));
    }

    /// Makes room for so many slots in all.
    pub(crate) fn reserve(&mut self, slots: usize) {
        let wanted = slots * 5 / 4;
        if wanted > self.slots.len() {
            self.grow_to(wanted);
        }
    }

    pub(crate) fn remove(&mut self, hash: u64, is: impl Fn(&Slot) -> bool) -> Option<Entry> {
        let mut gap = self.index_of(hash, is)?;
        let removed =
            SlotRef { slot: &self.slots[gap], place: &self.places[gap] }.entry(self.number);
        self.full -= 1;
        loop {
            let next = self.after(gap);
            if self.marks[next] < 2 * STEP {
                self.marks[gap] = 0;
                return Some(removed);
            }
            self.slots.swap(gap, next);
            self.places.swap(gap, next);
            self.marks[gap] = self.marks[next] - STEP;
            gap = next;
        }
    }

    /// A key that is looked up alone: mark by mark, since a processor that guesses how the comparisons end asks for the slot before it
    /// has the marks.
    #[inline]
    fn search(&self, hash: u64, is: impl Fn(&Slot) -> bool) -> Option<(usize, &Slot)> {
        let home = self.home(hash);
        self.go_on(home.index, home.mark, is)
    }

    fn index_of(&self, hash: u64, is: impl Fn(&Slot) -> bool) -> Option<usize> {
        self.search(hash, is).map(|(index, _)| index)
    }

    fn place(&mut self, hash: u64, (mut slot, mut place): (Slot, Place)) {
        let Home { mut index, mut mark } = self.home(hash);
        loop {
            let theirs = self.marks[index];
            if theirs == 0 {
                self.marks[index] = mark;
                self.slots[index] = slot;
                self.places[index] = place;
                self.full += 1;
                return;
            }
            if theirs / STEP < mark / STEP {
                std::mem::swap(&mut self.slots[index], &mut slot);
                std::mem::swap(&mut self.places[index], &mut place);
                std::mem::swap(&mut self.marks[index], &mut mark);
            }
            let Some(next_mark) = mark.checked_add(STEP) else {
                // Further from home than a mark can say; no hash that is one comes to this.
                self.grow_to(self.slots.len() * 6 / 5);
                return self.place(self.mixer.of_slot(&slot), (slot, place));
            };
            (index, mark) = (self.after(index), next_mark);
        }
    }

    fn grow_to(&mut self, length: usize) {
        let mut slots = Vec::new();
        slots.resize_with(length, Slot::default);
        let slots = std::mem::replace(&mut self.slots, slots);
        let places = std::mem::replace(&mut self.places, vec![Place::default(); length]);
        let marks = std::mem::replace(&mut self.marks, vec![0; length]);
        self.full = 0;
        let old = slots.into_iter().zip(places).zip(marks).filter(|(_, mark)| *mark != 0);
        for ((slot, place), _) in old {
            let hash = self.mixer.of_slot(&slot);
            self.place(hash, (slot, place));
        }
    }

    /// The place so far behind a home; the array begins anew behind its end.
    fn at_distance(&self, home: usize, distance: u8) -> usize {
        let index = home + usize::from(distance);
        if index < self.slots.len() { index } else { index % self.slots.len().max(1) }
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

#[cfg(test)]
mod tests;
