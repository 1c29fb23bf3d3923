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

/// The spaces of the dialects over HTTP.
const SPACES: [&str; 5] = ["gradle", "kv", "nx", "sccache", "turborepo"];

/// Where action results and entries of an instance are. Remote Asset's are not among them: they share a keyspace, and their
/// instance is part of their keys.
pub(crate) fn instance_keyspaces(instance: &InstanceName) -> Vec<Keyspace> {
    let spaces = SPACES.into_iter().map(|space| space_keyspace(space, instance));
    std::iter::once(Partition::of(instance).actions).chain(spaces).collect()
}

/// Where the entries are that an instance has in a dialect.
///
/// Instance names cannot have the segment `uploads`, so no instance's keyspace is named like one of these; nor can a space have
/// a slash, so no two of these are named alike.
pub(crate) fn space_keyspace(space: &str, instance: &InstanceName) -> Keyspace {
    let instance = instance.as_str();
    let separator = if instance.is_empty() { "" } else { "/" };
    Keyspace::new(&format!("uploads/{space}{separator}{instance}"))
        .expect("instance names are shorter than keyspaces")
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
