//! What eviction keeps: by the clock of the test, under concurrent load, within budgets, and on a disk that others fill.

use std::path::Path;
use std::sync::atomic::Ordering;

use larder_disk::{DiskErrorClass, Engine, EngineOptions, EvictionPolicy, RealIo, RecordKey};
use tempfile::tempdir;

use crate::set_io::{SetIo, disk_bytes};
use crate::support::{
    action_key, blob_key, get, noise, open_with, options, put, put_blob, put_large,
};

const MIB: u64 = 1 << 20;
const LIMIT: u64 = 16 * MIB;
const HOUR_S: u64 = 3_600;

fn limited(data_dir: &Path, eviction: EvictionPolicy) -> EngineOptions {
    EngineOptions { max_size_bytes: LIMIT, eviction, ..options(data_dir) }
}

fn used(engine: &Engine) -> u64 {
    // One look: between two of them something may have gone.
    let usage = engine.usage();
    usage.stored_bytes + usage.dead_bytes
}

/// The committer's clock follows its work; an answer from it makes sure.
fn settle(engine: &Engine) {
    assert!(!engine.remove(&blob_key(b"absent")).unwrap());
}

fn blobs(seeds: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    seeds.map(|seed| noise(seed, 50_000)).collect()
}

fn left(engine: &Engine, keys: &[RecordKey]) -> usize {
    keys.iter().filter(|key| engine.record(key).is_some()).count()
}

#[test]
fn one_cold_scan_does_not_flush_the_warm_set() {
    for policy in [EvictionPolicy::Lfu, EvictionPolicy::Arc, EvictionPolicy::S3Fifo] {
        let dir = tempdir().unwrap();
        let io = SetIo::new();
        let engine = open_with(limited(dir.path(), policy), io.clone());
        let warm: Vec<_> = blobs(0..100).iter().map(|content| put_blob(&engine, content)).collect();
        for _ in 0..6 {
            io.pass(HOUR_S);
            settle(&engine);
            assert!(warm.iter().all(|key| engine.contains(key)));
        }
        io.pass(HOUR_S);
        // Three times the limit.
        for content in blobs(1_000..2_000) {
            put_blob(&engine, &content);
            assert!(used(&engine) <= LIMIT);
        }
        assert!(left(&engine, &warm) >= 95, "{policy}: {} of 100", left(&engine, &warm));
        for (key, content) in warm.iter().zip(blobs(0..100)) {
            let found = get(&engine, key).unwrap();
            assert!(found.is_none_or(|found| found == content));
        }
    }
}

#[test]
fn recency_decides_and_outlives_a_restart() {
    let dir = tempdir().unwrap();
    let io = SetIo::new();
    let engine = open_with(limited(dir.path(), EvictionPolicy::Lru), io.clone());
    let keys: Vec<_> = blobs(0..250).iter().map(|content| put_blob(&engine, content)).collect();
    // The first fifty were stored first, and asked for last.
    io.pass(HOUR_S);
    settle(&engine);
    assert!(keys[..50].iter().all(|key| engine.contains(key)));
    drop(engine);
    let engine = open_with(limited(dir.path(), EvictionPolicy::Lru), io.clone());
    engine.wait_loaded();
    for content in blobs(1_000..1_080) {
        put_blob(&engine, &content);
    }
    assert_eq!(left(&engine, &keys[..50]), 50);
    assert!(left(&engine, &keys[50..]) < 195, "{} are left", left(&engine, &keys[50..]));
    assert_eq!(engine.usage().min_retention_s, Some(HOUR_S));
}

#[test]
fn the_limit_holds_under_concurrent_writers() {
    for policy in EvictionPolicy::ALL {
        let dir = tempdir().unwrap();
        let engine = open_with(limited(dir.path(), policy), RealIo);
        std::thread::scope(|scope| {
            for writer in 0..4_u64 {
                let engine = &engine;
                scope.spawn(move || {
                    for round in 0..60 {
                        let seed = writer * 1_000 + round;
                        if round % 6 == 0 {
                            put_large(engine, &noise(seed, (1 << 20) + 100_000));
                        } else {
                            put_blob(engine, &noise(seed, 60_000));
                        }
                        // What has been answered is under the limit, whoever else is writing.
                        assert!(used(engine) <= LIMIT, "{policy}: {}", used(engine));
                    }
                });
            }
        });
        settle(&engine);
        assert!(engine.usage().evictions > 0);
        drop(engine);
        assert!(disk_bytes(dir.path()) <= LIMIT, "{policy}");
    }
}

#[test]
fn copies_stay_within_their_budget() {
    let dir = tempdir().unwrap();
    let io = SetIo::new();
    let engine = open_with(limited(dir.path(), EvictionPolicy::Lru), io.clone());
    let mut appended_bytes = 0;
    let mut recent: Vec<RecordKey> = Vec::new();
    for seed in 0..1_200 {
        let content = noise(seed, 50_000);
        recent.push(put_blob(&engine, &content));
        appended_bytes += 50_000 + 200;
        if seed % 20 == 0 {
            io.pass(60);
            // Much more than may be copied is warm, spread over all packs.
            recent.retain(|key| engine.contains(key));
            assert!(recent.len() > 200 || seed < 300, "{} are left", recent.len());
        }
    }
    let usage = engine.usage();
    let copied_bytes = engine.usage().copied_bytes;
    assert!(usage.evictions > 500);
    assert!(copied_bytes <= appended_bytes / 3, "{copied_bytes} of {appended_bytes}");
}

#[test]
fn an_older_result_does_not_come_back() {
    for policy in EvictionPolicy::ALL {
        let dir = tempdir().unwrap();
        let io = SetIo::new();
        let engine = open_with(limited(dir.path(), policy), io.clone());
        let key = action_key("run twice");
        put(&engine, &key, b"the first").unwrap();
        let removed = put_blob(&engine, b"stored and removed");
        // Keeps the first pack warm, so that it outlives the second result's.
        let warm: Vec<_> = blobs(0..18).iter().map(|content| put_blob(&engine, content)).collect();
        for content in blobs(100..150) {
            put_blob(&engine, &content);
        }
        put(&engine, &key, b"the second").unwrap();
        assert!(engine.remove(&removed).unwrap());
        let mut seed = 1_000;
        while engine.record(&key).is_some() {
            io.pass(HOUR_S);
            settle(&engine);
            for warm in &warm {
                engine.contains(warm);
            }
            put_blob(&engine, &noise(seed, 50_000));
            seed += 1;
            assert!(seed < 3_000, "{policy}: the result is never evicted");
        }
        drop(engine);
        for _ in 0..2 {
            let engine = open_with(limited(dir.path(), policy), io.clone());
            engine.wait_loaded();
            assert_eq!(get(&engine, &key).unwrap(), None, "{policy}");
            assert_eq!(get(&engine, &removed).unwrap(), None, "{policy}");
            drop(engine);
            // The second time the log is read.
            let _ = std::fs::remove_dir_all(dir.path().join("index"));
        }
    }
}

#[test]
fn the_free_space_of_the_disk_is_left_to_others() {
    let dir = tempdir().unwrap();
    let io = SetIo::new();
    let mut guarded = limited(dir.path(), EvictionPolicy::Lfu);
    guarded.min_free_disk_bytes = 4 * MIB;
    let engine = open_with(guarded, io.clone());
    for content in blobs(0..280) {
        put_blob(&engine, &content);
    }
    assert!(used(&engine) > 12 * MIB);
    // Others have filled the disk: only 10 MiB are left for us and the minimum.
    io.room_bytes.store(10 * MIB, Ordering::Relaxed);
    let mut key = put_blob(&engine, &noise(5_000, 50_000));
    // No disk says how much it lacks, so it takes a few looks.
    for look in 1..10 {
        io.pass(10);
        settle(&engine);
        key = put_blob(&engine, &noise(5_000 + look, 50_000));
    }
    settle(&engine);
    assert!(used(&engine) <= 6 * MIB, "{} B are taken", used(&engine));
    assert_eq!(used(&engine), disk_bytes(dir.path()));
    assert!(get(&engine, &key).unwrap().is_some());
    // Not even one fits, once that is seen: an error, and reads go on.
    io.room_bytes.store(4 * MIB, Ordering::Relaxed);
    let refused = (6_000..6_200).find_map(|seed| {
        io.pass(10);
        settle(&engine);
        let content = noise(seed, 50_000);
        put(&engine, &blob_key(&content), &content).err()
    });
    assert_eq!(refused.unwrap().class(), DiskErrorClass::Capacity);
    let content = noise(6_300, 50_000);
    // There is room again: writes go on without a restart.
    io.room_bytes.store(u64::MAX, Ordering::Relaxed);
    io.pass(10);
    put_blob(&engine, &content);
}

#[test]
fn what_can_never_fit_does_not_empty_the_rest() {
    let dir = tempdir().unwrap();
    let engine = open_with(limited(dir.path(), EvictionPolicy::Lfu), RealIo);
    let keys: Vec<_> = blobs(0..100).iter().map(|content| put_blob(&engine, content)).collect();
    // As long as the limit, and a prologue on top.
    let content = noise(1, usize::try_from(LIMIT).unwrap());
    let mut writer = engine.create(&blob_key(&content)).unwrap();
    writer.write(&content).unwrap();
    assert_eq!(writer.finish().unwrap_err().class(), DiskErrorClass::Capacity);
    assert_eq!(left(&engine, &keys), 100);
}
