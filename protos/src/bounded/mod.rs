//! [`Bounded`]: messages that are decoded only after their lists were counted.
//!
//! An element of a list costs two bytes on the wire and up to [`MAX_ELEMENT_BYTES`] decoded, so a bound on the bytes of a
//! message says little about the memory it takes. What is bounded here takes at most about six times its bytes and the
//! [`Limit::free`] elements, twice that while a list grows, whoever wrote it.

mod codec;
mod scan;
mod shape;
mod shapes;

use bytes::Bytes;
use prost::Message;
use thiserror::Error;

pub use codec::{BoundedCodec, BoundedDecoder, WholeEncoder};
pub use scan::Malformed;
pub use shape::{Field, Shape};
#[cfg(test)]
use shapes::{ACTION_RESULT, TREE};

/// Each so many bytes allow one more element than are free. A digest alone takes 68.
const BYTES_AN_ELEMENT: usize = 32;

/// No element of a list takes more memory than this, besides what its bytes on the wire take.
pub const MAX_ELEMENT_BYTES: usize = 160;

/// A message with lists, and how many elements these may have.
pub trait Bounded: Message + Default {
    /// Where its lists are.
    const SHAPE: &'static Shape;
    /// How many elements all of its lists together may have.
    const LIMIT: Limit;
}

/// How many elements the lists of a message may have: some are free, its size allows more, up to the most.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limit {
    /// How many it may have however small it is.
    pub free: usize,
    /// How many it may have however large it is.
    pub most: usize,
}

impl Limit {
    /// Of results and directories: symlinks may well take fewer bytes than are asked for one.
    pub const OUTPUTS: Self = Self { free: 16_384, most: 1_000_000 };
    /// Of the paths whose contents are to be inlined.
    pub const HINTS: Self = Self { free: 16_384, most: 65_536 };
    /// Of digests; more than fit in 65 MiB.
    pub const DIGESTS: Self = Self { free: 1_024, most: 1_000_000 };
    /// Of a batch: more blobs with their digests than fit in 4 MiB.
    pub const BATCH: Self = Self { free: 1_024, most: 65_536 };
    /// Of URIs and their qualifiers: far more than name one asset.
    pub const ASSETS: Self = Self { free: 1_024, most: 4_096 };

    /// How many a message of this encoded size may have.
    pub const fn of(self, size_bytes: usize) -> usize {
        let allowed = self.free + size_bytes / BYTES_AN_ELEMENT;
        if allowed < self.most { allowed } else { self.most }
    }
}

/// Why bytes were not decoded.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum BoundedError {
    /// There are more elements than a message of this size may have.
    #[error("{message} of {size_bytes} B has more than {limit} elements in its lists")]
    TooManyElements {
        /// The message's name.
        message: &'static str,
        /// Its encoded size.
        size_bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The bytes are no message at all.
    #[error("the bytes are no encoded {message}: {source}")]
    Malformed {
        /// The message's name.
        message: &'static str,
        /// What is wrong.
        source: Malformed,
    },
    /// The bytes are a message, but not this one.
    #[error("the bytes are no encoded {message}: {source}")]
    Undecodable {
        /// The message's name.
        message: &'static str,
        /// What the decoder says.
        source: prost::DecodeError,
    },
}

/// Counts, then decodes.
pub fn decode<T: Bounded>(encoded: Bytes) -> Result<T, BoundedError> {
    check::<T>(&encoded)?;
    let message = T::SHAPE.name;
    T::decode(encoded).map_err(|source| BoundedError::Undecodable { message, source })
}

/// Counts only, and returns how many elements there are.
pub fn check<T: Bounded>(encoded: &[u8]) -> Result<usize, BoundedError> {
    let (message, size_bytes) = (T::SHAPE.name, encoded.len());
    let limit = T::LIMIT.of(size_bytes);
    let elements = scan::count(encoded, T::SHAPE, limit)
        .map_err(|source| BoundedError::Malformed { message, source })?;
    if elements > limit {
        return Err(BoundedError::TooManyElements { message, size_bytes, limit });
    }
    Ok(elements)
}

#[cfg(test)]
mod tests;
