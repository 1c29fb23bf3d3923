//! [`Io`]: all that the engine takes from the machine, and [`RealIo`], which passes it on.
//!
//! The seam is where tests put a disk that fails. It is as narrow as the engine allows: positions are explicit, nothing
//! is buffered, and short reads and writes are the caller's business.

use std::ffi::OsString;
use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, IoSlice, IoSliceMut};
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{Advice, FlockOperation};
use rustix::io::ReadWriteFlags;

use crate::error::is_read_only;

/// What the engine needs of a file system, a clock and a source of salt.
pub trait Io: Debug + Send + Sync + 'static {
    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn IoFile>>;
    /// Makes a directory and those above it.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// What stands in a directory; an absent one is an error.
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>>;
    /// Gives a file or directory another name, replacing a file of that name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory and all in it.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory survive a power cut.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Takes the lock that `path` stands for, creating it where that can be; `None` when another holds it. Dropping it gives it back.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DirLock>>>;
    /// Bytes that the file system of `path` has left for this user.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;
    /// Milliseconds since 1970.
    fn unix_ms(&self) -> u64;
    /// A number that another directory does not have.
    fn salt(&self) -> u64;
}

/// An open file.
pub trait IoFile: Debug + Send + Sync + 'static {
    /// Reads up to `buffer.len()` bytes at `offset`; 0 at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Fills a prefix of `buffer` from `offset` with what the system has in memory, and says how much; never waits for the disk. What
    /// cannot be had so, for whatever reason, is left to [`Self::read_at`].
    fn read_cached(&self, buffer: &mut [u8], offset: u64) -> usize;
    /// Writes a prefix of `slices` at `offset` and says how much.
    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;
    /// Says that these bytes will not be read again soon, so that the system need not keep them in memory.
    fn forget_cached(&self, offset: u64, length_bytes: u64);
    /// The length in bytes.
    fn len_bytes(&self) -> io::Result<u64>;
    /// Cuts or extends to a length.
    fn truncate(&self, length_bytes: u64) -> io::Result<()>;
    /// fdatasync: what is written, and the length, survive a power cut.
    fn sync_data(&self) -> io::Result<()>;
}

/// A lock that is held until it is dropped.
pub trait DirLock: Debug + Send + Sync {}

/// How a file is opened.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum OpenMode {
    /// An existing one, to read.
    Read,
    /// An existing one, to read and write.
    ReadWrite,
    /// A new one, to read and write; an error when it exists.
    CreateNew,
}

/// A name in a directory.
#[derive(Clone, Debug)]
pub struct DirEntry {
    /// The name, without the directory.
    pub name: OsString,
    /// Its length where it is a plain file; `None` for everything else.
    pub file_bytes: Option<u64>,
}

/// The machine itself.
#[derive(Copy, Clone, Default, Debug)]
pub struct RealIo;

impl Io for RealIo {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn IoFile>> {
        let mut options = OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => {}
            OpenMode::ReadWrite => {
                options.write(true);
            }
            OpenMode::CreateNew => {
                options.write(true).create_new(true);
            }
        }
        Ok(Arc::new(RealFile(options.open(path)?)))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        std::fs::read_dir(path)?
            .map(|entry| {
                let entry = entry?;
                let metadata = entry.metadata()?;
                let file_bytes = metadata.is_file().then_some(metadata.len());
                Ok(DirEntry { name: entry.file_name(), file_bytes })
            })
            .collect()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DirLock>>> {
        let writable = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        let file = match writable {
            // A lock needs no writes; where there is no file yet, the directory stands for it.
            Err(error) if is_read_only(&error) => match File::open(path) {
                Err(_) => File::open(path.parent().unwrap_or(path))?,
                opened => opened?,
            },
            writable => writable?,
        };
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Box::new(FileLock { _file: file }))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let found = rustix::fs::statvfs(path)?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    fn unix_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn salt(&self) -> u64 {
        // The standard library keys its hashers from the system's entropy.
        RandomState::new().hash_one(self.unix_ms())
    }
}

#[derive(Debug)]
struct RealFile(File);

impl IoFile for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn read_cached(&self, buffer: &mut [u8], offset: u64) -> usize {
        let buffer = &mut [IoSliceMut::new(buffer)];
        rustix::io::preadv2(&self.0, buffer, offset, ReadWriteFlags::NOWAIT).unwrap_or(0)
    }

    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        Ok(rustix::io::pwritev(&self.0, slices, offset)?)
    }

    fn forget_cached(&self, offset: u64, length_bytes: u64) {
        // Advice only: a file system that takes none is no error.
        if let Some(length_bytes) = NonZeroU64::new(length_bytes) {
            let _ = rustix::fs::fadvise(&self.0, offset, Some(length_bytes), Advice::DontNeed);
        }
    }

    fn len_bytes(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn truncate(&self, length_bytes: u64) -> io::Result<()> {
        self.0.set_len(length_bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

#[derive(Debug)]
struct FileLock {
    /// flock ends with the descriptor.
    _file: File,
}

impl DirLock for FileLock {}

/// The kernel takes at most this many slices at once (`IOV_MAX`).
const SLICES_PER_WRITE: usize = 1024;

/// Fills `buffer` from `offset` on, as far as the file goes, and says how far.
pub(crate) fn read_full(
    file: &dyn IoFile,
    buffer: &mut [u8],
    mut offset: u64,
) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset) {
            Ok(0) => break,
            Ok(count) => {
                filled += count;
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Writes all of `slices` from `offset` on.
pub(crate) fn write_full(
    file: &dyn IoFile,
    mut slices: &mut [IoSlice<'_>],
    mut offset: u64,
) -> io::Result<()> {
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        let now = slices.len().min(SLICES_PER_WRITE);
        match file.write_at(&slices[..now], offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                offset += count as u64;
                IoSlice::advance_slices(&mut slices, count);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
