//! The manifest of a chunked blob: what is stored in its stead. Pure.
//!
//! Sixteen bytes: the format's version, the chunking function as the protocol numbers it, two zeros, the number of chunks and
//! the blob's size; then for each chunk its hash and its size. Numbers are little-endian, four and eight bytes long.

use bytes::Bytes;
use larder_protos::{ChunkingFunction, Digest, DigestFunction, Hash};

pub(crate) const HEADER_BYTES: usize = 16;

const VERSION: u8 = 1;

const SIZE_BYTES: usize = 8;

/// What a manifest begins with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Header {
    /// What made these chunks; `None` where nobody knows.
    pub(crate) function: Option<ChunkingFunction>,
    pub(crate) chunks: u32,
    pub(crate) blob_bytes: u64,
}

impl Header {
    /// `None` where this is no manifest, or one of a version to come.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (head, blob_bytes) = bytes.get(..HEADER_BYTES)?.split_at(8);
        let (&[version, function, 0, 0], chunks) = head.split_first_chunk::<4>()? else {
            return None;
        };
        if version != VERSION {
            return None;
        }
        Some(Self {
            function: ChunkingFunction::from_proto(function.into()).ok()?,
            chunks: u32::from_le_bytes(chunks.try_into().ok()?),
            blob_bytes: u64::from_le_bytes(blob_bytes.try_into().ok()?),
        })
    }
}

/// The bytes of one chunk in a manifest.
pub(crate) const fn entry_bytes(function: DigestFunction) -> usize {
    function.hash_len_bytes() + SIZE_BYTES
}

/// Reads one chunk; `None` where these are not [`entry_bytes`].
pub(crate) fn parse_entry(function: DigestFunction, entry: &[u8]) -> Option<Digest> {
    let (hash, size) = entry.split_at_checked(function.hash_len_bytes())?;
    let size_bytes = u64::from_le_bytes(size.try_into().ok()?);
    Some(Digest::new(Hash::from_bytes(function, hash)?, size_bytes))
}

/// The manifest of a blob; `None` where it has more chunks than can be counted.
pub(crate) fn encode(
    function: Option<ChunkingFunction>,
    blob_bytes: u64,
    chunks: &[Digest],
) -> Option<Bytes> {
    let count = u32::try_from(chunks.len()).ok()?;
    let number = u8::try_from(ChunkingFunction::to_proto(function)).ok()?;
    let entry = chunks.first().map_or(0, |chunk| entry_bytes(chunk.function()));
    let mut bytes = Vec::with_capacity(HEADER_BYTES + chunks.len() * entry);
    bytes.extend_from_slice(&[VERSION, number, 0, 0]);
    bytes.extend_from_slice(&count.to_le_bytes());
    bytes.extend_from_slice(&blob_bytes.to_le_bytes());
    for chunk in chunks {
        bytes.extend_from_slice(chunk.hash().as_bytes());
        bytes.extend_from_slice(&chunk.size_bytes().to_le_bytes());
    }
    Some(bytes.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for digest_function in [DigestFunction::Sha256, DigestFunction::Sha512] {
            let chunks = [&b"one"[..], b"three", b""].map(|it| Digest::of(digest_function, it));
            let function = Some(ChunkingFunction::RepMaxCdc);
            let bytes = encode(function, 8, &chunks).expect("few chunks");
            let header = Header::parse(&bytes).expect("a manifest");
            assert_eq!(header, Header { function, chunks: 3, blob_bytes: 8 });
            let entries = bytes[HEADER_BYTES..].chunks(entry_bytes(digest_function));
            let read: Vec<_> = entries.map(|entry| parse_entry(digest_function, entry)).collect();
            assert_eq!(read, chunks.map(Some));
        }
    }

    #[test]
    fn other_versions_and_functions_are_not_read() {
        let good = encode(None, 0, &[]).expect("no chunks");
        assert!(Header::parse(&good).is_some());
        for (place, value) in [(0, 0), (0, 2), (1, 3), (2, 1), (3, 1)] {
            let mut bad = good.to_vec();
            bad[place] = value;
            assert_eq!(Header::parse(&bad), None, "{value} at {place}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Header::parse(&bytes);
            let _ = parse_entry(DigestFunction::Sha256, &bytes);
        }
    }
}
