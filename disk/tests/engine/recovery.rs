//! Starts after the worst: torn tails, damage in the middle, an index that is gone or lies, foreign files, kill -9.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use larder_disk::{Content, DiskError, Durability, Engine, PutOutcome, RealIo, RecordKey};
use tempfile::tempdir;

use crate::held::{HeldIo, Point};
use crate::support::{
    action_key, blob_files, blob_key, copy_dir, get, noise, open, open_with, options, pack_files,
    prose, put, put_blob, put_large,
};

/// Puts a bit of everything, and says what must be found.
fn fill(engine: &Engine) -> Vec<(RecordKey, Vec<u8>)> {
    let mut expected = Vec::new();
    for number in 0..40 {
        let content = prose(number, 100 + usize::try_from(number).unwrap() * 50);
        expected.push((put_blob(engine, &content), content));
    }
    for number in 0..3 {
        let content = noise(number, 1 << 20);
        expected.push((put_large(engine, &content), content));
    }
    for round in ["old", "new"] {
        for number in 0..10 {
            let content = format!("{round} result of {number}").into_bytes();
            let key = action_key(&number.to_string());
            put(engine, &key, &content).unwrap();
            expected.retain(|(known, _)| *known != key);
            expected.push((key, content));
        }
    }
    expected
}

fn expect_all(engine: &Engine, expected: &[(RecordKey, Vec<u8>)]) {
    assert_eq!(engine.usage().records, expected.len() as u64);
    for (key, content) in expected {
        assert!(engine.contains(key), "{key}");
        assert!(get(engine, key).unwrap().as_ref() == Some(content), "{key}");
    }
}

#[test]
fn an_index_that_is_gone_damaged_or_foreign_is_rebuilt_without_losing_an_entry() {
    type Damage = fn(&Path);
    let damages: [Damage; 4] = [
        |index| std::fs::remove_dir_all(index).unwrap(),
        |index| std::fs::write(index.join("conf"), "no configuration").unwrap(),
        |index| {
            let db = std::fs::OpenOptions::new().write(true).open(index.join("db")).unwrap();
            let length = db.metadata().unwrap().len();
            db.write_all_at(&noise(1, usize::try_from(length).unwrap()), 0).unwrap();
        },
        |index| {
            std::fs::remove_dir_all(index).unwrap();
            let other = tempdir().unwrap();
            drop(open(other.path()));
            copy_dir(&other.path().join("index"), index);
        },
    ];
    for (number, damage) in damages.into_iter().enumerate() {
        let dir = tempdir().unwrap();
        let engine = open(dir.path());
        let expected = fill(&engine);
        let usage = engine.usage();
        drop(engine);
        damage(&dir.path().join("index"));
        let engine = open(dir.path());
        assert_eq!(engine.usage(), usage, "damage {number}");
        expect_all(&engine, &expected);
        drop(engine);
        // The rebuilt index serves the next start: no second one is moved aside.
        let aside = dir.path().join("index.broken");
        assert_eq!(aside.exists(), number > 0, "damage {number}");
        let _ = std::fs::remove_dir_all(&aside);
        expect_all(&open(dir.path()), &expected);
        assert!(!aside.exists(), "damage {number}");
    }
}

#[test]
fn an_index_older_than_the_log_is_brought_up_to_date() {
    let dir = tempdir().unwrap();
    let old = tempdir().unwrap();
    let index = dir.path().join("index");
    let engine = open(dir.path());
    put(&engine, &action_key("3"), b"oldest").unwrap();
    let removed = put_blob(&engine, b"removed later");
    drop(engine);
    copy_dir(&index, old.path());
    let engine = open(dir.path());
    let expected = fill(&engine);
    assert!(engine.remove(&removed).unwrap());
    drop(engine);
    std::fs::remove_dir_all(&index).unwrap();
    copy_dir(old.path(), &index);
    expect_all(&open(dir.path()), &expected);
}

#[test]
fn a_torn_tail_is_cut_and_the_rest_stays() {
    let dir = tempdir().unwrap();
    let engine = open(dir.path());
    let keys: Vec<_> = (0..5).map(|seed| put_blob(&engine, &noise(seed, 200))).collect();
    drop(engine);
    // Five records of 308 bytes behind the header.
    for (length, whole) in [(64, 0), (371, 0), (400, 1), (1_603, 4)] {
        for with_index in [true, false] {
            let torn = tempdir().unwrap();
            copy_dir(dir.path(), torn.path());
            let pack = std::fs::OpenOptions::new().write(true).open(&pack_files(torn.path())[0]);
            pack.unwrap().set_len(length).unwrap();
            if !with_index {
                std::fs::remove_dir_all(torn.path().join("index")).unwrap();
            }
            let engine = open(torn.path());
            let found = keys.iter().filter(|key| engine.contains(key)).count();
            assert_eq!(found, whole, "{length} bytes, index {with_index}");
            let after = put_blob(&engine, b"appended behind");
            drop(engine);
            let engine = open(torn.path());
            assert_eq!(get(&engine, &after).unwrap().unwrap(), b"appended behind");
            assert_eq!(engine.usage().records, whole as u64 + 1);
        }
    }
}

#[test]
fn damage_in_the_middle_costs_the_records_it_hits_and_no_other() {
    let dir = tempdir().unwrap();
    let engine = open(dir.path());
    // The blob in the middle is a pack of this very directory: its records must not be taken for the directory's own.
    put(&engine, &action_key("forged"), b"of another time").unwrap();
    let inner = std::fs::read(&pack_files(dir.path())[0]).unwrap();
    assert!(engine.remove(&action_key("forged")).unwrap());
    let first = put_blob(&engine, b"first");
    let at = std::fs::metadata(&pack_files(dir.path())[0]).unwrap().len();
    let middle = [noise(1, 700), inner].concat();
    let hit = put_blob(&engine, &middle);
    let last = put_blob(&engine, b"last");
    drop(engine);
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    let pack = std::fs::OpenOptions::new().write(true).open(&pack_files(dir.path())[0]).unwrap();
    pack.write_all_at(&[0; 40], at).unwrap();
    let engine = open(dir.path());
    assert!(engine.contains(&first) && engine.contains(&last));
    assert!(!engine.contains(&hit) && !engine.contains(&action_key("forged")));
    assert_eq!(engine.usage().records, 2);
}

#[test]
fn a_second_engine_is_refused_and_a_writer_keeps_the_directory_taken() {
    let dir = tempdir().unwrap();
    let engine = open(dir.path());
    let second = || Engine::open(options(dir.path()), Arc::new(RealIo));
    assert!(matches!(second(), Err(DiskError::Locked { .. })));
    let writer = engine.create(&blob_key(&noise(1, 2 << 20))).unwrap();
    drop(engine);
    assert!(matches!(second(), Err(DiskError::Locked { .. })));
    drop(writer);
    second().unwrap();
}

#[test]
fn foreign_and_half_written_files_do_not_stop_a_start() {
    let dir = tempdir().unwrap();
    let engine = open(dir.path());
    let expected = fill(&engine);
    drop(engine);
    let write = |name: &str| std::fs::write(dir.path().join(name), b"not ours").unwrap();
    for name in ["packs/lost+found", "blobs/lost+found", "blobs/ab/dir", "lost+found"] {
        std::fs::create_dir_all(dir.path().join(name)).unwrap();
    }
    let foreign = [
        "packs/README",
        "packs/1.pack",
        "packs/00000002.pack",
        "packs/ffffffff.pack",
        "blobs/ab/x",
        "tmp/editor~",
        "stray",
    ];
    for name in foreign {
        write(name);
    }
    write("tmp/000000000000000a.tmp");
    write(&format!("blobs/ab/{}-00000000000000ff", "ab".repeat(32)));
    std::fs::write(dir.path().join("packs/00000009.pack"), b"").unwrap();
    let engine = open(dir.path());
    expect_all(&engine, &expected);
    put_blob(&engine, b"into the pack that was there");
    drop(engine);
    assert!(foreign.iter().all(|name| dir.path().join(name).exists()));
    assert!(!dir.path().join("tmp/000000000000000a.tmp").exists());
    assert_eq!(blob_files(dir.path()).iter().filter(|path| path.ends_with("x")).count(), 1);
    assert!(!dir.path().join("packs/0000000a.pack").exists());
}

#[test]
fn another_layout_is_refused_and_a_lost_one_is_written_again() {
    let dir = tempdir().unwrap();
    let engine = open(dir.path());
    let expected = fill(&engine);
    drop(engine);
    let layout = dir.path().join("LAYOUT");
    let written = std::fs::read(&layout).unwrap();
    std::fs::write(&layout, "larder-disk 2 0000000000000000\n").unwrap();
    let error = Engine::open(options(dir.path()), Arc::new(RealIo)).unwrap_err();
    assert!(error.to_string().contains("larder-disk 2"), "{error}");
    std::fs::remove_file(&layout).unwrap();
    expect_all(&open(dir.path()), &expected);
    assert_eq!(std::fs::read(&layout).unwrap(), written);
}

#[test]
fn a_crash_at_any_moment_loses_nothing_that_was_acknowledged() {
    let dir = tempdir().unwrap();
    let engine = open(dir.path());
    let mut expected = BTreeMap::new();
    for round in 0..6_u64 {
        for number in 0..60 {
            let content = noise(round * 100 + number, 50 + usize::try_from(number).unwrap() * 9);
            put_blob(&engine, &content);
            expected.insert(blob_key(&content).to_string(), (blob_key(&content), content));
            let key = action_key(&(number % 7).to_string());
            let content = (round * 100 + number).to_le_bytes().to_vec();
            put(&engine, &key, &content).unwrap();
            expected.insert(key.to_string(), (key, content));
        }
        // The copy catches sled in the middle of what it writes behind.
        let crashed = tempdir().unwrap();
        copy_dir(dir.path(), crashed.path());
        let expected: Vec<_> = expected.values().cloned().collect();
        expect_all(&open(crashed.path()), &expected);
    }
}

#[test]
fn after_a_power_cut_nothing_torn_is_claimed() {
    let dir = tempdir().unwrap();
    drop(open(dir.path()));
    let mut options = options(dir.path());
    // Nothing is synced while this test runs, whatever sled has written meanwhile.
    options.durability = Durability::Interval(Duration::from_hours(1));
    let engine = open_with(options, RealIo);
    let keys: Vec<_> = (0..60).map(|seed| put_blob(&engine, &noise(seed, 500))).collect();
    let (_sender, receiver) = std::sync::mpsc::channel::<()>();
    let _ = receiver.recv_timeout(Duration::from_millis(1_500));
    let cut = tempdir().unwrap();
    copy_dir(dir.path(), cut.path());
    let pack = &pack_files(cut.path())[0];
    let file = std::fs::OpenOptions::new().write(true).open(pack).unwrap();
    let length = file.metadata().unwrap().len();
    // Blocks that the disk never got: inside bodies, over prologues, at the end.
    for (from, to) in [(300, 310), (5_000, 9_000), (20_100, 20_101), (length - 200, length)] {
        file.write_all_at(&vec![0; usize::try_from(to - from).unwrap()], from).unwrap();
    }
    let engine = open(cut.path());
    let claimed: Vec<_> = keys.iter().filter(|key| engine.contains(key)).collect();
    assert!((40..56).contains(&claimed.len()), "{} are claimed", claimed.len());
    for key in claimed {
        assert_eq!(get(&engine, key).unwrap().unwrap().len(), 500);
    }
    assert_eq!(engine.usage().corrupt_records, 0);
}

const SENTINEL: &str = "acknowledged ";

/// Not a test of its own: what the next one kills. Works in its current directory.
#[test]
#[ignore = "run by `kill_9_loses_nothing_that_was_acknowledged`"]
fn child_that_writes_until_it_is_killed() {
    let engine = open(Path::new("data"));
    let mut out = std::io::stdout();
    for number in 0..u64::MAX {
        let size = if number % 50 == 49 { 1 << 20 } else { 300 };
        put_blob(&engine, &noise(number, size));
        put(&engine, &action_key(&(number % 20).to_string()), &number.to_le_bytes()).unwrap();
        out.write_all(format!("\n{SENTINEL}{number}\n").as_bytes()).unwrap();
    }
}

#[test]
fn what_a_pack_and_a_file_have_is_removed_from_both() {
    let dir = tempdir().unwrap();
    let io = HeldIo::default();
    let mut options = options(dir.path());
    options.durability = Durability::Sync;
    let engine = open_with(options, io.clone());
    let content = noise(1, 100_000);
    // The file gets its name while the pack's record is in its sync.
    io.hold(Point::Rename);
    let key = std::thread::scope(|scope| {
        let writing = scope.spawn(|| put_large(&engine, &content));
        io.wait_for(Point::Rename);
        io.hold(Point::SyncPack);
        let commit = engine.append(&blob_key(&content), Content::Raw(&content)).unwrap();
        io.wait_for(Point::SyncPack);
        io.let_go(Point::Rename);
        let key = writing.join().unwrap();
        io.let_go(Point::SyncPack);
        assert_eq!(commit.wait().unwrap(), PutOutcome::AlreadyPresent);
        key
    });
    assert_eq!(blob_files(dir.path()).len(), 1);
    assert!(engine.remove(&key).unwrap());
    drop(engine);
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    assert!(!open(dir.path()).contains(&key));
}

#[test]
fn a_sync_ends_when_that_of_another_does() {
    let dir = tempdir().unwrap();
    let io = HeldIo::default();
    let mut options = options(dir.path());
    options.durability = Durability::Interval(Duration::from_hours(1));
    let engine = open_with(options, io.clone());
    put_large(&engine, &noise(1, 1 << 20));
    io.hold(Point::SyncFan);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| engine.sync().unwrap());
        io.wait_for(Point::SyncFan);
        let second = scope.spawn(|| engine.sync().unwrap());
        let deadline = Instant::now() + Duration::from_millis(200);
        while !second.is_finished() && Instant::now() < deadline {
            std::thread::yield_now();
        }
        let is_early = second.is_finished();
        io.let_go(Point::SyncFan);
        first.join().unwrap();
        second.join().unwrap();
        assert!(!is_early, "the name of a blob file was not synced yet");
    });
}

#[test]
fn kill_9_loses_nothing_that_was_acknowledged() {
    let dir = tempdir().unwrap();
    let mut total = 0;
    for lines in [1, 120, 400] {
        let _ = std::fs::remove_dir_all(dir.path().join("data"));
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture"])
            .arg("recovery::child_that_writes_until_it_is_killed")
            .current_dir(dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut last = None;
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let acknowledged = stdout.lines().filter_map(|line| {
            line.unwrap().strip_prefix(SENTINEL).map(|number| number.parse::<u64>().unwrap())
        });
        for number in acknowledged {
            last = Some(number);
            if number == lines {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        let last = last.unwrap();
        let engine = open(&dir.path().join("data"));
        for number in 0..=last {
            let size = if number % 50 == 49 { 1 << 20 } else { 300 };
            let content = noise(number, size);
            let found = get(&engine, &blob_key(&content)).unwrap();
            assert!(found.as_ref() == Some(&content), "blob {number} of {last}");
        }
        for result in 0..20.min(last) {
            let found = get(&engine, &action_key(&result.to_string())).unwrap().unwrap();
            let found = u64::from_le_bytes(found.try_into().unwrap());
            assert!(found + 20 > last, "result {found} of {last}");
        }
        total += last;
    }
    assert!(total > 500, "the children wrote only {total}");
}
