//! [`HotActions`]: decoded action results in memory, in front of another store.
//!
//! Invariant: once a put has returned, no read answers with an older result. A read that met the older one behind notices
//! that a put went by, and keeps it out of memory. A put that was dropped or failed may still take effect behind, later:
//! until another one returns, its key is in doubt and read there.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use larder_cas::{RequestCx, StoreError};
use moka::ops::compute::Op;
use moka::sync::Cache;

use crate::{ActionEntry, ActionKey, ActionStore};

/// How often a result that is hit in memory is touched in the tier behind; far below any useful retention.
const TOUCH_EVERY: Duration = Duration::from_mins(1);

/// What a result costs besides its bytes and its message.
const ENTRY_OVERHEAD_BYTES: usize = 500;

/// Keeps decoded results that passed by, weighed by bytes.
pub struct HotActions {
    inner: Arc<dyn ActionStore>,
    capacity_bytes: u64,
    entries: Cache<ActionKey, Known>,
    touch_every: Duration,
    started: Instant,
    /// How many puts went by, counted apart for each first byte of the action's hash.
    puts: [AtomicU64; 256],
}

/// What is known of a key.
#[derive(Clone)]
enum Known {
    /// This is its result.
    Result(HotAction),
    /// The tier behind may still change by itself.
    InDoubt,
}

#[derive(Clone)]
struct HotAction {
    entry: ActionEntry,
    /// Milliseconds after the tier's start.
    touched_ms: Arc<AtomicU64>,
}

impl HotActions {
    /// Keeps what passes to and from `inner` in at most about `capacity_bytes`.
    pub fn new(inner: Arc<dyn ActionStore>, capacity_bytes: u64) -> Self {
        let weigh = |_: &ActionKey, known: &Known| {
            let memory_bytes = match known {
                Known::Result(hot) => hot.entry.memory_bytes(),
                Known::InDoubt => 0,
            };
            u32::try_from(memory_bytes + ENTRY_OVERHEAD_BYTES).unwrap_or(u32::MAX)
        };
        let entries = Cache::builder().max_capacity(capacity_bytes).weigher(weigh).build();
        Self {
            inner,
            capacity_bytes,
            entries,
            touch_every: TOUCH_EVERY,
            started: Instant::now(),
            puts: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Touches the tier behind no more often than this for each result, instead of once a minute.
    #[must_use]
    pub fn touching_every(self, touch_every: Duration) -> Self {
        Self { touch_every, ..self }
    }

    /// Reads the result in the tier behind, so that one which is only ever read from memory does not grow cold there.
    async fn touch_behind(&self, cx: &RequestCx, key: &ActionKey, hot: &HotAction) {
        let now_ms = self.now_ms();
        let every_ms = u64::try_from(self.touch_every.as_millis()).unwrap_or(u64::MAX);
        if now_ms >= hot.touched_ms.load(Ordering::Relaxed).saturating_add(every_ms) {
            hot.touched_ms.store(now_ms, Ordering::Relaxed);
            // A disk that fails has said so in its own log; what is in memory is good.
            let _ = self.inner.get(cx, key).await;
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
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
            Some(Known::Result(hot)) => {
                self.touch_behind(cx, key, &hot).await;
                return Ok(Some(hot.entry));
            }
            Some(Known::InDoubt) => return self.inner.get(cx, key).await,
            None => {}
        }
        let puts_before = self.puts(key).load(Ordering::Acquire);
        let found = self.inner.get(cx, key).await?;
        if let Some(entry) = &found {
            self.entries.entry_by_ref(key).and_compute_with(|_| {
                let unchanged = self.puts(key).load(Ordering::Acquire) == puts_before;
                let touched_ms = Arc::new(AtomicU64::new(self.now_ms()));
                let hot = HotAction { entry: entry.clone(), touched_ms };
                if unchanged { Op::Put(Known::Result(hot)) } else { Op::Nop }
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
