//! [`Entropy`]: the random bytes of one case. The same seed and the same case give the same bytes, in every version of the kit.

/// An endless stream of bytes, drawn from a seed and a case's name.
pub(crate) struct Entropy(blake3::OutputReader);

impl Entropy {
    /// The stream of the case called `name` in the run with `seed`.
    pub(crate) fn new(seed: u64, name: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("larder-conformance 1 case entropy");
        hasher.update(&seed.to_le_bytes()).update(name.as_bytes());
        Self(hasher.finalize_xof())
    }

    /// The next `size` bytes; incompressible.
    pub(crate) fn bytes(&mut self, size: usize) -> Vec<u8> {
        let mut bytes = vec![0; size];
        self.0.fill(&mut bytes);
        bytes
    }

    /// Lines of text, no two blobs alike; compresses well.
    pub(crate) fn text(&mut self, size: usize) -> Vec<u8> {
        let salt = u64::from_le_bytes(self.array());
        let mut text = Vec::with_capacity(size + 64);
        let mut line = 0_u64;
        while text.len() < size {
            let words = format!("{salt:016x} line {line}: the quick brown fox is cached\n");
            text.extend_from_slice(words.as_bytes());
            line += 1;
        }
        text.truncate(size);
        text
    }

    /// A version 4 UUID.
    pub(crate) fn uuid(&mut self) -> String {
        let mut raw: [u8; 16] = self.array();
        raw[6] = raw[6] & 0x0f | 0x40;
        raw[8] = raw[8] & 0x3f | 0x80;
        let hex = faster_hex::hex_string(&raw);
        let (a, b, c) = (&hex[..8], &hex[8..12], &hex[12..16]);
        format!("{a}-{b}-{c}-{}-{}", &hex[16..20], &hex[20..])
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        self.0.fill(&mut array);
        array
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_has_bytes_of_its_own_that_come_again() {
        let of = |seed, name| Entropy::new(seed, name).bytes(32);
        assert_eq!(of(1, "a"), of(1, "a"));
        assert_ne!(of(1, "a"), of(1, "b"));
        assert_ne!(of(1, "a"), of(2, "a"));
    }

    #[test]
    fn uuids_are_of_version_4() {
        let uuid = Entropy::new(7, "uuid").uuid();
        let lengths: Vec<_> = uuid.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{uuid}");
        assert_eq!(&uuid[14..15], "4", "{uuid}");
        assert!("89ab".contains(&uuid[19..20]), "{uuid}");
    }

    #[test]
    fn text_is_of_the_size_asked_for() {
        for size in [0, 1, 63, 64, 10_000] {
            assert_eq!(Entropy::new(7, "text").text(size).len(), size);
        }
    }
}
