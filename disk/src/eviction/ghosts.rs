//! [`Ghosts`]: the names of what was evicted lately, in bounded memory.
//!
//! Eight places for each set, the set by the fingerprint; a newcomer takes the place of the set's oldest. A name counts until as
//! many others as the list is long have been added. Two names with the same fingerprint pass for one another, about one in a
//! hundred million.

const WAYS: usize = 8;

/// The names of what was evicted lately.
#[derive(Debug)]
pub(crate) struct Ghosts {
    /// A multiple of [`WAYS`]; fingerprint (32 bits) and when it was added (32 bits, 0 is never).
    places: Vec<(u32, u32)>,
    added: u32,
    /// How many of the latest count.
    length: u32,
    /// The most that it may be.
    room: u32,
}

impl Ghosts {
    /// Room for the latest `length` names.
    pub(crate) fn new(length: u32) -> Self {
        let sets = (length as usize).div_ceil(WAYS).next_power_of_two();
        Self { places: vec![(0, 0); sets * WAYS], added: 0, length, room: length }
    }

    /// Remembers a name.
    pub(crate) fn add(&mut self, name: u64) {
        if self.added == u32::MAX {
            self.places.fill((0, 0));
            self.added = 0;
        }
        self.added += 1;
        let (fingerprint, added) = (fingerprint(name), self.added);
        let set = self.set(name);
        // Its own old place, else the oldest.
        let place = set.iter_mut().min_by_key(|place| (place.0 != fingerprint, place.1));
        if let Some(place) = place {
            *place = (fingerprint, added);
        }
    }

    /// Whether a name was added lately; forgets it.
    pub(crate) fn take(&mut self, name: u64) -> bool {
        let oldest = self.added.saturating_sub(self.length);
        let fingerprint = fingerprint(name);
        let found = self
            .set(name)
            .iter_mut()
            .find(|place| place.0 == fingerprint && place.1 > oldest && place.1 > 0);
        found.map(|place| *place = (0, 0)).is_some()
    }

    /// Lets no more than the latest `length` names count, nor more than there is room for.
    pub(crate) fn shorten(&mut self, length: u32) {
        self.length = length.min(self.room);
    }

    /// How many names count, at most.
    pub(crate) fn count(&self) -> u32 {
        self.added.min(self.length)
    }

    fn set(&mut self, name: u64) -> &mut [(u32, u32)] {
        let sets = self.places.len() / WAYS;
        let set = usize::try_from(mix(name) >> 32).unwrap_or_default() & (sets - 1);
        &mut self.places[set * WAYS..(set + 1) * WAYS]
    }
}

#[expect(clippy::cast_possible_truncation, reason = "half of the bits are the set's")]
fn fingerprint(name: u64) -> u32 {
    mix(name) as u32
}

/// Spreads what may be spread already: an odd multiplier and a fold.
fn mix(name: u64) -> u64 {
    let product = u128::from(name ^ 0x9E37_79B9_7F4A_7C15) * 0xD6E8_FEB8_6659_FD93;
    #[expect(clippy::cast_possible_truncation, reason = "takes the two halves apart")]
    let halves = (product as u64, (product >> 64) as u64);
    halves.0 ^ halves.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_remembered_once() {
        let mut ghosts = Ghosts::new(1_024);
        for name in 0..4_096 {
            ghosts.add(name);
        }
        assert_eq!(ghosts.count(), 1_024);
        assert!((0..3_072).all(|name| !ghosts.take(name)), "an old one is remembered");
        let remembered = (3_072..4_096).filter(|name| ghosts.take(*name)).count();
        // Sets that run over forget earlier.
        assert!(remembered > 700, "{remembered}");
        assert!((3_072..4_096).all(|name| !ghosts.take(name)));
    }

    #[test]
    fn a_name_that_is_added_again_takes_its_own_place() {
        let mut ghosts = Ghosts::new(8);
        for _ in 0..100 {
            ghosts.add(7);
        }
        ghosts.add(8);
        assert!(ghosts.take(7) && ghosts.take(8) && !ghosts.take(9));
    }
}
