//! [`TracedActions`]: notes what is asked of a store of action results.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use larder_action_cache::{ActionEntry, ActionKey, ActionStore};
use larder_cas::{RequestCx, StoreError};
use larder_disk::RecordKey;
use larder_disk::eviction::trace::TraceOp;

use super::Recorder;

/// Notes what is asked of `inner`, and whether it was there.
#[derive(Debug)]
pub struct TracedActions {
    inner: Arc<dyn ActionStore>,
    recorder: Arc<Recorder>,
}

impl TracedActions {
    /// Tells `recorder`.
    pub fn new(inner: Arc<dyn ActionStore>, recorder: Arc<Recorder>) -> Self {
        Self { inner, recorder }
    }
}

impl fmt::Display for TracedActions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "traced({})", self.inner)
    }
}

#[async_trait]
impl ActionStore for TracedActions {
    async fn get(
        &self,
        cx: &RequestCx,
        key: &ActionKey,
    ) -> Result<Option<ActionEntry>, StoreError> {
        let found = self.inner.get(cx, key).await?;
        let record = RecordKey::action_result(&key.keyspace, &key.action);
        self.recorder.note(TraceOp::Action, found.is_some(), &record);
        Ok(found)
    }

    async fn put(
        &self,
        cx: &RequestCx,
        key: &ActionKey,
        entry: ActionEntry,
    ) -> Result<(), StoreError> {
        self.inner.put(cx, key, entry).await?;
        let record = RecordKey::action_result(&key.keyspace, &key.action);
        self.recorder.note(TraceOp::StoreAction, false, &record);
        Ok(())
    }
}
