//! The limit holds, the oldest goes first, and what is asked for stays.

use larder_disk::{DiskErrorClass, Engine, RecordKey};
use tempfile::tempdir;

use crate::support::{
    action_key, blob_files, blob_key, get, noise, open_with, options, pack_files, put, put_blob,
    put_large,
};
use larder_disk::{EngineOptions, EvictionPolicy, RealIo};
use std::path::Path;

const LIMIT: u64 = 8 << 20;

fn small(data_dir: &Path) -> EngineOptions {
    let mut options = options(data_dir);
    options.max_size_bytes = LIMIT;
    options
}

fn disk_bytes(data_dir: &Path) -> u64 {
    pack_files(data_dir)
        .iter()
        .chain(&blob_files(data_dir))
        .map(|path| std::fs::metadata(path).map_or(0, |metadata| metadata.len()))
        .sum()
}

fn used(engine: &Engine) -> u64 {
    // One look: between two of them something may have gone.
    let usage = engine.usage();
    usage.stored_bytes + usage.dead_bytes
}

#[test]
fn the_limit_holds_and_the_oldest_goes_first() {
    let dir = tempdir().unwrap();
    let engine = open_with(small(dir.path()), RealIo);
    let keys: Vec<RecordKey> = (0..400)
        .map(|seed| {
            let key = put_blob(&engine, &noise(seed, 100_000));
            assert!(used(&engine) <= LIMIT, "{} bytes after {seed}", used(&engine));
            key
        })
        .collect();
    let usage = engine.usage();
    assert_eq!(usage.evictions + usage.records, 400);
    assert!(usage.evicted_bytes > 400 * 100_000 - LIMIT);
    let present: Vec<bool> = keys.iter().map(|key| engine.record(key).is_some()).collect();
    let oldest = present.iter().position(|is_present| *is_present).unwrap();
    assert!(present[oldest..].iter().all(|is_present| *is_present), "not in order");
    assert!(usage.records > 60, "{} records are left", usage.records);
    drop(engine);
    assert!(disk_bytes(dir.path()) <= LIMIT);
    let engine = open_with(small(dir.path()), RealIo);
    assert_eq!(engine.usage().records, usage.records);
    assert_eq!(used(&engine), disk_bytes(dir.path()));
}

#[test]
fn what_is_asked_for_outlives_its_pack() {
    let dir = tempdir().unwrap();
    let engine = open_with(small(dir.path()), RealIo);
    let hot = put_blob(&engine, b"asked for again and again");
    let result = action_key("asked for");
    put(&engine, &result, b"a result").unwrap();
    let cold = put_blob(&engine, b"never asked for");
    for seed in 0..400 {
        put_blob(&engine, &noise(seed, 100_000));
        assert!(engine.contains(&hot), "after {seed}");
        assert!(engine.contains(&result), "after {seed}");
    }
    assert!(engine.usage().evictions > 300);
    assert_eq!(engine.record(&cold), None);
    assert_eq!(get(&engine, &hot).unwrap().unwrap(), b"asked for again and again");
    drop(engine);
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    let engine = open_with(small(dir.path()), RealIo);
    assert_eq!(get(&engine, &hot).unwrap().unwrap(), b"asked for again and again");
    assert_eq!(get(&engine, &result).unwrap().unwrap(), b"a result");
}

#[test]
fn blob_files_count_and_have_a_second_chance() {
    let dir = tempdir().unwrap();
    let engine = open_with(small(dir.path()), RealIo);
    let hot = put_large(&engine, &noise(1_000, 1 << 20));
    for seed in 0..40 {
        put_large(&engine, &noise(seed, 1 << 20));
        put_blob(&engine, &noise(seed, 10_000));
        assert!(engine.contains(&hot), "after {seed}");
    }
    // The committer answers a removal after it has made room for what came before.
    assert!(!engine.remove(&blob_key(b"absent")).unwrap());
    assert!(used(&engine) <= LIMIT);
    assert!(get(&engine, &hot).unwrap().unwrap() == noise(1_000, 1 << 20));
    drop(engine);
    assert!(disk_bytes(dir.path()) <= LIMIT);
}

#[test]
fn replaced_results_do_not_fill_the_disk() {
    let dir = tempdir().unwrap();
    let engine = open_with(small(dir.path()), RealIo);
    let key = action_key("run again and again");
    for round in 0..300 {
        put(&engine, &key, &noise(round, 60_000)).unwrap();
        assert!(used(&engine) <= LIMIT);
    }
    assert!(get(&engine, &key).unwrap().unwrap() == noise(299, 60_000));
    assert_eq!(engine.usage().evictions, 0);
    assert_eq!(engine.usage().records, 1);
}

#[test]
fn a_reader_outlives_the_eviction_of_what_it_reads() {
    let dir = tempdir().unwrap();
    // The others keep longer what was asked for.
    let lru = EngineOptions { eviction: EvictionPolicy::Lru, ..small(dir.path()) };
    let engine = open_with(lru, RealIo);
    let contents = [noise(1_000, 700_000), noise(1_001, 1 << 20)];
    let keys = [put_blob(&engine, &contents[0]), put_large(&engine, &contents[1])];
    let readers = keys
        .each_ref()
        .map(|key| engine.read(key, 0..u64::MAX, larder_disk::Accepts::Raw).unwrap().unwrap());
    for seed in 0..400 {
        put_blob(&engine, &noise(seed, 100_000));
    }
    for (mut reader, content) in readers.into_iter().zip(contents) {
        let mut read = Vec::new();
        while let Some(chunk) = reader.next_chunk().unwrap() {
            read.extend_from_slice(&chunk);
        }
        assert!(read == content);
    }
    assert!(keys.iter().all(|key| engine.record(key).is_none()));
}

#[test]
fn a_blob_over_the_limit_is_refused_at_once() {
    let dir = tempdir().unwrap();
    let engine = open_with(small(dir.path()), RealIo);
    let error = engine.create(&blob_key(&noise(1, 9 << 20))).unwrap_err();
    assert_eq!(error.class(), DiskErrorClass::Caller);
}
