//! Versions tell the records of one key apart, and asking for one is using it.

use larder_disk::RecordKind;
use tempfile::tempdir;

use crate::support::{action_key, open, put};

#[test]
fn a_put_changes_the_version_and_nothing_brings_one_back() {
    let dir = tempdir().unwrap();
    let engine = open(dir.path());
    let key = action_key("compile");
    assert_eq!(engine.version(&key), None);
    let mut seen = Vec::new();
    // The same content too: who wrote last is who is read.
    for content in [&b"one"[..], b"two", b"one", b"one"] {
        put(&engine, &key, content).unwrap();
        let version = engine.version(&key).expect("it is there");
        assert!(!seen.contains(&version), "{version:?} again");
        assert_eq!(engine.version(&key), Some(version), "asking changes nothing");
        seen.push(version);
    }
    assert!(engine.remove(&key).unwrap());
    assert_eq!(engine.version(&key), None);
    put(&engine, &key, b"one").unwrap();
    assert!(!seen.contains(&engine.version(&key).expect("it is there again")));
}

#[test]
fn asking_for_the_version_counts_as_use() {
    let dir = tempdir().unwrap();
    let engine = open(dir.path());
    let key = action_key("compile");
    put(&engine, &key, b"a result").unwrap();
    let recent = || engine.recent(RecordKind::ActionResult, 1_000, 1_000).len();
    assert_eq!(recent(), 0, "only stored");
    engine.version(&key).expect("it is there");
    assert_eq!(recent(), 1);
}
