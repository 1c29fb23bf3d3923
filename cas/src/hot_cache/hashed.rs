//! [`Hashed`]: a key whose hash is reckoned once a call, for the part that it belongs to and for that part's table.

use std::hash::{Hash, Hasher};

use quick_cache::Equivalent;

/// A key, or a reference to one, and its hash.
#[derive(Clone, Eq, PartialEq)]
pub(super) struct Hashed<K> {
    pub(super) hash: u64,
    pub(super) key: K,
}

impl<K> Hash for Hashed<K> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(self.hash);
    }
}

impl<K: Eq> Equivalent<Hashed<K>> for Hashed<&K> {
    fn equivalent(&self, other: &Hashed<K>) -> bool {
        *self.key == other.key
    }
}

/// Says the hash that a [`Hashed`] has.
#[derive(Default)]
pub(super) struct KnownHash(u64);

impl Hasher for KnownHash {
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("a key with its hash writes nothing else");
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
