//! A disk that is full, fails, or rots: what was acknowledged stays, wrong bytes are never served, and writes recover.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use larder_disk::{DiskError, DiskErrorClass, Durability, Engine, PutOutcome, RecordKey};
use tempfile::tempdir;

use crate::faulty::{Call, EIO, EMFILE, ENOSPC, Fault, FaultyIo};
use crate::support::{
    action_key, blob_files, blob_key, get, noise, open, open_with, options, pack_files, put,
    put_blob, put_large,
};

fn class_of(result: Result<PutOutcome, DiskError>) -> DiskErrorClass {
    result.unwrap_err().class()
}

#[test]
fn a_full_disk_refuses_puts_and_takes_them_again_when_there_is_room() {
    let dir = tempdir().unwrap();
    let io = FaultyIo::default();
    let engine = open_with(options(dir.path()), io.clone());
    let before = put_blob(&engine, b"before");
    for partial_bytes in [0, 1, 60, 130] {
        io.fail(Fault { partial_bytes, ..Fault::new(Call::Write, ENOSPC) });
        let refused = noise(partial_bytes as u64 + 50, 100);
        let key = blob_key(&refused);
        assert_eq!(class_of(put(&engine, &key, &refused)), DiskErrorClass::Capacity);
        assert!(!engine.contains(&key));
        assert_eq!(get(&engine, &before).unwrap().unwrap(), b"before");
        io.heal();
        assert_eq!(put(&engine, &key, &refused).unwrap(), PutOutcome::Stored);
    }
    assert!(!engine.usage().writes_refused);
    drop(engine);
    let engine = open(dir.path());
    assert_eq!(engine.usage().records, 5);
    assert_eq!(pack_files(dir.path()).len(), 1);
}

#[test]
fn a_pack_that_cannot_be_cut_back_is_left_for_a_new_one() {
    let dir = tempdir().unwrap();
    let io = FaultyIo::default();
    let engine = open_with(options(dir.path()), io.clone());
    put_blob(&engine, b"before");
    io.fail(Fault { partial_bytes: 90, ..Fault::new(Call::Write, ENOSPC) });
    io.fail(Fault::new(Call::Truncate, EIO));
    let key = blob_key(b"refused");
    assert_eq!(class_of(put(&engine, &key, b"refused")), DiskErrorClass::Capacity);
    io.heal();
    let after = put_blob(&engine, b"after");
    assert_eq!(pack_files(dir.path()).len(), 2);
    drop(engine);
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    let engine = open(dir.path());
    assert_eq!(engine.usage().records, 2);
    assert_eq!(get(&engine, &after).unwrap().unwrap(), b"after");
    assert!(!engine.contains(&key));
}

/// What a removal that is refused leaves: the blob is claimed only if it is there after a restart too, whatever becomes of the index.
fn expect_no_false_claim(engine: Engine, data_dir: &Path, key: &RecordKey, content: &[u8]) {
    let is_claimed = put(&engine, key, content).is_ok();
    assert_eq!(engine.contains(key), is_claimed);
    drop(engine);
    for is_index_lost in [false, true] {
        if is_index_lost {
            std::fs::remove_dir_all(data_dir.join("index")).unwrap();
        }
        let engine = open(data_dir);
        assert!(engine.contains(key) || !is_claimed, "index lost: {is_index_lost}");
    }
}

#[test]
fn a_removal_that_was_written_and_refused_is_taken_back_or_ends_writes() {
    let content = b"the one that is to go";
    // So many calls fail: the write, and what takes it back.
    for (writes, truncates, syncs) in
        [(1, 0, 0), (1, 1, 0), (2, 1, 0), (2, 1, 1), (1, 1, 1), (1, 0, 1)]
    {
        for durability in [Durability::Sync, Durability::Interval(Duration::from_hours(1))] {
            let dir = tempdir().unwrap();
            let io = FaultyIo::default();
            let mut options = options(dir.path());
            options.durability = durability;
            let engine = open_with(options, io.clone());
            let key = put_blob(&engine, content);
            let fault = |call, times| Fault { times, ..Fault::new(call, EIO) };
            io.fail(Fault { partial_bytes: 10_000, ..fault(Call::Write, writes) });
            io.fail(fault(Call::Truncate, truncates));
            io.fail(fault(Call::SyncData, syncs));
            assert!(engine.remove(&key).is_err());
            io.heal();
            let refuses = engine.usage().writes_refused;
            assert_eq!(refuses, writes > 1 || syncs > 0, "{writes} {truncates} {syncs}");
            expect_no_false_claim(engine, dir.path(), &key, content);
        }
    }
}

#[test]
fn an_upload_that_was_written_and_refused_does_not_come_back() {
    let dir = tempdir().unwrap();
    let io = FaultyIo::default();
    let engine = open_with(options(dir.path()), io.clone());
    io.fail(Fault { partial_bytes: 10_000, times: 1, ..Fault::new(Call::Write, EIO) });
    io.fail(Fault::new(Call::Truncate, EIO));
    let key = blob_key(b"refused");
    assert!(put(&engine, &key, b"refused").is_err());
    io.heal();
    assert!(!engine.remove(&key).unwrap(), "nobody knows of it");
    put_blob(&engine, b"after");
    drop(engine);
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    assert!(!open(dir.path()).contains(&key));
}

#[test]
fn a_removal_for_which_room_was_made_in_vain_claims_nothing() {
    let content = b"the one that is to go";
    for good_syncs in 0..3 {
        let dir = tempdir().unwrap();
        let io = FaultyIo::default();
        let mut options = options(dir.path());
        options.durability = Durability::Sync;
        options.max_size_bytes = 64 << 20;
        let engine = open_with(options, io.clone());
        for seed in 0..60 {
            put_blob(&engine, &noise(seed, 100_000));
        }
        let key = put_blob(&engine, content);
        io.fail(Fault { partial_bytes: 10_000, times: 1, ..Fault::new(Call::Write, ENOSPC) });
        io.fail(Fault::new(Call::Truncate, EIO));
        io.fail(Fault { after: good_syncs, ..Fault::new(Call::SyncData, EIO) });
        let removed = engine.remove(&key);
        io.heal();
        assert!(removed.is_err(), "{good_syncs}: {removed:?}");
        expect_no_false_claim(engine, dir.path(), &key, content);
    }
}

#[test]
fn enospc_at_every_call_costs_nothing_but_what_made_room() {
    for call in [Call::Write, Call::Open, Call::SyncData, Call::SyncDir] {
        for after in 0..4 {
            let dir = tempdir().unwrap();
            let io = FaultyIo::default();
            let engine = open_with(options(dir.path()), io.clone());
            io.fail(Fault { after, ..Fault::new(call, ENOSPC) });
            let mut acknowledged = Vec::new();
            for number in 0..3 {
                let content = noise(number, 300);
                let key = blob_key(&content);
                acknowledged.extend(put(&engine, &key, &content).is_ok().then_some((key, content)));
                let content = noise(number, (1 << 20) + 5);
                let key = blob_key(&content);
                let written = engine.create(&key).and_then(|mut writer| {
                    writer.write(&content)?;
                    writer.finish()
                });
                acknowledged.extend(written.is_ok().then_some((key, content)));
            }
            io.heal();
            let evictions = usize::try_from(engine.usage().evictions).unwrap();
            drop(engine);
            let engine = open(dir.path());
            let mut gone = 0;
            for (key, content) in &acknowledged {
                match get(&engine, key).unwrap() {
                    Some(found) => assert!(found == *content, "{call:?} {after}"),
                    None => gone += 1,
                }
            }
            assert_eq!(gone, evictions, "{call:?} {after}: only what made room may be gone");
            assert_eq!(std::fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
        }
    }
}

#[test]
fn a_failed_sync_ends_writes_and_reads_go_on() {
    let dir = tempdir().unwrap();
    let io = FaultyIo::default();
    let mut options = options(dir.path());
    options.durability = Durability::Sync;
    let engine = open_with(options, io.clone());
    let before = put_blob(&engine, b"before");
    io.fail(Fault::new(Call::SyncData, EIO));
    let key = blob_key(b"after");
    assert_eq!(class_of(put(&engine, &key, b"after")), DiskErrorClass::Dependency);
    io.heal();
    let error = put(&engine, &key, b"after").unwrap_err();
    assert!(error.to_string().contains("writes are refused since a sync failed: sync"), "{error}");
    assert!(engine.usage().writes_refused);
    assert!(engine.remove(&before).is_err());
    assert!(engine.create(&key).is_err());
    assert_eq!(get(&engine, &before).unwrap().unwrap(), b"before");
    drop(engine);
    let engine = open(dir.path());
    assert!(!engine.usage().writes_refused);
    assert_eq!(get(&engine, &before).unwrap().unwrap(), b"before");
    put_blob(&engine, b"after");
}

#[test]
fn a_failed_sync_in_the_background_ends_writes_too() {
    let dir = tempdir().unwrap();
    let io = FaultyIo::default();
    let engine = open_with(options(dir.path()), io.clone());
    io.fail(Fault::new(Call::SyncData, EIO));
    put_blob(&engine, b"written before the period ends");
    let deadline = Instant::now() + Duration::from_secs(10);
    while !engine.usage().writes_refused {
        assert!(Instant::now() < deadline, "the sync never failed");
        std::thread::yield_now();
    }
    assert!(put(&engine, &blob_key(b"late"), b"late").is_err());
}

#[test]
fn without_descriptors_a_large_read_is_a_matter_of_capacity() {
    let dir = tempdir().unwrap();
    let io = FaultyIo::default();
    let engine = open_with(options(dir.path()), io.clone());
    let content = noise(1, 1 << 20);
    let key = put_large(&engine, &content);
    io.fail(Fault::new(Call::Open, EMFILE));
    assert_eq!(get(&engine, &key).unwrap_err().class(), DiskErrorClass::Capacity);
    assert_eq!(engine.create(&key).unwrap_err().class(), DiskErrorClass::Capacity);
    io.heal();
    assert!(get(&engine, &key).unwrap().unwrap() == content);
}

#[test]
fn what_the_disk_cannot_read_is_a_miss_and_heals() {
    let dir = tempdir().unwrap();
    let io = FaultyIo::default();
    let engine = open_with(options(dir.path()), io.clone());
    let contents = [noise(1, 1_000), noise(2, (1 << 20) + 9)];
    let keys = [put_blob(&engine, &contents[0]), put_large(&engine, &contents[1])];
    io.fail(Fault::new(Call::Read, EIO));
    for key in &keys {
        assert_eq!(get(&engine, key).unwrap_err().class(), DiskErrorClass::Corrupt);
        assert!(!engine.contains(key));
        assert_eq!(get(&engine, key).unwrap(), None);
    }
    io.heal();
    put_blob(&engine, &contents[0]);
    put_large(&engine, &contents[1]);
    for (key, content) in keys.iter().zip(&contents) {
        assert!(get(&engine, key).unwrap().as_ref() == Some(content));
    }
    assert!(engine.usage().io_errors >= 2);
}

#[test]
fn a_start_goes_on_without_what_the_disk_cannot_read() {
    for (only, lost) in [("LAYOUT", 0), ("00000001.pack", 1)] {
        let dir = tempdir().unwrap();
        let engine = open(dir.path());
        let (small, large) = (noise(1, 1_000), noise(2, (1 << 20) + 9));
        let keys = [put_blob(&engine, &small), put_large(&engine, &large)];
        drop(engine);
        std::fs::remove_dir_all(dir.path().join("index")).unwrap();
        let io = FaultyIo::default();
        io.fail(Fault { only, ..Fault::new(Call::Read, EIO) });
        let engine = open_with(options(dir.path()), io.clone());
        engine.wait_loaded();
        let there = keys.iter().filter(|key| engine.contains(key)).count();
        assert_eq!(there, 2 - lost, "{only}");
        let new = put_blob(&engine, b"new");
        assert_eq!(get(&engine, &new).unwrap().unwrap(), b"new", "{only}");
    }
}

/// Flips a bit of a file.
pub(crate) fn rot(path: &Path, at: u64) {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 4], at).unwrap();
}

fn expect_healing(engine: &Engine, key: &RecordKey, content: &[u8]) {
    let error = get(engine, key).unwrap_err();
    assert_eq!(error.class(), DiskErrorClass::Corrupt, "{error}");
    assert!(!engine.contains(key));
    assert_eq!(get(engine, key).unwrap(), None);
    assert_eq!(put(engine, key, content).unwrap(), PutOutcome::Stored);
    assert!(get(engine, key).unwrap().unwrap() == content);
}

#[test]
fn a_rotten_record_is_an_error_once_then_a_miss_and_a_put_heals_it() {
    let dir = tempdir().unwrap();
    let engine = open(dir.path());
    // The record begins at 64; its prologue takes 108 bytes.
    let contents: Vec<_> = (0..3).map(|seed| noise(seed, 1_000)).collect();
    let keys: Vec<_> = contents.iter().map(|content| put_blob(&engine, content)).collect();
    let pack = &pack_files(dir.path())[0];
    for (index, at) in [64 + 500, 64 + 1_108 + 30, 64 + 2 * 1_108 + 107].into_iter().enumerate() {
        rot(pack, at);
        expect_healing(&engine, &keys[index], &contents[index]);
        assert_eq!(engine.usage().corrupt_records, index as u64 + 1);
    }
    let result = action_key("test");
    put(&engine, &result, b"first").unwrap();
    rot(pack, std::fs::metadata(pack).unwrap().len() - 1);
    expect_healing(&engine, &result, b"second");
    drop(engine);
    let engine = open(dir.path());
    for (key, content) in keys.iter().zip(&contents) {
        assert!(get(&engine, key).unwrap().as_ref() == Some(content));
    }
}

#[test]
fn a_rotten_blob_file_is_removed_and_healed() {
    let dir = tempdir().unwrap();
    let engine = open(dir.path());
    let content = noise(9, 2 << 20);
    let key = put_large(&engine, &content);
    let file = &blob_files(dir.path())[0];
    rot(file, 1 << 20);
    assert!(get(&engine, &key).is_err());
    assert_eq!(blob_files(dir.path()).len(), 0);
    put_large(&engine, &content);
    assert!(get(&engine, &key).unwrap().unwrap() == content);

    // Gone by another hand.
    std::fs::remove_file(&blob_files(dir.path())[0]).unwrap();
    assert_eq!(get(&engine, &key).unwrap_err().class(), DiskErrorClass::Corrupt);
    assert!(!engine.contains(&key));
    assert_eq!(engine.usage().corrupt_records, 2);
}
