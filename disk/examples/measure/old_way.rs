//! The yardstick of what Larder replaces: one JSON index that each put rewrites, a file for each entry, one lock for all,
//! whole files in memory.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use larder_disk::{Content, Durability, Engine, Keyspace, RecordKey};
use larder_protos::Digest;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::{
    KEYSPACE, LOOKUP, Outcome, SMALL_BYTES, blob, content, fill, hash, open, retain_missing,
    seconds, times,
};

const WRITERS: u64 = 8;
const RESIDENT: u32 = 10_000;
const COLD: u32 = 100_000;

#[derive(Clone, Serialize, Deserialize)]
struct Entry {
    file: PathBuf,
    size_bytes: u64,
    created_ms: u64,
    last_used_ms: u64,
    hits: u64,
}

/// A cache as it was.
struct OldCache {
    dir: PathBuf,
    entries: Mutex<HashMap<String, Entry>>,
}

impl OldCache {
    fn open(dir: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        std::fs::create_dir_all(dir)?;
        let entries = match std::fs::read(dir.join("index.json")) {
            Ok(index) => serde_json::from_slice(&index)?,
            Err(_) => HashMap::new(),
        };
        Ok(Self { dir: dir.to_owned(), entries: Mutex::new(entries) })
    }

    fn put(&self, name: &str, content: &[u8]) -> Outcome {
        let mut entries = self.entries.lock();
        self.add(&mut entries, name, content)?;
        std::fs::write(self.dir.join("index.json"), serde_json::to_vec(&*entries)?)?;
        Ok(())
    }

    fn add(&self, entries: &mut HashMap<String, Entry>, name: &str, content: &[u8]) -> Outcome {
        let file = self.dir.join(name);
        std::fs::write(&file, content)?;
        let size_bytes = content.len() as u64;
        let entry = Entry { file, size_bytes, created_ms: 1, last_used_ms: 1, hits: 0 };
        entries.insert(name.to_owned(), entry);
        Ok(())
    }

    fn contains(&self, name: &str) -> bool {
        self.entries.lock().get(name).is_some_and(|entry| entry.file.exists())
    }
}

fn digest(number: u64) -> Digest {
    Digest::new(hash(number), SMALL_BYTES as u64)
}

/// Puts with 10,000 entries resident and 8 writers; then `FindMissing` of 1,000 digests; then a start with 100,000 entries.
pub(crate) fn compare(dir: &Path) -> Outcome {
    let old = OldCache::open(&dir.join("old"))?;
    let names: Vec<String> = (0..u64::from(RESIDENT)).map(|it| hash(it).to_string()).collect();
    for name in &names {
        old.add(&mut old.entries.lock(), name, &content(1, SMALL_BYTES))?;
    }
    let engine = open(&dir.join("new"), Durability::Interval(std::time::Duration::from_secs(1)))?;
    fill(&engine, RESIDENT, |number| (blob(number, SMALL_BYTES), SMALL_BYTES));

    let old_puts = puts(200, |number| {
        old.put(&hash(number).to_string(), &content(number, SMALL_BYTES)).expect("room");
    });
    let new_puts = puts(200_000, |number| {
        let content = content(number, SMALL_BYTES);
        let commit = engine.append(&blob(number, SMALL_BYTES), Content::Raw(&content));
        commit.expect("room").wait().expect("room");
    });
    times("puts a second, 8 writers, 10,000 resident", new_puts, old_puts)?;

    let digests: Vec<Digest> = (0..LOOKUP as u64).map(digest).collect();
    let rounds = 200_u32;
    let begun = Instant::now();
    for _ in 0..rounds {
        assert!(digests.iter().all(|digest| old.contains(&digest.hash().to_string())));
    }
    let old_finds = f64::from(rounds) / seconds(begun);
    let begun = Instant::now();
    for _ in 0..rounds {
        assert!(retain_missing(&engine, digests.clone()).is_empty());
    }
    times("FindMissing of 1,000 a second", f64::from(rounds) / seconds(begun), old_finds)?;
    drop(engine);
    cold(dir)
}

/// How many of `count` puts, by several writers, end in a second.
fn puts(count: u64, put: impl Fn(u64) + Sync) -> f64 {
    let next = AtomicU64::new(0);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    put(u64::from(RESIDENT) + number);
                }
            });
        }
    });
    #[expect(clippy::cast_precision_loss, reason = "a report needs three digits")]
    let count = count as f64;
    count / seconds(begun)
}

fn cold(dir: &Path) -> Outcome {
    let interval = Durability::Interval(std::time::Duration::from_secs(1));
    let (old_dir, new_dir) = (dir.join("old-cold"), dir.join("new-cold"));
    let old = OldCache::open(&old_dir)?;
    for number in 0..u64::from(COLD) {
        old.add(&mut old.entries.lock(), &hash(number).to_string(), b"small")?;
    }
    std::fs::write(old_dir.join("index.json"), serde_json::to_vec(&*old.entries.lock())?)?;
    drop(old);
    let engine = open(&new_dir, interval)?;
    fill(&engine, COLD, |number| (result(&KEYSPACE, number), 5));
    drop(engine);
    let begun = Instant::now();
    let old = OldCache::open(&old_dir)?;
    // What the index says is believed only where the file is there.
    let there = old.entries.lock().values().filter(|entry| entry.file.exists()).count();
    let old_opens = 1.0 / seconds(begun);
    let begun = Instant::now();
    let engine =
        Engine::open(crate::options(&new_dir, interval), std::sync::Arc::new(larder_disk::RealIo))?;
    assert!(engine.contains(&result(&KEYSPACE, u64::from(COLD) - 1)) || !engine.usage().is_loaded);
    let ready = 1.0 / seconds(begun);
    engine.wait_loaded();
    let loaded = 1.0 / seconds(begun);
    assert_eq!((there as u64, engine.usage().records), (u64::from(COLD), u64::from(COLD)));
    times("cold starts a second, 100,000 entries, until it serves", ready, old_opens)?;
    times("... until all is loaded", loaded, old_opens)
}

fn result(keyspace: &Keyspace, number: u64) -> RecordKey {
    RecordKey::action_result(keyspace, &hash(number))
}
