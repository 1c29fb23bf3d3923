//! [`Bounded`]: messages that are decoded only after their lists were counted.
//!
//! An element of a list costs two bytes on the wire and up to [`MAX_ELEMENT_BYTES`] decoded, so a bound on the bytes of a
//! message says little about the memory it takes. What is bounded here decodes to at most about five times its bytes
//! and 10 MiB, whoever wrote it.

mod codec;
mod scan;
mod shape;
mod shapes;

use bytes::Bytes;
use prost::Message;
use thiserror::Error;

pub use codec::{BoundedCodec, BoundedDecoder};
pub use scan::Malformed;
pub use shape::{Field, Shape};
pub use shapes::{ACTION_RESULT, DIRECTORY, TREE};

/// The most elements in the lists of any message: more digests than fit in 65 MiB.
pub const MAX_ELEMENTS: usize = 1_000_000;

/// The most elements in the lists of a batch: more requests than fit in 4 MiB, which is what gRPC peers take unless told
/// otherwise.
pub const MAX_BATCH_ELEMENTS: usize = 65_536;

/// How many elements a message may have however small it is.
const FREE_ELEMENTS: usize = 65_536;

/// Each so many bytes allow one more. A digest alone takes 68.
const BYTES_AN_ELEMENT: usize = 32;

/// No element of a list takes more memory than this, besides what its bytes on the wire take.
pub const MAX_ELEMENT_BYTES: usize = 160;

/// A message with lists, and how many elements these may have.
pub trait Bounded: Message + Default {
    /// Where its lists are.
    const SHAPE: &'static Shape;
    /// The most elements in all of its lists together.
    const MAX_ELEMENTS: usize;
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
    let (message, size_bytes) = (T::SHAPE.name, encoded.len());
    let limit = limit(size_bytes, T::MAX_ELEMENTS);
    let elements = scan::count(&encoded, T::SHAPE, limit)
        .map_err(|source| BoundedError::Malformed { message, source })?;
    if elements > limit {
        return Err(BoundedError::TooManyElements { message, size_bytes, limit });
    }
    T::decode(encoded).map_err(|source| BoundedError::Undecodable { message, source })
}

fn limit(size_bytes: usize, max_elements: usize) -> usize {
    max_elements.min(FREE_ELEMENTS + size_bytes / BYTES_AN_ELEMENT)
}

#[cfg(test)]
mod tests;
