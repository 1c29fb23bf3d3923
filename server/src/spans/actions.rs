//! [`SpannedActions`]: an action store whose calls have spans, where their requests are sampled.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use larder_action_cache::{ActionEntry, ActionKey, ActionStore};
use larder_cas::{RequestCx, StoreError};
use tracing::Instrument as _;

use super::tier_span;

/// Gives each call of `inner` a span that is named after the tier.
#[derive(Debug)]
pub struct SpannedActions {
    tier: &'static str,
    inner: Arc<dyn ActionStore>,
}

impl SpannedActions {
    /// Spans called `tier`.
    pub fn new(tier: &'static str, inner: Arc<dyn ActionStore>) -> Self {
        Self { tier, inner }
    }
}

impl fmt::Display for SpannedActions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spanned({})", self.inner)
    }
}

#[async_trait]
impl ActionStore for SpannedActions {
    async fn get(
        &self,
        cx: &RequestCx,
        key: &ActionKey,
    ) -> Result<Option<ActionEntry>, StoreError> {
        let span = tier_span(self.tier, "get");
        let found = self.inner.get(cx, key).instrument(span.clone()).await;
        span.record(
            "outcome",
            match &found {
                Ok(Some(_)) => "hit",
                Ok(None) => "miss",
                Err(error) => error.class().label(),
            },
        );
        found
    }

    async fn put(
        &self,
        cx: &RequestCx,
        key: &ActionKey,
        entry: ActionEntry,
    ) -> Result<(), StoreError> {
        let span = tier_span(self.tier, "put");
        let put = self.inner.put(cx, key, entry).instrument(span.clone()).await;
        span.record(
            "outcome",
            match &put {
                Ok(()) => "stored",
                Err(error) => error.class().label(),
            },
        );
        put
    }
}
