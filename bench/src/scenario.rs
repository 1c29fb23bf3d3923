//! [`Scenario`]: what is done to the cache, and how it is measured.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use clap::ValueEnum;
use futures_util::{StreamExt, TryStreamExt, stream};
use hdrhistogram::Histogram;
use larder_protos::Digest;

use crate::client::{Client, repeated_digest};
use crate::{BoxError, blobs};

const SMALL_BYTES: usize = 2 * 1024;

/// How many different small blobs there are to read.
const RESIDENT: u64 = 1_000;

/// Digests in one `FindMissingBlobs`.
const FIND_DIGESTS: usize = 100;

/// What large blobs repeat; larger than zstd's window at fast levels, so that they compress only by half.
const PART_BYTES: usize = 16 << 20;

/// One thing to do to the cache.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Scenario {
    /// 2 KiB `ByteStream.Read`, one after the other.
    ReadSmallSequential,
    /// 2 KiB `ByteStream.Read`, many at a time.
    ReadSmall,
    /// 2 KiB `ByteStream.Write` of new blobs, many at a time.
    WriteSmall,
    /// `FindMissingBlobs` of 100 present blobs.
    FindMissing,
    /// `UpdateActionResult`.
    UpdateResult,
    /// `GetActionResult` that hits.
    GetResult,
    /// One large `ByteStream.Write`.
    WriteLarge,
    /// One large `ByteStream.Read`.
    ReadLarge,
}

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) operations: u64,
    pub(crate) concurrency: usize,
    pub(crate) large_bytes: u64,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) operations: u64,
    pub(crate) bytes: u64,
    /// In microseconds.
    pub(crate) latency: Histogram<u64>,
}

impl Scenario {
    pub(crate) const ALL: [Self; 8] = [
        Self::ReadSmallSequential,
        Self::ReadSmall,
        Self::WriteSmall,
        Self::FindMissing,
        Self::UpdateResult,
        Self::GetResult,
        Self::WriteLarge,
        Self::ReadLarge,
    ];

    /// Stores what the scenario reads.
    pub(crate) async fn prepare(self, client: &Client, size: Size) -> Result<(), BoxError> {
        match self {
            Self::WriteSmall | Self::WriteLarge => return Ok(()),
            Self::ReadLarge => {
                let (digest, part) = large(size.large_bytes, 1);
                return client.write_large(digest, part).await;
            }
            _ => {}
        }
        for seed in 0..RESIDENT {
            let blob = blobs::blob(seed, SMALL_BYTES);
            let digest = blobs::digest(&blob);
            client.write(blob).await?;
            if self == Self::GetResult {
                client.update_result(digest).await?;
            }
        }
        Ok(())
    }

    pub(crate) async fn run(self, client: &Client, size: Size) -> Result<Measured, BoxError> {
        let resident: Vec<Digest> =
            (0..RESIDENT).map(|seed| blobs::digest(&blobs::blob(seed, SMALL_BYTES))).collect();
        let nth = |operation: u64| resident[usize::try_from(operation % RESIDENT).unwrap_or(0)];
        let small = SMALL_BYTES as u64;
        match self {
            Self::ReadSmallSequential => {
                let sequential = Size { concurrency: 1, ..size };
                repeat(sequential, small, |operation| client.read(nth(operation))).await
            }
            Self::ReadSmall => repeat(size, small, |operation| client.read(nth(operation))).await,
            Self::WriteSmall => {
                // Blobs that no earlier run has stored: the time picks the first one.
                let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
                let first = RESIDENT + u64::try_from(now.as_micros())?;
                let write = |operation| client.write(blobs::blob(first + operation, SMALL_BYTES));
                repeat(size, small, write).await
            }
            Self::FindMissing => {
                repeat(size, 0, |_| client.find_present(&resident[..FIND_DIGESTS])).await
            }
            Self::UpdateResult => {
                repeat(size, 0, |operation| client.update_result(nth(operation))).await
            }
            Self::GetResult => repeat(size, 0, |operation| client.get_result(nth(operation))).await,
            Self::WriteLarge => {
                let (digest, part) = large(size.large_bytes, 2);
                once(size.large_bytes, client.write_large(digest, part)).await
            }
            Self::ReadLarge => {
                let (digest, _) = large(size.large_bytes, 1);
                once(size.large_bytes, client.read(digest)).await
            }
        }
    }
}

/// A large blob: its digest, and the part that it repeats.
fn large(size_bytes: u64, seed: u64) -> (Digest, Bytes) {
    let part = BytesMut::from(&blobs::blob(seed, PART_BYTES)[..]);
    (repeated_digest(&part, size_bytes), part.freeze())
}

/// Does an operation many times over; ends at the first error.
async fn repeat<F>(
    size: Size,
    bytes_each: u64,
    mut operation: impl FnMut(u64) -> F,
) -> Result<Measured, BoxError>
where
    F: Future<Output = Result<(), BoxError>>,
{
    let timed = (0..size.operations).map(|number| {
        let done = operation(number);
        async move {
            let begun = Instant::now();
            done.await?;
            Ok::<_, BoxError>(begun.elapsed())
        }
    });
    let mut latency = Histogram::new(3)?;
    let mut timings = stream::iter(timed).buffer_unordered(size.concurrency);
    while let Some(elapsed) = timings.try_next().await? {
        latency.record(u64::try_from(elapsed.as_micros())?)?;
    }
    Ok(Measured { operations: size.operations, bytes: bytes_each * size.operations, latency })
}

async fn once(
    bytes: u64,
    done: impl Future<Output = Result<(), BoxError>>,
) -> Result<Measured, BoxError> {
    let begun = Instant::now();
    done.await?;
    let mut latency = Histogram::new(3)?;
    latency.record(u64::try_from(begun.elapsed().as_micros())?)?;
    Ok(Measured { operations: 1, bytes, latency })
}
