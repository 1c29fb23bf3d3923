//! [`ZstdDecoder`]: a zstd stream of any framing, step by step, in bounded memory.
//!
//! Source: RFC 8878.

use bytes::{Buf, Bytes};
use zstd::zstd_safe::{self, DCtx, DParameter, InBuffer, OutBuffer};

/// RFC 8878 asks decoders to support 8 MiB; a frame that asks for a larger window is refused.
pub const MAX_WINDOW_LOG: u32 = 23;

/// Decodes the frames of one stream, skippable ones included. Takes the window that a frame asks for, at most
/// 2^[`MAX_WINDOW_LOG`] bytes, and some 100 KiB.
pub struct ZstdDecoder {
    context: DCtx<'static>,
    is_within_frame: bool,
    /// It may have more to give of what it has taken.
    is_full: bool,
}

impl std::fmt::Debug for ZstdDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ZstdDecoder")
            .field("is_within_frame", &self.is_within_frame)
            .finish_non_exhaustive()
    }
}

impl Default for ZstdDecoder {
    fn default() -> Self {
        let mut context = DCtx::create();
        context
            .set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG))
            .expect("the limit is within zstd's own");
        Self { context, is_within_frame: false, is_full: false }
    }
}

impl ZstdDecoder {
    /// Whether what was taken so far ends within a frame.
    pub fn is_within_frame(&self) -> bool {
        self.is_within_frame
    }

    /// Decodes some of `input`, at most up to the end of a frame, into `decoded`, in place of what that held and not beyond its
    /// capacity. Takes what it used off the front of `input`. The error is zstd's reason.
    pub fn advance(
        &mut self,
        input: &mut Bytes,
        decoded: &mut Vec<u8>,
    ) -> Result<(), &'static str> {
        let mut source = InBuffer::around(input);
        let mut sink = OutBuffer::around(decoded);
        let hint = self
            .context
            .decompress_stream(&mut sink, &mut source)
            .map_err(zstd_safe::get_error_name)?;
        let (taken, given) = (source.pos(), sink.pos());
        self.is_full = given == sink.capacity();
        // Without progress the hint speaks of a next frame, which need not come.
        if taken + given > 0 {
            self.is_within_frame = hint != 0;
        }
        input.advance(taken);
        Ok(())
    }

    /// Whether [`Self::advance`] has anything to do.
    pub fn has_work(&self, input: &Bytes) -> bool {
        !input.is_empty() || self.is_full
    }

    /// The next bytes, at most so many; nothing once all of `input` is used.
    pub fn step(&mut self, input: &mut Bytes, at_most: usize) -> Result<Bytes, &'static str> {
        let mut decoded = Vec::new();
        while decoded.is_empty() && self.has_work(input) {
            decoded.reserve_exact(at_most);
            self.advance(input, &mut decoded)?;
        }
        Ok(decoded.into())
    }
}
