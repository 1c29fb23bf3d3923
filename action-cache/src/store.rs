//! [`ActionStore`]: the one port through which action results are read and written.

use std::fmt::{Debug, Display};

use async_trait::async_trait;
use larder_cas::{RequestCx, StoreError};

use crate::{ActionEntry, ActionKey};

/// A store of action results: a tier, or a decorator around one.
///
/// `Display` shows the store with all that it wraps. Dropping a returned future cancels the call.
#[async_trait]
pub trait ActionStore: Debug + Display + Send + Sync + 'static {
    /// The result of the action, or `None`.
    async fn get(&self, cx: &RequestCx, key: &ActionKey)
    -> Result<Option<ActionEntry>, StoreError>;

    /// Stores the result in place of any older one, at once for all readers.
    async fn put(
        &self,
        cx: &RequestCx,
        key: &ActionKey,
        entry: ActionEntry,
    ) -> Result<(), StoreError>;
}
