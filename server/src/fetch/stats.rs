//! [`FetchStats`]: how fetches from origins ended, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use super::error::FetchFault;

/// How fetches ended since the start.
#[derive(Debug, Default)]
pub struct FetchStats {
    fetched: AtomicU64,
    fetched_bytes: AtomicU64,
    failed: [AtomicU64; FetchFault::ALL.len()],
}

impl FetchStats {
    /// One brought so many bytes.
    pub(crate) fn fetched(&self, bytes: u64) {
        self.fetched.fetch_add(1, Ordering::Relaxed);
        self.fetched_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// One brought nothing.
    pub(crate) fn failed(&self, fault: FetchFault) {
        for (of, counter) in FetchFault::ALL.iter().zip(&self.failed) {
            counter.fetch_add(u64::from(*of == fault), Ordering::Relaxed);
        }
    }

    /// How many ended in which way, by label.
    pub fn ended(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let failed = FetchFault::ALL.iter().map(|fault| fault.label()).zip(&self.failed);
        let all = std::iter::once(("fetched", &self.fetched)).chain(failed);
        all.map(|(label, counter)| (label, counter.load(Ordering::Relaxed)))
    }

    /// What those that brought something brought.
    pub fn fetched_bytes(&self) -> u64 {
        self.fetched_bytes.load(Ordering::Relaxed)
    }
}
