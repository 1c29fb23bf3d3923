//! [`ActionKey`]: what names an action result inside a store.

use std::fmt;

use larder_cas::{BlobKeys, Keyspace};
use larder_disk::RecordKey;
use larder_protos::{Digest, Hash};

/// The name of one action result: its partition, and the hash of the action. The action's size is left out, so that a
/// client that knows only the hash (HTTP) finds what one that knows both (gRPC) has stored.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ActionKey {
    /// The partition of the result: one for each instance name.
    pub keyspace: Keyspace,
    /// The partition of the blobs that the result names.
    pub blobs: Keyspace,
    /// The hash of the encoded `Action`. Its function is that of every digest in the result.
    pub action: Hash,
}

impl ActionKey {
    pub(crate) fn record_key(&self) -> RecordKey {
        RecordKey::action_result(&self.keyspace, &self.action)
    }

    pub(crate) fn blob_keys(&self, digests: Vec<Digest>) -> BlobKeys {
        BlobKeys { keyspace: self.blobs.clone(), digests }
    }
}

impl fmt::Display for ActionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.action.fmt(f)
    }
}
