//! What each policy keeps: warm sets, cold scans, ghosts, and the budget for copies.

use super::*;

const MIB: u64 = 1 << 20;
const LIMIT: u64 = 256 * MIB;
const ENTRY: u64 = 64 << 10;
const HOUR_S: u32 = 3_600;

fn simulation(policy: EvictionPolicy) -> Simulation {
    Simulation::new(SimulationOptions { policy, max_size_bytes: LIMIT, large_blob_bytes: MIB })
}

/// Touches what is there and stores what is not; how many were there.
fn build(simulation: &mut Simulation, now_s: u32, names: std::ops::Range<u64>) -> u64 {
    let mut hits = 0;
    for name in names {
        if simulation.touch(now_s, name) {
            hits += 1;
        } else {
            simulation.store(now_s, name, ENTRY);
        }
        assert!(simulation.used_bytes() <= LIMIT, "{} bytes are used", simulation.used_bytes());
    }
    hits
}

#[test]
fn a_warm_set_that_fits_stays_whatever_else_is_built() {
    for policy in EvictionPolicy::ALL {
        let mut simulation = simulation(policy);
        // 100 MiB that every build uses, and 12 MiB of something new with each of them.
        let mut hits = 0;
        for hour in 0..100 {
            hits = build(&mut simulation, hour * HOUR_S, 0..1_600);
            let news = 10_000 + u64::from(hour) * 200;
            build(&mut simulation, hour * HOUR_S + 60, news..news + 200);
        }
        assert_eq!(hits, 1_600, "{policy}");
    }
}

#[test]
fn one_cold_scan_does_not_flush_the_warm_set() {
    for policy in [EvictionPolicy::Lfu, EvictionPolicy::Arc, EvictionPolicy::S3Fifo] {
        let mut simulation = simulation(policy);
        for hour in 0..24 {
            build(&mut simulation, hour * HOUR_S, 0..1_600);
        }
        // Twice the limit, at one go, while nobody builds.
        build(&mut simulation, 24 * HOUR_S, 1_000_000..1_008_192);
        let hits = build(&mut simulation, 25 * HOUR_S, 0..1_600);
        assert!(hits >= 1_520, "{policy}: {hits} of 1600 are left");
    }
}

#[test]
fn least_recently_used_is_flushed_by_a_scan() {
    let mut simulation = simulation(EvictionPolicy::Lru);
    build(&mut simulation, 0, 0..1_600);
    build(&mut simulation, HOUR_S, 0..1_600);
    build(&mut simulation, 2 * HOUR_S, 1_000_000..1_008_192);
    assert_eq!(build(&mut simulation, 3 * HOUR_S, 0..1_600), 0);
}

#[test]
fn copies_stay_within_their_budget() {
    for policy in EvictionPolicy::ALL {
        let mut simulation = simulation(policy);
        // Every third entry is asked for again, forever: far more than fits.
        for round in 0..60 {
            let first = u64::from(round) * 300;
            build(&mut simulation, round * HOUR_S, first..first + 300);
            for name in (0..first).step_by(3) {
                simulation.touch(round * HOUR_S + 60, name);
            }
        }
        let totals = simulation.totals();
        assert!(totals.evictions > 10_000, "{policy}: {totals:?}");
        assert!(totals.copied_bytes > 0, "{policy}: {totals:?}");
        // A quarter of what is reclaimed, so a third of what is stored.
        assert!(totals.copied_bytes <= totals.stored_bytes / 3, "{policy}: {totals:?}");
    }
}

#[test]
fn large_blobs_come_and_go_one_by_one() {
    for policy in EvictionPolicy::ALL {
        let mut simulation = simulation(policy);
        for hour in 0..100_u32 {
            simulation.touch(hour * HOUR_S, 0);
            simulation.store(hour * HOUR_S + 1, u64::from(hour), 8 * MIB);
            assert!(simulation.used_bytes() <= LIMIT);
        }
        assert!(simulation.touch(100 * HOUR_S, 0), "{policy}: the warm one is gone");
        assert!(!simulation.touch(100 * HOUR_S, 1), "{policy}: a cold one is left");
        assert_eq!(simulation.totals().copied_bytes, 0, "{policy}");
    }
}

#[test]
fn what_is_replaced_makes_room_before_anything_is_evicted() {
    for policy in EvictionPolicy::ALL {
        let mut simulation = simulation(policy);
        build(&mut simulation, 0, 0..2_000);
        for round in 0..20_000 {
            simulation.store(10 + round, 1_000_000, ENTRY);
        }
        assert_eq!(build(&mut simulation, 100_000, 0..2_000), 2_000, "{policy}");
    }
}

#[test]
fn what_never_fits_is_left_out() {
    let mut simulation = simulation(EvictionPolicy::Lru);
    simulation.store(0, 1, 10);
    simulation.store(0, 2, LIMIT + 1);
    assert!(simulation.touch(1, 1) && !simulation.touch(1, 2));
}
