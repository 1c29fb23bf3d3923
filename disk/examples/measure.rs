//! Prints what the engine does on this machine: `cargo run --release -p larder-disk --example measure -- DIR [RECORDS]`.
//!
//! DIR must not exist; it is filled and left behind for a look.

use std::collections::VecDeque;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use larder_disk::{
    Accepts, Content, Durability, Engine, EngineOptions, Keyspace, RealIo, RecordKey,
};
use larder_protos::{Digest, DigestFunction, Hash};

const SMALL_BYTES: usize = 2 << 10;
const IN_FLIGHT: usize = 64;
const PRODUCERS: usize = 2;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
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

fn open(data_dir: &Path, durability: Durability) -> Result<Engine, larder_disk::DiskError> {
    let options = EngineOptions {
        data_dir: data_dir.to_owned(),
        max_size_bytes: 50 << 30,
        durability,
        zstd_level: 1,
        index_cache_bytes: 64 << 20,
        large_blob_bytes: 1 << 20,
        scrub_rate_bytes: 0,
    };
    Engine::open(options, Arc::new(RealIo))
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

/// A key by its number: what is measured is not the hashing.
fn key(number: u64, size_bytes: u64) -> RecordKey {
    static KEYSPACE: LazyLock<Keyspace> = LazyLock::new(|| Keyspace::new("").expect("short"));
    let mut hash = [0; 32];
    let mut state = number + 1;
    for word in hash.chunks_exact_mut(8) {
        state = (state ^ (state >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        state ^= state >> 32;
        word.copy_from_slice(&state.to_le_bytes());
    }
    let hash = Hash::from_bytes(DigestFunction::Sha256, &hash).expect("32 bytes");
    RecordKey::blob(&KEYSPACE, &Digest::new(hash, size_bytes))
}

fn appends(data_dir: &Path, durability: Durability, count: u32) -> Outcome {
    let engine = open(data_dir, durability)?;
    let seconds = fill(&engine, count, SMALL_BYTES);
    let rate = f64::from(count) / seconds;
    say(&format!("{durability:?}: {rate:.0} appends of 2 KiB a second, {IN_FLIGHT} in flight"))
}

fn fill(engine: &Engine, count: u32, size: usize) -> f64 {
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for producer in 0..PRODUCERS as u64 {
            scope.spawn(move || {
                let mut waiting = VecDeque::new();
                for number in (producer..u64::from(count)).step_by(PRODUCERS) {
                    let key = key(number, size as u64);
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
        let key = key(u64::from(number) * 7_919 % u64::from(count), SMALL_BYTES as u64);
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
    let blob = content(1, 256 << 20);
    let key = key(u64::MAX / 2, blob.len() as u64);
    let begun = Instant::now();
    let mut writer = engine.create(&key)?;
    for piece in blob.chunks(64 << 10) {
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
    let interval = Durability::Interval(Duration::from_secs(1));
    let before = resident_mib()?;
    let engine = open(data_dir, interval)?;
    let rate = f64::from(records) / fill(&engine, records, 300);
    say(&format!("{records} records of 300 B: {rate:.0} a second"))?;
    let keys: Vec<_> = (0..u64::from(records))
        .map(|number| key(number * 7_919 % u64::from(records), 300))
        .collect();
    drop(engine);
    let begun = Instant::now();
    let engine = open(data_dir, interval)?;
    say(&format!("open by the index: {:.2} s, {}", seconds(begun), engine.usage().records))?;
    let begun = cpu_seconds()?;
    let found = keys.iter().filter(|key| engine.contains(key)).count();
    let nanos = (cpu_seconds()? - begun) * 1e9 / f64::from(records);
    say(&format!("contains, in random order: {nanos:.0} ns of CPU ({found} found)"))?;
    drop(keys);
    drop(engine);
    std::fs::remove_dir_all(data_dir.join("index"))?;
    let begun = Instant::now();
    let engine = open(data_dir, interval)?;
    say(&format!("open by the log: {:.2} s, {}", seconds(begun), engine.usage().records))?;
    let grown = resident_mib()?.saturating_sub(before);
    say(&format!("resident: {grown} MiB more than before the first record"))?;
    let begun = Instant::now();
    drop(engine);
    say(&format!("the index is rebuilt behind it: {:.2} s more", seconds(begun)))
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
