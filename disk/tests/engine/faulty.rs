//! [`FaultyIo`]: real files on a disk that fails when it is told to.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use larder_disk::{DirEntry, DirLock, Io, IoFile, OpenMode, RealIo};
use parking_lot::Mutex;

pub(crate) const ENOSPC: i32 = 28;
pub(crate) const EIO: i32 = 5;
pub(crate) const EMFILE: i32 = 24;
pub(crate) const ENFILE: i32 = 23;
pub(crate) const EROFS: i32 = 30;
pub(crate) const EDQUOT: i32 = 122;

/// A call that can fail.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Call {
    Open,
    Read,
    Write,
    SyncData,
    SyncDir,
    Truncate,
}

/// Which calls fail, and how.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) call: Call,
    /// So many calls succeed first.
    pub(crate) after: u32,
    /// So many fail then.
    pub(crate) times: u32,
    pub(crate) errno: i32,
    /// How many bytes a failing write leaves behind.
    pub(crate) partial_bytes: usize,
    /// What the path of the file ends with.
    pub(crate) only: &'static str,
}

impl Fault {
    pub(crate) fn new(call: Call, errno: i32) -> Self {
        Self { call, after: 0, times: u32::MAX, errno, partial_bytes: 0, only: "" }
    }
}

/// Real files on a disk that fails when it is told to, until it is told to stop.
#[derive(Clone, Default, Debug)]
pub(crate) struct FaultyIo {
    faults: Arc<Mutex<Vec<Fault>>>,
}

impl FaultyIo {
    pub(crate) fn fail(&self, fault: Fault) {
        self.faults.lock().push(fault);
    }

    pub(crate) fn heal(&self) {
        self.faults.lock().clear();
    }

    fn check(&self, call: Call, path: &Path) -> Result<(), Fault> {
        let path = path.to_string_lossy();
        let is_meant = |fault: &&mut Fault| fault.call == call && path.ends_with(fault.only);
        for fault in self.faults.lock().iter_mut().filter(is_meant) {
            if fault.after > 0 {
                fault.after -= 1;
            } else if fault.times > 0 {
                fault.times -= 1;
                return Err(*fault);
            }
        }
        Ok(())
    }

    fn pass(&self, call: Call, path: &Path) -> io::Result<()> {
        self.check(call, path).map_err(|fault| io::Error::from_raw_os_error(fault.errno))
    }
}

impl Io for FaultyIo {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn IoFile>> {
        self.pass(Call::Open, path)?;
        let (file, path) = (RealIo.open(path, mode)?, path.to_owned());
        Ok(Arc::new(FaultyFile { file, path, io: self.clone() }))
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        RealIo.create_dir_all(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        RealIo.list(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealIo.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        RealIo.remove_file(path)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        RealIo.remove_dir_all(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.pass(Call::SyncDir, path)?;
        RealIo.sync_dir(path)
    }
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DirLock>>> {
        RealIo.lock(path)
    }
    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        RealIo.free_bytes(path)
    }
    fn unix_ms(&self) -> u64 {
        RealIo.unix_ms()
    }
    fn salt(&self) -> u64 {
        RealIo.salt()
    }
}

#[derive(Debug)]
struct FaultyFile {
    file: Arc<dyn IoFile>,
    path: PathBuf,
    io: FaultyIo,
}

impl IoFile for FaultyFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.io.pass(Call::Read, &self.path)?;
        self.file.read_at(buffer, offset)
    }
    fn read_cached(&self, _buffer: &mut [u8], _offset: u64) -> usize {
        0
    }
    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let Err(fault) = self.io.check(Call::Write, &self.path) else {
            return self.file.write_at(slices, offset);
        };
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let partial = fault.partial_bytes.min(bytes.len());
        if partial > 0 {
            self.file.write_at(&[IoSlice::new(&bytes[..partial])], offset)?;
        }
        Err(io::Error::from_raw_os_error(fault.errno))
    }
    fn forget_cached(&self, offset: u64, length_bytes: u64) {
        self.file.forget_cached(offset, length_bytes);
    }
    fn len_bytes(&self) -> io::Result<u64> {
        self.file.len_bytes()
    }
    fn truncate(&self, length_bytes: u64) -> io::Result<()> {
        self.io.pass(Call::Truncate, &self.path)?;
        self.file.truncate(length_bytes)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.io.pass(Call::SyncData, &self.path)?;
        self.file.sync_data()
    }
}
