//! While the engine still reads what it stores: hits are served, misses wait, writes go on; and what is read back is
//! what was there, recency too.

use std::io;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use larder_disk::{
    Accepts, DirEntry, DiskError, Engine, EngineOptions, GoOn, Io, IoFile, OpenMode, PurgeRule,
    RealIo, RecordKind,
};
use larder_protos::{Digest, DigestFunction};
use parking_lot::{Condvar, Mutex};
use tempfile::tempdir;

use crate::support::{
    action_key, blob_key, get, keyspace, noise, open, open_with, options, pack_files, prose, put,
    put_blob, put_large,
};

/// Real files; opening a blob file waits until it is let go.
#[derive(Clone, Default, Debug)]
struct HeldIo {
    gate: Arc<(Mutex<bool>, Condvar)>,
}

impl HeldIo {
    fn let_go(&self) {
        *self.gate.0.lock() = true;
        self.gate.1.notify_all();
    }
}

impl Io for HeldIo {
    crate::support::io_passes_names_on!();

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn IoFile>> {
        if mode == OpenMode::Read && path.ancestors().any(|dir| dir.ends_with("blobs")) {
            let mut is_open = self.gate.0.lock();
            while !*is_open {
                self.gate.1.wait(&mut is_open);
            }
        }
        RealIo.open(path, mode)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        RealIo.list(path)
    }
    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        RealIo.free_bytes(path)
    }
    fn unix_ms(&self) -> u64 {
        RealIo.unix_ms()
    }
}

#[test]
fn hits_are_served_and_misses_wait_until_all_is_read() {
    let dir = tempdir().unwrap();
    let engine = open(dir.path());
    let (small, large) = (prose(1, 900), noise(2, 2 << 20));
    let (small_key, large_key) = (put_blob(&engine, &small), put_large(&engine, &large));
    drop(engine);
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();

    let io = HeldIo::default();
    let engine = Engine::open(options(dir.path()), Arc::new(io.clone())).unwrap();
    let mut context = Context::from_waker(Waker::noop());
    assert!(!engine.usage().is_loaded);
    // The last pack is read before the engine is there.
    assert_eq!(get(&engine, &small_key).unwrap().unwrap(), small);
    let written = put_blob(&engine, b"written meanwhile");
    put(&engine, &action_key("a"), b"and a result").unwrap();
    assert_eq!(pin!(engine.holds(&written)).poll(&mut context), Poll::Ready(true));

    let mut digests = vec![
        Digest::of(DigestFunction::Sha256, &large),
        Digest::of(DigestFunction::Sha256, &small),
        Digest::of(DigestFunction::Sha256, b"nowhere"),
    ];
    let nowhere = digests[2];
    let absent = blob_key(b"nowhere");
    {
        let mut large_is_there = pin!(engine.holds(&large_key));
        let mut absent_is_there = pin!(engine.holds(&absent));
        let space = keyspace();
        let mut missing = pin!(engine.retain_missing(&space, &mut digests));
        assert!(large_is_there.as_mut().poll(&mut context).is_pending());
        assert!(absent_is_there.as_mut().poll(&mut context).is_pending());
        assert!(missing.as_mut().poll(&mut context).is_pending());
        io.let_go();
        engine.wait_loaded();
        assert_eq!(large_is_there.as_mut().poll(&mut context), Poll::Ready(true));
        assert_eq!(absent_is_there.as_mut().poll(&mut context), Poll::Ready(false));
        assert!(missing.as_mut().poll(&mut context).is_ready());
    }
    assert_eq!(digests, [nowhere]);
    assert_eq!(engine.usage().records, 4);
    drop(engine);

    let engine = open(dir.path());
    assert_eq!(engine.usage().records, 4);
    assert_eq!(get(&engine, &large_key).unwrap().unwrap(), large);
    assert_eq!(get(&engine, &action_key("a")).unwrap().unwrap(), b"and a result");
}

#[test]
fn an_engine_that_ends_while_it_reads_loses_nothing() {
    let dir = tempdir().unwrap();
    let engine = open(dir.path());
    let keys: Vec<_> = (0..3).map(|seed| put_large(&engine, &noise(seed, 1 << 20))).collect();
    drop(engine);
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    let io = HeldIo::default();
    let engine = Engine::open(options(dir.path()), Arc::new(io.clone())).unwrap();
    let small = put_blob(&engine, b"written meanwhile");
    let ending = std::thread::spawn(move || drop(engine));
    io.let_go();
    ending.join().unwrap();
    let engine = open(dir.path());
    assert!(keys.iter().chain([&small]).all(|key| engine.contains(key)));
}

#[test]
fn an_engine_that_stops_reading_does_nothing_that_takes_knowing_all() {
    let dir = tempdir().unwrap();
    let nearly_full = EngineOptions { max_size_bytes: 11 << 20, ..options(dir.path()) };
    let engine = open_with(nearly_full.clone(), RealIo);
    let keys: Vec<_> = (0..8).map(|seed| put_large(&engine, &noise(seed, 1 << 20))).collect();
    assert_eq!(engine.usage().evictions, 0);
    drop(engine);
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();

    let io = HeldIo::default();
    let engine = Engine::open(nearly_full, Arc::new(io.clone())).unwrap();
    let everything = PurgeRule::default();
    let more: Vec<_> = (10..16).map(|seed| noise(seed, 900_000)).collect();
    std::thread::scope(|scope| {
        let purge = scope.spawn(|| engine.purge(&everything, &mut |_| GoOn::Yes).map(drop));
        let give_up = scope.spawn(|| engine.give_up(0).map(drop));
        let remove = scope.spawn(|| engine.remove(&keys[0]).map(drop));
        let puts = scope.spawn(|| {
            more.iter().try_for_each(|content| put(&engine, &blob_key(content), content).map(drop))
        });
        engine.stop_loading();
        io.let_go();
        for waiting in [purge, give_up, remove, puts] {
            let answer = waiting.join().unwrap();
            assert!(matches!(answer, Err(DiskError::Closed)), "{answer:?}");
        }
    });
    drop(engine);
    let engine = open(dir.path());
    assert!(keys.iter().all(|key| engine.contains(key)));
}

#[test]
fn removals_hold_across_packs_and_starts() {
    let dir = tempdir().unwrap();
    let mut small_packs = options(dir.path());
    // A pack takes 1 MiB.
    small_packs.max_size_bytes = 32 << 20;
    let engine = open_with(small_packs.clone(), RealIo);
    let removed: Vec<_> = (0..300).map(|seed| put_blob(&engine, &noise(seed, 700))).collect();
    let kept: Vec<_> = (300..330).map(|seed| put_blob(&engine, &noise(seed, 90_000))).collect();
    assert!(removed.iter().all(|key| engine.remove(key).unwrap()));
    let back = put_blob(&engine, &noise(7, 700));
    drop(engine);
    assert!(pack_files(dir.path()).len() > 2);
    for with_index in [true, false] {
        if !with_index {
            std::fs::remove_dir_all(dir.path().join("index")).unwrap();
        }
        let engine = open_with(small_packs.clone(), RealIo);
        assert_eq!(engine.usage().records, 31, "index {with_index}");
        assert!(kept.iter().chain([&back]).all(|key| engine.contains(key)));
    }
}

#[test]
fn what_was_asked_for_is_known_after_a_start_the_last_first() {
    let dir = tempdir().unwrap();
    let engine = open(dir.path());
    let contents: Vec<_> = (0..20).map(|seed| noise(seed, 1_000)).collect();
    let keys: Vec<_> = contents.iter().map(|content| put_blob(&engine, content)).collect();
    put(&engine, &action_key("a"), b"a result").unwrap();
    assert!(engine.contains(&keys[3]) && engine.contains(&keys[5]));
    assert!(engine.contains(&action_key("a")));
    drop(engine);

    let engine = open(dir.path());
    let recent = engine.recent(RecordKind::Blob, 10_000, 1_000);
    let mut found = Vec::new();
    for record in &recent {
        let (key, mut reader) = engine.read_recent(record, Accepts::Raw).unwrap().unwrap();
        let content = reader.next_chunk().unwrap().unwrap();
        assert_eq!(key, blob_key(&content));
        found.push(key);
    }
    assert_eq!(found, [keys[5].clone(), keys[3].clone()]);
    assert_eq!(engine.recent(RecordKind::ActionResult, 10_000, 1_000).len(), 1);
    assert_eq!(engine.recent(RecordKind::Blob, 1_999, 1_000).len(), 1);
    assert!(engine.recent(RecordKind::Blob, 10_000, 999).is_empty());
}

#[test]
fn what_was_asked_for_is_not_read_once_it_has_gone_or_moved() {
    let dir = tempdir().unwrap();
    let engine = open(dir.path());
    let keys: Vec<_> = (0..3).map(|seed| put_blob(&engine, &noise(seed, 1_000))).collect();
    assert!(keys.iter().all(|key| engine.contains(key)));
    let recent = engine.recent(RecordKind::Blob, 10_000, 1_000);
    assert_eq!(recent.len(), 3);
    engine.remove(&keys[0]).unwrap();
    engine.remove(&keys[1]).unwrap();
    put(&engine, &keys[1], &noise(1, 1_000)).unwrap();
    let read = |record| engine.read_recent(record, Accepts::Raw).unwrap().map(|(key, _)| key);
    let found: Vec<_> = recent.iter().filter_map(read).collect();
    assert_eq!(found, keys[2..]);
}

#[test]
fn who_asks_for_a_hash_that_is_nearly_a_stored_one_harms_nobody() {
    let dir = tempdir().unwrap();
    let engine = open(dir.path());
    let content = prose(1, 400);
    let key = put_blob(&engine, &content);
    let mut hash = key.hash().as_bytes().to_vec();
    *hash.last_mut().unwrap() ^= 1;
    let alike = larder_protos::Hash::from_bytes(DigestFunction::Sha256, &hash).unwrap();
    let alike = larder_disk::RecordKey::blob(&keyspace(), &Digest::new(alike, 400));
    assert!(!engine.contains(&alike));
    assert_eq!(get(&engine, &alike).unwrap(), None);
    assert_eq!(get(&engine, &key).unwrap().unwrap(), content);
    assert_eq!(engine.usage().corrupt_records, 0);
}
