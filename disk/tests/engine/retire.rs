//! How packs end: what they hide stays hidden.

use larder_disk::{Durability, Engine, EngineOptions, EvictionPolicy};
use tempfile::tempdir;

use crate::random::Random;
use crate::sim_disk::{PowerCut, SimDisk};
use crate::support::{action_key, get, noise, open_without_index, options, put, put_blob};

/// Packs of 1 MiB.
fn small_packs(data_dir: &std::path::Path) -> EngineOptions {
    EngineOptions { max_size_bytes: 16 << 20, eviction: EvictionPolicy::Lfu, ..options(data_dir) }
}

/// Fills the rest of a pack and a little of the next.
fn fill(engine: &Engine, first: u64) {
    (first..first + 11).for_each(|seed| drop(put_blob(engine, &noise(seed, 100_000))));
}

#[test]
fn an_older_result_does_not_come_back_by_a_power_cut_behind_the_end_of_both() {
    for seed in 0..16 {
        let dir = tempdir().unwrap();
        let data_dir = dir.path().join("data");
        let disk = SimDisk::new(&data_dir);
        let options = EngineOptions { durability: Durability::Sync, ..small_packs(&data_dir) };
        let engine = open_without_index(options.clone(), &disk);
        let key = action_key("run twice");
        put(&engine, &key, b"older").unwrap();
        fill(&engine, 10);
        put(&engine, &key, b"newer").unwrap();
        fill(&engine, 100);
        while engine.contains(&key) {
            assert!(engine.give_up(0).unwrap());
        }
        drop(engine);
        disk.crash(PowerCut::Scatters, &mut Random::new(seed));
        let engine = open_without_index(options, &disk);
        let found = get(&engine, &key).unwrap();
        assert_ne!(found.as_deref(), Some(&b"older"[..]), "seed {seed}");
    }
}
