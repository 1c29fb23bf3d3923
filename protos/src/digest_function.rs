//! [`DigestFunction`]: how blobs are hashed.

use std::fmt;

use crate::ParseError;
use crate::reapi::digest_function::Value;

/// A function from bytes to hashes. Source: `DigestFunction` in `remote_execution.proto`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum DigestFunction {
    /// FIPS 180-4.
    Sha256,
    /// FIPS 180-4; collisions are known.
    Sha1,
    /// RFC 1321; collisions are known.
    Md5,
    /// FIPS 180-4.
    Sha384,
    /// FIPS 180-4.
    Sha512,
    /// BLAKE3 with 32 bytes of output.
    Blake3,
    /// SHA-256 over a binary tree of 1 KiB leaves.
    Sha256Tree,
    /// SHA-1 over `blob {size}`, a zero byte and the bytes: the name that git gives to a file. Directories are messages as
    /// with any other function, not git's trees. Collisions are known.
    GitSha1,
}

impl DigestFunction {
    /// Every function, in the order of the enum's variants.
    pub const ALL: [Self; 8] = [
        Self::Sha256,
        Self::Sha1,
        Self::Md5,
        Self::Sha384,
        Self::Sha512,
        Self::Blake3,
        Self::Sha256Tree,
        Self::GitSha1,
    ];

    /// Those for which collisions are known: who can forge one could poison a build.
    pub const WEAK: [Self; 3] = [Self::Sha1, Self::Md5, Self::GitSha1];

    /// Whether collisions are known.
    pub fn is_weak(self) -> bool {
        Self::WEAK.contains(&self)
    }

    /// The function of that name, as [`Display`](fmt::Display) writes it; case makes no difference.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|function| function.to_string().eq_ignore_ascii_case(name))
    }

    /// Whether the size is hashed before the bytes, so that a hash cannot begin before it is known.
    pub const fn begins_with_size(self) -> bool {
        matches!(self, Self::GitSha1)
    }

    /// The length of a hash.
    pub const fn hash_len_bytes(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 | Self::GitSha1 => 20,
            Self::Sha256 | Self::Blake3 | Self::Sha256Tree => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The function's segment in resource names.
    pub const fn path_segment(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha1 => "sha1",
            Self::Md5 => "md5",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
            Self::Blake3 => "blake3",
            Self::Sha256Tree => "sha256tree",
            Self::GitSha1 => "gitsha1",
        }
    }

    /// The function of a segment in a resource name.
    pub fn from_path_segment(segment: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|function| function.path_segment() == segment)
    }

    /// Whether clients leave the function out, since the length of a hash tells it. Source: the comment on
    /// `digest_function` in `remote_execution.proto`, which lists the functions older than the field.
    pub const fn is_inferable(self) -> bool {
        match self {
            Self::Sha256 | Self::Sha1 | Self::Md5 | Self::Sha384 | Self::Sha512 => true,
            Self::Blake3 | Self::Sha256Tree | Self::GitSha1 => false,
        }
    }

    /// The function that a hash of so many hexadecimal digits means where nothing else is said.
    pub fn inferred_from(hex_digits: usize) -> Option<Self> {
        let mut inferable = Self::ALL.into_iter().filter(|function| function.is_inferable());
        inferable.find(|function| 2 * function.hash_len_bytes() == hex_digits)
    }

    /// Reads an enum field; `None` where it says nothing.
    pub fn from_proto(value: i32) -> Result<Option<Self>, ParseError> {
        match Value::try_from(value) {
            Ok(Value::Unknown) => Ok(None),
            Ok(Value::Sha256) => Ok(Some(Self::Sha256)),
            Ok(Value::Sha1) => Ok(Some(Self::Sha1)),
            Ok(Value::Md5) => Ok(Some(Self::Md5)),
            Ok(Value::Sha384) => Ok(Some(Self::Sha384)),
            Ok(Value::Sha512) => Ok(Some(Self::Sha512)),
            Ok(Value::Blake3) => Ok(Some(Self::Blake3)),
            Ok(Value::Sha256tree) => Ok(Some(Self::Sha256Tree)),
            Ok(Value::Gitsha1) => Ok(Some(Self::GitSha1)),
            Ok(Value::Vso | Value::Murmur3) | Err(_) => Err(ParseError::UnknownFunction { value }),
        }
    }

    /// The number in an enum field.
    pub fn to_proto(self) -> i32 {
        let value = match self {
            Self::Sha256 => Value::Sha256,
            Self::Sha1 => Value::Sha1,
            Self::Md5 => Value::Md5,
            Self::Sha384 => Value::Sha384,
            Self::Sha512 => Value::Sha512,
            Self::Blake3 => Value::Blake3,
            Self::Sha256Tree => Value::Sha256tree,
            Self::GitSha1 => Value::Gitsha1,
        };
        value.into()
    }
}

impl fmt::Display for DigestFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha256 => "SHA256",
            Self::Sha1 => "SHA1",
            Self::Md5 => "MD5",
            Self::Sha384 => "SHA384",
            Self::Sha512 => "SHA512",
            Self::Blake3 => "BLAKE3",
            Self::Sha256Tree => "SHA256TREE",
            Self::GitSha1 => "GITSHA1",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_and_the_segment_round_trip() {
        for function in DigestFunction::ALL {
            assert_eq!(DigestFunction::from_proto(function.to_proto()), Ok(Some(function)));
            let segment = function.path_segment();
            assert_eq!(DigestFunction::from_path_segment(segment), Some(function));
            assert_eq!(DigestFunction::named(&function.to_string()), Some(function));
            assert_eq!(DigestFunction::named(segment), Some(function));
        }
        assert_eq!(DigestFunction::from_proto(0), Ok(None));
        for value in [-1, Value::Vso.into(), Value::Murmur3.into(), 99] {
            let unknown = Err(ParseError::UnknownFunction { value });
            assert_eq!(DigestFunction::from_proto(value), unknown);
        }
        assert_eq!(DigestFunction::from_path_segment("SHA256"), None);
    }

    fn check_inferred(hex_digits: usize, expect: Option<DigestFunction>) {
        assert_eq!(DigestFunction::inferred_from(hex_digits), expect, "{hex_digits} digits");
    }

    #[test]
    fn the_length_of_a_hash_tells_the_older_functions() {
        check_inferred(32, Some(DigestFunction::Md5));
        check_inferred(40, Some(DigestFunction::Sha1));
        check_inferred(64, Some(DigestFunction::Sha256));
        check_inferred(96, Some(DigestFunction::Sha384));
        check_inferred(128, Some(DigestFunction::Sha512));
        check_inferred(0, None);
        check_inferred(63, None);
        check_inferred(usize::MAX, None);
    }
}
