//! What is evicted is the disk's again: at once, all of it, and no more of it than was wanted.

use std::path::Path;

use larder_disk::{DiskErrorClass, Durability, Engine, EngineOptions, Io, RealIo, RecordWriter};
use tempfile::tempdir;

use crate::sim_disk::SimDisk;
use crate::support::{
    blob_key, noise, open_with, open_without_index, options, pack_files, put, put_blob, put_large,
};

const MIB: u64 = 1 << 20;

/// Packs of 1 MiB, each batch synced.
fn small_packs(data_dir: &Path) -> EngineOptions {
    EngineOptions { max_size_bytes: 48 * MIB, durability: Durability::Sync, ..options(data_dir) }
}

/// Files below `dir` that this process has open and that have no name any more.
fn nameless_files(dir: &Path) -> Vec<String> {
    let below = dir.to_string_lossy().into_owned();
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .map(|target| target.to_string_lossy().into_owned())
        .filter(|target| target.starts_with(&below) && target.ends_with("(deleted)"))
        .collect()
}

#[test]
fn a_pack_that_is_evicted_is_closed() {
    let dir = tempdir().unwrap();
    let engine = open_with(small_packs(dir.path()), RealIo);
    for seed in 0..700 {
        put_blob(&engine, &noise(seed, 100_000));
    }
    while engine.give_up(10 * MIB).unwrap() {}
    assert!(engine.usage().evictions > 500, "{:?}", engine.usage());
    assert_eq!(nameless_files(dir.path()), Vec::<String>::new());
    while engine.give_up(0).unwrap() {}
    assert_eq!(nameless_files(dir.path()), Vec::<String>::new());
    assert_eq!(pack_files(dir.path()).len(), 1);
}

#[test]
fn a_guard_that_lacks_a_little_evicts_a_little() {
    let dir = tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let disk = SimDisk::new(&data_dir);
    let mut options = small_packs(&data_dir);
    options.min_free_disk_bytes = 4 * MIB;
    let engine = open_without_index(options, &disk);
    for seed in 0..300 {
        put_blob(&engine, &noise(seed, 100_000));
    }
    // Others fill the disk: a MiB is missing.
    let used = disk.used_bytes() as u64;
    disk.set_capacity(usize::try_from(used + 3 * MIB).unwrap());
    for seed in 300..600 {
        put_blob(&engine, &noise(seed, 100_000));
        let now = disk.used_bytes() as u64;
        assert!(now > used * 3 / 4, "{now} B are left of {used} after {seed}");
    }
    let usage = engine.usage();
    let free_bytes = used + 3 * MIB - disk.used_bytes() as u64;
    assert!(free_bytes >= 4 * MIB, "{free_bytes} B are free; {usage:?}");
}

#[test]
fn a_disk_without_a_byte_left_has_room_again_when_all_is_evicted() {
    let dir = tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let disk = SimDisk::new(&data_dir);
    let engine = open_without_index(options(&data_dir), &disk);
    // All of it stands in one pack, which has no successor while there is no room for a header.
    for seed in 0..3 {
        put_blob(&engine, &noise(seed, 900_000));
    }
    disk.set_capacity(disk.used_bytes());
    let content = noise(3, 100_000);
    put(&engine, &blob_key(&content), &content).unwrap();
    assert!(engine.contains(&blob_key(&content)));
    assert!(engine.usage().full_disk_evictions > 0);
}

/// Thirty MiB of blobs, a guard of four, and so much free above it.
fn half_full(data_dir: &Path, free_bytes: u64) -> (SimDisk, Engine) {
    let disk = SimDisk::new(data_dir);
    let options = EngineOptions { min_free_disk_bytes: 4 * MIB, ..small_packs(data_dir) };
    let engine = open_without_index(options, &disk);
    for seed in 0..300 {
        put_blob(&engine, &noise(seed, 100_000));
    }
    let capacity = disk.used_bytes() as u64 + 4 * MIB + free_bytes;
    disk.set_capacity(usize::try_from(capacity).unwrap());
    // The guard looks every other second.
    for seed in 300..310 {
        put_blob(&engine, &noise(seed, 1_000));
    }
    (disk, engine)
}

#[test]
fn uploads_that_do_not_end_leave_half_of_the_cache_and_the_guard() {
    let dir = tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let (disk, engine) = half_full(&data_dir, 10 * MIB);
    let before = engine.usage();
    let contents: Vec<_> = (0..10).map(|seed| noise(1_000 + seed, 9 << 20)).collect();
    let mut writers: Vec<RecordWriter> =
        contents.iter().map(|content| engine.create(&blob_key(content)).unwrap()).collect();
    let mut refusals = 0;
    for piece in 0..8 {
        for (writer, content) in writers.iter_mut().zip(&contents) {
            let piece = piece << 20..(piece + 1) << 20;
            if let Err(error) = writer.write(&content[piece]) {
                assert_eq!(error.class(), DiskErrorClass::Capacity);
                refusals += 1;
            }
            // Reclaiming copies a little before a pack goes.
            let free_bytes = disk.free_bytes(&data_dir).unwrap();
            assert!(free_bytes >= 3 * MIB, "{free_bytes} B are free");
        }
    }
    assert!(refusals > 50, "{refusals} refusals");
    let usage = engine.usage();
    assert!(usage.stored_bytes > before.stored_bytes / 3, "{usage:?}");
    // What is acknowledged goes on, and what the others leave is free again.
    put_blob(&engine, &noise(2_000, 100_000));
    drop(writers);
    put_large(&engine, &contents[0]);
}

#[test]
fn an_upload_counts_once_when_it_ends() {
    let dir = tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let (_, engine) = half_full(&data_dir, 14 * MIB);
    let before = engine.usage();
    put_large(&engine, &noise(1_000, 8 << 20));
    let usage = engine.usage();
    assert_eq!((usage.records, usage.evictions), (before.records + 1, 0));
}

#[test]
fn unfinished_uploads_take_no_more_than_the_cache_may() {
    let dir = tempdir().unwrap();
    let engine = open_with(small_packs(dir.path()), RealIo);
    let contents: Vec<_> = (0..2).map(|seed| noise(seed, 30 << 20)).collect();
    let mut writers: Vec<_> =
        contents.iter().map(|content| engine.create(&blob_key(content)).unwrap()).collect();
    writers[0].write(&contents[0]).unwrap();
    let error = writers[1].write(&contents[1]).unwrap_err();
    assert_eq!(error.class(), DiskErrorClass::Capacity);
    assert!(error.to_string().contains("unfinished uploads"), "{error}");
    drop(writers.remove(0));
    put_large(&engine, &contents[1]);
}
