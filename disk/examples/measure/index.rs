//! Opening a directory of millions of records, and looking them up.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use larder_disk::{Durability, Engine, RealIo, RecordKey};
use larder_protos::Digest;

use crate::{
    KEYSPACE, LOOKUP, OPENED, Outcome, blob, cpu_nanos, fill, hash, open, options, resident_mib,
    retain_missing, say, seconds, size_of,
};

/// How often all are looked up in batches. The first time each look-up writes, the next ones come in the same second.
const ROUNDS: usize = 5;

pub(crate) fn opens(data_dir: &Path, records: u32) -> Outcome {
    let engine = open(data_dir, Durability::Interval(Duration::from_secs(1)))?;
    let blobs = fill(&engine, records, |number| (blob(number, size_of(number)), size_of(number)));
    let results = fill(&engine, records, |number| {
        (RecordKey::action_result(&KEYSPACE, &hash(number)), size_of(number))
    });
    let rate = f64::from(records) * 2.0 / (blobs + results);
    say(&format!("{records} blobs and {records} action results: {rate:.0} appends a second"))?;
    let begun = Instant::now();
    drop(engine);
    say(&format!("closed in {:.2} s", seconds(begun)))?;
    let index = data_dir.join("index");
    say("by the index:")?;
    open_elsewhere(data_dir, records)?;
    std::fs::remove_dir_all(&index)?;
    say("by the log alone, the index made anew:")?;
    open_elsewhere(data_dir, records)?;
    say("by that index:")?;
    open_elsewhere(data_dir, records)
}

fn open_elsewhere(data_dir: &Path, records: u32) -> Outcome {
    let status = std::process::Command::new(std::env::current_exe()?)
        .arg(OPENED)
        .arg(data_dir)
        .arg(records.to_string())
        .status()?;
    if status.success() { Ok(()) } else { Err("the other process failed".into()) }
}

/// What a process does that finds a full directory.
pub(crate) fn opened(data_dir: &Path, records: u32) -> Outcome {
    let keys: Vec<Digest> = (0..u64::from(records))
        .map(|number| number * 7_919 % u64::from(records))
        .map(|number| Digest::new(hash(number), size_of(number) as u64))
        .collect();
    let before = resident_mib()?;
    let begun = Instant::now();
    let interval = Durability::Interval(Duration::from_secs(1));
    let engine = Engine::open(options(data_dir, interval), Arc::new(RealIo))?;
    let ready = seconds(begun);
    engine.wait_loaded();
    let loaded = seconds(begun);
    let grown = resident_mib()?.saturating_sub(before);
    let known = engine.usage().records;
    say(&format!("  ready {ready:.2} s, loaded {loaded:.2} s, {known} records, {grown} MiB more"))?;
    let mut batched = Vec::new();
    for _ in 0..ROUNDS {
        let mut nanos = 0.0;
        for digests in keys.chunks(LOOKUP) {
            let digests = digests.to_vec();
            let begun = cpu_nanos();
            let missing = retain_missing(&engine, digests);
            nanos += cpu_nanos() - begun;
            assert!(missing.is_empty(), "{missing:?}");
        }
        batched.push(format!("{:.0}", nanos / f64::from(records)));
    }
    let begun = cpu_nanos();
    for digest in &keys {
        assert!(engine.contains(&RecordKey::blob(&KEYSPACE, digest)), "a miss");
    }
    let single = (cpu_nanos() - begun) / f64::from(records);
    say(&format!(
        "  lookups: {} ns of CPU in batches of {LOOKUP}, {single:.0} ns one by one",
        batched.join(", ")
    ))?;
    let begun = Instant::now();
    drop(engine);
    say(&format!("  closed in {:.2} s", seconds(begun)))
}
