//! A full disk: what is evicted makes room, and what did not fit is tried once more.
//!
//! The limit of the engine may be more than the disk has: others write there too. ENOSPC and EDQUOT are then the signal to
//! evict. Runs on the committer's thread, like all reclaiming.
//! Errors: none; who could not be helped keeps the system's own error, which is a matter of capacity.

use std::sync::Arc;

use crate::batch::{After, Batch, Item};
use crate::committer::Committer;
use crate::error::{DiskError, with_causes};
use crate::pack::Pack;
use crate::reclaim::Haste;

/// At least so much is freed at once, so that not every write on a full disk evicts. The pack that is appended to is not
/// worth less: a small store on a disk that others filled would lose all that it has, for nothing.
pub(crate) const FREE_AT_LEAST_BYTES: u64 = 1 << 20;

impl Committer {
    /// Evicts until `bytes` and a little more are freed on the disk; says whether anything was. Gathered records must have
    /// been written before.
    pub(crate) fn free_disk(&mut self, bytes: u64) -> bool {
        if self.inventory.is_eviction_futile() {
            return false;
        }
        self.inventory.loaded.wait();
        let wanted_bytes = bytes.max(FREE_AT_LEAST_BYTES);
        let mut freed_bytes = 0;
        while freed_bytes < wanted_bytes {
            let before = self.inventory.counters.file_bytes();
            match self.reclaim_unit(0, Haste::DiskFull) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    tracing::warn!(error = %with_causes(&error), "no more room can be made on a full disk");
                    break;
                }
            }
            freed_bytes += before.saturating_sub(self.inventory.counters.file_bytes());
        }
        if freed_bytes > 0 {
            self.inventory.counters.count_full_disk();
            tracing::warn!(freed_bytes, "the disk is full; the oldest records made room");
        }
        freed_bytes > 0
    }

    /// Begins a new pack because the oldest one is to go. Where not even its first bytes fit, the old pack is given up
    /// without a successor: the next append begins one, in the room that this makes.
    pub(crate) fn leave_pack(&mut self) -> Result<(), DiskError> {
        match self.roll() {
            Err(error) if error.is_disk_full() => {
                let length = self.pack.file.len_bytes().unwrap_or(self.end);
                self.inventory.counters.grow_files(length.saturating_sub(self.end));
                self.end = self.end.max(length);
                self.has_dirty_tail = true;
                // What it holds was synced before a successor was tried.
                self.inventory.durable.note_synced(self.end_of_log());
                Ok(())
            }
            rolled => rolled,
        }
    }

    /// A pack is removed. Where it is the one that was left without a successor, its file is closed here too: else its blocks stay
    /// taken, and no successor ever fits.
    pub(crate) fn let_go(&mut self, id: u32) {
        self.inventory.remove_pack(id);
        if id == self.pack.id {
            self.pack = Arc::new(Pack::gone(id));
        }
    }

    /// Gives the records of a batch that did not fit new places: what was saved from eviction may have taken theirs.
    pub(crate) fn gather_again(&mut self, batch: Batch) {
        if self.has_dirty_tail
            && let Err(error) = self.roll()
        {
            return self.give_up_batch(batch, &error);
        }
        self.batch.blobs = batch.blobs;
        self.batch.others = batch.others;
        self.batch.followers = batch.followers;
        for Item { bytes, prologue_bytes, kept, after } in batch.items {
            if let Some(after) = self.after_again(after) {
                self.push(bytes, prologue_bytes, kept, after);
            }
        }
    }

    /// What a record will bring about at its new place; `None` when that came about by eviction.
    fn after_again(&self, after: After) -> Option<After> {
        match after {
            After::Store { mut entry, answer } => {
                entry.location = self.next_location();
                Some(After::Store { entry, answer })
            }
            After::Remove { key, answer, .. } => {
                let Some(entry) = self.inventory.table.get(&key) else {
                    let _ = answer.send(Ok(true));
                    return None;
                };
                self.pack.note_removal();
                let at = self.next_location();
                Some(After::Remove { key, location: entry.location, at, answer })
            }
            // Of a reclaiming, which is not tried again.
            After::Move { .. } | After::Forget { .. } => None,
        }
    }
}
