//! [`BodyCheck`]: a record's body held against its prologue and its name, whatever its size, in pieces.
//!
//! Frames are decoded only once their checksum is good: nothing that rot could forge reaches zstd.
//! Source: docs/design/disk-format.md, "Body".

use std::io;

use larder_protos::{Digest, DigestHasher};
use zstd::stream::raw::{DParameter, Decoder, Operation as _};

use crate::codec::frame_logical;
use crate::key::RecordKind;
use crate::prologue::{Effect, Encoding, FrameEntry, Prologue};
use crate::window::{WINDOW_BYTES, Window};

/// Decoded bytes that are hashed at once.
const DECODED_BYTES: usize = 128 << 10;
/// As far as zstd goes: what was taken in is decoded whatever window it asks for, of which it gets no more than its content
/// takes.
const WINDOW_LOG_MAX: u32 = 31;

/// What is wrong with a body.
#[derive(Copy, Clone, Eq, PartialEq, Debug, thiserror::Error)]
pub(crate) enum Rot {
    #[error("its body ends early, in frame {frame}")]
    Short { frame: usize },
    #[error("the checksum of frame {frame} of its body")]
    Checksum { frame: usize },
    #[error("frame {frame} of its body does not decode to its size")]
    Decode { frame: usize },
    #[error("its bytes have the digest {actual}")]
    Digest { actual: Digest },
}

/// Checks bodies, one after another; keeps what can be used again.
pub(crate) struct BodyCheck {
    decoder: Decoder<'static>,
    decoded: Vec<u8>,
}

impl BodyCheck {
    pub(crate) fn new() -> io::Result<Self> {
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))?;
        Ok(Self { decoder, decoded: vec![0; DECODED_BYTES] })
    }

    /// What is wrong with the body at `body_at`; `None` when nothing is.
    pub(crate) fn check(
        &mut self,
        prologue: &Prologue,
        window: &mut Window<'_>,
        body_at: u64,
    ) -> io::Result<Option<Rot>> {
        let named = prologue.key.kind() == RecordKind::Blob && prologue.effect == Effect::Store;
        let mut hasher =
            named.then(|| DigestHasher::new(prologue.key.function(), prologue.logical_size_bytes));
        let mut at = body_at;
        let (mut logical_bytes, mut is_whole) = (0, true);
        for (index, frame) in prologue.frames.iter().copied().enumerate() {
            match checksum(frame, window, at)? {
                None => return Ok(Some(Rot::Short { frame: index })),
                Some(sum) if sum != frame.checksum => {
                    return Ok(Some(Rot::Checksum { frame: index }));
                }
                Some(_) => {}
            }
            if index == 0 || !prologue.is_stream() {
                self.decoder.reinit()?;
                (logical_bytes, is_whole) = (0, true);
            }
            let mut take = |bytes: &[u8]| {
                logical_bytes += bytes.len() as u64;
                if let Some(hasher) = &mut hasher {
                    hasher.update(bytes);
                }
            };
            let decoded = self.decode(prologue.encoding, frame, window, at, &mut take)?;
            let Some(ends) = decoded else { return Ok(Some(Rot::Decode { frame: index })) };
            // What a stream leaves of its table stands for pieces of no bytes, behind its end.
            is_whole = if frame.stored_bytes == 0 { is_whole } else { ends };
            let goes_on = prologue.is_stream() && index + 1 < prologue.frames.len();
            let logical = frame_logical(prologue, index);
            let has_all = is_whole && logical_bytes == logical.end - logical.start;
            if !(goes_on || has_all) {
                return Ok(Some(Rot::Decode { frame: index }));
            }
            at += u64::from(frame.stored_bytes);
        }
        let actual = hasher.map(DigestHasher::finish);
        let expected = Digest::new(*prologue.key.hash(), prologue.logical_size_bytes);
        Ok(actual.filter(|actual| *actual != expected).map(|actual| Rot::Digest { actual }))
    }

    /// Hands out the logical bytes of a frame, or of a piece of a stream. `None` when something is wrong with it; otherwise whether a
    /// zstd frame ends with it.
    fn decode(
        &mut self,
        encoding: Encoding,
        frame: FrameEntry,
        window: &mut Window<'_>,
        at: u64,
        take: &mut dyn FnMut(&[u8]),
    ) -> io::Result<Option<bool>> {
        let mut ends = true;
        for (at, length) in pieces(frame, at) {
            let piece = window.peek(at, length)?;
            if piece.len() < length {
                return Ok(None);
            }
            match encoding {
                Encoding::Raw => take(piece),
                Encoding::Zstd => match self.decode_piece(piece, take) {
                    Some(is_end) => ends = is_end,
                    None => return Ok(None),
                },
            }
        }
        Ok(Some(ends))
    }

    /// `None` when zstd refuses; otherwise whether a zstd frame ends with the piece.
    fn decode_piece(&mut self, mut piece: &[u8], take: &mut dyn FnMut(&[u8])) -> Option<bool> {
        loop {
            let step = self.decoder.run_on_buffers(piece, &mut self.decoded).ok()?;
            piece = piece.get(step.bytes_read..)?;
            take(self.decoded.get(..step.bytes_written)?);
            let is_end = step.remaining == 0;
            if piece.is_empty() && (is_end || step.bytes_written < self.decoded.len()) {
                return Some(is_end);
            }
        }
    }
}

/// The checksum of a frame as it is stored; `None` where it ends early.
fn checksum(frame: FrameEntry, window: &mut Window<'_>, at: u64) -> io::Result<Option<u32>> {
    let mut sum = 0;
    for (at, length) in pieces(frame, at) {
        let piece = window.peek(at, length)?;
        if piece.len() < length {
            return Ok(None);
        }
        sum = crc32c::crc32c_append(sum, piece);
    }
    Ok(Some(sum))
}

/// Where the pieces of a frame begin, and their lengths.
fn pieces(frame: FrameEntry, at: u64) -> impl Iterator<Item = (u64, usize)> {
    let stored_bytes = frame.stored_bytes as usize;
    (0..stored_bytes)
        .step_by(WINDOW_BYTES)
        .map(move |from| (at + from as u64, WINDOW_BYTES.min(stored_bytes - from)))
}

#[cfg(test)]
mod tests;
