//! [`Index`]: where it is kept what URIs stand for.

use std::sync::Arc;

use larder_action_cache::{ActionEntry, ActionKey, MalformedResult};
use larder_cas::{Keyspace, RequestCx, StoreError};
use larder_protos::{DigestFunction, Hash, InstanceName};

use super::record::Record;
use crate::edge::partition::Partition;
use crate::edge::service::Shared;

/// The keyspace of all assets; their instance is part of their keys. No instance name can have the segment `uploads`.
const KEYSPACE: &str = "uploads/assets";

/// What URIs stand for, of one instance and digest function.
#[derive(Clone, Debug)]
pub(super) struct Index {
    shared: Arc<Shared>,
    partition: Partition,
    function: DigestFunction,
}

impl Index {
    pub(super) fn new(
        shared: &Arc<Shared>,
        instance: &InstanceName,
        function: DigestFunction,
    ) -> Self {
        Self { shared: Arc::clone(shared), partition: Partition::of(instance), function }
    }

    /// Where the instance's blobs are.
    pub(super) fn partition(&self) -> &Partition {
        &self.partition
    }

    /// What is kept under `key`, if all that it needs is there; that lives longer then.
    pub(super) async fn find(
        &self,
        key: Hash,
        is_directory: bool,
    ) -> Result<Option<Record>, StoreError> {
        let found = self.shared.actions.get(&RequestCx::RAW, &self.action_key(key)).await?;
        let read =
            |entry: ActionEntry| Record::of_result(entry.result(), is_directory, self.function);
        Ok(found.and_then(read))
    }

    /// As it is stored.
    pub(super) fn entry(&self, record: &Record) -> Result<ActionEntry, MalformedResult> {
        ActionEntry::new(self.function, record.to_result())
    }

    /// Keeps `entry` under `key`, in place of an older one.
    pub(super) async fn keep(&self, key: Hash, entry: ActionEntry) -> Result<(), StoreError> {
        self.shared.actions.put(&RequestCx::RAW, &self.action_key(key), entry).await
    }

    fn action_key(&self, key: Hash) -> ActionKey {
        let keyspace = Keyspace::new(KEYSPACE).expect("a short name");
        ActionKey { keyspace, ..self.partition.action(key) }
    }
}
