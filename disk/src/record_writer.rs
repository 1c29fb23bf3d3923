//! [`RecordWriter`]: a large blob on its way into a file of its own.
//!
//! Memory stays at two frames, whatever the blob's size. Once the first frame has shown that nothing is to be gained by
//! compressing, whole frames are written from where they lie, all that are there by one call.

use std::io::IoSlice;

use crate::blob_file::{BlobFile, FileContext};
use crate::codec::Body;
use crate::commit::PutOutcome;
use crate::error::DiskError;
use crate::key::RecordKey;
use crate::prologue::{
    Effect, FRAME_SIZE_BYTES, FRAME_SIZE_LOG2, Prologue, SIZE_LIMIT_BYTES, prologue_bytes,
};

/// A large blob being written, frame by frame.
///
/// Dropping it removes what is written. All methods block.
#[derive(Debug)]
pub struct RecordWriter {
    file: BlobFile,
    body: Body,
    expected_bytes: u64,
    received_bytes: u64,
    prologue_bytes: usize,
    /// Where the next frame goes.
    end: u64,
    /// Less than a frame of logical bytes.
    frame: Vec<u8>,
    /// Reused from frame to frame.
    encoded: Vec<u8>,
}

impl RecordWriter {
    pub(crate) fn create(
        context: FileContext,
        key: &RecordKey,
        expected_bytes: u64,
    ) -> Result<Self, DiskError> {
        let too_large = |_| DiskError::TooLarge {
            key: key.clone(),
            size_bytes: expected_bytes,
            limit_bytes: SIZE_LIMIT_BYTES,
        };
        let frames = usize::try_from(expected_bytes.div_ceil(FRAME_SIZE_BYTES as u64));
        let prologue_bytes = prologue_bytes(key, frames.map_err(too_large)?);
        Ok(Self {
            file: BlobFile::create(context, key)?,
            body: Body::default(),
            expected_bytes,
            received_bytes: 0,
            prologue_bytes,
            end: prologue_bytes as u64,
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
        if self.received_bytes > self.expected_bytes {
            return Err(self.size_mismatch());
        }
        while pieces.bytes > 0 {
            if self.frame.is_empty() && pieces.bytes >= FRAME_SIZE_BYTES {
                if self.body.is_raw() {
                    self.write_raw_frames(&mut pieces)?;
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
        if self.received_bytes != self.expected_bytes {
            return Err(self.size_mismatch());
        }
        if !self.frame.is_empty() {
            self.write_gathered()?;
        }
        let encoding = self.body.encoding();
        let prologue = Prologue {
            effect: Effect::Store,
            key: self.file.key.clone(),
            encoding,
            frame_size_log2: FRAME_SIZE_LOG2,
            logical_size_bytes: self.expected_bytes,
            sequence: self.file.sequence,
            written_unix_ms: self.file.context.inventory.io.unix_ms(),
            extension_bytes: 0,
            frames: self.body.frames,
        };
        let mut bytes = vec![0; self.prologue_bytes];
        prologue.write(&mut bytes);
        self.file.seal(&mut bytes);
        self.file.write_at(&bytes, 0)?;
        self.file.publish(self.end, self.expected_bytes, encoding)
    }

    /// Writes the whole frames among `pieces` as they are.
    fn write_raw_frames(&mut self, pieces: &mut Pieces<'_>) -> Result<(), DiskError> {
        let begin = self.end;
        let mut slices = Vec::new();
        while pieces.bytes >= FRAME_SIZE_BYTES {
            let first = slices.len();
            let mut room = FRAME_SIZE_BYTES;
            while let Some(piece) = pieces.take(room) {
                room -= piece.len();
                slices.push(IoSlice::new(piece));
            }
            self.body.note_raw(&slices[first..]);
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
        let stored = if self.body.is_raw() {
            self.body.note_raw(&[IoSlice::new(frame)]);
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
