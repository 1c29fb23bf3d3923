//! [`MalformedResult`]: what can be wrong with an action result that a client sends.

use larder_protos::bounded::BoundedError;
use larder_protos::{Digest, ParseError};
use thiserror::Error;

/// What is wrong with an action result; always the caller's to mend.
#[derive(Debug, Error)]
pub enum MalformedResult {
    /// The bytes do not decode, or would to far more than they are.
    #[error(transparent)]
    NotAnActionResult {
        /// What is wrong with them.
        #[from]
        source: BoundedError,
    },
    /// A digest is not well formed.
    #[error("{field}[{index}]: {source}")]
    Digest {
        /// The list that it stands in, or the field itself.
        field: &'static str,
        /// The place in the list; 0 for a field that is no list.
        index: usize,
        /// What is wrong with it.
        source: ParseError,
    },
    /// An output says neither what its bytes hash to nor what they are.
    #[error("{field}[{index}] has neither a digest nor contents")]
    NoDigest {
        /// The list that it stands in.
        field: &'static str,
        /// The place in the list.
        index: usize,
    },
    /// An output's contents are not those of its digest.
    #[error("{field}[{index}] has the digest {expected}, but its contents have {actual}")]
    Contents {
        /// The list that it stands in, or the field itself.
        field: &'static str,
        /// The place in the list; 0 for a field that is no list.
        index: usize,
        /// The digest named.
        expected: Digest,
        /// The digest of the contents.
        actual: Digest,
    },
}
