//! [`RecordWriter`]: a large blob on its way into a file of its own.
//!
//! Memory stays at two frames, whatever the blob's size. What stays as it came is written from where it lies, all whole frames that are
//! there by one call: a zstd stream, and plain bytes once their first frame has shown that nothing is to be gained by compressing.

use std::io::IoSlice;

use crate::blob_file::{BlobFile, FileContext};
use crate::codec::Body;
use crate::commit::PutOutcome;
use crate::error::DiskError;
use crate::key::RecordKey;
use crate::prologue::{
    Effect, Encoding, FRAME_SIZE_BYTES, FRAME_SIZE_LOG2, FrameEntry, Prologue, SIZE_LIMIT_BYTES,
    prologue_bytes,
};

/// The most bytes of a zstd stream that [`crate::Engine::create_stream`] takes for a blob of so many: a quarter more, and 64 KiB.
pub fn stream_limit_bytes(logical_size_bytes: u64) -> u64 {
    logical_size_bytes + logical_size_bytes / 4 + 64 * 1024
}

/// What is written to a [`RecordWriter`].
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Written {
    /// The blob's bytes.
    Plain,
    /// A zstd stream that holds them, verified by the caller.
    ZstdStream,
}

impl Written {
    fn limit_bytes(self, logical_size_bytes: u64) -> u64 {
        match self {
            Self::Plain => logical_size_bytes,
            Self::ZstdStream => stream_limit_bytes(logical_size_bytes),
        }
    }
}

/// A large blob being written, frame by frame.
///
/// Dropping it removes what is written. All methods block.
#[derive(Debug)]
pub struct RecordWriter {
    file: BlobFile,
    body: Body,
    written: Written,
    logical_size_bytes: u64,
    received_bytes: u64,
    /// For how many frames the table has room.
    frames_max: usize,
    /// Where the next frame goes.
    end: u64,
    /// Less than a frame of what was written.
    frame: Vec<u8>,
    /// Reused from frame to frame.
    encoded: Vec<u8>,
}

impl RecordWriter {
    pub(crate) fn create(
        context: FileContext,
        key: &RecordKey,
        logical_size_bytes: u64,
        written: Written,
    ) -> Result<Self, DiskError> {
        let too_large = |_| DiskError::TooLarge {
            key: key.clone(),
            size_bytes: logical_size_bytes,
            limit_bytes: SIZE_LIMIT_BYTES,
        };
        let limit_bytes = written.limit_bytes(logical_size_bytes);
        let frames_max = limit_bytes.div_ceil(FRAME_SIZE_BYTES as u64);
        let frames_max = usize::try_from(frames_max).map_err(too_large)?;
        Ok(Self {
            file: BlobFile::create(context, key)?,
            body: match written {
                Written::Plain => Body::default(),
                Written::ZstdStream => Body::kept(Encoding::Zstd),
            },
            written,
            logical_size_bytes,
            received_bytes: 0,
            frames_max,
            end: prologue_bytes(key, frames_max) as u64,
            frame: Vec::new(),
            encoded: Vec::new(),
        })
    }

    /// Takes the next bytes of the blob.
    pub fn write(&mut self, data: &[u8]) -> Result<(), DiskError> {
        self.write_pieces(&[data])
    }

    /// Takes the next bytes of the blob, which lie in pieces.
    pub fn write_pieces<P: AsRef<[u8]>>(&mut self, pieces: &[P]) -> Result<(), DiskError> {
        let mut pieces = Pieces::of(pieces);
        self.received_bytes += pieces.bytes as u64;
        if self.received_bytes > self.written.limit_bytes(self.logical_size_bytes) {
            return Err(self.size_mismatch());
        }
        while pieces.bytes > 0 {
            if self.frame.is_empty() && pieces.bytes >= FRAME_SIZE_BYTES {
                if self.body.is_kept() {
                    self.write_kept_frames(&mut pieces)?;
                    continue;
                }
                if let Some(frame) = pieces.take_whole(FRAME_SIZE_BYTES) {
                    self.write_frame(frame)?;
                    continue;
                }
            }
            while let Some(piece) = pieces.take(FRAME_SIZE_BYTES - self.frame.len()) {
                self.frame.extend_from_slice(piece);
            }
            if self.frame.len() == FRAME_SIZE_BYTES {
                self.write_gathered()?;
            }
        }
        Ok(())
    }

    /// Stores the blob, once all its bytes have been written.
    pub fn finish(mut self) -> Result<PutOutcome, DiskError> {
        if self.written == Written::Plain && self.received_bytes != self.logical_size_bytes {
            return Err(self.size_mismatch());
        }
        if !self.frame.is_empty() {
            self.write_gathered()?;
        }
        let encoding = self.body.encoding();
        // How long a stream would be was not known when the room was kept.
        self.body.frames.resize(self.frames_max, FrameEntry { stored_bytes: 0, checksum: 0 });
        let prologue = Prologue {
            effect: Effect::Store,
            key: self.file.key.clone(),
            encoding,
            frame_size_log2: match self.written {
                Written::Plain => FRAME_SIZE_LOG2,
                Written::ZstdStream => 0,
            },
            logical_size_bytes: self.logical_size_bytes,
            sequence: self.file.sequence,
            written_unix_ms: self.file.context.inventory.io.unix_ms(),
            extension_bytes: 0,
            frames: self.body.frames,
        };
        let mut bytes = vec![0; prologue.length_bytes()];
        prologue.write(&mut bytes);
        self.file.seal(&mut bytes);
        self.file.write_at(&bytes, 0)?;
        self.file.publish(self.end, self.logical_size_bytes, encoding)
    }

    /// Writes the whole frames among `pieces` as they are.
    fn write_kept_frames(&mut self, pieces: &mut Pieces<'_>) -> Result<(), DiskError> {
        let begin = self.end;
        let mut slices = Vec::new();
        while pieces.bytes >= FRAME_SIZE_BYTES {
            let first = slices.len();
            let mut room = FRAME_SIZE_BYTES;
            while let Some(piece) = pieces.take(room) {
                room -= piece.len();
                slices.push(IoSlice::new(piece));
            }
            self.body.note_kept(&slices[first..]);
            self.end += FRAME_SIZE_BYTES as u64;
        }
        self.file.write_pieces_at(&slices, begin)
    }

    fn write_gathered(&mut self) -> Result<(), DiskError> {
        let mut frame = std::mem::take(&mut self.frame);
        let written = self.write_frame(&frame);
        frame.clear();
        self.frame = frame;
        written
    }

    fn write_frame(&mut self, frame: &[u8]) -> Result<(), DiskError> {
        let stored = if self.body.is_kept() {
            self.body.note_kept(&[IoSlice::new(frame)]);
            frame
        } else {
            self.encoded.clear();
            let codec = &self.file.context.inventory.codec;
            self.body.push(codec, frame, &mut self.encoded).map_err(self.file.error("encode"))?;
            &self.encoded
        };
        self.file.write_at(stored, self.end)?;
        self.end += stored.len() as u64;
        Ok(())
    }

    fn size_mismatch(&self) -> DiskError {
        DiskError::SizeMismatch { key: self.file.key.clone(), actual_bytes: self.received_bytes }
    }
}

/// What is left of bytes that lie in pieces.
struct Pieces<'a> {
    /// The next one last.
    rest: Vec<&'a [u8]>,
    bytes: usize,
}

impl<'a> Pieces<'a> {
    fn of<P: AsRef<[u8]>>(pieces: &'a [P]) -> Self {
        let rest: Vec<_> = pieces.iter().rev().map(AsRef::as_ref).collect();
        let bytes = rest.iter().map(|piece| piece.len()).sum();
        Self { rest, bytes }
    }

    /// The next bytes that lie together, at most so many; `None` when that is 0, or when nothing is left.
    fn take(&mut self, at_most: usize) -> Option<&'a [u8]> {
        if at_most == 0 {
            return None;
        }
        let piece = self.rest.pop()?;
        let (now, later) = piece.split_at(piece.len().min(at_most));
        if !later.is_empty() {
            self.rest.push(later);
        }
        self.bytes -= now.len();
        Some(now)
    }

    /// The next bytes, if so many lie together.
    fn take_whole(&mut self, bytes: usize) -> Option<&'a [u8]> {
        if self.rest.last()?.len() < bytes { None } else { self.take(bytes) }
    }
}
