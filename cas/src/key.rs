//! [`BlobKey`] and [`BlobKeys`]: what names blobs inside a store.
//!
//! The keyspace is part of the key, not of the request context: a tier that forgets the context must still be unable to
//! mix two partitions' blobs.

use std::fmt;

use larder_disk::{Keyspace, RecordKey};
use larder_protos::Digest;

/// The name of one blob in a store: the partition it lives in, and its digest.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct BlobKey {
    /// The partition; shares nothing with any other.
    pub keyspace: Keyspace,
    /// Hash and size of the bytes.
    pub digest: Digest,
}

impl BlobKey {
    pub(crate) fn record_key(&self) -> RecordKey {
        RecordKey::blob(&self.keyspace, &self.digest)
    }
}

impl fmt::Display for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.digest.fmt(f)
    }
}

/// The names of several blobs of one keyspace, as a request lists them: in order, duplicates allowed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BlobKeys {
    /// The partition of all of them.
    pub keyspace: Keyspace,
    /// One entry a blob.
    pub digests: Vec<Digest>,
}

impl BlobKeys {
    /// Whether no blob is named.
    pub fn is_empty(&self) -> bool {
        self.digests.is_empty()
    }

    /// Each blob's own key.
    pub fn iter(&self) -> impl Iterator<Item = BlobKey> + '_ {
        self.digests
            .iter()
            .map(|digest| BlobKey { keyspace: self.keyspace.clone(), digest: *digest })
    }
}

impl From<BlobKey> for BlobKeys {
    fn from(key: BlobKey) -> Self {
        Self { keyspace: key.keyspace, digests: vec![key.digest] }
    }
}
