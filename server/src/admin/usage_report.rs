//! [`UsageReport`]: the engine's [`Usage`] as the admin port and the status page say it in JSON, whose names the engine does not know.

use larder_disk::{ScrubUsage, Usage};
use serde::Serialize;

/// What the stores hold, and what happened since the start.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct UsageReport {
    /// Blobs and action results.
    pub records: u64,
    /// Their bytes before compression.
    pub logical_bytes: u64,
    /// Their bytes on disk.
    pub stored_bytes: u64,
    /// Bytes on disk that nothing readable occupies any more.
    pub dead_bytes: u64,
    /// The limit for stored and dead bytes together.
    pub limit_bytes: u64,
    /// Records that made room for others.
    pub evictions: u64,
    /// Their bytes on disk.
    pub evicted_bytes: u64,
    /// Bytes that were written again since they were worth keeping.
    pub copied_bytes: u64,
    /// How old the youngest record was that was evicted lately, in seconds; null when none was.
    pub min_retention_s: Option<u64>,
    /// Records found damaged, and dropped.
    pub corrupt_records: u64,
    /// Times that the disk was full and records made room on it.
    pub full_disk_evictions: u64,
    /// What the operating system refused to do on the disk.
    pub io_errors: u64,
    /// Whether a failed sync has ended writes; reads go on.
    pub writes_refused: bool,
    /// Whether all that is stored is known; after a start it is served as it is found.
    pub is_loaded: bool,
    /// The scrub.
    pub scrub: ScrubReport,
}

/// What the scrub does, and has done since the start.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ScrubReport {
    /// What it may read in a second; 0 when it is off.
    pub rate_bytes: u64,
    /// Whether a round is under way; otherwise it waits for the next.
    pub is_running: bool,
    /// Whether an admin has stopped it.
    pub is_halted: bool,
    /// When the round under way, or the last one, began, in seconds since 1970; 0 when there was none.
    pub round_begun_unix_seconds: u64,
    /// What that round has checked, before the start too.
    pub round_bytes: u64,
    /// Rounds that came to their end.
    pub rounds: u64,
    /// Records that were checked.
    pub records: u64,
    /// Their bytes on disk.
    pub bytes: u64,
    /// Records that were rotten, and dropped.
    pub corrupt_records: u64,
    /// Records that could not be opened; the next round tries again.
    pub skipped_records: u64,
}

impl From<Usage> for UsageReport {
    fn from(usage: Usage) -> Self {
        Self {
            records: usage.records,
            logical_bytes: usage.logical_bytes,
            stored_bytes: usage.stored_bytes,
            dead_bytes: usage.dead_bytes,
            limit_bytes: usage.limit_bytes,
            evictions: usage.evictions,
            evicted_bytes: usage.evicted_bytes,
            copied_bytes: usage.copied_bytes,
            min_retention_s: usage.min_retention_s,
            corrupt_records: usage.corrupt_records,
            full_disk_evictions: usage.full_disk_evictions,
            io_errors: usage.io_errors,
            writes_refused: usage.writes_refused,
            is_loaded: usage.is_loaded,
            scrub: ScrubReport::from(usage.scrub),
        }
    }
}

impl From<ScrubUsage> for ScrubReport {
    fn from(usage: ScrubUsage) -> Self {
        Self {
            rate_bytes: usage.rate_bytes,
            is_running: usage.is_running,
            is_halted: usage.is_halted,
            round_begun_unix_seconds: usage.round_begun_unix_ms / 1_000,
            round_bytes: usage.round_bytes,
            rounds: usage.rounds,
            records: usage.records,
            bytes: usage.bytes,
            corrupt_records: usage.corrupt_records,
            skipped_records: usage.skipped_records,
        }
    }
}
