//! What is put is read back: every size, encoding and range, before and after a restart.

use std::sync::Arc;

use larder_disk::{
    Accepts, Content, DiskError, DiskErrorClass, Durability, Encoding, Engine, Keyspace,
    PutOutcome, RealIo, RecordKey,
};
use larder_protos::{Digest, DigestFunction};
use tempfile::tempdir;

use crate::support::{
    action_key, blob_files, blob_key, get, get_range, keyspace, noise, open, open_with, options,
    prose, put, put_blob, put_large,
};

const FRAME: usize = 256 << 10;

#[test]
fn what_is_put_is_read_back_in_every_size_and_after_a_restart() {
    let dir = tempdir().unwrap();
    let engine = open(dir.path());
    let sizes = [0, 1, 100, 4_096, FRAME - 1, FRAME, FRAME + 1, 3 * FRAME, 3 * FRAME + 17];
    let contents: Vec<Vec<u8>> =
        sizes.iter().flat_map(|size| [noise(7, *size), prose(7, *size)]).collect();
    let keys: Vec<RecordKey> = contents.iter().map(|content| put_blob(&engine, content)).collect();
    let large = [noise(8, 5 * FRAME + 3), prose(8, 5 * FRAME + 3), prose(9, 8 * FRAME)];
    let large_keys = large.each_ref().map(|content| put_large(&engine, content));
    let check = |engine: &Engine| {
        for (key, content) in keys.iter().zip(&contents).chain(large_keys.iter().zip(&large)) {
            assert!(engine.contains(key));
            assert_eq!(engine.record(key).unwrap().logical_size_bytes, content.len() as u64);
            assert!(get(engine, key).unwrap().as_ref() == Some(content), "{key}");
        }
    };
    check(&engine);
    let before = engine.usage();
    // The empty blob came twice.
    assert_eq!(before.records, 20);
    drop(engine);
    let engine = open(dir.path());
    check(&engine);
    assert_eq!(engine.usage(), before);
}

#[test]
fn ranges_of_packs_and_files_are_what_a_slice_is() {
    let dir = tempdir().unwrap();
    let engine = open(dir.path());
    let content = prose(3, 5 * FRAME + 1_000);
    let keys = [put_large(&engine, &content), put_blob(&engine, &content[..3 * FRAME])];
    let points = [0, 1, 999, FRAME - 1, FRAME, FRAME + 1, 2 * FRAME, 3 * FRAME, 5 * FRAME + 999];
    for key in keys {
        let size = usize::try_from(engine.record(&key).unwrap().logical_size_bytes).unwrap();
        for start in points {
            for end in points {
                let expect = content[..size].get(start.min(size)..end.min(size));
                let range = start as u64..end as u64;
                let found = get_range(&engine, &key, range.clone()).unwrap().unwrap();
                assert!(found == expect.unwrap_or_default(), "{range:?} of {size}");
            }
        }
    }
}

#[test]
fn a_miss_is_a_value() {
    let dir = tempdir().unwrap();
    let engine = open(dir.path());
    let key = blob_key(b"absent");
    assert!(!engine.contains(&key));
    assert_eq!(engine.record(&key), None);
    assert_eq!(get(&engine, &key).unwrap(), None);
    assert!(!engine.remove(&key).unwrap());
}

#[test]
fn compressible_content_is_stored_as_zstd_and_handed_out_untouched() {
    let dir = tempdir().unwrap();
    let engine = open(dir.path());
    let content = prose(1, 2 * FRAME + 5);
    let key = put_blob(&engine, &content);
    let info = engine.record(&key).unwrap();
    assert_eq!(info.encoding, Encoding::Zstd);
    assert!(info.stored_size_bytes * 4 < info.logical_size_bytes);

    let mut reader = engine.read(&key, 0..u64::MAX, Accepts::RawOrZstd).unwrap().unwrap();
    assert_eq!(reader.encoding(), Encoding::Zstd);
    let mut stored = Vec::new();
    while let Some(chunk) = reader.next_chunk().unwrap() {
        stored.extend_from_slice(&chunk);
    }
    assert!(zstd::decode_all(&stored[..]).unwrap() == content);

    let part = engine.read(&key, 1..5, Accepts::RawOrZstd).unwrap().unwrap();
    assert_eq!(part.encoding(), Encoding::Raw);
}

#[test]
fn incompressible_content_is_stored_raw_and_does_not_grow() {
    let dir = tempdir().unwrap();
    let engine = open(dir.path());
    let content = noise(1, 3 * FRAME);
    let info = engine.record(&put_blob(&engine, &content)).unwrap();
    assert_eq!(info.encoding, Encoding::Raw);
    assert!(info.stored_size_bytes < info.logical_size_bytes + 200);
}

#[test]
fn a_client_s_frame_is_stored_as_it_came() {
    let dir = tempdir().unwrap();
    let engine = open(dir.path());
    let content = prose(5, 3 * FRAME + 9);
    let frame = zstd::bulk::compress(&content, 19).unwrap();
    let key = blob_key(&content);
    let logical_size_bytes = content.len() as u64;
    let put = Content::ZstdFrame { frame: &frame, logical_size_bytes };
    assert_eq!(engine.append(&key, put).unwrap().wait().unwrap(), PutOutcome::Stored);
    let mut reader = engine.read(&key, 0..u64::MAX, Accepts::RawOrZstd).unwrap().unwrap();
    assert_eq!(reader.remaining_bytes(), frame.len() as u64);
    assert!(reader.next_chunk().unwrap().unwrap() == frame);
    assert!(get(&engine, &key).unwrap().unwrap() == content);
    let range = FRAME as u64 - 1..FRAME as u64 + 1;
    assert!(get_range(&engine, &key, range).unwrap().unwrap() == content[FRAME - 1..=FRAME]);
}

#[test]
fn a_blob_that_is_there_is_not_written_again_and_an_action_result_is_replaced() {
    let dir = tempdir().unwrap();
    let engine = open(dir.path());
    let key = put_blob(&engine, b"content");
    let usage = engine.usage();
    assert_eq!(put(&engine, &key, b"content").unwrap(), PutOutcome::AlreadyPresent);
    assert_eq!(engine.usage(), usage);

    let key = action_key("compile");
    for result in [&b"first"[..], b"second, longer", b"3rd"] {
        assert_eq!(put(&engine, &key, result).unwrap(), PutOutcome::Stored);
        assert_eq!(get(&engine, &key).unwrap().unwrap(), result);
    }
    assert_eq!(engine.usage().records, 2);
    drop(engine);
    assert_eq!(get(&open(dir.path()), &key).unwrap().unwrap(), b"3rd");
}

#[test]
fn keyspaces_functions_sizes_and_kinds_share_nothing() {
    let dir = tempdir().unwrap();
    let engine = open(dir.path());
    let digest = Digest::of(DigestFunction::Sha256, b"x");
    let here = Keyspace::new("here").unwrap();
    put(&engine, &RecordKey::blob(&here, &digest), b"x").unwrap();
    let blake3 = Digest::of(DigestFunction::Blake3, b"x");
    let absent = [
        RecordKey::blob(&Keyspace::new("there").unwrap(), &digest),
        RecordKey::blob(&keyspace(), &digest),
        RecordKey::blob(&here, &Digest::new(*digest.hash(), 2)),
        RecordKey::blob(&here, &blake3),
        RecordKey::action_result(&here, digest.hash()),
    ];
    for key in absent {
        assert!(!engine.contains(&key), "{key}");
        assert_eq!(get(&engine, &key).unwrap(), None, "{key}");
    }
    assert!(engine.contains(&RecordKey::blob(&here, &digest)));
}

#[test]
fn what_is_removed_stays_removed() {
    let dir = tempdir().unwrap();
    let engine = open(dir.path());
    let keys = [
        put_blob(&engine, b"in a pack"),
        put_large(&engine, &noise(4, 2 << 20)),
        action_key("link"),
    ];
    put(&engine, &keys[2], b"result").unwrap();
    for key in &keys {
        assert!(engine.remove(key).unwrap());
        assert!(!engine.contains(key));
        assert!(!engine.remove(key).unwrap());
    }
    assert_eq!(blob_files(dir.path()).len(), 0);
    assert_eq!(engine.usage().records, 0);
    drop(engine);
    let engine = open(dir.path());
    assert!(keys.iter().all(|key| !engine.contains(key)));
    drop(engine);
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    let engine = open(dir.path());
    assert!(keys.iter().all(|key| !engine.contains(key)));
    put(&engine, &keys[0], b"in a pack").unwrap();
    assert!(engine.contains(&keys[0]));
}

#[test]
fn content_that_is_not_what_its_key_says_is_refused() {
    let dir = tempdir().unwrap();
    let engine = open(dir.path());
    let key = blob_key(b"four");
    let check = |error: DiskError, class: DiskErrorClass, message: &str| {
        assert_eq!(error.class(), class);
        assert!(error.to_string().contains(message), "{error}");
    };
    let error = put(&engine, &key, b"five!").unwrap_err();
    check(error, DiskErrorClass::Internal, "is 5 B");
    let mut writer = engine.create(&key).unwrap();
    writer.write(b"fo").unwrap();
    check(writer.finish().unwrap_err(), DiskErrorClass::Internal, "is 2 B");
    let mut writer = engine.create(&key).unwrap();
    check(writer.write(b"five!").unwrap_err(), DiskErrorClass::Internal, "is 5 B");
    let error = engine.create(&action_key("x")).unwrap_err();
    check(error, DiskErrorClass::Internal, "not a blob");
    let huge = RecordKey::blob(&keyspace(), &Digest::new(*key.hash(), 1 << 40));
    check(engine.create(&huge).unwrap_err(), DiskErrorClass::Caller, "over the limit");
    let error =
        engine.append(&action_key("x"), Content::Raw(&vec![0; (80 << 20) + 1])).unwrap_err();
    check(error, DiskErrorClass::Caller, "over the limit of 83886080 B");
    let error = Keyspace::new(&"k".repeat(1_025)).unwrap_err();
    check(error, DiskErrorClass::Internal, "1025 B is over the limit of 1024 B");
    assert_eq!(engine.usage().records, 0);
}

#[test]
fn a_writer_that_is_dropped_leaves_nothing() {
    let dir = tempdir().unwrap();
    let engine = open(dir.path());
    let key = blob_key(&noise(1, 3 << 20));
    let mut writer = engine.create(&key).unwrap();
    writer.write(&noise(1, 1 << 20)).unwrap();
    drop(writer);
    assert!(!engine.contains(&key));
    assert_eq!(std::fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
}

#[test]
fn large_appends_get_a_file_that_zstd_reads() {
    let dir = tempdir().unwrap();
    let engine = open(dir.path());
    let noise = noise(2, 2 << 20);
    put_blob(&engine, &noise);
    assert_eq!(blob_files(dir.path()).len(), 1);
    let text = prose(2, 3 << 20);
    let key = put_large(&engine, &text);
    let path = blob_files(dir.path())
        .into_iter()
        .find(|path| path.to_str().unwrap().contains(&key.hash().to_string()))
        .unwrap();
    // The decoder passes over the prologue: it is a skippable frame.
    let decoded = zstd::decode_all(std::fs::File::open(path).unwrap()).unwrap();
    assert!(decoded == text);
}

#[test]
fn in_sync_mode_the_same_holds() {
    let dir = tempdir().unwrap();
    let options = || {
        let mut options = options(dir.path());
        options.durability = Durability::Sync;
        options
    };
    let engine = open_with(options(), RealIo);
    let small = put_blob(&engine, b"small");
    let large = put_large(&engine, &noise(2, 2 << 20));
    assert!(engine.remove(&large).unwrap());
    put(&engine, &action_key("a"), b"result").unwrap();
    drop(engine);
    let engine = open_with(options(), RealIo);
    assert_eq!(get(&engine, &small).unwrap().unwrap(), b"small");
    assert_eq!(get(&engine, &action_key("a")).unwrap().unwrap(), b"result");
    assert!(!engine.contains(&large));
}

#[test]
fn a_commit_is_a_future_too() {
    let dir = tempdir().unwrap();
    let engine = open(dir.path());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let key = blob_key(b"awaited");
    let outcome = runtime.block_on(async {
        let first = engine.append(&key, Content::Raw(b"awaited")).unwrap().await;
        let second = engine.append(&key, Content::Raw(b"awaited")).unwrap().await;
        (first.unwrap(), second.unwrap())
    });
    assert_eq!(outcome, (PutOutcome::Stored, PutOutcome::AlreadyPresent));
}

#[test]
fn threads_that_put_and_get_the_same_things_agree() {
    let dir = tempdir().unwrap();
    let engine = Arc::new(open(dir.path()));
    let stored: usize = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..8)
            .map(|worker: u64| {
                let engine = Arc::clone(&engine);
                scope.spawn(move || {
                    let mut stored = 0;
                    for number in 0..200 {
                        let content = noise(number, 500 + usize::try_from(number).unwrap() * 7);
                        let key = blob_key(&content);
                        let outcome = put(&engine, &key, &content).unwrap();
                        stored += usize::from(outcome == PutOutcome::Stored);
                        assert!(get(&engine, &key).unwrap().unwrap() == content);
                        let action = action_key(&format!("{}", number % 10));
                        put(&engine, &action, &worker.to_le_bytes()).unwrap();
                        assert_eq!(get(&engine, &action).unwrap().unwrap().len(), 8);
                    }
                    for number in 0..3 {
                        put_large(&engine, &prose(number, 1 << 20));
                    }
                    stored
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    assert_eq!(stored, 200);
    assert_eq!(engine.usage().records, 200 + 10 + 3);
    assert_eq!(blob_files(dir.path()).len(), 3);
}
