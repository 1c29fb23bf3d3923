//! Blobs to send: each different, made from a number without a file.

use bytes::Bytes;
use larder_protos::{Digest, DigestFunction};

/// What a blob is like for a compressor.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Content {
    /// Nothing to gain.
    Noise,
    /// Half of it is noise: what small files of a build are like.
    Half,
    /// Words and numbers, as in sources and logs: a third or less is left.
    Text,
}

/// The bytes of this size that `seed` stands for.
pub(crate) fn blob(content: Content, seed: u64, size: usize) -> Bytes {
    let mut noise = Noise::new(seed);
    let mut bytes = Vec::with_capacity(size + 16);
    while bytes.len() < size {
        let number = noise.next();
        match content {
            Content::Noise => bytes.extend_from_slice(&number.to_le_bytes()),
            Content::Half => {
                bytes.extend_from_slice(&number.to_le_bytes());
                bytes.extend_from_slice(b"8 bytes.");
            }
            Content::Text => {
                // Eight words of a choice of 256 for each number.
                for choice in number.to_le_bytes() {
                    bytes.extend_from_slice(&WORDS[usize::from(choice) % WORDS.len()]);
                    bytes.push(b'a' + choice / WORDS_LEN);
                    bytes.push(b' ');
                }
            }
        }
    }
    bytes.truncate(size);
    bytes.into()
}

/// The name of these bytes.
pub(crate) fn digest(blob: &[u8]) -> Digest {
    Digest::of(DigestFunction::Sha256, blob)
}

const WORDS_LEN: u8 = 16;
const WORDS: [[u8; 6]; WORDS_LEN as usize] = [
    *b"let mu", *b"return", *b"public", *b"static", *b"string", *b"vector", *b"const ", *b"struct",
    *b"import", *b"module", *b"match ", *b"for i ", *b"while ", *b"class ", *b"void *", *b"if (x)",
];

/// Numbers in which no compressor finds anything: an xorshift generator.
#[derive(Clone, Debug)]
pub(crate) struct Noise(u64);

impl Noise {
    /// Neighbouring seeds give unlike sequences.
    pub(crate) fn new(seed: u64) -> Self {
        let mixed = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Self((mixed ^ (mixed >> 29)) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        // The upper half is the better one.
        (self.next() >> 16) % end
    }

    /// A number from 0 to 1, both left out.
    pub(crate) fn unit(&mut self) -> f64 {
        let bits = u32::try_from(self.next() >> 32).unwrap_or(u32::MAX);
        (f64::from(bits) + 0.5) / 4_294_967_296.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_differ_and_compress_as_they_should() {
        let check = |content, percent: std::ops::Range<usize>| {
            let made = blob(content, 7, 1 << 20);
            assert_eq!(made, blob(content, 7, 1 << 20));
            assert_ne!(made, blob(content, 8, 1 << 20));
            let left = zstd::bulk::compress(&made, 1).unwrap().len() * 100 / made.len();
            assert!(percent.contains(&left), "{content:?}: {left} % left");
        };
        check(Content::Noise, 100..102);
        check(Content::Half, 45..65);
        check(Content::Text, 10..35);
        assert_eq!(blob(Content::Half, 1, 5).len(), 5);
    }

    #[test]
    fn numbers_fall_where_they_should() {
        let mut noise = Noise::new(1);
        let numbers: Vec<f64> = (0..10_000).map(|_| noise.unit()).collect();
        assert!(numbers.iter().all(|number| (0.0..1.0).contains(number)));
        let mean = numbers.iter().sum::<f64>() / 10_000.0;
        assert!((0.48..0.52).contains(&mean), "{mean}");
        assert!((0..100).all(|_| noise.below(3) < 3));
    }
}
