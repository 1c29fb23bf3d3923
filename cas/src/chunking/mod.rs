//! [`Chunker`]: cuts a stream of bytes into chunks where its content says so, so that an edit changes the chunks around it
//! and no others.
//!
//! Pure. What it holds is bounded: less than [`Chunker::MAX_HELD_BYTES`] and what was pushed last.

mod fast_cdc;
mod rep_max_cdc;

use bytes::{Bytes, BytesMut};
use larder_protos::ChunkingFunction;

use self::fast_cdc::FastCdc;
use self::rep_max_cdc::RepMaxCdc;

/// The parameter of FastCDC: what chunks have on average. The least is a quarter of it, the most four times as much.
pub const FAST_CDC_AVERAGE_BYTES: u32 = 512 * 1024;

/// A parameter of `RepMaxCDC`: what chunks have at least; they have less than twice that.
pub const REP_MAX_CDC_MIN_BYTES: usize = 256 * 1024;

/// A parameter of `RepMaxCDC`: how far ahead the best place to cut is looked for.
pub const REP_MAX_CDC_HORIZON_BYTES: usize = 8 * REP_MAX_CDC_MIN_BYTES;

/// Smaller blobs are not worth cutting: by FastCDC's rule those below the largest chunk, by the other one's those that come
/// out whole anyway.
pub(crate) const fn least_worth_cutting_bytes(function: ChunkingFunction) -> u64 {
    match function {
        ChunkingFunction::FastCdc2020 => FastCdc::ANNOUNCED.max_bytes() as u64,
        ChunkingFunction::RepMaxCdc => 2 * REP_MAX_CDC_MIN_BYTES as u64,
    }
}

/// The least that a chunk has which is not the last one.
pub(crate) const fn least_chunk_bytes(function: ChunkingFunction) -> u64 {
    match function {
        ChunkingFunction::FastCdc2020 => FastCdc::ANNOUNCED.min_bytes() as u64,
        ChunkingFunction::RepMaxCdc => REP_MAX_CDC_MIN_BYTES as u64,
    }
}

/// Cuts bytes as they come. Push some, then take chunks until there is none; at the end say so, and take the rest.
#[derive(Debug)]
pub struct Chunker {
    cutter: Cutter,
    /// What is not cut yet.
    held: BytesMut,
    is_ended: bool,
}

#[derive(Debug)]
enum Cutter {
    Fast(FastCdc),
    RepMax(Box<RepMaxCdc>),
}

impl Chunker {
    /// The most that waits to be cut.
    pub const MAX_HELD_BYTES: usize = 2 * REP_MAX_CDC_MIN_BYTES + REP_MAX_CDC_HORIZON_BYTES;

    /// One with the parameters that this server announces.
    pub fn new(function: ChunkingFunction) -> Self {
        match function {
            ChunkingFunction::FastCdc2020 => Self::of(Cutter::Fast(FastCdc::ANNOUNCED)),
            ChunkingFunction::RepMaxCdc => {
                let cutter = RepMaxCdc::new(REP_MAX_CDC_MIN_BYTES, REP_MAX_CDC_HORIZON_BYTES);
                Self::of(Cutter::RepMax(Box::new(cutter)))
            }
        }
    }

    fn of(cutter: Cutter) -> Self {
        Self { cutter, held: BytesMut::new(), is_ended: false }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// No more bytes come.
    pub fn end(&mut self) {
        self.is_ended = true;
    }

    /// The next chunk, where it is known already what it is.
    pub fn next_chunk(&mut self) -> Option<Bytes> {
        let length = match &mut self.cutter {
            Cutter::Fast(cutter) => cutter.cut(&self.held, self.is_ended),
            Cutter::RepMax(cutter) => cutter.cut(&self.held, self.is_ended),
        };
        length.map(|length| self.held.split_to(length).freeze())
    }
}

#[cfg(test)]
mod tests;
