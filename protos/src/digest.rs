//! [`Digest`]: the name of a blob.

use std::array;
use std::fmt;
use std::sync::LazyLock;

use crate::error::shown;
use crate::{DigestFunction, DigestHasher, Hash, ParseError, reapi};

/// The name of a blob: the hash of its bytes, and how many bytes there are. Always well formed; [`Digest::parse`] is the
/// only way in from text.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Digest {
    hash: Hash,
    size_bytes: u64,
}

/// Of no bytes at all, by function. Names are held against it more often than a hash costs nothing.
static EMPTY: LazyLock<[Digest; DigestFunction::ALL.len()]> =
    LazyLock::new(|| array::from_fn(|place| Digest::of(DigestFunction::ALL[place], &[])));

impl Digest {
    /// A digest of its parts.
    pub fn new(hash: Hash, size_bytes: u64) -> Self {
        Self { hash, size_bytes }
    }

    /// Parses the hash and checks the size.
    pub fn parse(function: DigestFunction, hex: &str, size: i64) -> Result<Self, ParseError> {
        let hash = Hash::parse(function, hex)?;
        let size_bytes = u64::try_from(size)
            .map_err(|_| ParseError::NegativeSize { size, shown: shown(hex) })?;
        Ok(Self { hash, size_bytes })
    }

    /// Parses a message.
    pub fn from_proto(
        digest: &reapi::Digest,
        function: DigestFunction,
    ) -> Result<Self, ParseError> {
        Self::parse(function, &digest.hash, digest.size_bytes)
    }

    /// The digest as a message, which leaves the function to its surroundings.
    pub fn to_proto(&self) -> reapi::Digest {
        let size_bytes = i64::try_from(self.size_bytes).unwrap_or(i64::MAX);
        reapi::Digest { hash: self.hash.to_string(), size_bytes }
    }

    /// The digest of these bytes.
    pub fn of(function: DigestFunction, bytes: &[u8]) -> Self {
        let mut hasher = DigestHasher::new(function, bytes.len() as u64);
        hasher.update(bytes);
        hasher.finish()
    }

    /// The digest of no bytes at all.
    pub fn empty(function: DigestFunction) -> Self {
        EMPTY[function as usize]
    }

    /// Whether this names the empty blob: a size of zero with any other hash does not.
    pub fn is_empty_blob(&self) -> bool {
        self.size_bytes == 0 && *self == Self::empty(self.function())
    }

    /// The hash.
    pub fn hash(&self) -> &Hash {
        &self.hash
    }

    /// The size.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The function that made the hash.
    pub fn function(&self) -> DigestFunction {
        self.hash.function()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.hash, self.size_bytes)
    }
}
