//! [`HotActions`]: decoded action results in memory, in front of another store.
//!
//! Invariant: once a put has returned, no read answers with an older result. A read that met the older one behind notices
//! that a put went by, and keeps it out of memory. A put that was dropped or failed may still take effect behind, later:
//! until another one returns, its key is in doubt and read there.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use larder_cas::{RequestCx, StoreError};
use moka::ops::compute::Op;
use moka::sync::Cache;

use crate::{ActionEntry, ActionKey, ActionStore};

/// What a result costs besides its bytes and its message.
const ENTRY_OVERHEAD_BYTES: usize = 500;

/// Keeps decoded results that passed by, weighed by bytes.
pub struct HotActions {
    inner: Arc<dyn ActionStore>,
    capacity_bytes: u64,
    entries: Cache<ActionKey, Known>,
    /// How many puts went by, counted apart for each first byte of the action's hash.
    puts: [AtomicU64; 256],
}

/// What is known of a key.
#[derive(Clone)]
enum Known {
    /// This is its result.
    Result(ActionEntry),
    /// The tier behind may still change by itself.
    InDoubt,
}

impl HotActions {
    /// Keeps what passes to and from `inner` in at most about `capacity_bytes`.
    pub fn new(inner: Arc<dyn ActionStore>, capacity_bytes: u64) -> Self {
        let weigh = |_: &ActionKey, known: &Known| {
            let memory_bytes = match known {
                Known::Result(entry) => entry.memory_bytes(),
                Known::InDoubt => 0,
            };
            u32::try_from(memory_bytes + ENTRY_OVERHEAD_BYTES).unwrap_or(u32::MAX)
        };
        let entries = Cache::builder().max_capacity(capacity_bytes).weigher(weigh).build();
        Self { inner, capacity_bytes, entries, puts: std::array::from_fn(|_| AtomicU64::new(0)) }
    }

    fn puts(&self, key: &ActionKey) -> &AtomicU64 {
        &self.puts[usize::from(key.action.as_bytes()[0])]
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
        match self.entries.get(key) {
            Some(Known::Result(entry)) => return Ok(Some(entry)),
            Some(Known::InDoubt) => return self.inner.get(cx, key).await,
            None => {}
        }
        let puts_before = self.puts(key).load(Ordering::Acquire);
        let found = self.inner.get(cx, key).await?;
        if let Some(entry) = &found {
            self.entries.entry_by_ref(key).and_compute_with(|_| {
                let unchanged = self.puts(key).load(Ordering::Acquire) == puts_before;
                if unchanged { Op::Put(Known::Result(entry.clone())) } else { Op::Nop }
            });
        }
        Ok(found)
    }

    async fn put(
        &self,
        cx: &RequestCx,
        key: &ActionKey,
        entry: ActionEntry,
    ) -> Result<(), StoreError> {
        let mut put = UnderWay { tier: self, key, returns: false };
        let stored = self.inner.put(cx, key, entry).await;
        put.returns = stored.is_ok();
        stored
    }
}

/// A put; however it ends, the key's result leaves memory.
struct UnderWay<'a> {
    tier: &'a HotActions,
    key: &'a ActionKey,
    /// Whether it is known to have happened.
    returns: bool,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        // One at a time for each key: a read that inserts either comes before and is removed, or sees the count.
        self.tier.entries.entry_by_ref(self.key).and_compute_with(|_| {
            self.tier.puts(self.key).fetch_add(1, Ordering::AcqRel);
            if self.returns { Op::Remove } else { Op::Put(Known::InDoubt) }
        });
    }
}
