//! [`verify`]: reads all that a data directory holds while no engine has it open, says what is wrong with it, and mends it if asked.
//!
//! Every record of every pack and every blob file is held against its place, its checksums and its digest. What is not
//! Larder's is named and left alone. Mending only ever takes away: a bad record becomes a miss, a torn tail is cut, an index
//! that disagrees is removed, and the log makes a new one.
//! Source: docs/design/disk-format.md, "Verifying and mending".

mod directory;
mod finding;
mod index;
mod mend;
mod packs;

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

pub use self::finding::{Finding, FindingKind, Verified};

use self::directory::Directory;
use crate::body_check::BodyCheck;
use crate::error::DiskError;
use crate::io::{DirLock, Io, IoFile, OpenMode};
use crate::layout::Layout;
use crate::pace::{Pace, PacedFile};

/// Whether what is wrong is mended.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Repair {
    /// Only told.
    No,
    /// Mended, as far as can be.
    Yes,
}

/// Is told how far verifying has come.
pub trait Watch: Debug + Send + Sync + 'static {
    /// So many bytes are there to be read.
    fn planned(&self, bytes: u64);
    /// So many more of them have been read.
    fn read(&self, bytes: u64);
}

/// Nobody watches.
#[derive(Copy, Clone, Default, Debug)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn planned(&self, _bytes: u64) {}
    fn read(&self, _bytes: u64) {}
}

/// A watched reader never waits.
#[derive(Debug)]
struct Watched(Arc<dyn Watch>);

impl Pace for Watched {
    fn note_read(&self, bytes: u64) -> io::Result<()> {
        self.0.read(bytes);
        Ok(())
    }
}

/// Reads all of `data_dir`, tells each finding as it comes, and returns the counts. Refuses a directory that an engine has
/// open, one of another version, and one that is no data directory.
pub fn verify(
    data_dir: &Path,
    repair: Repair,
    io: &Arc<dyn Io>,
    watch: Arc<dyn Watch>,
    tell: &mut dyn FnMut(&Finding),
) -> Result<Verified, DiskError> {
    let layout = Layout::new(data_dir);
    let names = io.list(data_dir).map_err(DiskError::io("list", data_dir))?;
    if !names.iter().any(|entry| entry.name == "LAYOUT" || entry.name == "packs") {
        return Err(DiskError::NoDataDir { path: data_dir.to_owned() });
    }
    let _lock = lock(&**io, &layout)?;
    let check = BodyCheck::new().map_err(DiskError::io("make a decoder for", data_dir))?;
    let verified = Verified::default();
    let pace: Arc<dyn Pace> = Arc::new(Watched(Arc::clone(&watch)));
    let mut verifier = Verifier { io: Arc::clone(io), pace, layout, repair, check, verified, tell };
    let directory = Directory::read(&mut verifier)?;
    watch.planned(directory.bytes());
    let ends = verifier.packs(&directory)?;
    verifier.blob_files(&directory)?;
    verifier.index(&directory, &ends)?;
    Ok(verifier.verified)
}

fn lock(io: &dyn Io, layout: &Layout) -> Result<Box<dyn DirLock>, DiskError> {
    let lock_file = layout.lock_file();
    io.lock(&lock_file)
        .map_err(DiskError::io("lock", &lock_file))?
        .ok_or_else(|| DiskError::Locked { data_dir: layout.data_dir().to_owned() })
}

/// One look through a directory.
struct Verifier<'a> {
    io: Arc<dyn Io>,
    /// Is told of what is read of packs and blob files.
    pace: Arc<dyn Pace>,
    layout: Layout,
    repair: Repair,
    check: BodyCheck,
    verified: Verified,
    tell: &'a mut dyn FnMut(&Finding),
}

impl Verifier<'_> {
    /// Opens a pack or a blob file to be read under watch.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn IoFile>> {
        let file = self.io.open(path, OpenMode::Read)?;
        Ok(Arc::new(PacedFile { file, pace: Arc::clone(&self.pace) }))
    }

    /// Tells what was found, after `mend` has done what can be done about it, where that is asked for.
    fn tell(
        &mut self,
        mut finding: Finding,
        mend: impl FnOnce(&mut Self) -> Result<(), DiskError>,
    ) -> Result<(), DiskError> {
        if self.repair == Repair::Yes {
            mend(self)?;
            finding.is_mended = true;
        }
        self.tell_only(&finding);
        Ok(())
    }

    /// Tells what nothing is to be done about.
    fn tell_only(&mut self, finding: &Finding) {
        self.verified.count(finding);
        (self.tell)(finding);
    }

    fn remove_file(&self, path: &Path) -> Result<(), DiskError> {
        self.io.remove_file(path).map_err(DiskError::io("remove", path))?;
        match path.parent() {
            Some(dir) => self.io.sync_dir(dir).map_err(DiskError::io("sync", dir)),
            None => Ok(()),
        }
    }

    fn remove_dir(&self, path: &Path) -> Result<(), DiskError> {
        match self.io.remove_dir_all(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(DiskError::io("remove", path)(error))
            }
            _ => {
                let dir = self.layout.data_dir();
                self.io.sync_dir(dir).map_err(DiskError::io("sync", dir))
            }
        }
    }
}
