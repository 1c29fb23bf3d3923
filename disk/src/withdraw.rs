//! A batch that could not be written: what a write left of it is taken out of the pack again, and who waits is told.
//!
//! Invariant: while writes go on, the log holds nothing of a batch that was answered by an error. Otherwise what it removes would
//! be claimed until the next start does not find it, and what it stores could come back behind a purge that did not know of it.
//! Errors: none; where nothing helps, writes end.

use crate::batch::Batch;
use crate::committer::Committer;
use crate::durable::sync_pack;
use crate::error::DiskError;

impl Committer {
    /// Takes out of the pack what is there of a batch behind its end. The sync is for a power cut, which must not bring it back.
    pub(crate) fn withdraw(&mut self, batch: &Batch) {
        let length = self.pack.file.len_bytes().unwrap_or(u64::MAX);
        if length <= self.end {
            return;
        }
        self.has_dirty_tail = self.pack.file.truncate(self.end).is_err();
        if self.has_dirty_tail
            && let Err(error) = self.strike_out(batch, length)
        {
            self.inventory.poison("what was half written could not be taken back", &error);
            return;
        }
        // A failure ends writes.
        let _ = sync_pack(&self.inventory, &self.pack);
    }

    /// Makes those records of a batch unreadable that lie behind the pack's end as a whole; the last of all may be torn, and so is none.
    fn strike_out(&self, batch: &Batch, length: u64) -> Result<(), DiskError> {
        let path = self.inventory.layout.pack_file(self.pack.id);
        let mut at = self.end;
        for item in &batch.items {
            let end = at + item.length_bytes();
            if end > length {
                break;
            }
            self.pack.strike_out(at).map_err(self.inventory.io_error("strike out of", &path))?;
            at = end;
        }
        Ok(())
    }

    /// Tells all who wait that the batch failed. Once writes have ended, nobody knows whether it is in the log: what it removes is
    /// not claimed any more, so that nobody is told of a blob that the next start does not find.
    pub(crate) fn give_up_batch(&self, batch: Batch, error: &DiskError) {
        if self.inventory.refuses_writes() {
            batch.removals().for_each(|(key, at)| self.inventory.remove_before(key, at));
        }
        batch.fail(error);
    }
}
