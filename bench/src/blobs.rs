//! Blobs to send: each different, half compressible, made without a file.

use bytes::Bytes;
use larder_protos::{Digest, DigestFunction};

/// The blob of this size that `seed` stands for.
pub(crate) fn blob(seed: u64, size: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(size + 16);
    while bytes.len() < size {
        // An xorshift step: what matters is that zstd finds nothing in it.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
        bytes.extend_from_slice(b"8 bytes.");
    }
    bytes.truncate(size);
    bytes.into()
}

/// Its name.
pub(crate) fn digest(blob: &[u8]) -> Digest {
    Digest::of(DigestFunction::Sha256, blob)
}
