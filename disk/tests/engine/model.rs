//! Random puts, gets, removals, restarts and crashes against a map.

use std::collections::HashMap;
use std::path::PathBuf;

use larder_disk::{Engine, RecordKey};
use proptest::prelude::*;
use tempfile::{TempDir, tempdir};

use crate::support::{action_key, blob_key, copy_dir, get, noise, open, prose, put, put_large};

#[derive(Clone, Debug)]
enum Step {
    PutBlob(u8),
    PutLarge(u8),
    PutResult { name: u8, content: u8 },
    RemoveBlob(u8),
    RemoveLarge(u8),
    RemoveResult(u8),
    Restart,
    Crash,
    LoseIndex,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..12_u8).prop_map(Step::PutBlob),
        2 => (0..3_u8).prop_map(Step::PutLarge),
        8 => (0..6_u8, any::<u8>()).prop_map(|(name, content)| Step::PutResult { name, content }),
        3 => (0..12_u8).prop_map(Step::RemoveBlob),
        1 => (0..3_u8).prop_map(Step::RemoveLarge),
        2 => (0..6_u8).prop_map(Step::RemoveResult),
        1 => Just(Step::Restart),
        1 => Just(Step::Crash),
        1 => Just(Step::LoseIndex),
    ]
}

fn blob(seed: u8) -> Vec<u8> {
    prose(u64::from(seed), usize::from(seed) * 700)
}

fn large(seed: u8) -> Vec<u8> {
    noise(u64::from(seed), (1 << 20) + usize::from(seed))
}

/// An engine beside the map it must agree with.
struct Pair {
    engine: Option<Engine>,
    model: HashMap<RecordKey, Vec<u8>>,
    root: TempDir,
    /// Counts the directories: a crash goes on in a copy.
    lives: u32,
}

impl Pair {
    fn new() -> Self {
        let root = tempdir().unwrap();
        let mut pair = Self { engine: None, model: HashMap::new(), root, lives: 0 };
        pair.engine = Some(open(&pair.data_dir()));
        pair
    }

    fn data_dir(&self) -> PathBuf {
        self.root.path().join(self.lives.to_string())
    }

    fn engine(&self) -> &Engine {
        self.engine.as_ref().unwrap()
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::PutBlob(seed) => self.put(blob_key(&blob(*seed)), blob(*seed)),
            Step::PutResult { name, content } => {
                self.put(action_key(&name.to_string()), noise(7, usize::from(*content)));
            }
            Step::PutLarge(seed) => {
                put_large(self.engine(), &large(*seed));
                self.model.insert(blob_key(&large(*seed)), large(*seed));
            }
            Step::RemoveBlob(seed) => self.remove(&blob_key(&blob(*seed))),
            Step::RemoveLarge(seed) => self.remove(&blob_key(&large(*seed))),
            Step::RemoveResult(name) => self.remove(&action_key(&name.to_string())),
            Step::Restart => {
                self.engine = None;
                self.engine = Some(open(&self.data_dir()));
            }
            Step::Crash => {
                let before = self.data_dir();
                self.lives += 1;
                copy_dir(&before, &self.data_dir());
                self.engine = Some(open(&self.data_dir()));
            }
            Step::LoseIndex => {
                self.engine = None;
                std::fs::remove_dir_all(self.data_dir().join("index")).unwrap();
                self.engine = Some(open(&self.data_dir()));
            }
        }
    }

    fn put(&mut self, key: RecordKey, content: Vec<u8>) {
        put(self.engine(), &key, &content).unwrap();
        self.model.insert(key, content);
    }

    fn remove(&mut self, key: &RecordKey) {
        let was_there = self.model.remove(key).is_some();
        assert_eq!(self.engine().remove(key).unwrap(), was_there);
    }

    fn check(&self) {
        let engine = self.engine();
        assert_eq!(engine.usage().records, self.model.len() as u64);
        let blobs = (0..12).map(|seed| blob_key(&blob(seed)));
        let large = (0..3).map(|seed| blob_key(&large(seed)));
        let results = (0..6_u8).map(|name| action_key(&name.to_string()));
        for key in blobs.chain(large).chain(results) {
            let expected = self.model.get(&key);
            assert_eq!(engine.contains(&key), expected.is_some(), "{key}");
            assert!(get(engine, &key).unwrap().as_ref() == expected, "{key}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_agrees_with_a_map(steps in prop::collection::vec(step(), 1..40)) {
        let mut pair = Pair::new();
        for step in &steps {
            pair.take(step);
        }
        pair.check();
        pair.take(&Step::LoseIndex);
        pair.check();
    }
}
