//! [`MeteredActions`]: counts what is asked of an action store and what came of it.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use larder_cas::{ErrorClass, RequestCx, StoreError};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::{ActionEntry, ActionKey, ActionStore};

/// The counters of a metered action store. Cloning shares them.
#[derive(Clone, Debug)]
pub struct ActionMetrics {
    hits: Counter,
    misses: Counter,
    updates: Counter,
    errors: [Counter; ErrorClass::ALL.len()],
}

type Label = [(&'static str, &'static str); 1];

impl ActionMetrics {
    /// Creates the counters and names them in `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let lookups = Family::<Label, Counter>::default();
        registry.register(
            "action_lookups",
            "Action results asked for; hits over all is what the cache saves",
            lookups.clone(),
        );
        let updates = Counter::default();
        registry.register("action_updates", "Action results stored; many for the same actions mean clients that do not read what is cached", updates.clone());
        let errors = Family::<Label, Counter>::default();
        registry.register(
            "action_errors",
            "Action cache operations that ended in an error, by who must act",
            errors.clone(),
        );
        let lookup = |outcome| lookups.get_or_create_owned(&[("outcome", outcome)]);
        Self {
            hits: lookup("hit"),
            misses: lookup("miss"),
            updates,
            errors: ErrorClass::ALL
                .map(|class| errors.get_or_create_owned(&[("class", class.label())])),
        }
    }

    fn observe<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &result {
            self.errors[error.class() as usize].inc();
        }
        result
    }
}

/// Counts what is asked of `inner` and what came of it.
#[derive(Debug)]
pub struct MeteredActions {
    inner: Arc<dyn ActionStore>,
    metrics: ActionMetrics,
}

impl MeteredActions {
    /// Counts into `metrics`.
    pub fn new(inner: Arc<dyn ActionStore>, metrics: ActionMetrics) -> Self {
        Self { inner, metrics }
    }
}

impl fmt::Display for MeteredActions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "metered({})", self.inner)
    }
}

#[async_trait]
impl ActionStore for MeteredActions {
    async fn get(
        &self,
        cx: &RequestCx,
        key: &ActionKey,
    ) -> Result<Option<ActionEntry>, StoreError> {
        let found = self.metrics.observe(self.inner.get(cx, key).await)?;
        let outcome = if found.is_some() { &self.metrics.hits } else { &self.metrics.misses };
        outcome.inc();
        Ok(found)
    }

    async fn put(
        &self,
        cx: &RequestCx,
        key: &ActionKey,
        entry: ActionEntry,
    ) -> Result<(), StoreError> {
        self.metrics.observe(self.inner.put(cx, key, entry).await)?;
        self.metrics.updates.inc();
        Ok(())
    }
}
