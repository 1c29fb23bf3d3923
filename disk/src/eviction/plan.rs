//! [`Plan`]: which units are reclaimed, and what of them survives.

use super::{Cut, SURVIVING_PART, Standing};

/// A byte that is worth keeping weighs as much as so many that are not.
const KEPT_WEIGHT: u64 = 8;

/// Where a unit stands under `s3-fifo`; the other policies do not ask.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Queue {
    /// New entries, on probation.
    Small,
    /// What has survived.
    Main,
}

/// What a survey found in one unit.
#[derive(Copy, Clone, Debug)]
pub(crate) struct UnitTally {
    pub(crate) unit: u64,
    /// The oldest has the lowest.
    pub(crate) order: u64,
    pub(crate) queue: Queue,
    /// What its end gives back.
    pub(crate) length_bytes: u64,
    /// Bytes of it that can be read.
    pub(crate) live_bytes: u64,
    /// Bytes of it that are worth keeping.
    pub(crate) kept_bytes: u64,
}

impl UnitTally {
    /// What is free once it is reclaimed and its survivors are appended again.
    fn freed_bytes(&self) -> u64 {
        self.length_bytes - self.kept_bytes.min(survival_budget_bytes(self.length_bytes))
    }

    /// What its end costs: all that can be read, and what is worth keeping many times over. In eighths of its length, so
    /// that age decides between units that are about as good.
    fn cost(&self) -> u64 {
        let lost_bytes = self.live_bytes + (KEPT_WEIGHT - 1) * self.kept_bytes;
        lost_bytes.saturating_mul(8).saturating_add(self.length_bytes / 2)
            / self.length_bytes.max(1)
    }

    /// Whether all that can be read could be appended again.
    fn is_mostly_dead(&self) -> bool {
        self.live_bytes <= survival_budget_bytes(self.length_bytes)
    }

    /// Whether all that is worth keeping survives.
    fn keeps_within_budget(&self) -> bool {
        self.kept_bytes <= survival_budget_bytes(self.length_bytes)
    }
}

/// How much of a unit may be appended again.
pub(crate) fn survival_budget_bytes(length_bytes: u64) -> u64 {
    length_bytes / SURVIVING_PART
}

/// Which units are reclaimed.
#[derive(Clone, Eq, PartialEq, Default, Debug)]
pub(crate) struct Plan {
    /// They go, in this order.
    pub(crate) victims: Vec<u64>,
    /// They stay where they are for another round, as units of the main queue.
    pub(crate) spared: Vec<u64>,
}

impl Plan {
    /// Units whose end costs least, until so much is free; the oldest first where that is equal.
    pub(crate) fn by_least_cost(mut units: Vec<UnitTally>, needed_bytes: u64) -> Self {
        units.sort_unstable_by_key(|unit| (unit.cost(), unit.order));
        let mut plan = Self::default();
        let mut freed_bytes = 0;
        for unit in units {
            if freed_bytes >= needed_bytes {
                break;
            }
            freed_bytes += unit.freed_bytes();
            plan.victims.push(unit.unit);
        }
        plan
    }

    /// What is mostly dead, then the oldest unit of the small queue while that takes more than its target, else the oldest of the
    /// main queue, until so much is free. One with more worth keeping than may be appended again is spared, once.
    pub(crate) fn by_queues(
        mut units: Vec<UnitTally>,
        needed_bytes: u64,
        small_target_bytes: u64,
    ) -> Self {
        units.sort_unstable_by_key(|unit| unit.order);
        let everything = units.clone();
        let is_small = |unit: &UnitTally| unit.queue == Queue::Small;
        let mut small_bytes: u64 =
            units.iter().filter(|unit| is_small(unit)).map(|unit| unit.length_bytes).sum();
        let (dead, alive): (Vec<_>, Vec<_>) =
            units.into_iter().partition(UnitTally::is_mostly_dead);
        let (small, main): (Vec<_>, Vec<_>) = alive.into_iter().partition(is_small);
        let (mut dead, mut small, mut main) =
            (dead.into_iter(), small.into_iter(), main.into_iter());
        let mut plan = Self::default();
        let mut freed_bytes = 0;
        while freed_bytes < needed_bytes {
            let over_target = small_bytes > small_target_bytes;
            let next = dead.next().or_else(|| if over_target { small.next() } else { None });
            let Some(unit) = next.or_else(|| main.next()).or_else(|| small.next()) else { break };
            if unit.queue == Queue::Small {
                small_bytes -= unit.length_bytes;
            }
            if unit.keeps_within_budget() {
                freed_bytes += unit.freed_bytes();
                plan.victims.push(unit.unit);
            } else {
                plan.spared.push(unit.unit);
            }
        }
        if plan.victims.is_empty() {
            plan.victims = Self::by_least_cost(everything, needed_bytes).victims;
            plan.spared.retain(|unit| !plan.victims.contains(unit));
        }
        plan
    }
}

/// Divides the entries of a unit that goes into those that are appended again and those that are evicted. Of what is worth
/// keeping the best go first, as far as the budget reaches.
pub(crate) fn divide<T>(
    cut: &Cut,
    budget_bytes: u64,
    entries: Vec<T>,
    look: impl Fn(&T) -> (Standing, u64),
) -> (Vec<T>, Vec<T>) {
    let kept = |entry: &T| cut.keeps(look(entry).0);
    let (mut keepers, mut evicted): (Vec<_>, Vec<_>) = entries.into_iter().partition(kept);
    keepers.sort_by_key(|entry| std::cmp::Reverse(cut.margin(look(entry).0)));
    let mut left_bytes = budget_bytes;
    let mut survivors = Vec::new();
    for entry in keepers {
        let bytes = look(&entry).1;
        if bytes <= left_bytes {
            left_bytes -= bytes;
            survivors.push(entry);
        } else {
            evicted.push(entry);
        }
    }
    (survivors, evicted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Units of 100 bytes, the oldest first.
    fn units(kept: &[(Queue, u64)]) -> Vec<UnitTally> {
        let tally = |(unit, (queue, kept_bytes)): (u64, &(Queue, u64))| UnitTally {
            unit,
            order: unit,
            queue: *queue,
            length_bytes: 100,
            live_bytes: 96,
            kept_bytes: *kept_bytes,
        };
        (0..).zip(kept).map(tally).collect()
    }

    #[test]
    fn the_least_cost_goes_first_then_the_oldest() {
        use Queue::Small as S;
        let check = |kept: &[u64], needed_bytes: u64, expect: &[u64]| {
            let kept: Vec<_> = kept.iter().map(|bytes| (S, *bytes)).collect();
            let plan = Plan::by_least_cost(units(&kept), needed_bytes);
            assert_eq!(plan.victims, expect, "{kept:?} {needed_bytes}");
            assert_eq!(plan.spared, [0; 0]);
        };
        check(&[50, 10, 10, 0], 100, &[3]);
        check(&[50, 10, 10, 0], 101, &[3, 1]);
        check(&[50, 10, 10, 0], 190, &[3, 1]);
        check(&[50, 10, 10, 0], 191, &[3, 1, 2]);
        // At the most a quarter is appended again, however much is worth keeping.
        check(&[100, 100], 75, &[0]);
        check(&[100, 100], 76, &[0, 1]);
        check(&[], 76, &[]);
        check(&[0], 0, &[]);
    }

    #[test]
    fn queues_take_turns_and_spare_what_is_warm() {
        use Queue::{Main as M, Small as S};
        let check =
            |kept: &[(Queue, u64)], needed_bytes: u64, target: u64, expect: (&[u64], &[u64])| {
                let plan = Plan::by_queues(units(kept), needed_bytes, target);
                assert_eq!((&plan.victims[..], &plan.spared[..]), expect, "{kept:?} {target}");
            };
        // Over its target, the small queue gives first.
        check(&[(M, 0), (S, 0), (S, 0)], 100, 100, (&[1], &[]));
        check(&[(M, 0), (S, 0), (S, 0)], 200, 100, (&[1, 0], &[]));
        check(&[(M, 0), (S, 0), (S, 0)], 100, 200, (&[0], &[]));
        // What is warm moves on.
        check(&[(S, 26), (S, 25), (M, 0)], 75, 0, (&[1], &[0]));
        check(&[(M, 90), (M, 10), (S, 0)], 90, 100, (&[1], &[0]));
        // With nothing but warm units the least warm goes.
        check(&[(M, 90), (S, 80), (M, 95)], 75, 0, (&[1], &[0, 2]));
        check(&[], 75, 0, (&[], &[]));
    }

    #[test]
    fn dead_space_goes_before_anything_is_lost() {
        let mut tallies = units(&[(Queue::Small, 0), (Queue::Small, 0), (Queue::Small, 10)]);
        tallies[1].live_bytes = 40;
        tallies[2].live_bytes = 10;
        assert_eq!(Plan::by_least_cost(tallies.clone(), 200).victims, [1, 2, 0]);
        tallies[2].live_bytes = 0;
        tallies[2].kept_bytes = 0;
        assert_eq!(Plan::by_least_cost(tallies, 200).victims, [2, 1]);
    }

    proptest! {
        #[test]
        fn survivors_are_within_budget_and_nothing_is_lost(
            entries: Vec<(u16, u8, u8)>,
            floor_s: u16,
            budget: u16,
        ) {
            let mut histogram = crate::eviction::histogram::Histogram::new(u32::from(u16::MAX));
            let look = |entry: &(u16, u8, u8)| {
                (Standing { recency_s: u32::from(entry.0), hits: entry.1 }, u64::from(entry.2))
            };
            for entry in &entries {
                let (standing, bytes) = look(entry);
                histogram.add(standing, bytes);
            }
            let cut = Cut::by_recency(&histogram, u64::from(floor_s));
            let (survivors, evicted) = divide(&cut, u64::from(budget), entries.clone(), look);
            prop_assert_eq!(survivors.len() + evicted.len(), entries.len());
            let bytes: u64 = survivors.iter().map(|entry| look(entry).1).sum();
            prop_assert!(bytes <= u64::from(budget));
            prop_assert!(survivors.iter().all(|entry| cut.keeps(look(entry).0)));
        }
    }
}
