//! [`ParseError`]: what can be wrong with the words that a client sends.

use thiserror::Error;

use crate::DigestFunction;

/// What is wrong with a digest or a name. Values are shown cut to 80 characters, control characters escaped.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum ParseError {
    /// The number names no digest function.
    #[error("digest function {value} is not known here")]
    UnknownFunction {
        /// The number in the message.
        value: i32,
    },
    /// The number names no compressor, or one that is not supported.
    #[error("compressor {value} is not supported here; identity (0) and zstd (1) are")]
    UnsupportedCompressor {
        /// The number in the message.
        value: i32,
    },
    /// The hash has the wrong length for its function.
    #[error("hash {shown:?} has {actual} characters; those of {function} have {expected}")]
    HashLength {
        /// The function.
        function: DigestFunction,
        /// The hash, cut.
        shown: String,
        /// Its characters.
        actual: usize,
        /// The function's.
        expected: usize,
    },
    /// The hash is not lower-case hexadecimal.
    #[error("hash {shown:?} is not lower-case hexadecimal")]
    HashDigits {
        /// The hash, cut.
        shown: String,
    },
    /// The size of a digest is negative.
    #[error("size {size} of blob {shown:?} is negative")]
    NegativeSize {
        /// The size.
        size: i64,
        /// The hash, cut.
        shown: String,
    },
    /// An instance name is too long.
    #[error("instance name {shown:?} has {actual_bytes} B, over the limit of {limit_bytes} B")]
    InstanceNameLength {
        /// The name, cut.
        shown: String,
        /// Its length.
        actual_bytes: usize,
        /// The longest allowed.
        limit_bytes: usize,
    },
    /// An instance name has a segment that the resource names need for themselves.
    #[error("instance name {shown:?} has the reserved segment {segment:?}")]
    ReservedSegment {
        /// The name, cut.
        shown: String,
        /// The segment.
        segment: &'static str,
    },
    /// An instance name has an empty segment, so that two names would read alike.
    #[error("instance name {shown:?} has an empty segment")]
    EmptySegment {
        /// The name, cut.
        shown: String,
    },
    /// A chunking function that is not served.
    #[error("chunking function {value} is not served here")]
    UnsupportedChunkingFunction {
        /// The number in the message.
        value: i32,
    },
    /// A resource name is not of the form that the call wants.
    #[error("resource name {shown:?} is not of the form {form}")]
    ResourceName {
        /// The name, cut.
        shown: String,
        /// What it should look like.
        form: &'static str,
    },
    /// A resource name does not tell its digest function, and nothing else does.
    #[error(
        "resource name {shown:?} has a hash of {hex_digits} digits, which no digest function has"
    )]
    NoFunction {
        /// The name, cut.
        shown: String,
        /// The hash's characters.
        hex_digits: usize,
    },
}

/// The longest part of a client's word that is repeated to it.
const SHOWN_CHARS: usize = 80;

/// A client's word, cut for a message. `Debug` of the messages above escapes what must not reach a terminal.
pub(crate) fn shown(word: &str) -> String {
    match word.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &word[..end]),
        None => word.to_owned(),
    }
}
