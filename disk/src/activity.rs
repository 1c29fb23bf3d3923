//! [`Activity`]: what passes through an engine and how long it takes; [`EngineState`]: how it stands. Both for metrics: nothing here
//! decides anything.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use crate::histogram::Histogram;
use crate::key::RecordKind;

/// A batch has from one record to what 4 MiB hold.
const BATCH_RECORDS: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 4_096];

/// Microseconds: from a write into the page cache to a disk that hangs.
const DISK_MICROS: &[u64] = &[
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 10_000_000,
];

/// Seconds: one minute, ten, an hour, six, then days.
const AGE_S: &[u64] =
    &[60, 600, 3_600, 21_600, 86_400, 172_800, 345_600, 604_800, 1_209_600, 2_592_000, 7_776_000];

const KINDS: usize = 2;

/// What passed through an engine since it was opened.
#[derive(Debug)]
pub struct Activity {
    /// Records of each batch that the committer wrote.
    pub batch_records: Histogram,
    /// Microseconds that each batch took to be written; with `Sync` also to be synced.
    pub batch_micros: Histogram,
    /// Microseconds of each sync, of a pack or of the names of blob files.
    pub sync_micros: Histogram,
    /// Seconds since each evicted record was used last.
    pub eviction_age_s: Histogram,
    written_bytes: AtomicU64,
    /// By kind.
    hits: [AtomicU64; KINDS],
    misses: [AtomicU64; KINDS],
    index_failed: AtomicBool,
}

impl Default for Activity {
    fn default() -> Self {
        Self {
            batch_records: Histogram::new(BATCH_RECORDS),
            batch_micros: Histogram::new(DISK_MICROS),
            sync_micros: Histogram::new(DISK_MICROS),
            eviction_age_s: Histogram::new(AGE_S),
            written_bytes: AtomicU64::new(0),
            hits: <[AtomicU64; KINDS]>::default(),
            misses: <[AtomicU64; KINDS]>::default(),
            index_failed: AtomicBool::new(false),
        }
    }
}

impl Activity {
    /// Bytes of records written to packs and blob files.
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes.load(Ordering::Relaxed)
    }

    /// Reads of a kind that found a record, and those that did not.
    pub fn reads(&self, kind: RecordKind) -> (u64, u64) {
        let of = |counts: &[AtomicU64; KINDS]| counts[kind as usize].load(Ordering::Relaxed);
        (of(&self.hits), of(&self.misses))
    }

    /// Counts a read that was not begun, since its record is known to be absent.
    pub fn count_miss(&self, kind: RecordKind) {
        self.count_read(kind, false);
    }

    pub(crate) fn count_read(&self, kind: RecordKind, is_hit: bool) {
        let counts = if is_hit { &self.hits } else { &self.misses };
        counts[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_written(&self, bytes: u64) {
        self.written_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn note_index_failure(&self) {
        self.index_failed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn index_failed(&self) -> bool {
        self.index_failed.load(Ordering::Relaxed)
    }
}

/// Runs `work` and counts how long it took, whatever came of it.
pub(crate) fn timed<T>(micros: &Histogram, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = work();
    micros.record(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX));
    done
}

/// How an engine stands at one moment.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct EngineState {
    /// Packs.
    pub packs: u64,
    /// Blobs that have a file of their own.
    pub blob_files: u64,
    /// Keyspaces by kind and digest function that records were stored under since the index was made; 65,535 at most.
    pub partitions: u64,
    /// Encoded bytes that wait for the committer.
    pub commit_queue_bytes: u64,
    /// Changes that wait for the index on disk.
    pub index_queue_updates: u64,
    /// Whether the index on disk has failed; the next start then reads the log instead.
    pub index_failed: bool,
    /// What the file system has left for this user; `None` where it does not say.
    pub free_bytes: Option<u64>,
    /// What it is to keep free; below it the engine shrinks. 0 is no guard.
    pub min_free_bytes: u64,
}
