//! [`Cut`]: which entries are worth keeping, and how it is found for each policy.

use super::histogram::{BUCKETS, CLASSES, Histogram, age_of, bucket_of};
use super::{HITS_MAX, Standing};

/// log2(hits + 1), in 256ths.
const LOG2: [i64; CLASSES] =
    [0, 256, 406, 512, 594, 662, 719, 768, 811, 850, 886, 918, 947, 975, 1_000, 1_024];

/// How long a doubling of the hits counts, in ages of what is in use.
const AGES_A_DOUBLING: i64 = 16;
/// What has hits and is among the youngest quarter of that is in use.
const IN_USE_PART: u64 = 4;

/// Which entries are worth keeping: for each number of hits, those from some moment on.
#[derive(Clone, Eq, PartialEq, Debug)]
pub(crate) struct Cut {
    /// By hits: what was last asked for at this moment or later is worth keeping, seconds since 1970.
    floors_s: [i64; CLASSES],
}

impl Cut {
    /// Everything is worth keeping.
    pub(crate) const KEEP_ALL: Self = Self { floors_s: [0; CLASSES] };

    /// What has been asked for is worth keeping.
    pub(crate) fn asked_for() -> Self {
        let mut floors_s = [0; CLASSES];
        floors_s[0] = i64::MAX;
        Self { floors_s }
    }

    pub(crate) fn keeps(&self, standing: Standing) -> bool {
        i64::from(standing.recency_s) >= self.floor_s(standing)
    }

    /// By how much an entry is worth keeping; where not all can be, the greater ones are.
    pub(crate) fn margin(&self, standing: Standing) -> i64 {
        i64::from(standing.recency_s).saturating_sub(self.floor_s(standing))
    }

    fn floor_s(&self, standing: Standing) -> i64 {
        self.floors_s[usize::from(standing.hits.min(HITS_MAX))]
    }

    /// The `cold_bytes` that were not asked for the longest are not worth keeping.
    pub(crate) fn by_recency(histogram: &Histogram, cold_bytes: u64) -> Self {
        let oldest = Oldest::of(histogram, 0..CLASSES);
        Self { floors_s: [floor_s(histogram, oldest.age_of(cold_bytes)); CLASSES] }
    }

    /// The `cold_bytes` that were asked for least are not worth keeping: an entry with `hits` is as good as one without that is
    /// younger by log2(hits + 1) doublings. How long one is the store tells and no clock, from the age of what is in use: a day or
    /// so where that is asked for every hour or two, and minutes where it is asked for every few seconds (ADR 8).
    pub(crate) fn by_frequency(histogram: &Histogram, cold_bytes: u64) -> Self {
        let classes: Vec<_> =
            (0..CLASSES).map(|class| Oldest::of(histogram, class..class + 1)).collect();
        let hit = Oldest::of(histogram, 1..CLASSES);
        let in_use_s = hit.age_of(hit.bytes() - hit.bytes() / IN_USE_PART).unwrap_or(0).max(1);
        let doubling_s = i64::from(in_use_s) * AGES_A_DOUBLING;
        let age_s = |class: usize, unhit_age_s: i64| unhit_age_s + doubling_s * LOG2[class] / 256;
        let freed = |unhit_age_s: i64| -> u64 {
            let freed_of = |class: usize| classes[class].bytes_from(age_s(class, unhit_age_s));
            (0..CLASSES).map(freed_of).sum()
        };
        // The greatest age that frees enough; all is freed at the low end.
        let (mut enough, mut too_old) = (-4 * doubling_s - 1, 1 << 33);
        while too_old - enough > 1 {
            let middle = i64::midpoint(enough, too_old);
            if freed(middle) >= cold_bytes { enough = middle } else { too_old = middle }
        }
        let floors_s = std::array::from_fn(|class| {
            let bucket = first_bucket_from(age_s(class, enough));
            floor_s(histogram, bucket.map(age_of))
        });
        Self { floors_s }
    }

    /// Of the `cold_bytes`, so many are taken from what was never asked for that this keeps `unhit_target_bytes`, and the rest
    /// from what was; the oldest of each.
    pub(crate) fn by_share(
        histogram: &Histogram,
        cold_bytes: u64,
        unhit_target_bytes: u64,
    ) -> Self {
        let unhit = Oldest::of(histogram, 0..1);
        let hit = Oldest::of(histogram, 1..CLASSES);
        let from_unhit = unhit.bytes().saturating_sub(unhit_target_bytes).min(cold_bytes);
        let from_hit = (cold_bytes - from_unhit).min(hit.bytes());
        let from_unhit = cold_bytes - from_hit;
        let mut floors_s = [floor_s(histogram, hit.age_of(from_hit)); CLASSES];
        floors_s[0] = floor_s(histogram, unhit.age_of(from_unhit));
        Self { floors_s }
    }
}

/// What is younger than `age_s` is worth keeping; all of it where there is no age.
fn floor_s(histogram: &Histogram, age_s: Option<u32>) -> i64 {
    age_s.map_or(0, |age_s| i64::from(histogram.now_s()) - i64::from(age_s) + 1)
}

/// The first bucket that holds no younger age than this; `None` behind the last.
fn first_bucket_from(age_s: i64) -> Option<usize> {
    let age_s = u32::try_from(age_s.max(0)).ok()?;
    let bucket = bucket_of(age_s);
    let first = if age_of(bucket) == age_s { bucket } else { bucket + 1 };
    (first < BUCKETS).then_some(first)
}

/// Bytes of some classes, summed up from the oldest.
struct Oldest {
    sums: Vec<u64>,
}

impl Oldest {
    fn of(histogram: &Histogram, classes: std::ops::Range<usize>) -> Self {
        let mut sums = vec![0; BUCKETS];
        for class in classes {
            for (sum, older) in sums.iter_mut().zip(histogram.older_than(class)) {
                *sum += older;
            }
        }
        Self { sums }
    }

    fn bytes(&self) -> u64 {
        self.sums[0]
    }

    /// From which age on there are so many bytes; `None` for no bytes at all.
    fn age_of(&self, bytes: u64) -> Option<u32> {
        if bytes == 0 || self.bytes() == 0 {
            return None;
        }
        let bytes = bytes.min(self.bytes());
        self.sums.iter().rposition(|sum| *sum >= bytes).map(age_of)
    }

    /// How many bytes are at least so old, as far as buckets tell: none too many.
    fn bytes_from(&self, age_s: i64) -> u64 {
        first_bucket_from(age_s).map_or(0, |bucket| self.sums[bucket])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_S: u32 = 10_000_000;
    const DAY_S: u32 = 24 * 3_600;

    /// Entries of 10 bytes each.
    fn histogram(entries: &[(u32, u8)]) -> Histogram {
        let mut histogram = Histogram::new(NOW_S);
        for (age_s, hits) in entries {
            histogram.add(Standing { recency_s: NOW_S - age_s, hits: *hits }, 10);
        }
        histogram
    }

    fn kept(cut: &Cut, entries: &[(u32, u8)]) -> Vec<bool> {
        let standing =
            |(age_s, hits): &(u32, u8)| Standing { recency_s: NOW_S - age_s, hits: *hits };
        entries.iter().map(|entry| cut.keeps(standing(entry))).collect()
    }

    #[test]
    fn the_oldest_are_cut_off() {
        let entries = [(30, 0), (20, 9), (10, 0), (0, 0)];
        let check = |cold_bytes: u64, expect: [bool; 4]| {
            let cut = Cut::by_recency(&histogram(&entries), cold_bytes);
            assert_eq!(kept(&cut, &entries), expect, "{cold_bytes}");
        };
        check(0, [true; 4]);
        check(1, [false, true, true, true]);
        check(10, [false, true, true, true]);
        check(11, [false, false, true, true]);
        check(40, [false; 4]);
        check(1_000, [false; 4]);
    }

    #[test]
    fn what_is_asked_for_often_outlives_what_is_younger_at_any_pace() {
        for unit in [1, 60, 3_600] {
            // In use is what is 2 old, so that a doubling is worth 32.
            let entries = [(140 * unit, 7), (50 * unit, 1), (30 * unit, 0), (2 * unit, 1), (0, 0)];
            let check = |cold_bytes: u64, expect: [bool; 5]| {
                let cut = Cut::by_frequency(&histogram(&entries), cold_bytes);
                assert_eq!(kept(&cut, &entries), expect, "{cold_bytes}, {unit} s");
            };
            check(0, [true; 5]);
            check(10, [false, true, true, true, true]);
            check(20, [false, true, false, true, true]);
            check(30, [false, false, false, true, true]);
            check(40, [false, false, false, true, false]);
            check(50, [false; 5]);
            check(60, [false; 5]);
        }
    }

    #[test]
    fn what_was_asked_for_long_ago_ends_unless_nothing_was_since() {
        let check = |youngest: (u32, u8), expect: [bool; 4]| {
            let entries = [(5 * DAY_S, 15), (60, 0), (50, 0), youngest];
            let cut = Cut::by_frequency(&histogram(&entries), 10);
            assert_eq!(kept(&cut, &entries), expect, "{youngest:?}");
        };
        check((40, 1), [false, true, true, true]);
        check((40, 0), [true, false, true, true]);
    }

    #[test]
    fn shares_are_kept() {
        let entries = [(40, 0), (30, 0), (35, 1), (15, 2)];
        let check = |cold_bytes: u64, target_bytes: u64, expect: [bool; 4]| {
            let cut = Cut::by_share(&histogram(&entries), cold_bytes, target_bytes);
            assert_eq!(kept(&cut, &entries), expect, "{cold_bytes} {target_bytes}");
        };
        check(10, 0, [false, true, true, true]);
        check(10, 10, [false, true, true, true]);
        check(10, 20, [true, true, false, true]);
        check(20, 10, [false, true, false, true]);
        check(30, 20, [false, true, false, false]);
        check(30, 0, [false, false, false, true]);
        check(0, 0, [true; 4]);
    }

    #[test]
    fn the_margin_tells_who_goes_first() {
        let entries = [(40, 0), (30, 0), (20, 0)];
        let cut = Cut::by_recency(&histogram(&entries), 10);
        let margin = |age_s: u32| cut.margin(Standing { recency_s: NOW_S - age_s, hits: 0 });
        assert!(margin(40) < 0 && margin(30) >= 0 && margin(20) > margin(30));
        let asked = Cut::asked_for();
        assert!(!asked.keeps(Standing { recency_s: NOW_S, hits: 0 }));
        assert!(asked.keeps(Standing { recency_s: 0, hits: 1 }));
    }
}
