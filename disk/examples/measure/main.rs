//! Prints what the engine does on this machine: `cargo run --release -p larder-disk --example measure -- DIR [WHAT …]`.
//!
//! DIR must not exist; it is filled and left behind for a look. Without WHAT it does all but the corpus:
//! `blobs`, `stalls`, `eviction=RECORDS` (a store so full that it evicts), `old-way`, `index=RECORDS` (blobs of 100 B to 1 KiB and as many action results; each start in a process
//! of its own), `corpus=FOLDER` (stores all files in it).

mod blobs;
mod corpus;
mod eviction;
mod index;
mod old_way;
mod stalls;

use std::collections::VecDeque;
use std::io::Write;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use larder_disk::{
    Content, Durability, Engine, EngineOptions, EvictionPolicy, Keyspace, RealIo, RecordKey,
};
use larder_protos::{Digest, DigestFunction, Hash};
use tikv_jemallocator::Jemalloc;

/// The binary's: where memory lies decides what a look-up takes.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

pub(crate) const SMALL_BYTES: usize = 2 << 10;
pub(crate) const IN_FLIGHT: usize = 64;
const PRODUCERS: usize = 2;
/// The first argument of the process that opens what another has filled.
pub(crate) const OPENED: &str = "--opened";
/// Digests in one `FindMissingBlobs`.
pub(crate) const LOOKUP: usize = 1_000;

pub(crate) type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if(|first| first == OPENED).is_some() {
        let dir = arguments.next().ok_or("which directory?")?;
        return index::opened(Path::new(&dir), arguments.next().ok_or("how many?")?.parse()?);
    }
    let dir = arguments.next().ok_or("which directory?")?;
    let dir = Path::new(&dir);
    std::fs::create_dir(dir)?;
    let mut wanted: Vec<String> = arguments.collect();
    if wanted.is_empty() {
        wanted = ["blobs", "stalls", "eviction=2000000", "old-way", "index=1000000"]
            .map(str::to_owned)
            .to_vec();
    }
    for what in wanted {
        match what.split_once('=').unwrap_or((&what, "")) {
            ("blobs", _) => blobs(dir)?,
            ("stalls", _) => stalls::reads_beside_syncs(&dir.join("stalls"))?,
            ("eviction", records) => eviction::stalls(&dir.join("eviction"), records.parse()?)?,
            ("old-way", _) => old_way::compare(dir)?,
            ("index", records) => index::opens(&dir.join("index"), records.parse()?)?,
            ("corpus", folder) => corpus::stored(dir, Path::new(folder))?,
            _ => return Err(format!("{what} is nothing that can be measured").into()),
        }
    }
    Ok(())
}

fn blobs(dir: &Path) -> Outcome {
    let interval = dir.join("interval");
    let yardstick = blobs::file_each(&dir.join("files"), 1_000)?;
    let period = Durability::Interval(Duration::from_secs(1));
    blobs::appends(&interval, period, 200_000, yardstick)?;
    blobs::appends(&dir.join("sync"), Durability::Sync, 50_000, yardstick)?;
    blobs::small_reads(&interval)?;
    blobs::large_blobs(&interval)
}

/// A figure, and how many times another it is.
pub(crate) fn times(what: &str, figure: f64, yardstick: f64) -> Outcome {
    say(&format!("{what}: {figure:.1}, {:.1} times {yardstick:.1}", figure / yardstick))
}

/// Asks an engine that has loaded all.
pub(crate) fn retain_missing(engine: &Engine, mut digests: Vec<Digest>) -> Vec<Digest> {
    let answer = {
        let mut asked = pin!(engine.retain_missing(&KEYSPACE, &mut digests));
        asked.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    };
    assert!(answer.is_ready(), "all is loaded");
    digests
}

pub(crate) fn say(line: &str) -> Outcome {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

pub(crate) fn options(data_dir: &Path, durability: Durability) -> EngineOptions {
    EngineOptions {
        data_dir: data_dir.to_owned(),
        max_size_bytes: 50 << 30,
        min_free_disk_bytes: 0,
        eviction: EvictionPolicy::Lfu,
        durability,
        zstd_level: 1,
        index_cache_bytes: 16 << 20,
        large_blob_bytes: 1 << 20,
        scrub_rate_bytes: 0,
    }
}

pub(crate) fn open(
    data_dir: &Path,
    durability: Durability,
) -> Result<Engine, larder_disk::DiskError> {
    let engine = Engine::open(options(data_dir, durability), Arc::new(RealIo))?;
    engine.wait_loaded();
    Ok(engine)
}

/// Content that zstd neither shrinks to nothing nor leaves alone.
pub(crate) fn content(number: u64, length: usize) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 16);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
        bytes.extend_from_slice(b"objects.");
    }
    bytes.truncate(length);
    bytes
}

/// A hash by its number: what is measured is not the hashing.
pub(crate) fn hash(number: u64) -> Hash {
    let mut hash = [0; 32];
    let mut state = number + 1;
    for word in hash.chunks_exact_mut(8) {
        state = (state ^ (state >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        state ^= state >> 32;
        word.copy_from_slice(&state.to_le_bytes());
    }
    Hash::from_bytes(DigestFunction::Sha256, &hash).expect("32 bytes")
}

pub(crate) static KEYSPACE: LazyLock<Keyspace> =
    LazyLock::new(|| Keyspace::new("").expect("short"));

pub(crate) fn blob(number: u64, size_bytes: usize) -> RecordKey {
    RecordKey::blob(&KEYSPACE, &Digest::new(hash(number), size_bytes as u64))
}

/// Sizes as those of small build outputs: 100 B to 1 KiB.
pub(crate) fn size_of(number: u64) -> usize {
    100 + usize::try_from(number * 7_919 % 925).expect("below 925")
}

pub(crate) fn fill(
    engine: &Engine,
    count: u32,
    record: impl Fn(u64) -> (RecordKey, usize) + Sync,
) -> f64 {
    let begun = Instant::now();
    let record = &record;
    std::thread::scope(|scope| {
        for producer in 0..PRODUCERS as u64 {
            scope.spawn(move || {
                let mut waiting = VecDeque::new();
                for number in (producer..u64::from(count)).step_by(PRODUCERS) {
                    let (key, size) = record(number);
                    let commit = engine.append(&key, Content::Raw(&content(number, size)));
                    waiting.push_back(commit.expect("the disk has room"));
                    if waiting.len() >= IN_FLIGHT / PRODUCERS {
                        let oldest = waiting.pop_front().expect("not empty");
                        oldest.wait().expect("the disk has room");
                    }
                }
                for commit in waiting {
                    commit.wait().expect("the disk has room");
                }
            });
        }
    });
    begun.elapsed().as_secs_f64()
}

pub(crate) fn seconds(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64()
}

/// What this thread has had of a processor: other processes do not count.
#[expect(clippy::cast_precision_loss, reason = "a report needs three digits")]
pub(crate) fn cpu_nanos() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
}

pub(crate) fn resident_mib() -> Result<u64, Box<dyn std::error::Error>> {
    let pages = String::from_utf8(std::fs::read("/proc/self/statm")?)?;
    let resident = pages.split_whitespace().nth(1).ok_or("no second field")?;
    Ok(resident.parse::<u64>()? / 256)
}
