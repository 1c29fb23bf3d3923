//! What readers feel of a writer that syncs, and how much of that they feel as well where no engine is involved.

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use larder_disk::{Accepts, Content, Durability, Engine};

use crate::{Outcome, SMALL_BYTES, blob, content, fill, open, say};

const RESIDENT: u32 = 20_000;
const READS: u64 = 100_000;
/// How often each kind of writer has its turn, after reads without one: a single pair of turns tells little, since what else the machine
/// does meets one of the two.
const ROUNDS: usize = 9;
/// A busy afternoon's worth of uploads.
const PUTS_A_SECOND: u32 = 200;

/// Reads at random: alone, beside a writer that syncs each of its puts, in two paces, and beside one that does the same to a file
/// of its own. What the last one costs is the machine's: cores, interrupts and the disk.
pub(crate) fn reads_beside_syncs(data_dir: &Path) -> Outcome {
    let engine = open(data_dir, Durability::Sync)?;
    fill(&engine, RESIDENT, |number| (blob(number, SMALL_BYTES), SMALL_BYTES));
    let mut next = u64::from(RESIDENT);
    let mut put = || {
        let content = content(next, SMALL_BYTES);
        let commit = engine.append(&blob(next, SMALL_BYTES), Content::Raw(&content));
        commit.expect("room").wait().expect("room");
        next += 1;
    };
    let mut file = std::fs::File::create(data_dir.with_extension("alone"))?;
    let mut write = || {
        file.write_all(&[7; SMALL_BYTES]).expect("room");
        file.sync_data().expect("a disk that syncs");
    };
    let paced = Duration::from_secs(1) / PUTS_A_SECOND;
    let [mut flat_out, mut steady, mut foreign] = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        flat_out.push(Pair::of(&engine, Duration::ZERO, &mut put)?);
        steady.push(Pair::of(&engine, paced, &mut put)?);
        foreign.push(Pair::of(&engine, Duration::ZERO, &mut write)?);
    }
    say(&format!(
        "p99 of reads of 2 KiB, {ROUNDS} rounds of {READS}, each beside nothing and then"
    ))?;
    report("puts that are synced one by one", flat_out)?;
    report(&format!("the same at {PUTS_A_SECOND} a second"), steady)?;
    report("synced writes to a file that is not the engine's", foreign)
}

/// Reads beside nothing, and then beside a writer.
struct Pair {
    alone: Latencies,
    beside: Latencies,
    writes: u64,
}

impl Pair {
    /// `work` is done again and again, at most once in `period`.
    fn of(
        engine: &Engine,
        period: Duration,
        work: &mut (impl FnMut() + Send),
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let alone = Latencies::of(engine)?;
        let is_done = AtomicBool::new(false);
        let (beside, writes) = std::thread::scope(|scope| {
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
            let beside = Latencies::of(engine);
            is_done.store(true, Ordering::Relaxed);
            (beside, worker.join().expect("no panic"))
        });
        Ok(Self { alone, beside: beside?, writes })
    }

    /// How many times its p99 alone the p99 beside the writer is.
    fn times(&self) -> f64 {
        self.beside.p99.as_secs_f64() / self.alone.p99.as_secs_f64()
    }
}

/// Says the median of the ratios, and all of them with what they come from.
fn report(writer: &str, mut pairs: Vec<Pair>) -> Outcome {
    pairs.sort_by(|left, right| left.times().total_cmp(&right.times()));
    say(&format!(
        "... beside {writer}: {:.1} times in the median",
        pairs[pairs.len() / 2].times()
    ))?;
    for pair in &pairs {
        let Pair { alone, beside, writes } = pair;
        say(&format!(
            "      {:.1} times: {:.1?} to {:.1?} (p50 {:.1?} to {:.1?}), {writes} writes, preempted {} times",
            pair.times(),
            alone.p99,
            beside.p99,
            alone.p50,
            beside.p50,
            beside.preempted,
        ))?;
    }
    Ok(())
}

struct Latencies {
    p50: Duration,
    p99: Duration,
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
        let at = |percent| latencies[(latencies.len() - 1) * percent / 100];
        Ok(Self { p50: at(50), p99: at(99), preempted })
    }
}

fn preemptions() -> Result<u64, Box<dyn std::error::Error>> {
    let status = String::from_utf8(std::fs::read("/proc/thread-self/status")?)?;
    let line = status.lines().find_map(|line| line.strip_prefix("nonvoluntary_ctxt_switches:"));
    Ok(line.ok_or("no such line")?.trim().parse()?)
}
