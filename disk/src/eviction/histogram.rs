//! [`Histogram`]: how many bytes there are of which age and how many hits; what a cut is found from.
//!
//! Units: ages are seconds before the moment of the survey. Buckets are 1/32 of the age wide, or a second.

use super::{HITS_MAX, Standing};

/// log2 of the number of buckets for each doubling of the age.
const SUB_BITS: u32 = 5;
const SUB_BUCKETS: usize = 1 << SUB_BITS;
/// Ages of 32 bits.
pub(crate) const BUCKETS: usize = (32 - SUB_BITS as usize + 1) * SUB_BUCKETS;
/// Numbers of hits that are told apart.
pub(crate) const CLASSES: usize = HITS_MAX as usize + 1;

/// Bytes by age and hits.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    now_s: u32,
    /// [`BUCKETS`] for each class.
    bytes: Vec<u64>,
}

impl Histogram {
    pub(crate) fn new(now_s: u32) -> Self {
        Self { now_s, bytes: vec![0; CLASSES * BUCKETS] }
    }

    /// When the survey began: the age of all that came later is 0.
    pub(crate) fn now_s(&self) -> u32 {
        self.now_s
    }

    pub(crate) fn add(&mut self, standing: Standing, bytes: u64) {
        let age_s = self.now_s.saturating_sub(standing.recency_s);
        let class = usize::from(standing.hits.min(HITS_MAX));
        self.bytes[class * BUCKETS + bucket_of(age_s)] += bytes;
    }

    /// For one class: how many bytes are in each bucket or in an older one.
    pub(crate) fn older_than(&self, class: usize) -> Vec<u64> {
        let mut sums = self.bytes[class * BUCKETS..(class + 1) * BUCKETS].to_vec();
        for bucket in (0..BUCKETS - 1).rev() {
            sums[bucket] += sums[bucket + 1];
        }
        sums
    }
}

/// The bucket of an age.
pub(crate) fn bucket_of(age_s: u32) -> usize {
    let Some(exponent) = age_s.checked_ilog2().filter(|exponent| *exponent >= SUB_BITS) else {
        return age_s as usize;
    };
    let above = (exponent - SUB_BITS) as usize;
    above * SUB_BUCKETS + (age_s >> above) as usize
}

/// The smallest age in a bucket.
pub(crate) fn age_of(bucket: usize) -> u32 {
    if bucket < 2 * SUB_BUCKETS {
        return u32::try_from(bucket).unwrap_or(u32::MAX);
    }
    let above = bucket / SUB_BUCKETS - 1;
    let age = (bucket % SUB_BUCKETS + SUB_BUCKETS) as u64;
    u32::try_from(age << above).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_age_is_in_its_bucket(age_s: u32) {
            let bucket = bucket_of(age_s);
            prop_assert!(bucket < BUCKETS);
            prop_assert!(age_of(bucket) <= age_s);
            prop_assert!(bucket + 1 == BUCKETS || age_of(bucket + 1) > age_s);
            // No bucket is wider than a thirty-second of its age.
            prop_assert!(age_s - age_of(bucket) <= age_s / 32);
        }
    }

    #[test]
    fn the_ends_have_buckets() {
        for age_s in [0, 1, 31, 32, 63, 64, 65, u32::MAX] {
            assert!(bucket_of(age_s) < BUCKETS, "{age_s}");
        }
        assert_eq!(bucket_of(u32::MAX), BUCKETS - 1);
    }

    #[test]
    fn sums_count_from_the_oldest() {
        let mut histogram = Histogram::new(1_000);
        for (recency_s, hits, bytes) in [(1_000, 0, 1), (990, 0, 10), (0, 0, 100), (990, 3, 7)] {
            histogram.add(Standing { recency_s, hits }, bytes);
        }
        let never = histogram.older_than(0);
        assert_eq!([never[0], never[1], never[10], never[11]], [111, 110, 110, 100]);
        assert_eq!(never[bucket_of(1_000) + 1], 0);
        assert_eq!(histogram.older_than(3)[10], 7);
    }
}
