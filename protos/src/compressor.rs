//! [`Compressor`]: how a blob's bytes are encoded on the wire.

use std::fmt;

use crate::ParseError;
use crate::reapi::compressor::Value;

/// An encoding of blobs on the wire that works in both directions for every blob.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Compressor {
    /// The bytes themselves.
    Identity,
    /// A zstd stream of any framing.
    Zstd,
}

impl Compressor {
    /// Reads an enum field.
    pub fn from_proto(value: i32) -> Result<Self, ParseError> {
        match Value::try_from(value) {
            Ok(Value::Identity) => Ok(Self::Identity),
            Ok(Value::Zstd) => Ok(Self::Zstd),
            _ => Err(ParseError::UnsupportedCompressor { value }),
        }
    }

    /// The number in an enum field.
    pub fn to_proto(self) -> i32 {
        match self {
            Self::Identity => Value::Identity.into(),
            Self::Zstd => Value::Zstd.into(),
        }
    }
}

impl fmt::Display for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Identity => "identity",
            Self::Zstd => "zstd",
        })
    }
}
