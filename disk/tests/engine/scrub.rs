//! The scrub finds what has rotten before a client does; what is dropped stays a miss until it is stored anew.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use larder_disk::{Content, Engine, RealIo, RecordKey};
use tempfile::tempdir;

use crate::faults::rot;
use crate::gated::GatedIo;
use crate::support::{
    action_key, blob_files, blob_key, get, noise, open, open_with, options, pack_files, prose, put,
    put_blob, put_large,
};

fn scrubbing(data_dir: &Path) -> larder_disk::EngineOptions {
    let mut options = options(data_dir);
    options.scrub_rate_bytes = u64::MAX;
    options
}

fn await_round(engine: &Engine) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while engine.usage().scrub.rounds == 0 {
        assert!(Instant::now() < deadline, "the round never ends: {:?}", engine.usage());
        std::thread::yield_now();
    }
}

fn forget_index(data_dir: &Path) {
    std::fs::remove_dir_all(data_dir.join("index")).unwrap();
}

/// Where `content`, which is stored raw, begins in a file.
fn position_of(path: &Path, content: &[u8]) -> u64 {
    let bytes = std::fs::read(path).unwrap();
    let at = bytes.windows(content.len()).position(|window| window == content).unwrap();
    at as u64
}

#[test]
fn a_round_drops_what_is_rotten_and_nothing_else_for_good() {
    let dir = tempdir().unwrap();
    let engine = open(dir.path());
    let mut sound = Vec::new();
    for seed in 0..50 {
        sound.push((put_blob(&engine, &noise(seed, 900)), noise(seed, 900)));
        sound.push((put_blob(&engine, &prose(seed, 9_000)), prose(seed, 9_000)));
    }
    sound.push((put_large(&engine, &prose(7, 3 << 20)), prose(7, 3 << 20)));
    let mut rotten: Vec<(RecordKey, Vec<u8>)> =
        [noise(100, 800), noise(101, 800)].map(|bytes| (put_blob(&engine, &bytes), bytes)).into();
    for seed in [200, 201] {
        rotten.push((put_large(&engine, &noise(seed, 2 << 20)), noise(seed, 2 << 20)));
    }
    let result = noise(300, 400);
    put(&engine, &action_key("rotten"), &result).unwrap();
    rotten.push((action_key("rotten"), result.clone()));
    // Under good checksums, bytes that are not what their name says.
    let name = blob_key(&noise(400, 700));
    engine.append(&name, Content::Raw(&noise(401, 700))).unwrap().wait().unwrap();
    rotten.push((name, noise(400, 700)));
    drop(engine);

    let pack = &pack_files(dir.path())[0];
    rot(pack, position_of(pack, &noise(100, 800)) + 400);
    rot(pack, position_of(pack, &noise(101, 800)) - 20);
    rot(pack, position_of(pack, &result) + 399);
    let files = blob_files(dir.path());
    let file_of = |key: &RecordKey| {
        let hash = key.hash().to_string();
        files.iter().find(|path| path.to_str().unwrap().contains(&hash)).unwrap()
    };
    rot(file_of(&rotten[2].0), 2 << 20);
    rot(file_of(&rotten[3].0), 80);

    let engine = open_with(scrubbing(dir.path()), RealIo);
    await_round(&engine);
    let usage = engine.usage();
    assert_eq!(usage.scrub.records, (sound.len() + rotten.len()) as u64);
    assert_eq!(usage.scrub.corrupt_records, rotten.len() as u64);
    assert_eq!(usage.corrupt_records, rotten.len() as u64);
    assert_eq!((usage.records, usage.scrub.skipped_records), (sound.len() as u64, 0));
    drop(engine);

    let expect = |engine: &Engine| {
        for (key, content) in &sound {
            assert!(get(engine, key).unwrap().as_ref() == Some(content), "{key}");
        }
        for (key, _) in &rotten {
            assert!(!engine.contains(key) && get(engine, key).unwrap().is_none(), "{key}");
        }
        assert_eq!(engine.usage().corrupt_records, 0);
    };
    expect(&open(dir.path()));
    forget_index(dir.path());
    let engine = open(dir.path());
    expect(&engine);
    for (key, content) in &rotten {
        put(&engine, key, content).unwrap();
    }
    drop(engine);
    forget_index(dir.path());
    let engine = open(dir.path());
    for (key, content) in sound.iter().chain(&rotten) {
        assert!(get(&engine, key).unwrap().as_ref() == Some(content), "{key}");
    }
}

#[test]
fn what_a_reader_found_rotten_stays_a_miss_when_the_index_is_rebuilt() {
    let dir = tempdir().unwrap();
    let engine = open(dir.path());
    let (first, second) = (noise(1, 1_000), noise(2, 1_000));
    let keys = [put_blob(&engine, &first), put_blob(&engine, &second)];
    put(&engine, &action_key("a"), b"old, and sound").unwrap();
    let newest = noise(3, 300);
    put(&engine, &action_key("a"), &newest).unwrap();
    let pack = &pack_files(dir.path())[0];
    for content in [&first, &second, &newest] {
        rot(pack, position_of(pack, content) + 5);
    }
    for key in [&keys[0], &keys[1], &action_key("a")] {
        get(&engine, key).unwrap_err();
    }
    put(&engine, &keys[1], &second).unwrap();
    drop(engine);
    forget_index(dir.path());
    let engine = open(dir.path());
    assert!(!engine.contains(&keys[0]));
    assert!(get(&engine, &keys[1]).unwrap().unwrap() == second);
    // An older result does not come back in place of the one that was lost.
    assert!(!engine.contains(&action_key("a")));
}

#[test]
fn no_older_result_stands_in_for_one_whose_name_has_rotten() {
    let dir = tempdir().unwrap();
    let key = action_key("run twice");
    let (older, newer) = (noise(1, 300), noise(2, 300));
    let engine = open(dir.path());
    put(&engine, &key, &older).unwrap();
    put(&engine, &key, &newer).unwrap();
    drop(engine);
    let pack = &pack_files(dir.path())[0];
    // In the prologue, before the hash.
    rot(pack, position_of(pack, &newer) - 60);
    let engine = open_with(scrubbing(dir.path()), RealIo);
    await_round(&engine);
    assert_eq!(engine.usage().corrupt_records, 1);
    assert_eq!(get(&engine, &key).unwrap(), None);
    drop(engine);
    for _ in 0..2 {
        assert_eq!(get(&open(dir.path()), &key).unwrap(), None);
    }
    let newest = noise(3, 300);
    put(&open(dir.path()), &key, &newest).unwrap();
    assert!(get(&open(dir.path()), &key).unwrap() == Some(newest));
}

#[test]
fn a_file_that_another_hand_took_or_cut_is_dropped() {
    let dir = tempdir().unwrap();
    let io = GatedIo::default();
    let engine = open(dir.path());
    let keys: Vec<_> = (0..3).map(|seed| put_large(&engine, &noise(seed, 1 << 20))).collect();
    let gone = put_large(&engine, &noise(7, 1 << 20));
    let small: Vec<_> = (0..9).map(|seed| put_blob(&engine, &noise(seed, 40_000))).collect();
    drop(engine);
    // The start takes these for whole; then they change.
    io.close();
    let engine = open_with(scrubbing(dir.path()), io.clone());
    let path = |key: &RecordKey| {
        let name = key.hash().to_string();
        let files = blob_files(dir.path());
        files.into_iter().find(|path| path.to_str().unwrap().contains(&name)).unwrap()
    };
    std::fs::remove_file(path(&keys[0])).unwrap();
    std::fs::remove_dir_all(path(&gone).parent().unwrap()).unwrap();
    let cut = |path: &Path, length: u64| {
        std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(length).unwrap();
    };
    cut(&path(&keys[1]), 1 << 19);
    // In the middle of the last of the small ones.
    let pack = &pack_files(dir.path())[0];
    cut(pack, std::fs::metadata(pack).unwrap().len() - 20_000);
    io.open_gate();
    await_round(&engine);
    assert_eq!(engine.usage().corrupt_records, 4);
    assert!(!engine.contains(&gone));
    assert!(engine.contains(&keys[2]) && !engine.contains(&keys[0]) && !engine.contains(&keys[1]));
    assert!(!engine.contains(&small[8]) && engine.contains(&small[7]));
}

#[test]
fn a_block_that_cannot_be_read_costs_its_record_and_no_other() {
    let dir = tempdir().unwrap();
    let engine = open(dir.path());
    let keys: Vec<_> = (0..20).map(|seed| put_blob(&engine, &noise(seed, 5_000))).collect();
    let large = put_large(&engine, &noise(50, 1 << 20));
    drop(engine);
    let io = GatedIo::default();
    let pack = pack_files(dir.path())[0].clone();
    let bad = position_of(&pack, &noise(11, 5_000)) + 600;
    io.break_block(&pack, bad..bad + 512);
    let engine = open_with(scrubbing(dir.path()), io.clone());
    await_round(&engine);
    for (seed, key) in keys.iter().enumerate() {
        assert_eq!(engine.contains(key), seed != 11, "{seed}");
    }
    assert!(engine.contains(&large));
    assert_eq!(engine.usage().scrub.corrupt_records, 1);
}

#[test]
fn what_cannot_be_opened_for_the_moment_is_left_for_the_next_round() {
    let dir = tempdir().unwrap();
    let engine = open(dir.path());
    let large = put_large(&engine, &noise(50, 1 << 20));
    drop(engine);
    let io = GatedIo::default();
    io.close();
    let engine = open_with(scrubbing(dir.path()), io.clone());
    io.refuse_files(true);
    io.open_gate();
    await_round(&engine);
    io.refuse_files(false);
    let scrub = engine.usage().scrub;
    assert_eq!((scrub.skipped_records, scrub.corrupt_records), (1, 0));
    assert!(get(&engine, &large).unwrap().unwrap() == noise(50, 1 << 20));
}

#[test]
fn bytes_that_change_while_it_reads_are_never_served() {
    // A flip under a running engine: whoever is first, scrub or reader, nobody gets a wrong byte.
    let dir = tempdir().unwrap();
    let engine = open_with(scrubbing(dir.path()), RealIo);
    let contents: Vec<_> = (0..100).map(|seed| noise(seed, 2_000)).collect();
    let keys: Vec<_> = contents.iter().map(|content| put_blob(&engine, content)).collect();
    let pack = &pack_files(dir.path())[0];
    let length = std::fs::metadata(pack).unwrap().len();
    let file = std::fs::OpenOptions::new().write(true).open(pack).unwrap();
    for at in (64..length).step_by(777) {
        file.write_all_at(&[0xA5], at).unwrap();
    }
    for (key, content) in keys.iter().zip(&contents) {
        if let Ok(Some(found)) = get(&engine, key) {
            assert!(found == *content, "{key}");
        }
    }
}
