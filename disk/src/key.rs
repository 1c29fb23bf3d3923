//! [`RecordKey`]: what names a record, and [`Keyspace`], the partition that is part of every name.

use std::fmt;
use std::sync::Arc;

use larder_protos::{Digest, DigestFunction, Hash};

use crate::error::DiskError;

/// A partition that shares nothing with any other.
///
/// The keyspace is part of the key and of each record on disk, not of a request's context: whatever forgets the context
/// must still be unable to mix two tenants' blobs. Cheap to clone.
#[derive(Clone, Eq, PartialEq, Hash, Ord, PartialOrd, Debug)]
pub struct Keyspace(Arc<str>);

impl Keyspace {
    /// The longest name, in bytes of UTF-8.
    pub const MAX_BYTES: usize = 1_024;

    /// Takes a name that is short enough.
    pub fn new(name: &str) -> Result<Self, DiskError> {
        if name.len() > Self::MAX_BYTES {
            return Err(DiskError::KeyspaceTooLong {
                length_bytes: name.len(),
                limit_bytes: Self::MAX_BYTES,
            });
        }
        Ok(Self(Arc::from(name)))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a record holds.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub enum RecordKind {
    /// Content named by its digest: never changes, so the first one stays.
    Blob,
    /// A result named by its action's digest: the newest one counts.
    ActionResult,
}

/// What names a record: kind, keyspace, hash, and of a blob its size.
///
/// The size is part of a blob's identity. It is left out of an action result's: its name is the hash of the action, which
/// says nothing about the result's length.
#[derive(Clone, Eq, PartialEq, Hash, Debug)]
pub struct RecordKey {
    kind: RecordKind,
    keyspace: Keyspace,
    hash: Hash,
    /// 0 for an action result.
    size_bytes: u64,
}

impl RecordKey {
    /// The name of a blob.
    pub fn blob(keyspace: &Keyspace, digest: &Digest) -> Self {
        Self {
            kind: RecordKind::Blob,
            keyspace: keyspace.clone(),
            hash: *digest.hash(),
            size_bytes: digest.size_bytes(),
        }
    }

    /// The name of an action result.
    pub fn action_result(keyspace: &Keyspace, action: &Hash) -> Self {
        Self {
            kind: RecordKind::ActionResult,
            keyspace: keyspace.clone(),
            hash: *action,
            size_bytes: 0,
        }
    }

    /// The name from the parts a record on disk holds.
    pub(crate) fn from_parts(
        kind: RecordKind,
        keyspace: Keyspace,
        hash: Hash,
        logical_size_bytes: u64,
    ) -> Self {
        let size_bytes = match kind {
            RecordKind::Blob => logical_size_bytes,
            RecordKind::ActionResult => 0,
        };
        Self { kind, keyspace, hash, size_bytes }
    }

    /// What the record holds.
    pub fn kind(&self) -> RecordKind {
        self.kind
    }

    /// The partition.
    pub fn keyspace(&self) -> &Keyspace {
        &self.keyspace
    }

    /// The hash of the blob or of the action.
    pub fn hash(&self) -> &Hash {
        &self.hash
    }

    /// The digest function of the hash.
    pub fn function(&self) -> DigestFunction {
        self.hash.function()
    }

    /// The blob's size as its name says it; 0 for an action result.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The size content must have under this name, where the name says one.
    pub(crate) fn expected_size_bytes(&self) -> Option<u64> {
        (self.kind == RecordKind::Blob).then_some(self.size_bytes)
    }
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            RecordKind::Blob => write!(f, "blob {}/{}", self.hash, self.size_bytes)?,
            RecordKind::ActionResult => write!(f, "action result {}", self.hash)?,
        }
        if self.keyspace.as_str().is_empty() {
            return Ok(());
        }
        write!(f, " of keyspace {:?}", self.keyspace.as_str())
    }
}
