//! [`SetIo`]: real files, with a clock and a free space that the test sets.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use larder_disk::{DirEntry, Io, IoFile, OpenMode, RealIo};

use crate::support::{blob_files, pack_files};

/// Real files, with a clock and a free space that the test sets.
#[derive(Clone, Debug)]
pub(crate) struct SetIo {
    pub(crate) unix_s: Arc<AtomicU64>,
    /// What is free as far as others are concerned; what the engine takes is taken off.
    pub(crate) room_bytes: Arc<AtomicU64>,
}

impl SetIo {
    pub(crate) fn new() -> Self {
        Self {
            unix_s: Arc::new(AtomicU64::new(1_700_000_000)),
            room_bytes: Arc::new(AtomicU64::new(u64::MAX)),
        }
    }

    pub(crate) fn pass(&self, seconds: u64) {
        self.unix_s.fetch_add(seconds, Ordering::Relaxed);
    }
}

impl Io for SetIo {
    crate::support::io_passes_names_on!();

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn IoFile>> {
        RealIo.open(path, mode)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        RealIo.list(path)
    }
    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let room_bytes = self.room_bytes.load(Ordering::Relaxed);
        Ok(if room_bytes == u64::MAX {
            u64::MAX
        } else {
            room_bytes.saturating_sub(disk_bytes(path))
        })
    }
    fn unix_ms(&self) -> u64 {
        self.unix_s.load(Ordering::Relaxed) * 1_000
    }
}

/// What packs and blob files take.
pub(crate) fn disk_bytes(data_dir: &Path) -> u64 {
    let files = pack_files(data_dir).into_iter().chain(blob_files(data_dir));
    files.map(|path| std::fs::metadata(path).map_or(0, |metadata| metadata.len())).sum()
}
