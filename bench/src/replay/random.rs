//! [`Random`]: numbers that are the same for the same seed, in every version of every library.

/// A source of numbers, by the steps of `SplitMix64`.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.state)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        let product = u128::from(self.next()) * u128::from(end.max(1));
        u64::try_from(product >> 64).unwrap_or_default()
    }

    /// Whether something of so many in a thousand happens.
    pub(crate) fn permille(&mut self, part: u64) -> bool {
        self.below(1_000) < part
    }

    /// A size whose logarithm is about normal: half of them within a factor of about four of the median.
    pub(crate) fn size(&mut self, median_bytes: u64) -> u64 {
        // Twelve coins: a binomial spread of -6 to 6 doublings, and something between.
        let heads = (self.next() & 0xFFF).count_ones();
        let doubled = u128::from(median_bytes) << heads >> 6;
        let spread = 724 + u128::from(self.below(724));
        u64::try_from((doubled * spread) >> 10).unwrap_or(u64::MAX).max(16)
    }
}

/// Spreads a number over all 64 bits.
pub(crate) fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_spread_around_their_median() {
        let mut random = Random::new(1);
        let mut sizes: Vec<_> = (0..10_001).map(|_| random.size(8_192)).collect();
        sizes.sort_unstable();
        assert!((4_096..16_384).contains(&sizes[5_000]), "{}", sizes[5_000]);
        assert!(sizes[10_000] > 100_000 && sizes[0] < 1_000);
        assert!((0..1_000).all(|_| random.below(7) < 7));
    }
}
