//! A directory whose files were changed at random: it opens, serves nothing wrong, and takes new records.

use std::path::{Path, PathBuf};

use larder_disk::{Engine, RecordKey};
use tempfile::tempdir;

use crate::random::Random;
use crate::simulation::setting;
use crate::support::{
    action_key, blob_key, copy_dir, get, noise, open, prose, put, put_blob, put_large,
};

/// In a normal run of the tests; `LARDER_MUTATIONS` says another number.
const MUTATIONS: u64 = 25;

/// What is stored, and under which keys. Of action results any that was stored is right.
type Stored = Vec<(RecordKey, Vec<Vec<u8>>)>;

fn fill(engine: &Engine) -> Stored {
    let mut stored = Stored::new();
    for seed in 0..6 {
        let content = prose(seed, 400 + 700 * usize::try_from(seed).unwrap());
        stored.push((put_blob(engine, &content), vec![content]));
    }
    let large = noise(9, (1 << 20) + 77);
    stored.push((put_large(engine, &large), vec![large]));
    let (old, new) = (noise(1, 300), noise(2, 900));
    for content in [&old, &new] {
        put(engine, &action_key("result"), content).unwrap();
    }
    stored.push((action_key("result"), vec![old, new]));
    // A blob that holds a pack's bytes must not come to life as records.
    let gone = put_blob(engine, b"removed");
    engine.remove(&gone).unwrap();
    stored.push((gone, vec![b"removed".to_vec()]));
    stored
}

fn files_below(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, found);
        } else if path.file_name().is_some_and(|name| name != "lock") {
            found.push(path);
        }
    }
    found.sort();
}

/// Flips, zeros, cuts, repeats or moves some bytes.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    if bytes.is_empty() {
        bytes.extend_from_slice(&noise(random.next(), 100));
        return;
    }
    let at = random.below(bytes.len());
    let length = 1 + random.below((bytes.len() - at).min(2_000));
    match random.below(6) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at..at + length].fill(0),
        2 => bytes.truncate(at),
        3 => {
            let piece = bytes[at..at + length].to_vec();
            bytes.extend_from_slice(&piece);
        }
        4 => {
            let piece = bytes[at..at + length].to_vec();
            let to = random.below(bytes.len());
            bytes.splice(to..to, piece);
        }
        _ => {
            bytes.drain(at..at + length);
        }
    }
}

fn check(dir: &Path, stored: &Stored, what: &str) {
    // A LAYOUT that by chance names another version rightly keeps the engine from starting.
    let layout = std::fs::read(dir.join("LAYOUT")).unwrap_or_default();
    if layout.starts_with(b"larder-disk ") && layout.get(12) != Some(&b'1') {
        return;
    }
    let engine = open(dir);
    engine.wait_loaded();
    for (key, contents) in stored {
        if let Ok(Some(found)) = get(&engine, key) {
            assert!(contents.contains(&found), "{what}: {} B that were never there", found.len());
        }
        assert!(get(&engine, key).is_ok(), "{what}: what cannot be had is a miss the second time");
    }
    let content = noise(77, 5_000);
    let key = blob_key(&content);
    put(&engine, &key, &content).unwrap();
    assert!(get(&engine, &key).unwrap() == Some(content), "{what}");
}

#[test]
fn a_changed_directory_opens_and_serves_nothing_wrong() {
    let original = tempdir().unwrap();
    let engine = open(original.path());
    let stored = fill(&engine);
    drop(engine);
    for seed in 0..setting("LARDER_MUTATIONS", MUTATIONS) {
        let mut random = Random::new(seed);
        let copy = tempdir().unwrap();
        copy_dir(original.path(), copy.path());
        if random.below(2) == 0 {
            std::fs::remove_dir_all(copy.path().join("index")).unwrap();
        }
        let mut files = Vec::new();
        files_below(copy.path(), &mut files);
        let mut what = format!("seed {seed}");
        for _ in 0..=random.below(3) {
            let path = &files[random.below(files.len())];
            let mut bytes = std::fs::read(path).unwrap();
            mutate(&mut bytes, &mut random);
            std::fs::write(path, bytes).unwrap();
            what = format!("{what}, {}", path.strip_prefix(copy.path()).unwrap().display());
        }
        check(copy.path(), &stored, &what);
    }
}
