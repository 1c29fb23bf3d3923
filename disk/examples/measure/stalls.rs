//! What readers feel of a writer that syncs, and how much of that they feel as well where no engine is involved.

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use larder_disk::{Accepts, Content, Durability, Engine};

use crate::{Outcome, SMALL_BYTES, blob, content, fill, open, say};

const RESIDENT: u32 = 20_000;
const READS: u64 = 100_000;
/// A busy afternoon's worth of uploads.
const PUTS_A_SECOND: u32 = 200;

/// Reads at random: alone, beside a writer that syncs each of its puts, in two paces, and beside one that does the same to a file
/// of its own. What the last one costs is the machine's: cores, interrupts and the disk.
pub(crate) fn reads_beside_syncs(data_dir: &Path) -> Outcome {
    let engine = open(data_dir, Durability::Sync)?;
    fill(&engine, RESIDENT, |number| (blob(number, SMALL_BYTES), SMALL_BYTES));
    let alone = Latencies::of(&engine)?;
    say(&format!("reads of 2 KiB: {}", alone.show(None)))?;
    let mut next = u64::from(RESIDENT);
    let mut put = || {
        let content = content(next, SMALL_BYTES);
        let commit = engine.append(&blob(next, SMALL_BYTES), Content::Raw(&content));
        commit.expect("room").wait().expect("room");
        next += 1;
    };
    let (beside, puts) = beside(&engine, Duration::ZERO, &mut put);
    say(&format!("... beside {puts} synced puts: {}", beside.show(Some(&alone))))?;
    let (beside, puts) = self::beside(&engine, Duration::from_secs(1) / PUTS_A_SECOND, &mut put);
    say(&format!("... beside {puts}, {PUTS_A_SECOND} a second: {}", beside.show(Some(&alone))))?;
    let mut file = std::fs::File::create(data_dir.with_extension("alone"))?;
    let mut write = || {
        file.write_all(&[7; SMALL_BYTES]).expect("room");
        file.sync_data().expect("a disk that syncs");
    };
    let (beside, writes) = self::beside(&engine, Duration::ZERO, &mut write);
    let shown = beside.show(Some(&alone));
    say(&format!("... beside {writes} synced writes to a file that is not the engine's: {shown}"))
}

/// Reads while a thread does something again and again, at most once in `period`; how often it did.
fn beside(engine: &Engine, period: Duration, work: &mut (impl FnMut() + Send)) -> (Latencies, u64) {
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let mut times = 0_u64;
            while !is_done.load(Ordering::Relaxed) {
                let begun = Instant::now();
                work();
                times += 1;
                std::thread::park_timeout(period.saturating_sub(begun.elapsed()));
            }
            times
        });
        let latencies = Latencies::of(engine).expect("readable");
        is_done.store(true, Ordering::Relaxed);
        (latencies, worker.join().expect("no panic"))
    })
}

struct Latencies {
    sorted: Vec<Duration>,
    /// How often the reader was taken off its core for another thread.
    preempted: u64,
}

impl Latencies {
    fn of(engine: &Engine) -> Result<Self, Box<dyn std::error::Error>> {
        let mut latencies = Vec::new();
        let before = preemptions()?;
        for number in 0..READS {
            let key = blob(number * 7_919 % u64::from(RESIDENT), SMALL_BYTES);
            let begun = Instant::now();
            let mut reader = engine.read(&key, 0..u64::MAX, Accepts::Raw)?.ok_or("a miss")?;
            while reader.next_chunk()?.is_some() {}
            latencies.push(begun.elapsed());
        }
        let preempted = preemptions()? - before;
        latencies.sort_unstable();
        Ok(Self { sorted: latencies, preempted })
    }

    fn at(&self, percent: usize) -> Duration {
        self.sorted[(self.sorted.len() - 1) * percent / 100]
    }

    fn show(&self, alone: Option<&Self>) -> String {
        let (p50, p99) = (self.at(50), self.at(99));
        let times = alone.map_or_else(String::new, |alone| {
            format!(" ({:.1} times)", p99.as_secs_f64() / alone.at(99).as_secs_f64())
        });
        format!("p50 {p50:.1?}, p99 {p99:.1?}{times}, preempted {} times", self.preempted)
    }
}

fn preemptions() -> Result<u64, Box<dyn std::error::Error>> {
    let status = String::from_utf8(std::fs::read("/proc/thread-self/status")?)?;
    let line = status.lines().find_map(|line| line.strip_prefix("nonvoluntary_ctxt_switches:"));
    Ok(line.ok_or("no such line")?.trim().parse()?)
}
