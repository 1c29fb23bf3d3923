//! [`Pack`]: one append-only file of records, and [`Packs`], those that are open.
//!
//! Invariant: bytes before a pack's end never change, so readers take no lock and keep their file when the pack is removed.
//! Units: offsets are bytes from the start of the file.
//! Source: docs/design/disk-format.md, "Packs".

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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

    /// Notes that there is a removal among its records, or one that was dropped and hides what is older.
    pub(crate) fn note_removal(&self) {
        self.has_removals.store(true, Ordering::Relaxed);
    }

    /// Whether there may be a removal among its records; known once all that is stored is.
    pub(crate) fn has_removals(&self) -> bool {
        self.has_removals.load(Ordering::Relaxed)
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
#[derive(Default, Debug)]
pub(crate) struct Packs {
    open: papaya::HashMap<u32, Arc<Pack>>,
}

impl Packs {
    pub(crate) fn get(&self, id: u32) -> Option<Arc<Pack>> {
        self.open.pin().get(&id).cloned()
    }

    pub(crate) fn insert(&self, pack: Arc<Pack>) {
        self.open.pin().insert(pack.id, pack);
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.open.pin().len()
    }

    /// The lowest id there is.
    pub(crate) fn oldest(&self) -> Option<u32> {
        self.open.pin().keys().min().copied()
    }

    pub(crate) fn remove(&self, id: u32) {
        self.open.pin().remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn caps() {
        let check = |limit: u64, expect: u64| assert_eq!(cap_bytes(limit), expect);
        check(0, SMALLEST_CAP_BYTES);
        check(1 << 30, 16 << 20);
        check(50 << 30, LARGEST_CAP_BYTES);
        check(u64::MAX, LARGEST_CAP_BYTES);
    }
}
