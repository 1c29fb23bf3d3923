//! Reclaiming step by step, by a committer that the test drives by hand.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use larder_protos::{Digest, DigestFunction};
use tokio::sync::oneshot;

use super::*;
use crate::codec::Content;
use crate::commit::PutOutcome;
use crate::committer::{Job, Limits};
use crate::durable::sync_all;
use crate::eviction::EvictionPolicy;
use crate::io::{IoFile, RealIo};
use crate::key::{Keyspace, RecordKey, RecordKind};
use crate::options::{Durability, EngineOptions};
use crate::pack::{Pack, cap_bytes};
use crate::prologue::Encoding;
use crate::recovery::recover;

const LIMIT: u64 = 16 << 20;

fn committer(data_dir: &Path, eviction: EvictionPolicy) -> Committer {
    let options = EngineOptions {
        data_dir: data_dir.to_owned(),
        max_size_bytes: LIMIT,
        min_free_disk_bytes: 0,
        eviction,
        durability: Durability::Interval(Duration::from_secs(1)),
        zstd_level: 1,
        index_cache_bytes: 1 << 20,
        large_blob_bytes: 1 << 20,
        scrub_rate_bytes: 0,
    };
    let recovered = recover(&options, Arc::new(RealIo)).unwrap();
    recovered.loader.run();
    // Nobody writes the index, and nobody waits for room in its queue.
    recovered.inventory.index_queue.close();
    let limits =
        Limits { max_size_bytes: LIMIT, min_free_disk_bytes: 0, pack_cap_bytes: cap_bytes(LIMIT) };
    Committer::new(recovered.inventory, limits, Some(Arc::default()), recovered.active.unwrap())
}

/// A step, and what the thread that syncs does when it is asked.
fn step(committer: &mut Committer) {
    committer.reclaim_step();
    if committer.reclaim.is_waiting() {
        sync_all(&committer.inventory).unwrap();
    }
}

/// Bytes that zstd leaves alone.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[7]
    };
    (0..length).map(|_| next()).collect()
}

/// What the thread does with a batch of blobs of 2 KB, but for reclaiming.
fn put(committer: &mut Committer, seeds: std::ops::Range<u64>) {
    let mut answers = Vec::new();
    for seed in seeds {
        let content = noise(seed, 2_000);
        let digest = Digest::of(DigestFunction::Sha256, &content);
        let key = RecordKey::blob(&Keyspace::new("").unwrap(), &digest);
        let inventory = &committer.inventory;
        let short = inventory.intern(&key).unwrap();
        let record = inventory.codec.encode(&key, Content::Raw(&content), 1_000).unwrap();
        let (answer, receiver) = oneshot::channel();
        committer.take(Job::Append { record, key: short, kind: RecordKind::Blob, answer });
        answers.push(receiver);
    }
    committer.flush();
    for mut answer in answers {
        assert_eq!(answer.try_recv().unwrap().unwrap(), PutOutcome::Stored);
        let used = committer.inventory.counters.file_bytes();
        assert!(used <= LIMIT, "{used} B");
    }
}

/// Fills to the high watermark; says how many blobs are there.
fn fill(committer: &mut Committer) -> u64 {
    let mut count = 0;
    while !committer.reclaim.is_running() {
        put(committer, count..count + 1);
        count += 1;
        step(committer);
        assert!(count < LIMIT / 2_000, "never full");
    }
    count
}

#[test]
fn writes_proceed_between_the_steps_and_the_limit_holds() {
    for policy in EvictionPolicy::ALL {
        let dir = tempfile::tempdir().unwrap();
        let mut committer = committer(dir.path(), policy);
        let begun = fill(&mut committer);
        let evictions = |committer: &Committer| committer.inventory.counters.usage().evictions;
        let mut count = begun;
        while evictions(&committer) == 0 {
            // Each is answered, though what makes room for it is not even chosen yet.
            put(&mut committer, count..count + 1);
            count += 1;
            step(&mut committer);
            assert!(count < begun + 1_000, "{policy}: nothing is evicted");
        }
        // Two walks at the least, of 256 shards by eight; 2 KB pay for less than two of these steps.
        assert!(count - begun >= 32, "{policy}: {} writes", count - begun);
        // Left alone it comes to an end, at which there is room.
        let mut steps = 0;
        while committer.reclaim.is_running() {
            step(&mut committer);
            steps += 1;
            assert!(steps < 10_000, "{policy}: no end");
        }
        let used = committer.inventory.counters.file_bytes();
        assert!(used <= LIMIT - LIMIT / HIGH_WATERMARK_PART, "{policy}: {used} B");
    }
}

#[test]
fn the_limit_holds_when_a_batch_is_larger_than_the_room_for_it() {
    for policy in EvictionPolicy::ALL {
        let dir = tempfile::tempdir().unwrap();
        let mut committer = committer(dir.path(), policy);
        let mut count = fill(&mut committer);
        for _ in 0..8 {
            // A megabyte; half of one is free where reclaiming begins.
            put(&mut committer, count..count + 500);
            count += 500;
            step(&mut committer);
        }
        assert!(committer.inventory.counters.usage().evictions > 1_000, "{policy}");
    }
}

#[test]
fn more_steps_are_taken_the_more_was_written() {
    let steps_beside = |blobs_a_batch: u64| {
        let dir = tempfile::tempdir().unwrap();
        let mut committer = committer(dir.path(), EvictionPolicy::Lru);
        let mut count = fill(&mut committer);
        let mut calls = 0;
        while committer.inventory.counters.usage().evictions == 0 {
            put(&mut committer, count..count + blobs_a_batch);
            count += blobs_a_batch;
            step(&mut committer);
            calls += 1;
        }
        calls
    };
    let (few, many) = (steps_beside(1), steps_beside(20));
    assert!(many < few, "{many} calls with much to write, {few} with little");
}

#[test]
fn a_blob_file_that_goes_before_it_is_a_unit_leaves_none() {
    let dir = tempfile::tempdir().unwrap();
    let inventory = committer(dir.path(), EvictionPolicy::Lfu).inventory;
    let keyspace = Keyspace::new("").unwrap();
    let key = RecordKey::blob(&keyspace, &Digest::of(DigestFunction::Sha256, b"a blob"));
    let (sequence, record_bytes) = (inventory.take_sequence(), 2 << 20);
    let entry = Entry {
        key: inventory.intern(&key).unwrap(),
        kind: RecordKind::Blob,
        location: Location::File { sequence },
        record_bytes,
        logical_size_bytes: 6,
        encoding: Encoding::Raw,
        recency_s: 0,
        hits: 0,
    };
    let state = || (inventory.units.lock().len(), inventory.counters.file_bytes());
    let before = state();
    let path = dir.path().join("a file");
    // As its writer does it, and somebody who removes it at once.
    inventory.counters.grow_files(record_bytes);
    assert!(inventory.insert_if_absent(&entry));
    assert!(inventory.remove_at(&entry.key, entry.location).is_some());
    inventory.forget_file(sequence);
    inventory.enlist_file(&entry, path, sequence);
    assert_eq!(state(), before);
}

fn result_key(name: &[u8]) -> RecordKey {
    let keyspace = Keyspace::new("").unwrap();
    RecordKey::action_result(&keyspace, Digest::of(DigestFunction::Sha256, name).hash())
}

fn put_result(committer: &mut Committer, key: &RecordKey, content: &[u8]) {
    let inventory = &committer.inventory;
    let short = inventory.intern(key).unwrap();
    let record = inventory.codec.encode(key, Content::Raw(content), 1_000).unwrap();
    let (answer, _receiver) = oneshot::channel();
    committer.take(Job::Append { record, key: short, kind: RecordKind::ActionResult, answer });
    committer.flush();
}

/// Gives up one pack, at once.
fn evict(committer: &mut Committer, pack: u32) {
    let unit = u64::from(pack);
    let mut entries = Vec::new();
    committer.inventory.table.for_each(|entry| {
        if unit_of(entry.location) == unit {
            entries.push(*entry);
        }
    });
    let victim = Victim { unit, entries, purpose: Purpose::Eviction };
    committer.begin_retiring(victim).unwrap();
    assert!(committer.reclaim_unit(0, Haste::Urgent).unwrap());
}

fn is_there_after_a_start(data_dir: &Path, key: &RecordKey) -> bool {
    let inventory = committer(data_dir, EvictionPolicy::Lfu).inventory;
    inventory.short_key(key).is_some_and(|short| inventory.table.get(&short).is_some())
}

#[test]
fn a_result_whose_body_has_rotten_leaves_a_removal_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let mut committer = committer(dir.path(), EvictionPolicy::Lfu);
    let key = result_key(b"run twice");
    put_result(&mut committer, &key, &noise(1, 300));
    committer.roll().unwrap();
    put_result(&mut committer, &key, &noise(2, 300));
    let end = committer.end;
    committer.pack.file.write_at(&[std::io::IoSlice::new(&[0; 8])], end - 100).unwrap();
    committer.roll().unwrap();
    evict(&mut committer, 2);
    assert_eq!(committer.inventory.packs.ids(), [1, 3]);
    drop(committer);
    assert!(!is_there_after_a_start(dir.path(), &key), "the older one is back");
}

#[derive(Debug)]
struct Unreadable;

impl IoFile for Unreadable {
    fn read_at(&self, _buffer: &mut [u8], _offset: u64) -> std::io::Result<usize> {
        Err(std::io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error()))
    }
    fn read_cached(&self, _buffer: &mut [u8], _offset: u64) -> usize {
        0
    }
    fn write_at(&self, _slices: &[std::io::IoSlice<'_>], _offset: u64) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
    fn forget_cached(&self, _offset: u64, _length_bytes: u64) {}
    fn len_bytes(&self) -> std::io::Result<u64> {
        Ok(1_000)
    }
    fn truncate(&self, _length_bytes: u64) -> std::io::Result<()> {
        Ok(())
    }
    fn sync_data(&self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_pack_whose_removals_cannot_be_read_stays_while_an_older_one_does() {
    let dir = tempfile::tempdir().unwrap();
    let mut committer = committer(dir.path(), EvictionPolicy::Lfu);
    let key = result_key(b"removed");
    put_result(&mut committer, &key, b"a result");
    put(&mut committer, 0..3);
    committer.roll().unwrap();
    let (answer, mut removed) = oneshot::channel();
    let short = committer.inventory.short_key(&key).unwrap();
    committer.take(Job::Remove { key: key.clone(), short, seen: None, answer });
    committer.flush();
    assert!(removed.try_recv().unwrap().unwrap());
    committer.roll().unwrap();
    let unreadable = Arc::new(Pack::new(2, Arc::new(Unreadable)));
    unreadable.note_removal();
    committer.inventory.packs.extend([unreadable]);
    evict(&mut committer, 2);
    assert_eq!(committer.inventory.packs.ids(), [2, 3], "the oldest goes instead");
    drop(committer);
    assert!(!is_there_after_a_start(dir.path(), &key), "it is back");
}
