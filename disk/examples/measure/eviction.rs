//! What writers feel of eviction among millions of records.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use larder_disk::{Content, Durability, Engine, EngineOptions, RealIo};

use crate::{IN_FLIGHT, Outcome, blob, content, fill, options, say, size_of};

/// Bytes of the limit for each record: less than one takes, so that all of them do not fit.
const LIMIT_PART_BYTES: u64 = 475;
/// Records are filled in so many at a time until the first is evicted.
const FILL: u32 = 65_536;

/// Fills a directory until it evicts, then writes a quarter as much again, one put after the other.
pub(crate) fn stalls(data_dir: &Path, records: u32) -> Outcome {
    let limit_bytes = u64::from(records) * LIMIT_PART_BYTES;
    let interval = Durability::Interval(Duration::from_secs(1));
    let options = EngineOptions { max_size_bytes: limit_bytes, ..options(data_dir, interval) };
    let engine = Engine::open(options, Arc::new(RealIo))?;
    let record = |number: u64| (blob(number, size_of(number)), size_of(number));
    let mut filled = 0_u64;
    while engine.usage().evictions == 0 {
        let begin = filled;
        fill(&engine, FILL, |number| record(begin + number));
        filled += u64::from(FILL);
    }
    // A tenth is warm, spread over all packs, so that there is something to keep.
    for number in (0..filled).step_by(10) {
        let (key, _) = record(number);
        engine.contains(&key);
    }
    say(&format!("{} records, limit {} MiB", engine.usage().records, limit_bytes >> 20))?;
    let committer = Committer::find()?;
    let (mut latencies, mut work) = (Vec::new(), Vec::new());
    let (mut used_most, begun) = (0, Instant::now());
    for number in filled..filled + u64::from(records / 4) {
        let (key, size) = record(number);
        let content = content(number, size);
        let (put, worked) = (Instant::now(), committer.cpu()?);
        engine.append(&key, Content::Raw(&content))?.wait()?;
        latencies.push(put.elapsed());
        work.push(committer.cpu()?.saturating_sub(worked));
        if number % IN_FLIGHT as u64 == 0 {
            let usage = engine.usage();
            used_most = used_most.max(usage.stored_bytes + usage.dead_bytes);
        }
    }
    let rate = f64::from(records / 4) / begun.elapsed().as_secs_f64();
    latencies.sort_unstable();
    work.sort_unstable();
    let last = latencies.len() - 1;
    let at = |per_million: usize| latencies[last * per_million / 1_000_000].as_micros();
    let usage = engine.usage();
    say(&format!(
        "puts one by one: {rate:.0} a second, p50 {} us, p99 {} us, p99.99 {} us; the longest {:?} us",
        at(500_000),
        at(990_000),
        at(999_900),
        latencies.iter().rev().take(8).map(Duration::as_micros).collect::<Vec<_>>(),
    ))?;
    say(&format!(
        "CPU of the committer beside one put: p99.99 {} us, the most {:?} us",
        work[last * 9_999 / 10_000].as_micros(),
        work.iter().rev().take(8).map(Duration::as_micros).collect::<Vec<_>>(),
    ))?;
    say(&format!(
        "{} evicted, {} MiB copied; at most {} of {limit_bytes} B taken",
        usage.evictions,
        usage.copied_bytes >> 20,
        used_most,
    ))
}

/// The thread that appends and evicts, as the system sees it: what others take of the processors does not count.
struct Committer(PathBuf);

impl Committer {
    fn find() -> Result<Self, Box<dyn std::error::Error>> {
        for task in std::fs::read_dir("/proc/self/task")? {
            let task = task?.path();
            if std::fs::read(task.join("comm"))?.trim_ascii() == b"disk-committer" {
                return Ok(Self(task.join("schedstat")));
            }
        }
        Err("no committer".into())
    }

    fn cpu(&self) -> Result<Duration, Box<dyn std::error::Error>> {
        let statistics = String::from_utf8(std::fs::read(&self.0)?)?;
        let nanos = statistics.split_whitespace().next().ok_or("no first field")?;
        Ok(Duration::from_nanos(nanos.parse()?))
    }
}
