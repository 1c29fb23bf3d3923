//! [`HotLimit`]: how much the hot tier may hold, decided once a second from how short memory is.
//!
//! Down fast, in shares of what it holds, since the alternative is to be killed; up slowly and only after a while of calm,
//! so that the tier does not swing with the pressure that it relieves itself.

use super::control_group::GroupMemory;
use super::pressure::MemoryReading;

/// In use of the control group's limit, thousandths: from here the tier shrinks; from the second on it shrinks at once by half.
const TIGHT_PER_MILLE: u64 = 900;
const SEVERE_PER_MILLE: u64 = 960;
/// Below this there is room to grow; well below tight, so that growing by a step does not lead back there.
const CALM_PER_MILLE: u64 = 800;

/// Stalls, in thousandths of the last ten seconds: a twentieth of all time lost to waiting for memory is felt by clients.
const STALLED_PER_MILLE: u64 = 50;
const SEVERELY_STALLED_PER_MILLE: u64 = 250;
const UNSTALLED_PER_MILLE: u64 = 5;

/// So many calm readings, seconds, come before a step up: the average of stalls covers ten.
const CALM_READINGS: u32 = 10;

/// A step up, and the least that stays: an eighth and a sixteenth of the capacity.
const GROWTH_SHARE: u64 = 8;
const LEAST_SHARE: u64 = 16;

/// How much the hot tier may hold.
#[derive(Clone, Debug)]
pub struct HotLimit {
    capacity_bytes: u64,
    limit_bytes: u64,
    calm_readings: u32,
}

#[derive(Copy, Clone, Eq, PartialEq, Debug)]
enum Mood {
    Severe,
    Tight,
    Steady,
    Calm,
}

impl HotLimit {
    /// Begins with the whole capacity.
    pub fn new(capacity_bytes: u64) -> Self {
        Self { capacity_bytes, limit_bytes: capacity_bytes, calm_readings: 0 }
    }

    /// Takes the next reading, one a second, and says the limit from now on.
    pub fn next(&mut self, reading: MemoryReading) -> u64 {
        let mood = Mood::of(reading);
        self.calm_readings = if mood == Mood::Calm { self.calm_readings + 1 } else { 0 };
        let least_bytes = self.capacity_bytes / LEAST_SHARE;
        match mood {
            Mood::Severe => self.limit_bytes = (self.limit_bytes / 2).max(least_bytes),
            Mood::Tight => self.limit_bytes = (self.limit_bytes / 4 * 3).max(least_bytes),
            Mood::Calm if self.calm_readings >= CALM_READINGS => {
                self.calm_readings = 0;
                let grown_bytes = self.limit_bytes + self.capacity_bytes / GROWTH_SHARE;
                self.limit_bytes = grown_bytes.min(self.capacity_bytes);
            }
            Mood::Steady | Mood::Calm => {}
        }
        self.limit_bytes
    }
}

impl Mood {
    /// The worse of the two signs decides; one that is not told says calm.
    fn of(reading: MemoryReading) -> Self {
        let used = reading.group.map_or(0, GroupMemory::used_per_mille);
        let stalled = reading.stalled_per_mille.unwrap_or(0);
        if used >= SEVERE_PER_MILLE || stalled >= SEVERELY_STALLED_PER_MILLE {
            Self::Severe
        } else if used >= TIGHT_PER_MILLE || stalled >= STALLED_PER_MILLE {
            Self::Tight
        } else if used <= CALM_PER_MILLE && stalled <= UNSTALLED_PER_MILLE {
            Self::Calm
        } else {
            Self::Steady
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(used_per_mille: u64, stalled_per_mille: u64) -> MemoryReading {
        let group = GroupMemory { limit_bytes: 1_000_000, used_bytes: used_per_mille * 1_000 };
        MemoryReading { group: Some(group), stalled_per_mille: Some(stalled_per_mille) }
    }

    fn check(limit: &mut HotLimit, reading: MemoryReading, times: u32, expect: u64) {
        let last = (0..times).map(|_| limit.next(reading)).last();
        assert_eq!(last, Some(expect), "{times} times {reading:?}");
    }

    #[test]
    fn it_falls_in_steps_to_a_least_and_recovers_to_its_capacity() {
        let mut limit = HotLimit::new(1600);
        check(&mut limit, reading(500, 0), 5, 1600);
        check(&mut limit, reading(900, 0), 1, 1200);
        check(&mut limit, reading(0, 50), 1, 900);
        check(&mut limit, reading(960, 0), 1, 450);
        check(&mut limit, reading(0, 250), 1, 225);
        check(&mut limit, reading(990, 990), 20, 100);
        check(&mut limit, reading(800, 5), 9, 100);
        check(&mut limit, reading(800, 5), 1, 300);
        check(&mut limit, reading(800, 5), 10, 500);
        check(&mut limit, reading(0, 0), 1000, 1600);
    }

    #[test]
    fn between_tight_and_calm_nothing_moves_and_calm_begins_anew() {
        let mut limit = HotLimit::new(1600);
        check(&mut limit, reading(899, 49), 100, 1600);
        check(&mut limit, reading(950, 0), 1, 1200);
        check(&mut limit, reading(700, 0), 9, 1200);
        check(&mut limit, reading(850, 0), 1, 1200);
        check(&mut limit, reading(700, 0), 9, 1200);
        check(&mut limit, reading(700, 6), 1, 1200);
        check(&mut limit, reading(700, 0), 10, 1400);
    }

    #[test]
    fn what_is_not_told_is_no_pressure() {
        let mut limit = HotLimit::new(1600);
        check(&mut limit, MemoryReading::default(), 100, 1600);
        let stalls = MemoryReading { group: None, stalled_per_mille: Some(900) };
        check(&mut limit, stalls, 1, 800);
        let mut nothing = HotLimit::new(0);
        check(&mut nothing, stalls, 3, 0);
    }
}
