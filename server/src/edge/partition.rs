//! [`Partition`]: where the data of an instance lives.

use larder_action_cache::ActionKey;
use larder_cas::{BlobKey, BlobKeys, Keyspace};
use larder_protos::{Digest, Hash, InstanceName};

/// The keyspaces of one instance name.
///
/// All instances share the blobs: a blob is its digest, and whoever can name it has it. Each has action results of its
/// own: what an action's result is depends on who is asked.
#[derive(Clone, Debug)]
pub(crate) struct Partition {
    blobs: Keyspace,
    actions: Keyspace,
}

impl Partition {
    pub(crate) fn of(instance: &InstanceName) -> Self {
        let keyspace =
            |name: &str| Keyspace::new(name).expect("instance names are shorter than keyspaces");
        let blobs = keyspace("");
        let actions = match instance.as_str() {
            "" => blobs.clone(),
            name => keyspace(name),
        };
        Self { blobs, actions }
    }

    pub(crate) fn blob(&self, digest: Digest) -> BlobKey {
        BlobKey { keyspace: self.blobs.clone(), digest }
    }

    pub(crate) fn blobs(&self, digests: Vec<Digest>) -> BlobKeys {
        BlobKeys { keyspace: self.blobs.clone(), digests }
    }

    pub(crate) fn blob_keyspace(&self) -> &Keyspace {
        &self.blobs
    }

    pub(crate) fn action(&self, action: Hash) -> ActionKey {
        ActionKey { keyspace: self.actions.clone(), blobs: self.blobs.clone(), action }
    }
}
