//! Packs that a purge leaves sparse are given up, and nothing that can be read or must stay gone depends on it.

use larder_disk::{Durability, GoOn, Keyspace, PurgeRule, RecordKey};
use larder_protos::{Digest, DigestFunction};
use tempfile::tempdir;

use crate::faulty::{Call, EIO, ENOSPC, Fault, FaultyIo};
use crate::held::{HeldIo, Point};
use crate::support::{
    blob_key, get, noise, open, open_with, options, pack_files, put, put_blob, put_large,
};

fn other() -> Keyspace {
    Keyspace::new("other").unwrap()
}

fn other_key(content: &[u8]) -> RecordKey {
    RecordKey::blob(&other(), &Digest::of(DigestFunction::Sha256, content))
}

fn put_others(engine: &larder_disk::Engine, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let content = noise(seed, 100_000);
        put(engine, &other_key(&content), &content).unwrap();
    }
}

fn rule() -> PurgeRule {
    PurgeRule { keyspaces: Some(vec![other()]), ..PurgeRule::default() }
}

#[test]
fn a_removal_that_found_the_disk_full_holds_its_new_pack() {
    let dir = tempdir().unwrap();
    let io = FaultyIo::default();
    let mut options = options(dir.path());
    options.max_size_bytes = 64 << 20;
    let engine = open_with(options, io.clone());
    let key = put_blob(&engine, b"the one that is to go");
    for seed in 0..8 {
        put_blob(&engine, &noise(seed, 100_000));
    }
    // What makes room.
    put_large(&engine, &noise(100, 1 << 20));
    io.fail(Fault { times: 1, partial_bytes: 10_000, ..Fault::new(Call::Write, ENOSPC) });
    io.fail(Fault::new(Call::Truncate, EIO));
    assert!(engine.remove(&key).unwrap());
    io.heal();
    assert_eq!(pack_files(dir.path()).len(), 2, "the removal went to a new pack");
    put_others(&engine, 1_000..1_030);
    let before = pack_files(dir.path()).len();
    engine.purge(&rule(), &mut |_| GoOn::Yes).unwrap();
    assert!(pack_files(dir.path()).len() < before, "none was given up");
    drop(engine);
    let engine = open(dir.path());
    assert!(!engine.contains(&key), "it is back");
    assert!(engine.contains(&blob_key(&noise(7, 100_000))));
}

#[test]
fn on_a_full_disk_nothing_is_evicted_for_it() {
    let dir = tempdir().unwrap();
    let io = FaultyIo::default();
    let mut options = options(dir.path());
    options.max_size_bytes = 64 << 20;
    let engine = open_with(options, io.clone());
    // Of the first pack a tenth stays.
    let removed = put_blob(&engine, b"removed");
    let kept = put_blob(&engine, &noise(1, 100_000));
    put_others(&engine, 1_000..1_009);
    // The second says that something is gone.
    put_others(&engine, 2_000..2_002);
    assert!(engine.remove(&removed).unwrap());
    put_others(&engine, 2_002..2_010);
    for seed in 10..30 {
        put_blob(&engine, &noise(seed, 100_000));
    }
    let purged = engine.purge(&rule(), &mut |purged| {
        if purged.records == 19 {
            io.fail(Fault::new(Call::Write, ENOSPC));
        }
        GoOn::Yes
    });
    io.heal();
    assert_eq!(purged.unwrap().records, 19);
    assert_eq!(engine.usage().evictions, 0);
    assert!(get(&engine, &kept).unwrap().unwrap() == noise(1, 100_000));
}

#[test]
fn what_is_being_written_meanwhile_is_in_no_sparse_pack() {
    let dir = tempdir().unwrap();
    let io = HeldIo::default();
    let mut options = options(dir.path());
    options.durability = Durability::Sync;
    let engine = open_with(options, io.clone());
    put_others(&engine, 0..1);
    let content = noise(1, 1_000);
    let key = blob_key(&content);
    let mut commit = None;
    std::thread::scope(|scope| {
        let purged = engine.purge(&rule(), &mut |_| {
            if commit.is_none() {
                // In the pack, and not in the table before its sync is done.
                io.hold(Point::SyncPack);
                let content = larder_disk::Content::Raw(&content);
                commit = Some(engine.append(&key, content).unwrap());
                io.wait_for(Point::SyncPack);
                scope.spawn(|| {
                    while engine.state().commit_queue_bytes == 0 {
                        std::thread::yield_now();
                    }
                    io.let_go(Point::SyncPack);
                });
            }
            GoOn::Yes
        });
        assert_eq!(purged.unwrap().records, 1);
    });
    commit.unwrap().wait().unwrap();
    assert!(get(&engine, &key).unwrap().as_ref() == Some(&content), "it went with its pack");
}
