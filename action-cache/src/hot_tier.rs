//! [`HotActions`]: decoded action results in memory, in front of another store.
//!
//! Invariant: what is answered from memory is what the tier behind would answer. Each result is kept with the version that was
//! current before it was read, and goes out only while that version is current still. So nothing has to be known of puts: one that
//! another caller makes, that fails, or that takes effect after its caller went away changes the version when it changes the result.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use larder_cas::{RequestCx, StoreError};
use larder_disk::RecordVersion;
use moka::sync::Cache;

use crate::{ActionEntry, ActionKey, ActionStore, ActionVersions};

/// What a result costs besides its bytes and its message.
const ENTRY_OVERHEAD_BYTES: usize = 500;

/// Keeps decoded results that passed by, weighed by bytes.
pub struct HotActions {
    inner: Arc<dyn ActionStore>,
    versions: Arc<dyn ActionVersions>,
    capacity_bytes: u64,
    entries: Cache<ActionKey, HotAction>,
}

#[derive(Clone)]
struct HotAction {
    entry: ActionEntry,
    /// Current before the result was read, which is therefore no older.
    version: RecordVersion,
}

impl HotActions {
    /// Keeps what passes from `inner`, whose `versions` are told, in at most about `capacity_bytes`.
    pub fn new(
        inner: Arc<dyn ActionStore>,
        versions: Arc<dyn ActionVersions>,
        capacity_bytes: u64,
    ) -> Self {
        let weigh = |_: &ActionKey, hot: &HotAction| {
            let memory_bytes = hot.entry.memory_bytes() + ENTRY_OVERHEAD_BYTES;
            u32::try_from(memory_bytes).unwrap_or(u32::MAX)
        };
        let entries = Cache::builder().max_capacity(capacity_bytes).weigher(weigh).build();
        Self { inner, versions, capacity_bytes, entries }
    }
}

impl fmt::Display for HotActions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hot {} MiB > {}", self.capacity_bytes >> 20, self.inner)
    }
}

impl fmt::Debug for HotActions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HotActions")
            .field("inner", &self.inner)
            .field("bytes", &self.entries.weighted_size())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl ActionStore for HotActions {
    async fn get(
        &self,
        cx: &RequestCx,
        key: &ActionKey,
    ) -> Result<Option<ActionEntry>, StoreError> {
        // Before the read: a result that a put then replaces is kept under a version that has gone, and never served.
        let version = self.versions.version(key);
        if let Some(hot) = self.entries.get(key).filter(|hot| version == Some(hot.version)) {
            return Ok(Some(hot.entry));
        }
        let found = self.inner.get(cx, key).await?;
        if let (Some(entry), Some(version)) = (&found, version) {
            self.entries.insert(key.clone(), HotAction { entry: entry.clone(), version });
        }
        Ok(found)
    }

    async fn put(
        &self,
        cx: &RequestCx,
        key: &ActionKey,
        entry: ActionEntry,
    ) -> Result<(), StoreError> {
        // Its version goes with the put; to keep the memory would be of no use.
        self.entries.invalidate(key);
        self.inner.put(cx, key, entry).await
    }
}
