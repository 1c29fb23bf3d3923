//! Prints what the engine does on this machine: `cargo run --release -p larder-disk --example measure -- DIR [RECORDS]`.
//!
//! DIR must not exist; it is filled and left behind for a look. RECORDS blobs of 100 B to 1 KiB and as many action results
//! are what the index is measured with, each time in a process of its own.

use std::collections::VecDeque;
use std::io::Write;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use larder_disk::{
    Accepts, Content, Durability, Engine, EngineOptions, Keyspace, RealIo, RecordKey,
};
use larder_protos::{Digest, DigestFunction, Hash};

const SMALL_BYTES: usize = 2 << 10;
const IN_FLIGHT: usize = 64;
const PRODUCERS: usize = 2;
/// The first argument of the process that opens what another has filled.
const OPENED: &str = "--opened";
/// Digests in one `FindMissingBlobs`.
const LOOKUP: usize = 1_000;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if(|first| first == OPENED).is_some() {
        let dir = arguments.next().ok_or("which directory?")?;
        return opened(Path::new(&dir), arguments.next().ok_or("how many records?")?.parse()?);
    }
    let dir = arguments.next().ok_or("which directory?")?;
    let records = arguments.next().map_or(Ok(1_000_000), |count| count.parse())?;
    let dir = Path::new(&dir);
    std::fs::create_dir(dir)?;
    appends(&dir.join("interval"), Durability::Interval(Duration::from_secs(1)), 200_000)?;
    appends(&dir.join("sync"), Durability::Sync, 50_000)?;
    file_each(&dir.join("files"), 1_000)?;
    small_reads(&dir.join("interval"))?;
    large_blobs(&dir.join("interval"))?;
    opens(&dir.join("million"), records)
}

fn say(line: &str) -> Outcome {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

fn options(data_dir: &Path, durability: Durability) -> EngineOptions {
    EngineOptions {
        data_dir: data_dir.to_owned(),
        max_size_bytes: 50 << 30,
        durability,
        zstd_level: 1,
        index_cache_bytes: 16 << 20,
        large_blob_bytes: 1 << 20,
    }
}

fn open(data_dir: &Path, durability: Durability) -> Result<Engine, larder_disk::DiskError> {
    let engine = Engine::open(options(data_dir, durability), Arc::new(RealIo))?;
    engine.wait_loaded();
    Ok(engine)
}

/// Content that zstd neither shrinks to nothing nor leaves alone.
fn content(number: u64, length: usize) -> Vec<u8> {
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
fn hash(number: u64) -> Hash {
    let mut hash = [0; 32];
    let mut state = number + 1;
    for word in hash.chunks_exact_mut(8) {
        state = (state ^ (state >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        state ^= state >> 32;
        word.copy_from_slice(&state.to_le_bytes());
    }
    Hash::from_bytes(DigestFunction::Sha256, &hash).expect("32 bytes")
}

static KEYSPACE: LazyLock<Keyspace> = LazyLock::new(|| Keyspace::new("").expect("short"));

fn blob(number: u64, size_bytes: usize) -> RecordKey {
    RecordKey::blob(&KEYSPACE, &Digest::new(hash(number), size_bytes as u64))
}

/// Sizes as those of small build outputs: 100 B to 1 KiB.
fn size_of(number: u64) -> usize {
    100 + usize::try_from(number * 7_919 % 925).expect("below 925")
}

fn appends(data_dir: &Path, durability: Durability, count: u32) -> Outcome {
    let engine = open(data_dir, durability)?;
    let seconds = fill(&engine, count, |number| (blob(number, SMALL_BYTES), SMALL_BYTES));
    let rate = f64::from(count) / seconds;
    say(&format!("{durability:?}: {rate:.0} appends of 2 KiB a second, {IN_FLIGHT} in flight"))
}

fn fill(engine: &Engine, count: u32, record: impl Fn(u64) -> (RecordKey, usize) + Sync) -> f64 {
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

/// The yardstick: create, write, fsync, rename for each blob.
fn file_each(dir: &Path, count: u32) -> Outcome {
    std::fs::create_dir(dir)?;
    let begun = Instant::now();
    for number in 0..count {
        let tmp = dir.join("tmp");
        let mut file = std::fs::File::create(&tmp)?;
        file.write_all(&content(u64::from(number), SMALL_BYTES))?;
        file.sync_all()?;
        std::fs::rename(&tmp, dir.join(number.to_string()))?;
    }
    let rate = f64::from(count) / begun.elapsed().as_secs_f64();
    say(&format!("a file each, fsync, rename: {rate:.0} of 2 KiB a second"))
}

fn small_reads(data_dir: &Path) -> Outcome {
    let engine = open(data_dir, Durability::Interval(Duration::from_secs(1)))?;
    let count = 200_000_u32;
    let begun = cpu_seconds()?;
    let mut read_bytes = 0;
    for number in 0..count {
        let key = blob(u64::from(number) * 7_919 % u64::from(count), SMALL_BYTES);
        let mut reader = engine.read(&key, 0..u64::MAX, Accepts::Raw)?.ok_or("a miss")?;
        while let Some(chunk) = reader.next_chunk()? {
            read_bytes += chunk.len();
        }
    }
    let micros = (cpu_seconds()? - begun) * 1e6 / f64::from(count);
    say(&format!("a read of 2 KiB, decoded: {micros:.2} µs of CPU ({} MiB)", read_bytes >> 20))
}

fn large_blobs(data_dir: &Path) -> Outcome {
    let engine = open(data_dir, Durability::Interval(Duration::from_secs(1)))?;
    let large = content(1, 256 << 20);
    let key = blob(u64::MAX / 2, large.len());
    let begun = Instant::now();
    let mut writer = engine.create(&key)?;
    for piece in large.chunks(64 << 10) {
        writer.write(piece)?;
    }
    writer.finish()?;
    let up = 256.0 / begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    let mut reader = engine.read(&key, 0..u64::MAX, Accepts::Raw)?.ok_or("a miss")?;
    while reader.next_chunk()?.is_some() {}
    let down = 256.0 / begun.elapsed().as_secs_f64();
    say(&format!("a blob of 256 MiB: {up:.0} MiB/s in, {down:.0} MiB/s out, decoded"))
}

fn opens(data_dir: &Path, records: u32) -> Outcome {
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
fn opened(data_dir: &Path, records: u32) -> Outcome {
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
        let mut digests = digests.to_vec();
        let begun = cpu_seconds()?;
        let mut asked = pin!(engine.retain_missing(&KEYSPACE, &mut digests));
        let answer = asked.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        batched += cpu_seconds()? - begun;
        assert!(answer.is_ready(), "all is loaded");
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

fn seconds(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64()
}

/// What this thread has had of a processor: other processes do not count.
fn cpu_seconds() -> Result<f64, Box<dyn std::error::Error>> {
    let statistics = String::from_utf8(std::fs::read("/proc/thread-self/schedstat")?)?;
    let nanos = statistics.split_whitespace().next().ok_or("no first field")?;
    Ok(nanos.parse::<f64>()? / 1e9)
}

fn resident_mib() -> Result<u64, Box<dyn std::error::Error>> {
    let pages = String::from_utf8(std::fs::read("/proc/self/statm")?)?;
    let resident = pages.split_whitespace().nth(1).ok_or("no second field")?;
    Ok(resident.parse::<u64>()? / 256)
}
