//! [`Pack`]: one append-only file of records, and [`Packs`], those that are open.
//!
//! Invariant: bytes before a pack's end never change, so readers take no lock and keep their file when the pack is removed.
//! Units: offsets are bytes from the start of the file.
//! Source: docs/design/disk-format.md, "Packs".

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;

use crate::error::DiskError;
use crate::io::{Io, IoFile, OpenMode, write_full};
use crate::layout::Layout;

/// Bytes of a pack's header; the first record begins here.
pub(crate) const HEADER_BYTES: usize = 64;
/// A pack takes this part of the limit, within the bounds below.
const PACKS_PER_LIMIT: u64 = 64;
const SMALLEST_CAP_BYTES: u64 = 1 << 20;
const LARGEST_CAP_BYTES: u64 = 256 << 20;

const MAGIC: [u8; 4] = [0x5B, 0x2A, 0x4D, 0x18];
const INNER_MAGIC: [u8; 4] = *b"LrdP";
const VERSION: u8 = 1;
/// A place in a pack is told from a file by its top bit.
pub(crate) const LAST_ID: u32 = u32::MAX >> 1;
const CHECKSUM_AT: usize = HEADER_BYTES - 4;

/// A place in the log: all packs, one after another.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Default, Debug)]
pub(crate) struct LogPosition {
    pub(crate) pack: u32,
    pub(crate) offset: u32,
}

/// An open pack.
#[derive(Debug)]
pub(crate) struct Pack {
    pub(crate) id: u32,
    pub(crate) file: Arc<dyn IoFile>,
    has_removals: AtomicBool,
}

impl Pack {
    /// A file that is open.
    pub(crate) fn new(id: u32, file: Arc<dyn IoFile>) -> Self {
        Self { id, file, has_removals: AtomicBool::new(false) }
    }

    /// Stands for a pack whose file is gone.
    pub(crate) fn gone(id: u32) -> Self {
        Self::new(id, Arc::new(NoFile))
    }

    /// Notes that there is a removal among its records, or one that was dropped and hides what is older.
    pub(crate) fn note_removal(&self) {
        self.has_removals.store(true, Ordering::Relaxed);
    }

    /// Whether there may be a removal among its records; known once all that is stored is.
    pub(crate) fn has_removals(&self) -> bool {
        self.has_removals.load(Ordering::Relaxed)
    }

    /// Takes the first byte from a record: nobody reads it as one any more.
    pub(crate) fn strike_out(&self, at: u64) -> io::Result<()> {
        write_full(&*self.file, &mut [IoSlice::new(&[0])], at)
    }

    /// Makes an empty pack that survives a power cut, with the first free id from `id` on: a name may be taken by what is no
    /// pack, and is left alone.
    pub(crate) fn create(
        io: &dyn Io,
        layout: &Layout,
        mut id: u32,
        salt: u64,
    ) -> Result<Self, DiskError> {
        let file = loop {
            let path = layout.pack_file(id);
            match io.open(&path, OpenMode::CreateNew) {
                Ok(file) => break file,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && id < LAST_ID => {
                    id += 1;
                }
                Err(error) => return Err(DiskError::io("create", &path)(error)),
            }
        };
        let path = layout.pack_file(id);
        let write = || -> io::Result<Arc<dyn IoFile>> {
            let header = PackHeader { id, salt, created_unix_ms: io.unix_ms() }.to_bytes();
            write_full(&*file, &mut [IoSlice::new(&header)], 0)?;
            file.sync_data()?;
            io.sync_dir(&layout.packs_dir())?;
            Ok(file)
        };
        match write() {
            Ok(file) => Ok(Self::new(id, file)),
            Err(error) => {
                // What is left of it would only be an empty pack at the next start.
                let _ = io.remove_file(&path);
                Err(DiskError::io("create", &path)(error))
            }
        }
    }
}

/// The file of a pack that is gone: holds no blocks of the disk, and nothing else.
#[derive(Debug)]
struct NoFile;

impl IoFile for NoFile {
    fn read_at(&self, _buffer: &mut [u8], _offset: u64) -> io::Result<usize> {
        Ok(0)
    }
    fn read_cached(&self, _buffer: &mut [u8], _offset: u64) -> usize {
        0
    }
    fn write_at(&self, _slices: &[IoSlice<'_>], _offset: u64) -> io::Result<usize> {
        Err(io::ErrorKind::NotFound.into())
    }
    fn forget_cached(&self, _offset: u64, _length_bytes: u64) {}
    fn len_bytes(&self) -> io::Result<u64> {
        Ok(0)
    }
    fn truncate(&self, _length_bytes: u64) -> io::Result<()> {
        Ok(())
    }
    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
}

/// How large a pack may grow under a limit for all.
pub(crate) fn cap_bytes(max_size_bytes: u64) -> u64 {
    (max_size_bytes / PACKS_PER_LIMIT).clamp(SMALLEST_CAP_BYTES, LARGEST_CAP_BYTES)
}

/// What a pack's first bytes say.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) struct PackHeader {
    pub(crate) id: u32,
    pub(crate) salt: u64,
    pub(crate) created_unix_ms: u64,
}

impl PackHeader {
    pub(crate) fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = 56;
        bytes[8..12].copy_from_slice(&INNER_MAGIC);
        bytes[12] = VERSION;
        bytes[16..20].copy_from_slice(&self.id.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.salt.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.created_unix_ms.to_le_bytes());
        let sum = crc32c::crc32c(&bytes[..CHECKSUM_AT]);
        bytes[CHECKSUM_AT..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    pub(crate) fn parse(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let read = |at: usize, length: usize| {
            let mut number = [0; 8];
            number[..length].copy_from_slice(&bytes[at..at + length]);
            u64::from_le_bytes(number)
        };
        let header = Self {
            id: u32::try_from(read(16, 4)).ok()?,
            salt: read(24, 8),
            created_unix_ms: read(32, 8),
        };
        // The rest of the header is fixed, so the header is good when it is what would be written.
        (header.to_bytes() == *bytes).then_some(header)
    }
}

/// The packs that are open. Readers take no lock.
///
/// A pack that is removed is closed as soon as the last who reads it lets it go: its blocks are the disk's only then.
#[derive(Default, Debug)]
pub(crate) struct Packs {
    /// Copied for each change: packs come and go far less often than they are read.
    open: ArcSwap<BTreeMap<u32, Arc<Pack>>>,
}

impl Packs {
    pub(crate) fn get(&self, id: u32) -> Option<Arc<Pack>> {
        self.open.load().get(&id).cloned()
    }

    pub(crate) fn extend(&self, packs: impl IntoIterator<Item = Arc<Pack>>) {
        let more: Vec<_> = packs.into_iter().map(|pack| (pack.id, pack)).collect();
        self.change(|open| open.extend(more.iter().cloned()));
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.open.load().len()
    }

    /// The ids there are, the lowest first.
    pub(crate) fn ids(&self) -> Vec<u32> {
        self.open.load().keys().copied().collect()
    }

    /// The lowest id there is.
    pub(crate) fn oldest(&self) -> Option<u32> {
        self.open.load().first_key_value().map(|(id, _)| *id)
    }

    pub(crate) fn remove(&self, id: u32) {
        self.change(|open| drop(open.remove(&id)));
    }

    fn change(&self, change: impl Fn(&mut BTreeMap<u32, Arc<Pack>>)) {
        self.open.rcu(|open| {
            let mut open = BTreeMap::clone(open);
            change(&mut open);
            open
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::RealIo;

    #[test]
    fn a_header_survives_the_round_trip_and_no_flipped_bit() {
        let header = PackHeader { id: 7, salt: u64::MAX - 3, created_unix_ms: 1_234_567_890_123 };
        let bytes = header.to_bytes();
        assert_eq!(PackHeader::parse(&bytes), Some(header));
        for bit in 0..HEADER_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(PackHeader::parse(&flipped), None, "bit {bit}");
        }
    }

    #[test]
    fn a_pack_that_is_removed_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let open = |id: u32| {
            let path = dir.path().join(id.to_string());
            Arc::new(Pack::new(id, RealIo.open(&path, OpenMode::CreateNew).unwrap()))
        };
        let packs = Packs::default();
        packs.extend((1..=40).map(open));
        let closed: Vec<_> = (1..=40)
            .map(|id| {
                let pack = Arc::downgrade(&packs.get(id).unwrap());
                packs.remove(id);
                pack.strong_count() == 0
            })
            .collect();
        assert_eq!(closed, [true; 40]);
        assert_eq!((packs.count(), packs.oldest()), (0, None));
    }

    #[test]
    fn caps() {
        let check = |limit: u64, expect: u64| assert_eq!(cap_bytes(limit), expect);
        check(0, SMALLEST_CAP_BYTES);
        check(1 << 30, 16 << 20);
        check(50 << 30, LARGEST_CAP_BYTES);
        check(u64::MAX, LARGEST_CAP_BYTES);
    }
}
