//! A disk that is full to the last byte: packs go to make room, and what they replaced must not come back with the next start.

use std::collections::BTreeMap;
use std::sync::Arc;

use larder_disk::{Durability, Engine, EngineOptions};
use tempfile::tempdir;

use crate::random::Random;
use crate::sim_disk::{PowerCut, SimDisk};
use crate::simulation::setting;
use crate::support::{action_key, blob_key, get, noise, options, put};

const SEEDS: u64 = 4;
const RESULTS: usize = 40;
const MIB: usize = 1 << 20;

/// What may be found of a result, by the number in its content; `None` is a miss, which is always right.
type Allowed = BTreeMap<usize, Vec<u64>>;

fn result(name: usize) -> larder_disk::RecordKey {
    action_key(&format!("result {name}"))
}

fn check(engine: &Engine, allowed: &mut Allowed, when: &str) {
    for (name, versions) in allowed {
        let Some(found) = get(engine, &result(*name)).unwrap() else { continue };
        let version = u64::from_le_bytes(found[..8].try_into().unwrap());
        assert!(
            versions.contains(&version),
            "{when}: {version} of {name}, not one of {versions:?}"
        );
        *versions = vec![version];
    }
}

/// Puts results again and again between blobs, the oldest of which stay warm so that their pack is not the first to go; now and
/// then there is not one byte left on the disk.
fn run(seed: u64) {
    let mut random = Random::new(seed);
    let dir = tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let disk = SimDisk::new(&data_dir);
    std::fs::create_dir(&data_dir).unwrap();
    std::fs::write(data_dir.join("index"), b"no directory").unwrap();
    let durability = Durability::Sync;
    // Packs of 1 MiB.
    let options = EngineOptions { durability, max_size_bytes: 64 << 20, ..options(&data_dir) };
    let open = || {
        let engine = Engine::open(options.clone(), Arc::new(disk.clone())).unwrap();
        engine.wait_loaded();
        engine
    };
    let mut engine = open();
    let mut allowed = Allowed::new();
    let mut warm = Vec::new();
    let mut full_disk_evictions = 0;
    for version in 0..240_u64 {
        // The first of each stand in the oldest pack, which stays.
        let first = usize::try_from(version).unwrap();
        let name = if first < RESULTS { first } else { random.below(RESULTS) };
        let mut content = version.to_le_bytes().to_vec();
        content.extend(noise(version, 300));
        match put(&engine, &result(name), &content) {
            Ok(_) => drop(allowed.insert(name, vec![version])),
            Err(_) => allowed.entry(name).or_default().push(version),
        }
        for part in 0..random.below(if first < RESULTS { 2 } else { 6 }) as u64 {
            let content = noise(1_000 + version * 10 + part, 20_000 + random.below(40_000));
            if put(&engine, &blob_key(&content), &content).is_ok() && warm.len() < 20 {
                warm.push(blob_key(&content));
            }
        }
        warm.retain(|key| engine.contains(key));
        let is_full = disk.used_bytes() > 4 * MIB && random.below(2) == 0;
        disk.set_capacity(if is_full { disk.used_bytes() } else { 6 * MIB });
        if random.below(16) == 0 {
            check(&engine, &mut allowed, "running");
        }
        if random.below(12) == 0 || version == 239 {
            full_disk_evictions += engine.usage().full_disk_evictions;
            drop(engine);
            disk.crash(PowerCut::KeepsAll, &mut random);
            disk.set_capacity(6 * MIB);
            engine = open();
            check(&engine, &mut allowed, "after a restart");
        }
    }
    assert!(full_disk_evictions > 2, "{full_disk_evictions}: the disk was never full");
}

#[test]
fn no_older_result_comes_back_from_a_disk_without_a_byte_left() {
    let (first, count) = (setting("LARDER_SIM_FIRST", 0), setting("LARDER_SIM_SEEDS", SEEDS));
    for seed in first..first + count {
        let run = std::panic::catch_unwind(|| run(seed));
        assert!(
            run.is_ok(),
            "seed {seed} failed; again with LARDER_SIM_FIRST={seed} LARDER_SIM_SEEDS=1"
        );
    }
}
