//! [`Room`]: how much the engine may take: what it is told, and less where the file system runs short or unfinished writes
//! ([`crate::unfinished`]) have taken of it.

use std::path::Path;

use crate::error::with_causes;
use crate::inventory::Inventory;

/// The file system is asked again after this long …
pub(crate) const ASK_EVERY_S: u32 = 2;
/// … or when this much has been written.
const ASK_AFTER_BYTES: u64 = 16 << 20;

/// How much the engine may take.
#[derive(Debug)]
pub(crate) struct Room {
    max_size_bytes: u64,
    /// What is left to others on the file system; 0 is no guard.
    min_free_bytes: u64,
    /// When the file system was asked, and what was taken then.
    asked: Option<(u32, u64)>,
    /// What is unfinished and about to be a record: it needs no room twice.
    pub(crate) ending_bytes: u64,
    is_short: bool,
    /// Not even an empty store leaves free what should be.
    has_none: bool,
}

impl Room {
    pub(crate) fn new(max_size_bytes: u64, min_free_bytes: u64) -> Self {
        Self {
            max_size_bytes,
            min_free_bytes,
            asked: None,
            ending_bytes: 0,
            is_short: false,
            has_none: false,
        }
    }

    /// Whether the file system is looked at even when nothing is written.
    pub(crate) fn is_guarded(&self) -> bool {
        self.min_free_bytes > 0
    }

    /// The limit for packs and blob files, now.
    pub(crate) fn limit_bytes(&mut self, inventory: &Inventory) -> u64 {
        let counters = &inventory.counters;
        let now_s = inventory.now_s();
        let taken_bytes = counters.file_bytes().saturating_add(counters.unfinished_bytes());
        let is_known = self.asked.is_some_and(|(asked_s, then_bytes)| {
            now_s.saturating_sub(asked_s) < ASK_EVERY_S
                && taken_bytes.saturating_sub(then_bytes) < ASK_AFTER_BYTES
        });
        if !is_known {
            self.asked = Some((now_s, taken_bytes));
            self.ask(inventory, taken_bytes);
        }
        if !self.is_guarded() {
            return self.max_size_bytes;
        }
        let unfinished_bytes = counters.unfinished_bytes().saturating_sub(self.ending_bytes);
        self.max_size_bytes.min(inventory.room_bytes().saturating_sub(unfinished_bytes))
    }

    fn ask(&mut self, inventory: &Inventory, taken_bytes: u64) {
        let data_dir: &Path = inventory.layout.data_dir();
        let free_bytes = match inventory.io.free_bytes(data_dir) {
            Ok(free_bytes) => free_bytes,
            Err(error) => {
                tracing::warn!(error = %with_causes(&error), "the free space of the disk cannot be read; going on with what is known");
                return;
            }
        };
        let min_free_bytes = self.min_free_bytes;
        let room_bytes = guarded(min_free_bytes, taken_bytes, free_bytes);
        inventory.note_room(room_bytes);
        let is_short = free_bytes < min_free_bytes;
        let has_none = self.is_guarded() && room_bytes == 0;
        if has_none && !self.has_none {
            tracing::error!(
                free_bytes,
                taken_bytes,
                min_free_bytes,
                "the disk has less than what is to stay free even without the cache; nothing is stored"
            );
        }
        self.has_none = has_none;
        if is_short != self.is_short {
            self.is_short = is_short;
            if is_short {
                tracing::warn!(
                    free_bytes,
                    min_free_bytes,
                    room_bytes,
                    "the disk runs short; evicting"
                );
            } else {
                tracing::info!(free_bytes, min_free_bytes, room_bytes, "the disk has room again");
            }
        }
    }
}

/// What may be taken so that the free space does not fall below its minimum.
fn guarded(min_free_bytes: u64, taken_bytes: u64, free_bytes: u64) -> u64 {
    taken_bytes.saturating_add(free_bytes).saturating_sub(min_free_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_free_space_is_left_to_others() {
        let check = |taken: u64, free: u64, expect: u64| {
            assert_eq!(guarded(10, taken, free), expect, "{taken} {free}");
        };
        check(0, 1_000, 990);
        check(50, 60, 100);
        check(50, 30, 70);
        check(50, 10, 50);
        check(50, 4, 44);
        check(5, 0, 0);
    }
}
