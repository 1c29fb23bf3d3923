//! [`ByteRange`]: which part of a blob a read wants, in logical (uncompressed) bytes.

use std::ops::Range;

use larder_protos::Digest;

use crate::StoreError;

/// A part of a blob: from `offset_bytes`, at most `limit_bytes` long. Logical bytes, whatever the encoding.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ByteRange {
    offset_bytes: u64,
    limit_bytes: u64,
}

impl ByteRange {
    /// The whole blob.
    pub const ALL: Self = Self { offset_bytes: 0, limit_bytes: u64::MAX };

    /// From `offset_bytes` to the end.
    pub const fn from_offset(offset_bytes: u64) -> Self {
        Self { offset_bytes, limit_bytes: u64::MAX }
    }

    /// The same start, at most `limit_bytes` long.
    #[must_use]
    pub const fn limited(self, limit_bytes: u64) -> Self {
        Self { limit_bytes, ..self }
    }

    /// The first byte wanted.
    pub const fn offset_bytes(self) -> u64 {
        self.offset_bytes
    }

    /// Whether this asks for every byte of a blob of `size_bytes`.
    pub const fn is_whole(self, size_bytes: u64) -> bool {
        self.offset_bytes == 0 && self.limit_bytes >= size_bytes
    }

    /// The range within `digest`'s blob. An offset at the end is an empty range, one beyond it an error.
    pub fn within(self, digest: &Digest) -> Result<Range<u64>, StoreError> {
        let size_bytes = digest.size_bytes();
        if self.offset_bytes > size_bytes {
            return Err(StoreError::OutOfRange {
                digest: *digest,
                offset_bytes: self.offset_bytes,
            });
        }
        let end = self.offset_bytes.saturating_add(self.limit_bytes).min(size_bytes);
        Ok(self.offset_bytes..end)
    }
}

#[cfg(test)]
mod tests {
    use larder_protos::DigestFunction;

    use super::*;

    /// `expect` is the first byte and the byte behind the last.
    fn check(range: ByteRange, expect: Option<(u64, u64)>) {
        let digest = Digest::of(DigestFunction::Sha256, b"0123456789");
        let bounds = range.within(&digest).ok().map(|range| (range.start, range.end));
        assert_eq!(bounds, expect, "{range:?}");
    }

    #[test]
    fn a_range_is_cut_to_the_blob() {
        check(ByteRange::ALL, Some((0, 10)));
        check(ByteRange::from_offset(4), Some((4, 10)));
        check(ByteRange::from_offset(4).limited(3), Some((4, 7)));
        check(ByteRange::ALL.limited(99), Some((0, 10)));
        check(ByteRange::from_offset(10), Some((10, 10)));
        check(ByteRange::from_offset(11), None);
        check(ByteRange::from_offset(u64::MAX).limited(u64::MAX), None);
    }
}
