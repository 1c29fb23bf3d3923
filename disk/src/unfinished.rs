//! [`Unfinished`]: what a write has taken on the disk before anybody was told that it is stored.
//!
//! Such bytes are nobody's yet, and their client may never send the rest. So they have a bound of their own, and who would pass it is
//! refused instead of the cache being emptied for them: together they take at most `max_size`, and of the disk what is free above
//! `min_free_disk`, to which the cache adds what it holds above half of what it may (ADR 8).

use std::sync::atomic::{AtomicU64, Ordering};

use crate::blob_file::FileContext;
use crate::error::DiskError;

/// Bytes of one write on its way, counted until this is dropped: drop it after the file.
#[derive(Debug)]
pub(crate) struct Unfinished {
    context: FileContext,
    bytes: AtomicU64,
}

impl Unfinished {
    pub(crate) fn begin(context: FileContext) -> Self {
        Self { context, bytes: AtomicU64::new(0) }
    }

    /// Counts so many bytes more, or refuses them, and has the cache make room where the disk is short. Blocks.
    pub(crate) fn grow(&self, bytes: u64) -> Result<(), DiskError> {
        let counters = &self.context.inventory.counters;
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let unfinished_bytes = counters.grow_unfinished(bytes);
        let (used_bytes, room_bytes) = (counters.file_bytes(), self.context.inventory.room_bytes());
        let limit_bytes = limit_bytes(self.context.max_size_bytes, room_bytes, used_bytes);
        let taken = if unfinished_bytes > limit_bytes {
            Err(DiskError::Unfinished { needed_bytes: bytes, unfinished_bytes, limit_bytes })
        } else if used_bytes.saturating_add(unfinished_bytes) > room_bytes {
            self.context.make_room(0, 0)
        } else {
            Ok(())
        };
        taken.inspect_err(|_| self.shrink(bytes))
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The file counts as a record from now on: the committer has said so.
    pub(crate) fn end(&self) {
        self.bytes.store(0, Ordering::Relaxed);
    }

    fn shrink(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.context.inventory.counters.shrink_unfinished(bytes);
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.shrink(self.bytes());
    }
}

/// What all unfinished writes may take, where packs and blob files take `used_bytes` and, with them, may take `room_bytes` of the disk.
fn limit_bytes(max_size_bytes: u64, room_bytes: u64, used_bytes: u64) -> u64 {
    let kept_bytes = used_bytes.min(max_size_bytes.min(room_bytes) / 2);
    max_size_bytes.min(room_bytes - kept_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_yields_down_to_half_of_what_it_may_have_of_the_disk() {
        let check = |room: u64, used: u64, expect: u64| {
            assert_eq!(limit_bytes(100, room, used), expect, "{room} {used}");
        };
        check(u64::MAX, 100, 100);
        check(200, 100, 100);
        check(130, 100, 80);
        check(100, 100, 50);
        check(60, 60, 30);
        check(60, 20, 40);
        check(100, 0, 100);
        check(0, 5, 0);
    }
}
