//! [`Usage`]: what an engine holds and did, and the counters behind it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::scrub::ScrubUsage;
use crate::slot::Entry;

/// What an engine holds at one moment, and what it did since it was opened.
#[derive(Copy, Clone, Eq, PartialEq, Default, Debug)]
pub struct Usage {
    /// Records that can be read.
    pub records: u64,
    /// Their logical bytes.
    pub logical_bytes: u64,
    /// Their bytes on disk, prologues included.
    pub stored_bytes: u64,
    /// Bytes of packs that no readable record occupies: replaced, removed, torn, or headers.
    pub dead_bytes: u64,
    /// The limit for stored and dead bytes together.
    pub limit_bytes: u64,
    /// Records evicted since the engine was opened.
    pub evictions: u64,
    /// Their bytes on disk.
    pub evicted_bytes: u64,
    /// Bytes of records that were appended again since the engine was opened, since they were worth keeping.
    pub copied_bytes: u64,
    /// The age in seconds of the youngest record that was evicted in the last half hour, or somewhat longer: what is asked
    /// for again within that time is found. `None` when nothing was evicted.
    pub min_retention_s: Option<u64>,
    /// Records found corrupt since the engine was opened.
    pub corrupt_records: u64,
    /// Times that the disk was full and records made room on it, since the engine was opened.
    pub full_disk_evictions: u64,
    /// Writes, syncs and reads that the operating system refused since the engine was opened.
    pub io_errors: u64,
    /// Whether a failed sync has ended writes.
    pub writes_refused: bool,
    /// Whether all that is stored is known yet; until then the numbers above grow without anybody's doing.
    pub is_loaded: bool,
    /// The scrub.
    pub scrub: ScrubUsage,
}

/// What [`Usage`] is read from. Each counter is exact; a snapshot may fall between two of them.
#[derive(Default, Debug)]
pub(crate) struct Counters {
    records: AtomicU64,
    logical_bytes: AtomicU64,
    stored_bytes: AtomicU64,
    /// Lengths of all packs and blob files.
    file_bytes: AtomicU64,
    /// What writes have taken that have not ended.
    unfinished_bytes: AtomicU64,
    evictions: AtomicU64,
    evicted_bytes: AtomicU64,
    copied_bytes: AtomicU64,
    corrupt_records: AtomicU64,
    full_disk_evictions: AtomicU64,
    io_errors: AtomicU64,
    /// Bytes that clients read from disk or wrote.
    traffic_bytes: AtomicU64,
}

impl Counters {
    pub(crate) fn count_in(&self, entry: &Entry) {
        self.records.fetch_add(1, Ordering::Relaxed);
        self.logical_bytes.fetch_add(entry.logical_size_bytes, Ordering::Relaxed);
        self.stored_bytes.fetch_add(entry.record_bytes, Ordering::Relaxed);
    }

    pub(crate) fn count_out(&self, entry: &Entry) {
        self.records.fetch_sub(1, Ordering::Relaxed);
        self.logical_bytes.fetch_sub(entry.logical_size_bytes, Ordering::Relaxed);
        self.stored_bytes.fetch_sub(entry.record_bytes, Ordering::Relaxed);
    }

    pub(crate) fn count_eviction(&self, entry: &Entry) {
        self.evictions.fetch_add(1, Ordering::Relaxed);
        self.evicted_bytes.fetch_add(entry.record_bytes, Ordering::Relaxed);
    }

    pub(crate) fn count_copy(&self, entry: &Entry) {
        self.copied_bytes.fetch_add(entry.record_bytes, Ordering::Relaxed);
    }

    pub(crate) fn count_corrupt(&self) {
        self.corrupt_records.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_full_disk(&self) {
        self.full_disk_evictions.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_io_error(&self) {
        self.io_errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_traffic(&self, bytes: u64) {
        self.traffic_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn traffic_bytes(&self) -> u64 {
        self.traffic_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn grow_files(&self, bytes: u64) {
        self.count_traffic(bytes);
        self.file_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn shrink_files(&self, bytes: u64) {
        self.file_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Returns what all of them have taken.
    pub(crate) fn grow_unfinished(&self, bytes: u64) -> u64 {
        self.unfinished_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes
    }

    pub(crate) fn shrink_unfinished(&self, bytes: u64) {
        self.unfinished_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn unfinished_bytes(&self) -> u64 {
        self.unfinished_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    pub(crate) fn file_bytes(&self) -> u64 {
        self.file_bytes.load(Ordering::Relaxed)
    }

    /// As far as counters tell.
    pub(crate) fn usage(&self) -> Usage {
        let stored_bytes = self.stored_bytes.load(Ordering::Relaxed);
        Usage {
            records: self.records(),
            logical_bytes: self.logical_bytes.load(Ordering::Relaxed),
            stored_bytes,
            dead_bytes: self.file_bytes().saturating_sub(stored_bytes),
            evictions: self.evictions.load(Ordering::Relaxed),
            evicted_bytes: self.evicted_bytes.load(Ordering::Relaxed),
            copied_bytes: self.copied_bytes.load(Ordering::Relaxed),
            corrupt_records: self.corrupt_records.load(Ordering::Relaxed),
            full_disk_evictions: self.full_disk_evictions.load(Ordering::Relaxed),
            io_errors: self.io_errors.load(Ordering::Relaxed),
            ..Usage::default()
        }
    }
}
