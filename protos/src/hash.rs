//! [`Hash`]: what a digest function makes of bytes.

use std::fmt;
use std::hash::Hasher;

use crate::error::shown;
use crate::{DigestFunction, ParseError};

/// The longest hash of all functions, SHA-512's.
const MAX_BYTES: usize = 64;

/// A hash together with its function. Always of the function's length; [`Hash::parse`] and [`Hash::from_hex`] are the ways in from text.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
pub struct Hash {
    function: DigestFunction,
    /// Zero behind the function's length, so that the derived comparisons are right.
    bytes: [u8; MAX_BYTES],
}

impl Hash {
    /// Parses lower-case hexadecimal of the function's full length; anything else is malformed, never "absent".
    pub fn parse(function: DigestFunction, hex: &str) -> Result<Self, ParseError> {
        let length = function.hash_len_bytes();
        if hex.len() != 2 * length {
            return Err(ParseError::HashLength {
                function,
                shown: shown(hex),
                actual: hex.chars().count(),
                expected: 2 * length,
            });
        }
        Self::from_hex(function, hex.as_bytes())
            .ok_or_else(|| ParseError::HashDigits { shown: shown(hex) })
    }

    /// The same of bytes that need not be text; `None` where [`Hash::parse`] says why.
    pub fn from_hex(function: DigestFunction, hex: &[u8]) -> Option<Self> {
        let length = function.hash_len_bytes();
        let mut bytes = [0; MAX_BYTES];
        if hex.len() != 2 * length {
            return None;
        }
        let case = faster_hex::CheckCase::Lower;
        faster_hex::hex_decode_with_case(hex, &mut bytes[..length], case).ok()?;
        Some(Self { function, bytes })
    }

    /// A hash of these bytes; `None` unless they have the function's length.
    pub fn from_bytes(function: DigestFunction, hash: &[u8]) -> Option<Self> {
        let mut bytes = [0; MAX_BYTES];
        if hash.len() != function.hash_len_bytes() {
            return None;
        }
        bytes[..hash.len()].copy_from_slice(hash);
        Some(Self { function, bytes })
    }

    /// The function that made it.
    pub fn function(&self) -> DigestFunction {
        self.function
    }

    /// The bytes, as many as the function has.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.function.hash_len_bytes()]
    }
}

impl std::hash::Hash for Hash {
    /// Without the zeros, which would take as long as the bytes.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u8(self.function as u8);
        state.write(self.as_bytes());
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut hex = [0; 2 * MAX_BYTES];
        let hex = faster_hex::hex_encode(self.as_bytes(), &mut hex).map_err(|_| fmt::Error)?;
        f.write_str(hex)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {self}", self.function)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(function: DigestFunction, hex: &str, expect: Result<(), &str>) {
        match (Hash::parse(function, hex), expect) {
            (Ok(hash), Ok(())) => assert_eq!(hash.to_string(), hex),
            (Err(error), Err(expect)) => assert!(error.to_string().contains(expect), "{error}"),
            (parsed, expect) => panic!("{hex:?}: {parsed:?}, not {expect:?}"),
        }
    }

    #[test]
    fn only_lower_case_hex_of_full_length_is_a_hash() {
        use DigestFunction::{Md5, Sha256, Sha512};
        check(Sha256, &"ab".repeat(32), Ok(()));
        check(Md5, &"09".repeat(16), Ok(()));
        check(Sha512, &"f0".repeat(64), Ok(()));
        check(Sha256, &"AB".repeat(32), Err("not lower-case hexadecimal"));
        check(Sha256, &"g0".repeat(32), Err("not lower-case hexadecimal"));
        check(Sha256, &"ab".repeat(31), Err("has 62 characters; those of SHA256 have 64"));
        check(Sha256, &"ab".repeat(33), Err("has 66 characters"));
        check(Sha256, "", Err("has 0 characters"));
        check(Sha256, &"é".repeat(32), Err("not lower-case hexadecimal"));
        check(Md5, "../../../etc/passwd/../../../etc", Err("not lower-case hexadecimal"));
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(hex in ".{0,140}") {
            for function in DigestFunction::ALL {
                let _ = Hash::parse(function, &hex);
            }
        }
    }
}
