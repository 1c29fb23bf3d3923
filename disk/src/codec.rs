//! Bodies: cutting content into frames, encoding them, and back.
//!
//! Whether content is stored raw or as zstd is decided once, on its first frame; what is small is stored as it is.
//! Source: docs/design/disk-format.md, "Body".

use std::io::{self, IoSlice};
use std::ops::Range;

use bytes::Bytes;
use parking_lot::Mutex;
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::compress_bound;

use crate::key::RecordKey;
use crate::prologue::{
    Effect, Encoding, FRAME_SIZE_BYTES, FRAME_SIZE_LOG2, FrameEntry, Prologue, prologue_bytes,
};

/// Plain content up to this size is stored as it is: two thirds of a build's files, but 2 parts in 1,000 of their bytes, and a byte less
/// on the disk costs several times as much CPU there as it does in large ones (docs/adr/0012-hot-path-of-writes.md).
pub const STORED_PLAIN_BYTES: usize = 4 * 1024;
/// zstd must save at least one part in this many of the first frame.
const LEAST_GAIN: usize = 32;
/// zstd's contexts are large; more than this many are not kept for reuse.
const KEPT_CONTEXTS: usize = 16;

/// What is to be stored.
#[derive(Copy, Clone, Debug)]
pub enum Content<'a> {
    /// The bytes themselves.
    Raw(&'a [u8]),
    /// The same, in an allocation of their own: what is stored plain is written from there, not copied.
    Kept(&'a Bytes),
    /// One plain zstd frame, which the caller has decoded and verified; it is stored as it is.
    ZstdFrame {
        /// The frame.
        frame: &'a [u8],
        /// The size of what it holds.
        logical_size_bytes: u64,
    },
}

impl Content<'_> {
    pub(crate) fn logical_size_bytes(&self) -> u64 {
        match self {
            Self::Raw(bytes) => bytes.len() as u64,
            Self::Kept(bytes) => bytes.len() as u64,
            Self::ZstdFrame { logical_size_bytes, .. } => *logical_size_bytes,
        }
    }

    /// How many frames it becomes, and the logarithm of their size; 0 where one holds everything.
    fn frames(&self) -> (usize, u8) {
        let frames = |raw: &[u8]| (raw.len().div_ceil(FRAME_SIZE_BYTES), FRAME_SIZE_LOG2);
        match self {
            Self::Raw(bytes) => frames(bytes),
            Self::Kept(bytes) => frames(bytes),
            Self::ZstdFrame { .. } => (1, 0),
        }
    }

    /// What is copied of the body, or what zstd wants to have for its first frame.
    fn body_bytes(&self) -> usize {
        let encoded = |raw: &[u8]| compress_bound(raw.len().min(FRAME_SIZE_BYTES));
        match self {
            Self::Raw(bytes) if is_stored_plain(bytes) => bytes.len(),
            Self::Raw(bytes) => encoded(bytes),
            Self::Kept(bytes) if is_stored_plain(bytes) => 0,
            Self::Kept(bytes) => encoded(bytes),
            Self::ZstdFrame { frame, .. } => frame.len(),
        }
    }
}

/// Whether it is known by its size alone that content is stored as it is.
fn is_stored_plain(content: &[u8]) -> bool {
    content.len() <= STORED_PLAIN_BYTES
}

/// A record that only lacks its sequence number and its place.
#[derive(Debug)]
pub(crate) struct EncodedRecord {
    /// Prologue and body, unless that is kept elsewhere.
    pub(crate) bytes: Vec<u8>,
    pub(crate) prologue_bytes: usize,
    /// A body that is kept by others too, else nothing.
    pub(crate) kept: Bytes,
    pub(crate) encoding: Encoding,
    pub(crate) logical_size_bytes: u64,
}

impl EncodedRecord {
    /// Bytes of prologue and body.
    pub(crate) fn length_bytes(&self) -> u64 {
        (self.bytes.len() + self.kept.len()) as u64
    }
}

/// Encodes and decodes frames; keeps zstd's contexts for reuse.
pub(crate) struct Codec {
    level: i32,
    /// Each lock guards one push or pop.
    compressors: Mutex<Vec<Compressor<'static>>>,
    decompressors: Mutex<Vec<Decompressor<'static>>>,
}

impl std::fmt::Debug for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Codec").field("level", &self.level).finish_non_exhaustive()
    }
}

impl Codec {
    pub(crate) fn new(level: i32) -> Self {
        Self { level, compressors: Mutex::default(), decompressors: Mutex::default() }
    }

    /// Encodes a whole record in memory.
    pub(crate) fn encode(
        &self,
        key: &RecordKey,
        content: Content<'_>,
        written_unix_ms: u64,
    ) -> io::Result<EncodedRecord> {
        let logical_size_bytes = content.logical_size_bytes();
        let (count, frame_size_log2) = content.frames();
        let prologue_bytes = prologue_bytes(key, count);
        let mut body = Body { decided: None, frames: Vec::with_capacity(count) };
        // A buffer that grows is copied.
        let mut bytes = Vec::with_capacity(prologue_bytes + content.body_bytes());
        bytes.resize(prologue_bytes, 0);
        let mut kept = Bytes::new();
        match content {
            Content::Raw(raw) => body.push_all(self, raw, &mut bytes)?,
            Content::Kept(plain) if is_stored_plain(plain) => {
                body.push_kept(plain);
                kept.clone_from(plain);
            }
            Content::Kept(raw) => body.push_all(self, raw, &mut bytes)?,
            Content::ZstdFrame { frame, .. } => body.push_encoded(frame, &mut bytes),
        }
        let encoding = body.encoding();
        let prologue = Prologue {
            effect: Effect::Store,
            key: key.clone(),
            encoding,
            frame_size_log2,
            logical_size_bytes,
            sequence: 0,
            written_unix_ms,
            extension_bytes: 0,
            frames: body.frames,
        };
        prologue.write(&mut bytes[..prologue_bytes]);
        Ok(EncodedRecord { bytes, prologue_bytes, kept, encoding, logical_size_bytes })
    }

    /// The logical bytes of one stored frame; `None` if they are not `logical_bytes` many.
    pub(crate) fn decode(
        &self,
        encoding: Encoding,
        stored: Bytes,
        logical_bytes: usize,
    ) -> Option<Bytes> {
        let decoded = match encoding {
            Encoding::Raw => stored,
            Encoding::Zstd => {
                let kept = self.decompressors.lock().pop();
                let mut decompressor = match kept {
                    Some(decompressor) => decompressor,
                    None => Decompressor::new().ok()?,
                };
                let decoded = decompressor.decompress(&stored, logical_bytes).ok()?;
                keep(&self.decompressors, decompressor);
                Bytes::from(decoded)
            }
        };
        (decoded.len() == logical_bytes).then_some(decoded)
    }

    fn compress(&self, frame: &[u8], out: &mut Vec<u8>) -> io::Result<usize> {
        let kept = self.compressors.lock().pop();
        let mut compressor = match kept {
            Some(compressor) => compressor,
            None => Compressor::new(self.level)?,
        };
        let start = out.len();
        out.resize(start + compress_bound(frame.len()), 0);
        let stored = compressor.compress_to_buffer(frame, &mut out[start..])?;
        out.truncate(start + stored);
        keep(&self.compressors, compressor);
        Ok(stored)
    }
}

fn keep<T>(pool: &Mutex<Vec<T>>, context: T) {
    let mut pool = pool.lock();
    if pool.len() < KEPT_CONTEXTS {
        pool.push(context);
    }
}

/// A body in the making: what its prologue will say of it.
#[derive(Default, Debug)]
pub(crate) struct Body {
    /// Decided by the first frame.
    decided: Option<Treatment>,
    pub(crate) frames: Vec<FrameEntry>,
}

/// What becomes of content on its way to the disk.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
enum Treatment {
    Encode,
    /// It stays as it came, in this encoding.
    Keep(Encoding),
}

impl Body {
    /// Of content that is to be stored as it comes.
    pub(crate) fn kept(encoding: Encoding) -> Self {
        Self { decided: Some(Treatment::Keep(encoding)), frames: Vec::new() }
    }

    /// Encodes all frames of a content behind what `out` holds.
    fn push_all(&mut self, codec: &Codec, raw: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        raw.chunks(FRAME_SIZE_BYTES).try_for_each(|frame| self.push(codec, frame, out))
    }

    /// Encodes the next frame behind what `out` holds.
    pub(crate) fn push(
        &mut self,
        codec: &Codec,
        frame: &[u8],
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        let start = out.len();
        if self.decided.is_none() && is_stored_plain(frame) {
            self.decided = Some(Treatment::Keep(Encoding::Raw));
        }
        if self.is_kept() {
            out.extend_from_slice(frame);
        } else {
            let stored = codec.compress(frame, out)?;
            if self.decided.is_none() && stored > frame.len() - frame.len() / LEAST_GAIN {
                out.truncate(start);
                out.extend_from_slice(frame);
                self.decided = Some(Treatment::Keep(Encoding::Raw));
            } else {
                self.decided = Some(Treatment::Encode);
            }
        }
        self.note(&out[start..]);
        Ok(())
    }

    fn push_encoded(&mut self, frame: &[u8], out: &mut Vec<u8>) {
        self.decided = Some(Treatment::Keep(Encoding::Zstd));
        out.extend_from_slice(frame);
        self.note(frame);
    }

    /// All of a raw body that is kept elsewhere; an empty one has no frame.
    fn push_kept(&mut self, plain: &[u8]) {
        self.decided = Some(Treatment::Keep(Encoding::Raw));
        if !plain.is_empty() {
            self.note(plain);
        }
    }

    /// The next frame of a body that stays as it came, which lies in `pieces` and is written from there.
    pub(crate) fn note_kept(&mut self, pieces: &[IoSlice<'_>]) {
        let checksum = |sum, piece: &IoSlice<'_>| crc32c::crc32c_append(sum, piece);
        self.note_frame(
            pieces.iter().map(|piece| piece.len()).sum(),
            pieces.iter().fold(0, checksum),
        );
    }

    /// Whether it is decided that all is stored as it came.
    pub(crate) fn is_kept(&self) -> bool {
        matches!(self.decided, Some(Treatment::Keep(_)))
    }

    /// An empty body is raw.
    pub(crate) fn encoding(&self) -> Encoding {
        match self.decided {
            None => Encoding::Raw,
            Some(Treatment::Keep(encoding)) => encoding,
            Some(Treatment::Encode) => Encoding::Zstd,
        }
    }

    fn note(&mut self, stored: &[u8]) {
        self.note_frame(stored.len(), crc32c::crc32c(stored));
    }

    fn note_frame(&mut self, stored_bytes: usize, checksum: u32) {
        let stored_bytes = u32::try_from(stored_bytes).expect("frames are at most 16 MiB");
        self.frames.push(FrameEntry { stored_bytes, checksum });
    }
}

/// Which logical bytes frame `index` holds; all of them where it is a piece of a stream.
pub(crate) fn frame_logical(prologue: &Prologue, index: usize) -> Range<u64> {
    if prologue.is_stream() {
        return 0..prologue.logical_size_bytes;
    }
    let start = prologue.frame_size_bytes() * index as u64;
    start..(start + prologue.frame_size_bytes()).min(prologue.logical_size_bytes)
}

/// The record that says that a key has no content any more.
pub(crate) fn encode_removal(
    key: &RecordKey,
    logical_size_bytes: u64,
    written_unix_ms: u64,
) -> EncodedRecord {
    let prologue = Prologue {
        effect: Effect::Remove,
        key: key.clone(),
        encoding: Encoding::Raw,
        frame_size_log2: FRAME_SIZE_LOG2,
        logical_size_bytes,
        sequence: 0,
        written_unix_ms,
        extension_bytes: 0,
        frames: Vec::new(),
    };
    let mut bytes = vec![0; prologue.length_bytes()];
    prologue.write(&mut bytes);
    let prologue_bytes = bytes.len();
    let kept = Bytes::new();
    EncodedRecord { bytes, prologue_bytes, kept, encoding: Encoding::Raw, logical_size_bytes }
}
