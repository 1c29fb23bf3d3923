//! What readers feel of a writer that syncs.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use larder_disk::{Accepts, Content, Durability, Engine};

use crate::{Outcome, SMALL_BYTES, blob, content, fill, open, say};

const RESIDENT: u32 = 20_000;
const READS: u64 = 100_000;

/// Reads at random, alone and beside a writer that syncs each of its puts.
pub(crate) fn reads_beside_syncs(data_dir: &Path) -> Outcome {
    let engine = open(data_dir, Durability::Sync)?;
    fill(&engine, RESIDENT, |number| (blob(number, SMALL_BYTES), SMALL_BYTES));
    say(&format!("reads of 2 KiB: {}", percentiles(latencies(&engine)?)))?;
    let is_done = AtomicBool::new(false);
    let (latencies, syncs) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut puts = 0_u64;
            while !is_done.load(Ordering::Relaxed) {
                let number = u64::from(RESIDENT) + puts;
                let content = content(number, SMALL_BYTES);
                let commit = engine.append(&blob(number, SMALL_BYTES), Content::Raw(&content));
                commit.expect("room").wait().expect("room");
                puts += 1;
            }
            puts
        });
        let latencies = latencies(&engine).expect("readable");
        is_done.store(true, Ordering::Relaxed);
        (latencies, writer.join().expect("no panic"))
    });
    say(&format!("... beside {syncs} synced puts: {}", percentiles(latencies)))
}

fn latencies(engine: &Engine) -> Result<Vec<Duration>, Box<dyn std::error::Error>> {
    let mut latencies = Vec::new();
    for number in 0..READS {
        let key = blob(number * 7_919 % u64::from(RESIDENT), SMALL_BYTES);
        let begun = Instant::now();
        let mut reader = engine.read(&key, 0..u64::MAX, Accepts::Raw)?.ok_or("a miss")?;
        while reader.next_chunk()?.is_some() {}
        latencies.push(begun.elapsed());
    }
    Ok(latencies)
}

fn percentiles(mut latencies: Vec<Duration>) -> String {
    latencies.sort_unstable();
    let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100].as_nanos();
    format!("p50 {} ns, p99 {} ns", at(50), at(99))
}
