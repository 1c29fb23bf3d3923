//! [`GatedIo`]: real files that the scrub's thread comes to only when it is let in, with blocks that cannot be read.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use larder_disk::{DirEntry, Io, IoFile, OpenMode, RealIo};
use parking_lot::{Condvar, Mutex};

use crate::faulty::{EIO, EMFILE};

#[derive(Default, Debug)]
struct Gate {
    is_closed: bool,
    refuses_files: bool,
    bad_block: Option<(PathBuf, Range<u64>)>,
}

/// Real files behind a gate.
#[derive(Clone, Default, Debug)]
pub(crate) struct GatedIo {
    state: Arc<(Mutex<Gate>, Condvar)>,
}

impl GatedIo {
    /// The scrub waits before its next file or read.
    pub(crate) fn close(&self) {
        self.state.0.lock().is_closed = true;
    }

    /// The scrub goes on.
    pub(crate) fn open_gate(&self) {
        self.state.0.lock().is_closed = false;
        self.state.1.notify_all();
    }

    /// Blob files are refused for want of descriptors, or no longer.
    pub(crate) fn refuse_files(&self, refuses: bool) {
        self.state.0.lock().refuses_files = refuses;
    }

    /// A read that touches these bytes ends with EIO.
    pub(crate) fn break_block(&self, path: &Path, block: Range<u64>) {
        self.state.0.lock().bad_block = Some((path.to_owned(), block));
    }

    fn pass(&self) {
        if std::thread::current().name() == Some("disk-scrub") {
            let mut gate = self.state.0.lock();
            while gate.is_closed {
                self.state.1.wait(&mut gate);
            }
        }
    }
}

impl Io for GatedIo {
    crate::support::io_passes_names_on!();

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn IoFile>> {
        self.pass();
        if self.state.0.lock().refuses_files && path.to_str().unwrap().contains("/blobs/") {
            return Err(io::Error::from_raw_os_error(EMFILE));
        }
        let file = RealIo.open(path, mode)?;
        Ok(Arc::new(GatedFile { file, path: path.to_owned(), io: self.clone() }))
    }
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.pass();
        RealIo.list(path)
    }
    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        RealIo.free_bytes(path)
    }
    fn unix_ms(&self) -> u64 {
        RealIo.unix_ms()
    }
}

#[derive(Debug)]
struct GatedFile {
    file: Arc<dyn IoFile>,
    path: PathBuf,
    io: GatedIo,
}

impl IoFile for GatedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.io.pass();
        let end = offset + buffer.len() as u64;
        if let Some((path, block)) = &self.io.state.0.lock().bad_block
            && *path == self.path
            && offset < block.end
            && block.start < end
        {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        self.file.read_at(buffer, offset)
    }
    fn read_cached(&self, _buffer: &mut [u8], _offset: u64) -> usize {
        0
    }
    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.file.write_at(slices, offset)
    }
    fn forget_cached(&self, offset: u64, length_bytes: u64) {
        self.file.forget_cached(offset, length_bytes);
    }
    fn len_bytes(&self) -> io::Result<u64> {
        self.file.len_bytes()
    }
    fn truncate(&self, length_bytes: u64) -> io::Result<()> {
        self.file.truncate(length_bytes)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
