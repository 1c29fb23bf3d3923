//! [`Prologue`]: what stands before each record's body, to and from bytes.
//!
//! Pure. Parsing never panics and never allocates more than the input is long; the checksum covers each byte, and the place
//! where the record belongs.
//! Units: bytes; frame sizes are powers of two.
//! Source: docs/design/disk-format.md, "A record: prologue, then body".

use larder_protos::{DigestFunction, Hash};

use crate::key::{Keyspace, RecordKey, RecordKind};

/// Logical bytes of a frame, as a power of two: 256 KiB.
pub(crate) const FRAME_SIZE_LOG2: u8 = 18;
/// Logical bytes of a frame.
pub(crate) const FRAME_SIZE_BYTES: usize = 1 << FRAME_SIZE_LOG2;
/// Bytes of a prologue before hash, keyspace and frame table.
pub(crate) const FIXED_BYTES: usize = 68;
/// Sizes stay below this, so that the index can hold them in six bytes.
pub(crate) const SIZE_LIMIT_BYTES: u64 = 1 << 48;

/// `0x184D2A5C` in little-endian: how each record begins.
pub(crate) const RECORD_MAGIC: [u8; 4] = [0x5C, 0x2A, 0x4D, 0x18];
const INNER_MAGIC: [u8; 4] = *b"LrdR";
const VERSION: u8 = 1;
const FRAME_ENTRY_BYTES: usize = 8;
const FRAME_SIZE_LOG2_RANGE: std::ops::RangeInclusive<u8> = 12..=24;
const EXTENSION_LIMIT_BYTES: usize = 4_096;
const CRITICAL_FLAGS: u32 = 0xFFFF_0000;

const SEQUENCE_AT: usize = 40;
const CHECKSUM_AT: usize = 64;

/// How a body is stored.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub enum Encoding {
    /// The blob's bytes.
    Raw,
    /// One or more zstd frames, one after another.
    Zstd,
}

/// Where a record belongs; part of its checksum.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) struct Place {
    /// The directory's salt.
    pub(crate) salt: u64,
    /// `pack id << 32 | offset`; 0 in a blob file.
    pub(crate) position: u64,
}

impl Place {
    pub(crate) fn in_pack(salt: u64, pack: u32, offset: u32) -> Self {
        Self { salt, position: u64::from(pack) << 32 | u64::from(offset) }
    }

    pub(crate) fn in_file(salt: u64) -> Self {
        Self { salt, position: 0 }
    }
}

/// What a record does to its key.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Effect {
    /// The record is the content.
    Store,
    /// The key has no content from here on.
    Remove,
}

/// One frame of a body.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) struct FrameEntry {
    pub(crate) stored_bytes: u32,
    pub(crate) checksum: u32,
}

/// What stands before a record's body.
#[derive(Clone, Eq, PartialEq, Debug)]
pub(crate) struct Prologue {
    pub(crate) effect: Effect,
    pub(crate) key: RecordKey,
    pub(crate) encoding: Encoding,
    /// 0: the body is one zstd stream, and frames are no more than the pieces of it that have a checksum.
    pub(crate) frame_size_log2: u8,
    pub(crate) logical_size_bytes: u64,
    pub(crate) sequence: u64,
    pub(crate) written_unix_ms: u64,
    /// Bytes of an extension that a later version wrote; passed over.
    pub(crate) extension_bytes: u16,
    pub(crate) frames: Vec<FrameEntry>,
}

/// Why bytes are no prologue. Only for log lines and tests: to a reader all of them mean "no record here".
#[derive(Copy, Clone, Eq, PartialEq, Debug, thiserror::Error)]
pub(crate) enum PrologueError {
    #[error("the bytes end before the prologue does")]
    Short,
    #[error("no record begins here")]
    Magic,
    #[error("checksum")]
    Checksum,
    #[error("version, kind, encoding or flag of a later version")]
    Unknown,
    #[error("fields that contradict each other")]
    Inconsistent,
}

impl Prologue {
    /// Bytes of the body.
    pub(crate) fn stored_size_bytes(&self) -> u64 {
        self.frames.iter().map(|frame| u64::from(frame.stored_bytes)).sum()
    }

    /// Bytes of the prologue.
    pub(crate) fn length_bytes(&self) -> usize {
        prologue_bytes(&self.key, self.frames.len()) + usize::from(self.extension_bytes)
    }

    /// Bytes of prologue and body.
    pub(crate) fn record_bytes(&self) -> u64 {
        self.length_bytes() as u64 + self.stored_size_bytes()
    }

    /// Whether the body is to be decoded as one, whatever pieces it lies in.
    pub(crate) fn is_stream(&self) -> bool {
        self.frame_size_log2 == 0
    }

    /// Logical bytes of each frame but the last.
    pub(crate) fn frame_size_bytes(&self) -> u64 {
        match self.frame_size_log2 {
            0 => self.logical_size_bytes,
            log2 => 1 << log2,
        }
    }

    /// Writes all but the sequence number and the checksum into `out`, which is [`Self::length_bytes`] long.
    /// [`seal`] makes it a prologue.
    pub(crate) fn write(&self, out: &mut [u8]) {
        let hash = self.key.hash().as_bytes();
        let keyspace = self.key.keyspace().as_str().as_bytes();
        let rest = u32::try_from(out.len() - 8).expect("frame tables are below 4 GiB");
        let frames = u32::try_from(self.frames.len()).expect("sizes are below 2^48");
        let mut writer = Writer { out, at: 0 };
        writer.put(&RECORD_MAGIC);
        writer.put(&rest.to_le_bytes());
        writer.put(&INNER_MAGIC);
        writer.put(&[
            VERSION,
            kind_code(self.key.kind(), self.effect),
            function_code(self.key.function()),
            encoding_code(self.encoding),
            u8::try_from(hash.len()).expect("hashes take at most 64 bytes"),
            self.frame_size_log2,
        ]);
        let keyspace_bytes = u16::try_from(keyspace.len()).expect("Keyspace::new checks");
        writer.put(&keyspace_bytes.to_le_bytes());
        writer.put(&frames.to_le_bytes());
        writer.put(&self.logical_size_bytes.to_le_bytes());
        writer.put(&self.stored_size_bytes().to_le_bytes());
        writer.put(&[0; 8]);
        writer.put(&self.written_unix_ms.to_le_bytes());
        writer.put(&[0; 12]);
        writer.put(hash);
        writer.put(keyspace);
        for frame in &self.frames {
            writer.put(&frame.stored_bytes.to_le_bytes());
            writer.put(&frame.checksum.to_le_bytes());
        }
    }

    /// Reads a prologue that begins at `bytes[0]` and belongs at `place`.
    pub(crate) fn parse(bytes: &[u8], place: Place) -> Result<Self, PrologueError> {
        let length = announced_bytes(bytes)?;
        let bytes = bytes.get(..length).ok_or(PrologueError::Short)?;
        let fixed: &[u8; FIXED_BYTES] = bytes.first_chunk().ok_or(PrologueError::Short)?;
        if checksum(bytes, place) != u32_at(fixed, CHECKSUM_AT) {
            return Err(PrologueError::Checksum);
        }
        let (kind, effect) = kind_of(fixed[13]).ok_or(PrologueError::Unknown)?;
        let function = function_of(fixed[14]).ok_or(PrologueError::Unknown)?;
        let encoding = encoding_of(fixed[15]).ok_or(PrologueError::Unknown)?;
        if fixed[12] != VERSION || u32_at(fixed, 56) & CRITICAL_FLAGS != 0 {
            return Err(PrologueError::Unknown);
        }
        let rest = split_rest(fixed, &bytes[FIXED_BYTES..]).ok_or(PrologueError::Inconsistent)?;
        let hash = Hash::from_bytes(function, rest.hash);
        let keyspace = std::str::from_utf8(rest.keyspace).ok().and_then(|s| Keyspace::new(s).ok());
        let (Some(hash), Some(keyspace)) = (hash, keyspace) else {
            return Err(PrologueError::Inconsistent);
        };
        let logical_size_bytes = u64_at(fixed, 24);
        let prologue = Self {
            effect,
            key: RecordKey::from_parts(kind, keyspace, hash, logical_size_bytes),
            encoding,
            frame_size_log2: fixed[17],
            logical_size_bytes,
            sequence: u64_at(fixed, SEQUENCE_AT),
            written_unix_ms: u64_at(fixed, 48),
            extension_bytes: rest.extension_bytes,
            frames: rest.frames,
        };
        if prologue.is_consistent() && prologue.stored_size_bytes() == u64_at(fixed, 32) {
            Ok(prologue)
        } else {
            Err(PrologueError::Inconsistent)
        }
    }

    /// Whether `body` begins with this record's body, by the checksums of its frames.
    pub(crate) fn is_body(&self, body: &[u8]) -> bool {
        let mut rest = body;
        self.frames.iter().all(|frame| {
            let Some((stored, after)) = rest.split_at_checked(frame.stored_bytes as usize) else {
                return false;
            };
            rest = after;
            crc32c::crc32c(stored) == frame.checksum
        })
    }

    fn is_consistent(&self) -> bool {
        let frames = self.frames.len() as u64;
        let has_its_frames = match (self.effect, self.frame_size_log2) {
            (Effect::Remove, _) => frames == 0,
            (Effect::Store, 0) => frames == 1 || frames > 1 && self.encoding == Encoding::Zstd,
            (Effect::Store, log2) => frame_count(self.logical_size_bytes, log2) == Some(frames),
        };
        has_its_frames
            && self.logical_size_bytes < SIZE_LIMIT_BYTES
            && self.sequence < 1 << 63
            && (self.encoding == Encoding::Zstd
                || self.effect == Effect::Remove
                || self.stored_size_bytes() == self.logical_size_bytes)
    }
}

/// The length of the prologue that `bytes` begin with, as it announces it; nothing is checked but its beginning.
pub(crate) fn announced_bytes(bytes: &[u8]) -> Result<usize, PrologueError> {
    let start: &[u8; 12] = bytes.first_chunk().ok_or(PrologueError::Short)?;
    if start[..4] != RECORD_MAGIC || start[8..] != INNER_MAGIC {
        return Err(PrologueError::Magic);
    }
    let length = u64::from(u32_at(start, 4)) + 8;
    if length < FIXED_BYTES as u64 {
        return Err(PrologueError::Inconsistent);
    }
    usize::try_from(length).map_err(|_| PrologueError::Inconsistent)
}

/// Bytes of a prologue for a key and a number of frames.
pub(crate) fn prologue_bytes(key: &RecordKey, frames: usize) -> usize {
    FIXED_BYTES
        + key.hash().as_bytes().len()
        + key.keyspace().as_str().len()
        + frames * FRAME_ENTRY_BYTES
}

/// How many frames hold `logical_size_bytes`; `None` where the frame size is none of the format's.
fn frame_count(logical_size_bytes: u64, frame_size_log2: u8) -> Option<u64> {
    let is_known = FRAME_SIZE_LOG2_RANGE.contains(&frame_size_log2);
    is_known.then(|| logical_size_bytes.div_ceil(1 << frame_size_log2))
}

/// Gives a written prologue its sequence number and its place. Also moves a record: whatever else stands in the prologue
/// stays as it is.
pub(crate) fn seal(prologue: &mut [u8], sequence: u64, place: Place) {
    prologue[SEQUENCE_AT..SEQUENCE_AT + 8].copy_from_slice(&sequence.to_le_bytes());
    let sum = checksum(prologue, place);
    prologue[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&sum.to_le_bytes());
}

fn checksum(prologue: &[u8], place: Place) -> u32 {
    let sum = crc32c::crc32c(&place.salt.to_le_bytes());
    let sum = crc32c::crc32c_append(sum, &place.position.to_le_bytes());
    let sum = crc32c::crc32c_append(sum, &prologue[..CHECKSUM_AT]);
    crc32c::crc32c_append(sum, &prologue[FIXED_BYTES..])
}

struct Rest<'a> {
    hash: &'a [u8],
    keyspace: &'a [u8],
    extension_bytes: u16,
    frames: Vec<FrameEntry>,
}

/// What follows the fixed part, by the lengths it gives; `None` unless they add up exactly.
fn split_rest<'a>(fixed: &[u8; FIXED_BYTES], rest: &'a [u8]) -> Option<Rest<'a>> {
    let (hash, rest) = rest.split_at_checked(usize::from(fixed[16]))?;
    let (keyspace, rest) = rest.split_at_checked(usize::from(u16_at(fixed, 18)))?;
    let extension_bytes = u16_at(fixed, 60);
    let (_, table) = rest.split_at_checked(usize::from(extension_bytes))?;
    let frames = u64::from(u32_at(fixed, 20));
    let fits = frames * FRAME_ENTRY_BYTES as u64 == table.len() as u64
        && usize::from(extension_bytes) <= EXTENSION_LIMIT_BYTES
        && u16_at(fixed, 62) == 0;
    fits.then(|| Rest {
        hash,
        keyspace,
        extension_bytes,
        frames: table
            .chunks_exact(FRAME_ENTRY_BYTES)
            .map(|entry| FrameEntry { stored_bytes: u32_at(entry, 0), checksum: u32_at(entry, 4) })
            .collect(),
    })
}

struct Writer<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }
}

fn kind_code(kind: RecordKind, effect: Effect) -> u8 {
    match (kind, effect) {
        (RecordKind::Blob, Effect::Store) => 1,
        (RecordKind::ActionResult, Effect::Store) => 2,
        (RecordKind::Blob, Effect::Remove) => 3,
        (RecordKind::ActionResult, Effect::Remove) => 4,
    }
}

fn kind_of(code: u8) -> Option<(RecordKind, Effect)> {
    match code {
        1 => Some((RecordKind::Blob, Effect::Store)),
        2 => Some((RecordKind::ActionResult, Effect::Store)),
        3 => Some((RecordKind::Blob, Effect::Remove)),
        4 => Some((RecordKind::ActionResult, Effect::Remove)),
        _ => None,
    }
}

pub(crate) fn encoding_code(encoding: Encoding) -> u8 {
    match encoding {
        Encoding::Raw => 0,
        Encoding::Zstd => 1,
    }
}

pub(crate) fn encoding_of(code: u8) -> Option<Encoding> {
    match code {
        0 => Some(Encoding::Raw),
        1 => Some(Encoding::Zstd),
        _ => None,
    }
}

/// The number of a digest function: the format's own list, which happens to be REAPI's.
pub(crate) fn function_code(function: DigestFunction) -> u8 {
    match function {
        DigestFunction::Sha256 => 1,
        DigestFunction::Sha1 => 2,
        DigestFunction::Md5 => 3,
        DigestFunction::Sha384 => 5,
        DigestFunction::Sha512 => 6,
        DigestFunction::Sha256Tree => 8,
        DigestFunction::Blake3 => 9,
        DigestFunction::GitSha1 => 10,
    }
}

pub(crate) fn function_of(code: u8) -> Option<DigestFunction> {
    match code {
        1 => Some(DigestFunction::Sha256),
        2 => Some(DigestFunction::Sha1),
        3 => Some(DigestFunction::Md5),
        5 => Some(DigestFunction::Sha384),
        6 => Some(DigestFunction::Sha512),
        8 => Some(DigestFunction::Sha256Tree),
        9 => Some(DigestFunction::Blake3),
        10 => Some(DigestFunction::GitSha1),
        _ => None,
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests;
