//! [`Function`]: the digest functions of REAPI, as far as the kit can compute them. [`Blob`]: bytes and their digest.

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use md5::Md5;
use reapi::digest_function::Value;
use sha1::Sha1;
use sha2::block_api::compress256;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// A digest function that the kit computes itself. MURMUR3 and VSO are not among them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Function {
    Sha256,
    Blake3,
    Sha1,
    Md5,
    Sha384,
    Sha512,
    Sha256Tree,
    GitSha1,
}

impl Function {
    /// All, the ones that most servers have first.
    pub(crate) const ALL: [Self; 8] = [
        Self::Sha256,
        Self::Blake3,
        Self::Sha1,
        Self::Md5,
        Self::Sha384,
        Self::Sha512,
        Self::Sha256Tree,
        Self::GitSha1,
    ];

    /// The enum's value on the wire.
    pub(crate) fn value(self) -> i32 {
        let value = match self {
            Self::Sha256 => Value::Sha256,
            Self::Blake3 => Value::Blake3,
            Self::Sha1 => Value::Sha1,
            Self::Md5 => Value::Md5,
            Self::Sha384 => Value::Sha384,
            Self::Sha512 => Value::Sha512,
            Self::Sha256Tree => Value::Sha256tree,
            Self::GitSha1 => Value::Gitsha1,
        };
        value.into()
    }

    /// The enum's name, as the specification writes it.
    pub(crate) fn name(self) -> &'static str {
        Value::try_from(self.value()).map_or("?", |value| value.as_str_name())
    }

    /// The segment that resource names must have: none for the functions that their length tells.
    pub(crate) fn segment(self) -> Option<&'static str> {
        match self {
            Self::Blake3 => Some("blake3"),
            Self::Sha256Tree => Some("sha256tree"),
            Self::GitSha1 => Some("gitsha1"),
            Self::Sha256 | Self::Sha1 | Self::Md5 | Self::Sha384 | Self::Sha512 => None,
        }
    }

    /// The hash of `data`, in hexadecimal digits.
    pub(crate) fn hash(self, data: &[u8]) -> String {
        match self {
            Self::Sha256 => faster_hex::hex_string(&Sha256::digest(data)),
            Self::Blake3 => blake3::hash(data).to_hex().to_string(),
            Self::Sha1 => faster_hex::hex_string(&Sha1::digest(data)),
            Self::Md5 => faster_hex::hex_string(&Md5::digest(data)),
            Self::Sha384 => faster_hex::hex_string(&Sha384::digest(data)),
            Self::Sha512 => faster_hex::hex_string(&Sha512::digest(data)),
            Self::Sha256Tree => faster_hex::hex_string(&sha256_tree(data)),
            Self::GitSha1 => {
                let header = format!("blob {}\0", data.len());
                let hash = Sha1::new().chain_update(header).chain_update(data).finalize();
                faster_hex::hex_string(&hash)
            }
        }
    }
}

/// Leaves of 1 KiB are hashed by SHA-256; the left half of a larger blob is the greatest power of two below its size, and both
/// halves' hashes are one block for SHA-256's compression, begun from other constants. Source: the comment on `SHA256TREE`.
fn sha256_tree(data: &[u8]) -> [u8; 32] {
    const LEAF_BYTES: usize = 1024;
    const PARENT: [u32; 8] = [
        0xcbbb_9d5d,
        0x629a_292a,
        0x9159_015a,
        0x152f_ecd8,
        0x6733_2667,
        0x8eb4_4a87,
        0xdb0c_2e0d,
        0x47b5_481d,
    ];
    if data.len() <= LEAF_BYTES {
        return Sha256::digest(data).into();
    }
    let (left, right) = data.split_at(data.len().next_power_of_two() / 2);
    let mut block = [0; 64];
    block[..32].copy_from_slice(&sha256_tree(left));
    block[32..].copy_from_slice(&sha256_tree(right));
    let mut state = PARENT;
    compress256(&mut state, &[block]);
    let mut hash = [0; 32];
    for ((bytes, word), begun) in hash.chunks_exact_mut(4).zip(state).zip(PARENT) {
        // The block cipher's bare output is meant: the compression's last addition is undone.
        bytes.copy_from_slice(&word.wrapping_sub(begun).to_be_bytes());
    }
    hash
}

/// Bytes, and the digest that names them.
#[derive(Clone, Debug)]
pub(crate) struct Blob {
    pub(crate) data: Vec<u8>,
    pub(crate) function: Function,
    pub(crate) hash: String,
}

impl Blob {
    /// Names `data`.
    pub(crate) fn new(function: Function, data: Vec<u8>) -> Self {
        let hash = function.hash(&data);
        Self { data, function, hash }
    }

    /// Its size as REAPI writes it.
    pub(crate) fn size(&self) -> i64 {
        signed(self.data.len())
    }

    /// Its digest.
    pub(crate) fn digest(&self) -> reapi::Digest {
        reapi::Digest { hash: self.hash.clone(), size_bytes: self.size() }
    }

    /// The part of a resource name that says which blob: `{function/}hash/size`.
    pub(crate) fn path(&self) -> String {
        let segment = self.function.segment().map_or(String::new(), |name| format!("{name}/"));
        format!("{segment}{}/{}", self.hash, self.data.len())
    }
}

/// A size in memory, which is never above what REAPI's signed sizes hold.
pub(crate) fn signed(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_hashes() {
        let table = [
            (Function::Sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (Function::Blake3, "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"),
            (Function::Sha1, "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (Function::Md5, "900150983cd24fb0d6963f7d28e17f72"),
            // printf abc | git hash-object --stdin
            (Function::GitSha1, "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f"),
            // Up to a leaf it is plain SHA-256.
            (
                Function::Sha256Tree,
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
        ];
        for (function, hash) in table {
            assert_eq!(function.hash(b"abc"), hash, "{}", function.name());
        }
    }

    /// Source: `sha256tree_test_vectors.txt` of the remote-apis repository: the bytes 0 to 250, over and over.
    #[test]
    fn trees_match_the_published_vectors() {
        let table = [
            (1025, "36c0998b21839ef74300b9de47d96d1f62323dc81f2b4231e98ce70cd6ffe750"),
            (2048, "b584996386f01793751c5cf0c39561f51b7e9924b818943b3cb2f6928cea0fa9"),
            (3073, "517d20c0e5835f060a1bd6388ed68574f63424bdac2a2c3a35a5c2ef859d8fe2"),
            (102_400, "0668d69e5331840d2f1823d717b7b3f5d1fdc8a09504cddb692b87ff83d50e5f"),
        ];
        for (size, hash) in table {
            let data: Vec<u8> = (0..=250).cycle().take(size).collect();
            assert_eq!(Function::Sha256Tree.hash(&data), hash, "{size}");
        }
    }

    #[test]
    fn only_functions_that_the_length_does_not_tell_are_a_segment() {
        let path = |function| Blob::new(function, b"abc".to_vec()).path();
        assert!(path(Function::Sha256).starts_with("ba7816bf"));
        assert!(path(Function::Blake3).starts_with("blake3/6437b3ac"));
        assert!(path(Function::GitSha1).ends_with("/3"));
    }
}
