//! What is purged or given up is gone for good, and nothing else is.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use larder_disk::{
    Content, Durability, Engine, EngineOptions, GoOn, Keyspace, PurgeRule, Purged, RealIo,
    RecordKey, RecordKind,
};
use larder_protos::{Digest, DigestFunction, Hash};
use tempfile::tempdir;

use crate::held::{HeldIo, Point};
use crate::random::Random;
use crate::set_io::SetIo;
use crate::sim_disk::{Plan, PowerCut, SimDisk};
use crate::support::{
    action_key, blob_files, blob_key, get, keyspace, noise, open, open_with, open_without_index,
    options, pack_files, put, put_blob, put_large,
};

fn other_key(content: &[u8]) -> RecordKey {
    let keyspace = Keyspace::new("other").unwrap();
    RecordKey::blob(&keyspace, &Digest::of(DigestFunction::Sha256, content))
}

fn are_blobs(_keyspace: &Keyspace, kind: RecordKind) -> bool {
    kind == RecordKind::Blob
}

fn are_results(_keyspace: &Keyspace, kind: RecordKind) -> bool {
    kind == RecordKind::ActionResult
}

#[test]
fn what_a_rule_names_is_gone_after_a_restart_too() {
    let dir = tempdir().unwrap();
    let engine = open(dir.path());
    let small: Vec<_> = (0..600).map(|seed| put_blob(&engine, &noise(seed, 300))).collect();
    let large = put_large(&engine, &noise(1_000, 2 << 20));
    let result = action_key("kept");
    put(&engine, &result, b"a result").unwrap();
    let other = other_key(b"of another keyspace");
    put(&engine, &other, b"of another keyspace").unwrap();

    let keyspaces = Some(vec![keyspace()]);
    let rule = PurgeRule { keyspaces, partitions: Some(are_blobs), unused_for: None };
    let mut steps = 0;
    let purged = engine.purge(&rule, &mut |_| {
        steps += 1;
        GoOn::Yes
    });
    let purged = purged.unwrap();
    assert_eq!((purged.seen_records, purged.records, purged.skipped_records), (603, 601, 0));
    assert!(purged.bytes > 600 * 300 + (2 << 20), "{purged:?}");
    assert!(steps > 1);
    assert_eq!(blob_files(dir.path()).len(), 0);
    let check = |engine: &Engine| {
        assert!(small.iter().all(|key| engine.record(key).is_none()));
        assert!(engine.record(&large).is_none());
        assert_eq!(get(engine, &result).unwrap().as_deref(), Some(&b"a result"[..]));
        assert!(engine.record(&other).is_some());
    };
    check(&engine);
    drop(engine);
    // By the log alone.
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    check(&open(dir.path()));
}

#[test]
fn a_step_of_a_purge_is_synced_once() {
    let dir = tempdir().unwrap();
    let io = HeldIo::default();
    let mut options = options(dir.path());
    options.durability = Durability::Sync;
    let engine = open_with(options, io.clone());
    // Alike in their first byte, so that a step takes them all.
    for number in 0..200_u8 {
        let hash = Hash::from_bytes(DigestFunction::Sha256, &[&[7, number], &[0; 30][..]].concat());
        put(&engine, &RecordKey::action_result(&keyspace(), &hash.unwrap()), b"a result").unwrap();
    }
    let syncs = || engine.activity().sync_micros.buckets().map(|(_, count)| count).sum::<u64>();
    let before = syncs();
    // All of them wait behind a put.
    io.hold(Point::SyncPack);
    let commit = engine.append(&blob_key(b"a put"), Content::Raw(b"a put")).unwrap();
    io.wait_for(Point::SyncPack);
    let purged = std::thread::scope(|scope| {
        let rule = PurgeRule { partitions: Some(are_results), ..PurgeRule::default() };
        let engine = &engine;
        let purging = scope.spawn(move || engine.purge(&rule, &mut |_| GoOn::No));
        while engine.state().commit_queue_bytes < 200 {
            std::thread::yield_now();
        }
        io.let_go(Point::SyncPack);
        purging.join().unwrap()
    });
    commit.wait().unwrap();
    assert_eq!(purged.unwrap().records, 200);
    assert_eq!(syncs() - before, 2);
}

#[test]
fn of_what_is_removed_and_stored_in_one_batch_the_last_counts() {
    let dir = tempdir().unwrap();
    let io = HeldIo::default();
    let mut options = options(dir.path());
    options.durability = Durability::Sync;
    let engine = open_with(options, io.clone());
    let keys = ["stored last", "removed last"].map(action_key);
    for key in &keys {
        put(&engine, key, b"the first").unwrap();
    }
    // All that follows waits behind a put.
    io.hold(Point::SyncPack);
    let commit = engine.append(&blob_key(b"a put"), Content::Raw(b"a put")).unwrap();
    io.wait_for(Point::SyncPack);
    std::thread::scope(|scope| {
        let (engine, keys) = (&engine, &keys);
        let grows = |work: &mut dyn FnMut()| {
            let before = engine.state().commit_queue_bytes;
            work();
            while engine.state().commit_queue_bytes == before {
                std::thread::yield_now();
            }
        };
        let remove = |key: usize| {
            grows(&mut || {
                scope.spawn(move || assert!(engine.remove(&keys[key]).unwrap()));
            });
        };
        let store = |key: usize| {
            let commit = engine.append(&keys[key], Content::Raw(b"another")).unwrap();
            scope.spawn(|| commit.wait().unwrap());
        };
        remove(0);
        store(0);
        remove(0);
        store(0);
        store(1);
        remove(1);
        store(1);
        remove(1);
        io.let_go(Point::SyncPack);
    });
    commit.wait().unwrap();
    let check = |engine: &larder_disk::Engine| {
        assert_eq!(get(engine, &keys[0]).unwrap().as_deref(), Some(&b"another"[..]));
        assert_eq!(get(engine, &keys[1]).unwrap(), None);
    };
    check(&engine);
    drop(engine);
    // By the log alone.
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    check(&open(dir.path()));
}

#[test]
fn what_is_purged_is_the_disks_again() {
    for is_index_lost in [false, true] {
        let dir = tempdir().unwrap();
        let mut options = options(dir.path());
        options.max_size_bytes = 64 << 20;
        let engine = open_with(options.clone(), RealIo);
        for seed in 0..100 {
            put_blob(&engine, &noise(seed, 100_000));
        }
        assert!(pack_files(dir.path()).len() > 8);
        engine.purge(&PurgeRule::default(), &mut |_| GoOn::Yes).unwrap();
        let check = |engine: &Engine| {
            let lengths =
                pack_files(dir.path()).into_iter().map(|path| path.metadata().unwrap().len());
            assert_eq!(lengths.collect::<Vec<_>>(), [64], "an empty pack is left");
            let usage = engine.usage();
            assert_eq!((usage.records, usage.stored_bytes, usage.dead_bytes), (0, 0, 64));
            assert_eq!(usage.evictions, 0);
        };
        check(&engine);
        drop(engine);
        if is_index_lost {
            std::fs::remove_dir_all(dir.path().join("index")).unwrap();
        }
        let engine = open_with(options, RealIo);
        check(&engine);
        let key = put_blob(&engine, b"it goes on");
        assert_eq!(get(&engine, &key).unwrap().unwrap(), b"it goes on");
    }
}

#[test]
fn what_is_purged_stays_gone_when_the_power_fails_amid_the_next_purge() {
    let mut seed = 0;
    loop {
        let dir = tempdir().unwrap();
        let data_dir = dir.path().join("data");
        let disk = SimDisk::new(&data_dir);
        let mut options = options(&data_dir);
        options.max_size_bytes = 64 << 20;
        options.durability = Durability::Sync;
        let open = || open_without_index(options.clone(), &disk);
        let engine = open();
        let keys: Vec<_> = (0..40).map(|seed| put_blob(&engine, &noise(seed, 100_000))).collect();
        // Broken off before packs are given up: the removals stand in a pack that more blobs fill.
        let purge = |go_on: fn(u64) -> GoOn| {
            engine.purge(&PurgeRule::default(), &mut |purged| go_on(purged.records))
        };
        purge(|records| if records < 40 { GoOn::Yes } else { GoOn::No }).unwrap();
        (40..60).for_each(|seed| drop(put_blob(&engine, &noise(seed, 100_000))));
        disk.plan(Plan::DiesAt(seed));
        let _ = purge(|_| GoOn::Yes);
        let is_through = disk.changes() <= seed;
        drop(engine);
        disk.crash(PowerCut::Scatters, &mut Random::new(seed));
        let engine = open();
        assert!(!keys.iter().any(|key| engine.contains(key)), "dies at {seed}");
        if is_through {
            break;
        }
        seed += 1;
    }
    assert!(seed > 20, "only {seed} changes");
}

#[test]
fn a_rule_may_name_several_keyspaces() {
    let dir = tempdir().unwrap();
    let engine = open(dir.path());
    let in_keyspace = |name: &str| {
        let keyspace = Keyspace::new(name).unwrap();
        let digest = Digest::of(DigestFunction::Sha256, b"the same in all");
        let key = RecordKey::blob(&keyspace, &digest);
        put(&engine, &key, b"the same in all").unwrap();
        (keyspace, key)
    };
    let [(one, key), (other, other_key), (_, kept)] = ["one", "other", "kept"].map(in_keyspace);
    let rule = PurgeRule { keyspaces: Some(vec![one, other]), ..PurgeRule::default() };
    let purged = engine.purge(&rule, &mut |_| GoOn::Yes).unwrap();
    assert_eq!((purged.seen_records, purged.records), (3, 2));
    assert_eq!([key, other_key, kept].map(|key| engine.contains(&key)), [false, false, true]);
}

#[test]
fn of_a_pack_that_is_mostly_purged_the_rest_stays() {
    let dir = tempdir().unwrap();
    let mut options = options(dir.path());
    options.max_size_bytes = 64 << 20;
    let engine = open_with(options.clone(), RealIo);
    let mut others = Vec::new();
    for seed in 0..200 {
        let content = noise(seed, 50_000);
        // Of the first hundred a tenth stays, of the others half.
        if seed % (if seed < 100 { 10 } else { 2 }) == 0 {
            put(&engine, &other_key(&content), &content).unwrap();
            others.push(content);
        } else {
            put_blob(&engine, &content);
        }
    }
    let files = || {
        pack_files(dir.path()).into_iter().map(|path| path.metadata().unwrap().len()).sum::<u64>()
    };
    let before = files();
    let rule = PurgeRule { keyspaces: Some(vec![keyspace()]), ..PurgeRule::default() };
    engine.purge(&rule, &mut |_| GoOn::Yes).unwrap();
    // Of the first five megabytes half a megabyte is left; what is half dead waits for the limit.
    assert!(files() < before - 4_000_000, "{} B of {before} B", files());
    let usage = engine.usage();
    assert_eq!((usage.records, usage.evictions), (60, 0));
    assert_eq!(usage.stored_bytes + usage.dead_bytes, files());
    drop(engine);
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    let engine = open_with(options, RealIo);
    assert_eq!(engine.usage().records, 60);
    for content in &others {
        assert!(get(&engine, &other_key(content)).unwrap().as_ref() == Some(content));
    }
}

#[test]
fn what_was_asked_for_lately_is_not_unused() {
    let dir = tempdir().unwrap();
    let engine = open(dir.path());
    let key = put_blob(&engine, b"young");
    let unused = |seconds| PurgeRule {
        unused_for: Some(Duration::from_secs(seconds)),
        ..PurgeRule::default()
    };
    let purge = |seconds| engine.purge(&unused(seconds), &mut |_| GoOn::Yes).unwrap();
    assert_eq!(purge(3_600), Purged { seen_records: 1, ..Purged::default() });
    assert!(engine.record(&key).is_some());
    assert_eq!(purge(0).records, 1);
    assert!(engine.record(&key).is_none());
}

/// Results of one shard, more than a purge removes in a step, so that something can happen between its look at them and the last.
fn results_of_a_shard(engine: &Engine) -> Vec<RecordKey> {
    let key = |number: u32| {
        let mut hash = [0; 32];
        hash[1..5].copy_from_slice(&number.to_be_bytes());
        RecordKey::action_result(
            &keyspace(),
            &Hash::from_bytes(DigestFunction::Sha256, &hash).unwrap(),
        )
    };
    let keys: Vec<_> = (0..300).map(key).collect();
    for key in &keys {
        put(engine, key, b"old").unwrap();
    }
    keys
}

const RESULTS: PurgeRule =
    PurgeRule { keyspaces: None, partitions: Some(are_results), unused_for: None };

#[test]
fn what_is_stored_or_used_while_a_purge_runs_stays() {
    for unused_for in [None, Some(Duration::from_hours(1))] {
        let dir = tempdir().unwrap();
        let io = SetIo::new();
        let engine = open_with(options(dir.path()), io.clone());
        let keys = results_of_a_shard(&engine);
        io.pass(2 * 3_600);
        let [replaced, removed, used] = [297, 298, 299].map(|number: usize| &keys[number]);
        let mut is_first = true;
        let rule = PurgeRule { unused_for, ..RESULTS };
        let purged = engine.purge(&rule, &mut |_| {
            if std::mem::take(&mut is_first) {
                put(&engine, replaced, b"new").unwrap();
                assert!(engine.remove(removed).unwrap());
                assert!(engine.contains(used));
            }
            GoOn::Yes
        });
        let is_used_kept = unused_for.is_some();
        assert_eq!(purged.unwrap().records, if is_used_kept { 297 } else { 298 });
        assert_eq!(get(&engine, replaced).unwrap().as_deref(), Some(&b"new"[..]));
        assert_eq!(engine.contains(used), is_used_kept);
        assert_eq!(engine.usage().records, if is_used_kept { 2 } else { 1 });
    }
}

#[test]
fn what_is_moved_while_a_purge_runs_goes() {
    let dir = tempdir().unwrap();
    let io = SetIo::new();
    let engine =
        open_with(EngineOptions { max_size_bytes: 64 << 20, ..options(dir.path()) }, io.clone());
    let keys = results_of_a_shard(&engine);
    for seed in 0..20 {
        put_blob(&engine, &noise(seed, 100_000));
    }
    io.pass(1);
    let blobs = PurgeRule { partitions: Some(are_blobs), ..PurgeRule::default() };
    let mut is_first = true;
    let purged = engine.purge(&RESULTS, &mut |_| {
        if std::mem::take(&mut is_first) {
            // What is left of the first pack is appended again.
            engine.purge(&blobs, &mut |_| GoOn::Yes).unwrap();
            assert!(engine.usage().copied_bytes > 0);
        }
        GoOn::Yes
    });
    let purged = purged.unwrap();
    assert_eq!((purged.records, purged.skipped_records), (300, 0));
    assert!(!keys.iter().any(|key| engine.contains(key)));
}

#[test]
fn a_clock_that_was_wrong_makes_nothing_older_and_keeps_nothing_for_ever() {
    const DAY_S: u64 = 24 * 3_600;
    let dir = tempdir().unwrap();
    let io = SetIo::new();
    let today_s = io.unix_s.load(Ordering::Relaxed);
    // Whoever opens it reads the clock.
    let at = |unix_s: u64| {
        io.unix_s.store(unix_s, Ordering::Relaxed);
        open_with(options(dir.path()), io.clone())
    };
    let engine = at(today_s);
    let key = put_blob(&engine, b"used while the clock was behind");
    drop(engine);
    let engine = at(today_s - 400 * DAY_S);
    assert!(engine.contains(&key));
    drop(engine);
    let engine = at(today_s + 5 * 366 * DAY_S);
    put_blob(&engine, b"stored while the clock was ahead by years");
    drop(engine);
    let engine = at(today_s);
    let unused_for = Some(Duration::from_hours(24));
    let rule = PurgeRule { unused_for, ..PurgeRule::default() };
    assert_eq!(engine.purge(&rule, &mut |_| GoOn::Yes).unwrap().records, 1);
    assert!(engine.contains(&key));
}

#[test]
fn who_stops_a_purge_keeps_the_rest() {
    let dir = tempdir().unwrap();
    let engine = open(dir.path());
    for seed in 0..300 {
        put_blob(&engine, &noise(seed, 100));
    }
    let purged = engine.purge(&PurgeRule::default(), &mut |_| GoOn::No).unwrap();
    assert!((1..300).contains(&purged.records), "{purged:?}");
    assert_eq!(engine.usage().records, 300 - purged.records);
}

#[test]
fn the_store_is_given_up_down_to_what_is_asked() {
    let dir = tempdir().unwrap();
    let mut options = options(dir.path());
    options.max_size_bytes = 64 << 20;
    let engine = open_with(options, RealIo);
    let blobs: Vec<_> = (0..30).map(|seed| put_large(&engine, &noise(seed, 1 << 20))).collect();
    let used = || engine.usage().stored_bytes + engine.usage().dead_bytes;
    let target = 10 << 20;
    assert!(used() > 2 * target);
    assert!(!engine.give_up(64 << 20).unwrap(), "it is below already");
    while engine.give_up(target).unwrap() {}
    assert!((target / 2..=target).contains(&used()), "{} B are left", used());
    let is_there = |key: &RecordKey| engine.record(key).is_some();
    assert!(!is_there(&blobs[0]) && is_there(&blobs[29]), "the oldest go first");
    // It still takes what comes.
    put_large(&engine, &noise(100, 1 << 20));
}

#[test]
fn the_scrub_is_halted_and_asked_for() {
    let dir = tempdir().unwrap();
    let mut options = options(dir.path());
    options.scrub_rate_bytes = u64::MAX;
    let engine = open_with(options, RealIo);
    let scrub = engine.scrub().unwrap();
    scrub.halt();
    put_blob(&engine, b"something to check");
    let rounds = |at_least: u64| {
        let deadline = Instant::now() + Duration::from_mins(1);
        while engine.usage().scrub.rounds < at_least {
            assert!(Instant::now() < deadline, "{:?}", engine.usage().scrub);
            std::thread::yield_now();
        }
    };
    assert!(engine.usage().scrub.is_halted);
    assert_eq!(engine.usage().scrub.rounds, 0);
    scrub.begin();
    rounds(1);
    // The next is due in a day.
    scrub.begin();
    rounds(2);
    scrub.set_rate_bytes(1 << 20);
    assert_eq!(engine.usage().scrub.rate_bytes, 1 << 20);
}
