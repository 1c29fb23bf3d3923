//! [`RequestMemory`]: the memory that a request may take for what is read on its way.
//!
//! Invariant: a request that holds some never waits for more: it gets what is free or ends. So those who wait always wait for
//! requests that can end.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use crate::StoreError;

/// Up to here a loan is not counted; it is no more than the headers of a request take.
const UNCOUNTED_BYTES: u64 = 16 * 1024;

/// Counts what a request holds in memory, together with all others.
#[async_trait]
pub trait MemoryLender: Debug + Send + Sync + 'static {
    /// Takes so many bytes more, or all there are. Waits for them only while the request holds none; otherwise
    /// [`StoreError::NoMemory`] where they are not free.
    async fn take(&self, bytes: u64) -> Result<(), StoreError>;

    /// Gives back so many, or all where less is held.
    fn give_back(&self, bytes: u64);
}

/// The memory that a request may take. Cloning shares it.
#[derive(Clone, Debug)]
pub struct RequestMemory(Option<Arc<dyn MemoryLender>>);

impl RequestMemory {
    /// Nobody counts it.
    pub const UNCOUNTED: Self = Self(None);

    /// Counted by `lender`.
    pub fn counted_by(lender: Arc<dyn MemoryLender>) -> Self {
        Self(Some(lender))
    }

    /// Nothing yet, to be grown.
    pub fn loan(&self) -> MemoryLoan {
        MemoryLoan { lender: self.0.clone(), bytes: 0 }
    }
}

/// What was taken for a time; dropping it gives it back.
#[derive(Debug)]
pub struct MemoryLoan {
    lender: Option<Arc<dyn MemoryLender>>,
    bytes: u64,
}

impl MemoryLoan {
    /// Raises it to `bytes`, if it is less and that is enough to be counted.
    pub async fn grow_to(&mut self, bytes: u64) -> Result<(), StoreError> {
        let Some(lender) = &self.lender else { return Ok(()) };
        if bytes > self.bytes.max(UNCOUNTED_BYTES) {
            lender.take(bytes - self.bytes).await?;
            self.bytes = bytes;
        }
        Ok(())
    }
}

impl Drop for MemoryLoan {
    fn drop(&mut self) {
        if let Some(lender) = &self.lender {
            lender.give_back(self.bytes);
        }
    }
}
