//! [`Draws`]: numbers that look random, for sampling.

use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers that look random, the same ones for the same seed. Source: Steele, Lea and Flood, "Fast splittable
/// pseudorandom number generators" (2014), `SplitMix64`.
#[derive(Debug)]
pub(crate) struct Draws(AtomicU64);

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Draws {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// The next one.
    pub(crate) fn next(&self) -> u64 {
        let state = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_sequence() {
        let draws = Draws::seeded(1_234_567);
        let expect = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973];
        assert_eq!([draws.next(), draws.next()], expect);
    }
}
