//! Writing and reading blobs.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use larder_disk::{Accepts, Durability};

use crate::{IN_FLIGHT, Outcome, SMALL_BYTES, blob, content, cpu_nanos, fill, open, say, times};

pub(crate) fn appends(
    data_dir: &Path,
    durability: Durability,
    count: u32,
    yardstick: f64,
) -> Outcome {
    let engine = open(data_dir, durability)?;
    let seconds = fill(&engine, count, |number| (blob(number, SMALL_BYTES), SMALL_BYTES));
    let rate = f64::from(count) / seconds;
    times(&format!("{durability:?}: 2 KiB a second, {IN_FLIGHT} in flight"), rate, yardstick)
}

/// The yardstick: create, write, fsync, rename for each blob. Says how many a second.
pub(crate) fn file_each(dir: &Path, count: u32) -> Result<f64, Box<dyn std::error::Error>> {
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
    say(&format!("a file each, fsync, rename: {rate:.0} of 2 KiB a second"))?;
    Ok(rate)
}

pub(crate) fn small_reads(data_dir: &Path) -> Outcome {
    let engine = open(data_dir, Durability::Interval(Duration::from_secs(1)))?;
    let count = 200_000_u32;
    let begun = cpu_nanos();
    let mut read_bytes = 0;
    for number in 0..count {
        let key = blob(u64::from(number) * 7_919 % u64::from(count), SMALL_BYTES);
        let mut reader = engine.read(&key, 0..u64::MAX, Accepts::Raw)?.ok_or("a miss")?;
        while let Some(chunk) = reader.next_chunk()? {
            read_bytes += chunk.len();
        }
    }
    let micros = (cpu_nanos() - begun) / 1e3 / f64::from(count);
    say(&format!("a read of 2 KiB, decoded: {micros:.2} µs of CPU ({} MiB)", read_bytes >> 20))
}

pub(crate) fn large_blobs(data_dir: &Path) -> Outcome {
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
