//! [`Policy`]: the state machine of each policy. It learns of admissions and evictions, and says what is worth keeping and which
//! units go.

use super::ghosts::Ghosts;
use super::histogram::Histogram;
use super::{Cut, EvictionPolicy, Plan, Queue, UnitTally};

/// The most names that a policy remembers of what it evicted: 8 MiB.
const GHOSTS_MAX: u32 = 1 << 20;
/// Under `s3-fifo` the small queue has one part in this many of the room.
const SMALL_PART: u64 = 10;
/// Hits that `s3-fifo` counts; each round in the main queue takes one.
const QUEUE_HITS_MAX: u8 = 3;
/// One part in this many of what is stored counts as cold when units are chosen. Much more than must go: cold entries lie
/// among warmer ones, and only units that are mostly cold are worth reclaiming (measured, ADR 8).
const COLD_PART: u64 = 8;

/// The state of a policy.
#[derive(Debug)]
pub(crate) struct Policy {
    kind: EvictionPolicy,
    /// What was evicted without a hit.
    unhit_ghosts: Ghosts,
    /// What was evicted after a hit; `arc` only.
    hit_ghosts: Ghosts,
    /// `arc`: how much of what was never asked for is kept.
    unhit_target_bytes: u64,
}

impl Policy {
    pub(crate) fn new(kind: EvictionPolicy) -> Self {
        let (unhit, hit) = match kind {
            EvictionPolicy::Lru | EvictionPolicy::Lfu => (0, 0),
            EvictionPolicy::Arc => (GHOSTS_MAX / 2, GHOSTS_MAX / 2),
            EvictionPolicy::S3Fifo => (GHOSTS_MAX, 0),
        };
        Self {
            kind,
            unhit_ghosts: Ghosts::new(unhit),
            hit_ghosts: Ghosts::new(hit),
            unhit_target_bytes: 0,
        }
    }

    /// The hits that an entry begins with: one when its like was evicted lately.
    pub(crate) fn admit(&mut self, name: u64, bytes: u64) -> u8 {
        if self.kind == EvictionPolicy::Arc {
            let (unhit, hit) = (self.unhit_ghosts.count(), self.hit_ghosts.count());
            let step = |mine: u32, other: u32| bytes * u64::from(other / mine.max(1)).max(1);
            if self.unhit_ghosts.take(name) {
                self.unhit_target_bytes = self.unhit_target_bytes.saturating_add(step(unhit, hit));
                return 1;
            }
            if self.hit_ghosts.take(name) {
                self.unhit_target_bytes = self.unhit_target_bytes.saturating_sub(step(hit, unhit));
                return 1;
            }
            return 0;
        }
        u8::from(self.kind == EvictionPolicy::S3Fifo && self.unhit_ghosts.take(name))
    }

    /// Remembers what was evicted, as far as the policy wants to know.
    pub(crate) fn evicted(&mut self, name: u64, hits: u8, queue: Queue) {
        match self.kind {
            EvictionPolicy::Arc if hits == 0 => self.unhit_ghosts.add(name),
            EvictionPolicy::Arc => self.hit_ghosts.add(name),
            EvictionPolicy::S3Fifo if queue == Queue::Small => self.unhit_ghosts.add(name),
            EvictionPolicy::Lru | EvictionPolicy::Lfu | EvictionPolicy::S3Fifo => {}
        }
    }

    /// Whether the cut is found from ages and hits of all entries.
    pub(crate) fn wants_histogram(&self) -> bool {
        self.kind != EvictionPolicy::S3Fifo
    }

    /// What is worth keeping when `needed_bytes` of `stored_bytes`, which `entries` take, must be free.
    pub(crate) fn cut(
        &mut self,
        histogram: &Histogram,
        needed_bytes: u64,
        (stored_bytes, entries): (u64, u64),
    ) -> Cut {
        let length = u32::try_from(entries).unwrap_or(u32::MAX).max(64);
        self.unhit_ghosts.shorten(length);
        self.hit_ghosts.shorten(length);
        let cold_bytes = needed_bytes.max(stored_bytes / COLD_PART);
        match self.kind {
            EvictionPolicy::Lru => Cut::by_recency(histogram, cold_bytes),
            EvictionPolicy::Lfu => Cut::by_frequency(histogram, cold_bytes),
            EvictionPolicy::Arc => {
                self.unhit_target_bytes = self.unhit_target_bytes.min(stored_bytes);
                Cut::by_share(histogram, cold_bytes, self.unhit_target_bytes)
            }
            EvictionPolicy::S3Fifo => Cut::asked_for(),
        }
    }

    /// Which units go to make `needed_bytes` of `limit_bytes` free.
    pub(crate) fn plan(&self, units: Vec<UnitTally>, needed_bytes: u64, limit_bytes: u64) -> Plan {
        match self.kind {
            EvictionPolicy::S3Fifo => {
                Plan::by_queues(units, needed_bytes, limit_bytes / SMALL_PART)
            }
            _ => Plan::by_least_cost(units, needed_bytes),
        }
    }

    /// The hits of an entry that has survived, or whose unit was spared.
    pub(crate) fn hits_after(&self, hits: u8, queue: Queue) -> u8 {
        match (self.kind, queue) {
            (EvictionPolicy::S3Fifo, Queue::Small) => 0,
            (EvictionPolicy::S3Fifo, Queue::Main) => hits.min(QUEUE_HITS_MAX).saturating_sub(1),
            _ => hits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_returns_is_known() {
        let check = |kind: EvictionPolicy, hits: u8, queue: Queue, expect: u8| {
            let mut policy = Policy::new(kind);
            assert_eq!(policy.admit(7, 100), 0);
            policy.evicted(7, hits, queue);
            assert_eq!(policy.admit(7, 100), expect, "{kind} {hits} {queue:?}");
            assert_eq!(policy.admit(7, 100), 0, "{kind} {hits} {queue:?}");
        };
        check(EvictionPolicy::Lru, 0, Queue::Small, 0);
        check(EvictionPolicy::Lfu, 3, Queue::Small, 0);
        check(EvictionPolicy::Arc, 0, Queue::Small, 1);
        check(EvictionPolicy::Arc, 2, Queue::Small, 1);
        check(EvictionPolicy::S3Fifo, 0, Queue::Small, 1);
        check(EvictionPolicy::S3Fifo, 0, Queue::Main, 0);
    }

    #[test]
    fn arc_learns_from_what_it_misses() {
        let mut policy = Policy::new(EvictionPolicy::Arc);
        policy.evicted(1, 0, Queue::Small);
        policy.evicted(2, 1, Queue::Small);
        policy.admit(1, 100);
        assert_eq!(policy.unhit_target_bytes, 100);
        policy.admit(2, 60);
        assert_eq!(policy.unhit_target_bytes, 40);
        // The rarer list's returns weigh more.
        for name in 10..15 {
            policy.evicted(name, 1, Queue::Small);
        }
        policy.evicted(1, 0, Queue::Small);
        policy.admit(1, 10);
        assert_eq!(policy.unhit_target_bytes, 40 + 3 * 10);
    }

    #[test]
    fn a_round_takes_a_hit() {
        let check = |kind: EvictionPolicy, hits: u8, queue: Queue, expect: u8| {
            assert_eq!(Policy::new(kind).hits_after(hits, queue), expect, "{kind} {hits}");
        };
        check(EvictionPolicy::Lru, 9, Queue::Main, 9);
        check(EvictionPolicy::S3Fifo, 9, Queue::Small, 0);
        check(EvictionPolicy::S3Fifo, 9, Queue::Main, 2);
        check(EvictionPolicy::S3Fifo, 1, Queue::Main, 0);
        check(EvictionPolicy::S3Fifo, 0, Queue::Main, 0);
    }
}
