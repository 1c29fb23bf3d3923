//! The hot tier of action results extends the lives of those behind it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use larder_action_cache::{ActionEntry, ActionKey, ActionStore, HotActions};
use larder_cas::{Keyspace, RequestCx, StoreError};
use larder_protos::reapi::ActionResult;
use larder_protos::{Digest, DigestFunction};

use crate::fixture::Fixture;

const CX: RequestCx = RequestCx::RAW;

/// Counts the reads that reach the store.
#[derive(Debug)]
struct Counted {
    inner: Arc<dyn ActionStore>,
    reads: AtomicU64,
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "counted({})", self.inner)
    }
}

#[async_trait]
impl ActionStore for Counted {
    async fn get(
        &self,
        cx: &RequestCx,
        key: &ActionKey,
    ) -> Result<Option<ActionEntry>, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.inner.get(cx, key).await
    }

    async fn put(
        &self,
        cx: &RequestCx,
        key: &ActionKey,
        entry: ActionEntry,
    ) -> Result<(), StoreError> {
        self.inner.put(cx, key, entry).await
    }
}

async fn reads_behind(touch_every: Duration) -> u64 {
    let fixture = Fixture::new();
    let counted = Arc::new(Counted { inner: fixture.actions, reads: AtomicU64::new(0) });
    let behind: Arc<dyn ActionStore> = Arc::<Counted>::clone(&counted);
    let hot = HotActions::new(behind, 1 << 20).touching_every(touch_every);
    let keyspace = Keyspace::new("").expect("a short name");
    let action = *Digest::of(DigestFunction::Sha256, b"action").hash();
    let key = ActionKey { keyspace: keyspace.clone(), blobs: keyspace, action };
    let entry =
        ActionEntry::new(DigestFunction::Sha256, ActionResult::default()).expect("well formed");
    hot.put(&CX, &key, entry).await.expect("an answer");
    for _ in 0..5 {
        assert!(hot.get(&CX, &key).await.expect("an answer").is_some());
    }
    counted.reads.load(Ordering::Relaxed)
}

#[tokio::test]
async fn hits_in_memory_are_touches_behind_now_and_then() {
    assert_eq!(reads_behind(Duration::ZERO).await, 5);
    assert_eq!(reads_behind(Duration::from_hours(1)).await, 1);
}
