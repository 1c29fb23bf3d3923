//! [`HeldIo`]: real files, and calls that wait until the test lets them go on.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use larder_disk::{DirEntry, Io, IoFile, OpenMode, RealIo};
use parking_lot::{Condvar, Mutex};

/// A call that can be held.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Point {
    SyncPack,
    /// Of a directory of blob files.
    SyncFan,
    /// Of a blob file.
    Rename,
}

#[derive(Default, Debug)]
struct State {
    held: Vec<Point>,
    waiting: Vec<Point>,
}

/// Real files, and calls that wait until the test lets them go on.
#[derive(Clone, Default, Debug)]
pub(crate) struct HeldIo {
    state: Arc<(Mutex<State>, Condvar)>,
}

impl HeldIo {
    /// Who comes to such a call from here on waits before it.
    pub(crate) fn hold(&self, point: Point) {
        self.state.0.lock().held.push(point);
    }

    /// They go on.
    pub(crate) fn let_go(&self, point: Point) {
        self.state.0.lock().held.retain(|held| *held != point);
        self.state.1.notify_all();
    }

    /// Waits until somebody waits there.
    pub(crate) fn wait_for(&self, point: Point) {
        let mut state = self.state.0.lock();
        while !state.waiting.contains(&point) {
            self.state.1.wait(&mut state);
        }
    }

    fn pass(&self, point: Point) {
        let mut state = self.state.0.lock();
        if !state.held.contains(&point) {
            return;
        }
        state.waiting.push(point);
        self.state.1.notify_all();
        while state.held.contains(&point) {
            self.state.1.wait(&mut state);
        }
        let at = state.waiting.iter().position(|waiting| *waiting == point).unwrap();
        state.waiting.swap_remove(at);
    }
}

fn is_of_blobs(path: &Path) -> bool {
    path.to_str().unwrap().contains("/blobs/")
}

impl Io for HeldIo {
    crate::support::io_passes_names_on!(but for rename and sync_dir);

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if is_of_blobs(to) {
            self.pass(Point::Rename);
        }
        RealIo.rename(from, to)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        if is_of_blobs(path) {
            self.pass(Point::SyncFan);
        }
        RealIo.sync_dir(path)
    }
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn IoFile>> {
        let file = RealIo.open(path, mode)?;
        Ok(Arc::new(HeldFile { file, path: path.to_owned(), io: self.clone() }))
    }
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
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
struct HeldFile {
    file: Arc<dyn IoFile>,
    path: PathBuf,
    io: HeldIo,
}

impl IoFile for HeldFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
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
        if self.path.extension().is_some_and(|extension| extension == "pack") {
            self.io.pass(Point::SyncPack);
        }
        self.file.sync_data()
    }
}
