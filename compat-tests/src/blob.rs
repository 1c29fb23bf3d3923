//! [`Blob`]: bytes that the clients send and expect back, of both kinds that matter: what compresses well and what does not.

use std::fs;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::error::CompatError;

/// Bytes and their SHA-256.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Blob {
    pub(crate) bytes: Vec<u8>,
    pub(crate) hash: String,
}

impl Blob {
    pub(crate) fn of(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        let hash = faster_hex::hex_string(&Sha256::digest(&bytes));
        Self { bytes, hash }
    }

    /// Lines of text: compresses well.
    pub(crate) fn text(lines: usize) -> Self {
        let lines = (0..lines).map(|number| format!("line {number} of the output\n"));
        Self::of(lines.collect::<String>())
    }

    /// Bytes without any order, the same for the same seed: does not compress.
    pub(crate) fn noise(len: usize, seed: u64) -> Self {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let words = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        Self::of(words.flatten().take(len).collect::<Vec<_>>())
    }

    /// `hash/size`, as most tools write a digest.
    pub(crate) fn digest(&self) -> String {
        format!("{}/{}", self.hash, self.bytes.len())
    }

    /// Writes the bytes to a file.
    pub(crate) fn write(&self, path: &Path) -> Result<(), CompatError> {
        fs::write(path, &self.bytes).map_err(CompatError::io(path))
    }

    /// Whether the file has exactly these bytes; a file that is not there has not.
    pub(crate) fn is_in(&self, path: &Path) -> bool {
        fs::read(path).is_ok_and(|bytes| bytes == self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_named_by_its_bytes() {
        let empty = Blob::of("");
        assert_eq!(
            empty.digest(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855/0"
        );
        assert_ne!(Blob::noise(64, 1), Blob::noise(64, 2));
        assert_eq!(Blob::noise(100, 1).bytes.len(), 100);
    }

    #[test]
    fn a_file_is_compared_byte_for_byte() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let blob = Blob::text(3);
        assert!(!blob.is_in(&path));
        blob.write(&path).unwrap();
        assert!(blob.is_in(&path));
        assert!(!Blob::text(4).is_in(&path));
    }
}
