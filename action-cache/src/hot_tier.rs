//! [`HotActions`]: decoded action results in memory, in front of another store.
//!
//! Invariant: what is answered from memory is what the tier behind would answer. Each result is kept with the version that was
//! current before it was read, and goes out only while that version is current still. So nothing has to be known of puts: one that
//! another caller makes, that fails, or that takes effect after its caller went away changes the version when it changes the result.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use larder_cas::{HotCache, HotStats, HotValue, RequestCx, StoreError};
use larder_disk::RecordVersion;

use crate::{ActionEntry, ActionKey, ActionStore, ActionVersions};

/// What a result costs besides its bytes and its message.
const ENTRY_OVERHEAD_BYTES: usize = 500;

/// What costs more, tens of thousands of outputs, is kept where much memory is.
const LARGE_BYTES: u64 = 8 << 20;

/// Keeps decoded results that passed by, weighed by bytes.
pub struct HotActions {
    inner: Arc<dyn ActionStore>,
    versions: Arc<dyn ActionVersions>,
    entries: HotCache<ActionKey, HotAction>,
}

struct HotAction {
    entry: ActionEntry,
    /// Current before the result was read, which is therefore no older.
    version: RecordVersion,
}

impl HotValue for HotAction {
    fn cost_bytes(&self) -> u64 {
        (self.entry.memory_bytes() + ENTRY_OVERHEAD_BYTES) as u64
    }
}

impl HotActions {
    /// Keeps what passes from `inner`, whose `versions` are told, in at most about `capacity_bytes`.
    pub fn new(
        inner: Arc<dyn ActionStore>,
        versions: Arc<dyn ActionVersions>,
        capacity_bytes: u64,
    ) -> Self {
        Self { inner, versions, entries: HotCache::new(capacity_bytes, LARGE_BYTES) }
    }

    /// What it holds, and what happened since it was made.
    pub fn stats(&self) -> HotStats {
        self.entries.stats()
    }

    /// Changes how much it may hold, up to its capacity; the coldest results go at once. Blocks while they are sorted out.
    pub fn set_limit(&self, limit_bytes: u64) {
        self.entries.set_limit(limit_bytes);
    }

    /// Lets all results go.
    pub fn clear(&self) {
        self.entries.clear();
    }
}

impl fmt::Display for HotActions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hot {} MiB > {}", self.entries.capacity_bytes() >> 20, self.inner)
    }
}

impl fmt::Debug for HotActions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HotActions")
            .field("inner", &self.inner)
            .field("entries", &self.entries)
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
        if let Some(hot) = self.entries.get_if(key, |hot| version == Some(hot.version)) {
            return Ok(Some(hot.entry.clone()));
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
        self.entries.remove(key);
        self.inner.put(cx, key, entry).await
    }
}
