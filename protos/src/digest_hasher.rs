//! [`DigestHasher`]: makes the digest of a stream.

use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use crate::sha256_tree::Sha256Tree;
use crate::{Digest, DigestFunction, Hash};

/// Hashes bytes as they pass. Memory: constant, for SHA256TREE the logarithm of the size.
#[derive(Clone, Debug)]
pub struct DigestHasher {
    state: State,
    seen_bytes: u64,
}

#[derive(Clone, Debug)]
enum State {
    Sha256(Sha256),
    Sha1(Sha1),
    Md5(md5::Md5),
    Sha384(Sha384),
    Sha512(Sha512),
    Blake3(Box<blake3::Hasher>),
    Sha256Tree(Sha256Tree),
    GitSha1(Sha1),
}

impl DigestHasher {
    /// Begins. `size_bytes` is what the blob should have: GITSHA1 hashes it first; the others ignore it.
    pub fn new(function: DigestFunction, size_bytes: u64) -> Self {
        let state = match function {
            DigestFunction::Sha256 => State::Sha256(Sha256::new()),
            DigestFunction::Sha1 => State::Sha1(Sha1::new()),
            DigestFunction::Md5 => State::Md5(md5::Md5::new()),
            DigestFunction::Sha384 => State::Sha384(Sha384::new()),
            DigestFunction::Sha512 => State::Sha512(Sha512::new()),
            DigestFunction::Blake3 => State::Blake3(Box::default()),
            DigestFunction::Sha256Tree => State::Sha256Tree(Sha256Tree::default()),
            DigestFunction::GitSha1 => {
                State::GitSha1(Sha1::new_with_prefix(format!("blob {size_bytes}\0")))
            }
        };
        Self { state, seen_bytes: 0 }
    }

    /// Hashes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.seen_bytes += bytes.len() as u64;
        match &mut self.state {
            State::Sha256(state) => state.update(bytes),
            State::Sha1(state) | State::GitSha1(state) => state.update(bytes),
            State::Md5(state) => state.update(bytes),
            State::Sha384(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
            State::Blake3(state) => {
                state.update(bytes);
            }
            State::Sha256Tree(state) => state.update(bytes),
        }
    }

    /// The digest of what was really seen.
    pub fn finish(self) -> Digest {
        let (function, seen_bytes) = (self.function(), self.seen_bytes);
        let hash = |bytes: &[u8]| Hash::from_bytes(function, bytes);
        let hash = match self.state {
            State::Sha256(state) => hash(&state.finalize()),
            State::Sha1(state) | State::GitSha1(state) => hash(&state.finalize()),
            State::Md5(state) => hash(&state.finalize()),
            State::Sha384(state) => hash(&state.finalize()),
            State::Sha512(state) => hash(&state.finalize()),
            State::Blake3(state) => hash(state.finalize().as_bytes()),
            State::Sha256Tree(state) => hash(&state.finish()),
        };
        Digest::new(hash.expect("a function's output has its length"), seen_bytes)
    }

    fn function(&self) -> DigestFunction {
        match self.state {
            State::Sha256(_) => DigestFunction::Sha256,
            State::Sha1(_) => DigestFunction::Sha1,
            State::Md5(_) => DigestFunction::Md5,
            State::Sha384(_) => DigestFunction::Sha384,
            State::Sha512(_) => DigestFunction::Sha512,
            State::Blake3(_) => DigestFunction::Blake3,
            State::Sha256Tree(_) => DigestFunction::Sha256Tree,
            State::GitSha1(_) => DigestFunction::GitSha1,
        }
    }
}
