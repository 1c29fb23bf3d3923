//! Opening a directory of millions of records, and looking them up.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use larder_disk::{Durability, Engine, RealIo, RecordKey};
use larder_protos::Digest;

use crate::{
    KEYSPACE, LOOKUP, OPENED, Outcome, blob, cpu_seconds, fill, hash, open, options, resident_mib,
    retain_missing, say, seconds, size_of,
};

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
    let mut batched = 0.0;
    for digests in keys.chunks(LOOKUP) {
        let digests = digests.to_vec();
        let begun = cpu_seconds()?;
        let missing = retain_missing(&engine, digests);
        batched += cpu_seconds()? - begun;
        assert!(missing.is_empty(), "{missing:?}");
    }
    let batched = batched * 1e9 / f64::from(records);
    let begun = cpu_seconds()?;
    for digest in &keys {
        assert!(engine.contains(&RecordKey::blob(&KEYSPACE, digest)), "a miss");
    }
    let single = (cpu_seconds()? - begun) * 1e9 / f64::from(records);
    say(&format!(
        "  lookups: {batched:.0} ns of CPU in batches of {LOOKUP}, {single:.0} ns one by one"
    ))?;
    let begun = Instant::now();
    drop(engine);
    say(&format!("  closed in {:.2} s", seconds(begun)))
}
