//! [`Verified`]: remembers which password showed to be right, as a keyed hash.
//!
//! Argon2 for each request would take a core from every 50 requests a second. One entry of the file has one right password, so
//! this is bounded by the file, and it goes with the file when that changes.

use std::fmt;
use std::sync::OnceLock;

/// The keyed hash of the right password, once it was shown.
#[derive(Default)]
pub(crate) struct Verified {
    key: MemoryKey,
    right: OnceLock<blake3::Hash>,
}

/// Of this process alone, so that what lies in its memory is of no use elsewhere.
#[derive(Copy, Clone, Default)]
pub(crate) struct MemoryKey(pub(crate) [u8; 32]);

impl Verified {
    pub(crate) fn new(key: MemoryKey) -> Self {
        Self { key, right: OnceLock::new() }
    }

    /// Whether `password` was remembered. blake3's hashes compare in constant time.
    pub(crate) fn is(&self, password: &[u8]) -> bool {
        self.right.get().is_some_and(|right| *right == blake3::keyed_hash(&self.key.0, password))
    }

    /// Remembers what Argon2 found right.
    pub(crate) fn remember(&self, password: &[u8]) {
        let _first = self.right.set(blake3::keyed_hash(&self.key.0, password));
    }
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verified")
    }
}
