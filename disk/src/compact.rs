//! Compaction: packs of which little can be read any more are given up, and all that can be read of them is appended again.
//!
//! Eviction takes such packs first, but only once the limit is met. This is for who has just removed much and wants the disk back.
//! What may be appended again is bounded as it is there. Which packs these are is found out on the caller's thread; the committer
//! takes one at a time, between the batches of clients.
//! Invariant: nothing that can be read is lost; where it cannot be appended again, its pack stays.

use std::collections::{BTreeMap, VecDeque};

use tokio::sync::oneshot;

use crate::committer::{Committer, Job};
use crate::engine::Engine;
use crate::error::DiskError;
use crate::eviction::survival_budget_bytes;
use crate::pack::{HEADER_BYTES, LogPosition};
use crate::purge::GoOn;
use crate::reclaim::{Advance, Haste, Victim};
use crate::retire::Purpose;
use crate::slot::{Entry, Location};

/// Entries that are held at a time, unless a single pack has more: some megabytes.
const STEP_ENTRIES: u64 = 65_536;

/// A pack of which little can be read.
#[derive(Debug)]
pub(crate) struct Sparse {
    pack: u32,
    /// As far as it could be found when it was looked at; one that is longer is left.
    length_bytes: u64,
    entries: Vec<Entry>,
}

/// What can be read of a pack.
#[derive(Copy, Clone, Default, Debug)]
struct Live {
    records: u64,
    bytes: u64,
}

impl Engine {
    /// Gives up all packs of which little can be read, the oldest first; asks after each whether to go on.
    pub(crate) fn compact(&self, go_on: &mut dyn FnMut() -> GoOn) -> Result<(), DiskError> {
        let mut left: VecDeque<_> = self.sparse_packs()?.into();
        while !left.is_empty() {
            let mut records = 0;
            let mut step = BTreeMap::new();
            while let Some((pack, length_bytes, live)) = left.front()
                && (step.is_empty() || records + live.records <= STEP_ENTRIES)
            {
                records += live.records;
                let (pack, length_bytes) = (*pack, *length_bytes);
                step.insert(pack, Sparse { pack, length_bytes, entries: Vec::new() });
                left.pop_front();
            }
            self.inventory().table.for_each(|entry| {
                if let Location::Pack { pack, .. } = entry.location
                    && let Some(sparse) = step.get_mut(&pack)
                {
                    sparse.entries.push(*entry);
                }
            });
            for sparse in step.into_values() {
                let (answer, receiver) = oneshot::channel();
                self.submit(Job::Compact { sparse, answer })?;
                receiver.blocking_recv().unwrap_or(Err(DiskError::Closed))?;
                if go_on() == GoOn::No {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The packs that may be given up, their lengths, and what can be read of them. One with removals says them again while an older
    /// one is left, and nothing would be won.
    fn sparse_packs(&self) -> Result<Vec<(u32, u64, Live)>, DiskError> {
        let inventory = self.inventory();
        let end = self.findable_end()?;
        let mut packs = Vec::new();
        for id in inventory.packs.ids().into_iter().filter(|id| *id <= end.pack) {
            let Some(pack) = inventory.packs.get(id) else { continue };
            let path = inventory.layout.pack_file(id);
            let length_bytes = if id == end.pack {
                end.offset.into()
            } else {
                pack.file.len_bytes().map_err(DiskError::io("measure", &path))?
            };
            packs.push((id, length_bytes, pack.has_removals()));
        }
        let mut live: BTreeMap<u32, Live> = BTreeMap::new();
        inventory.table.for_each(|entry| {
            if let Location::Pack { pack, .. } = entry.location {
                let live = live.entry(pack).or_default();
                live.records += 1;
                live.bytes += entry.record_bytes;
            }
        });
        let mut is_oldest = true;
        let mut sparse = Vec::new();
        for (id, length_bytes, has_removals) in packs {
            let live = live.get(&id).copied().unwrap_or_default();
            let is_sparse = length_bytes > HEADER_BYTES as u64
                && live.bytes <= survival_budget_bytes(length_bytes)
                && (is_oldest || !has_removals);
            if is_sparse {
                sparse.push((id, length_bytes, live));
            }
            is_oldest &= is_sparse;
        }
        Ok(sparse)
    }

    /// Where the log ends that the table knows. Its file may be longer: a batch is written, and in `Sync` synced, before what is in it
    /// can be found.
    fn findable_end(&self) -> Result<LogPosition, DiskError> {
        let (answer, receiver) = oneshot::channel();
        self.submit(Job::Measure { answer })?;
        receiver.blocking_recv().unwrap_or(Err(DiskError::Closed))
    }
}

impl Committer {
    /// Gives a pack up at once, unless it has changed or there is no room for what can be read of it; says whether it went.
    pub(crate) fn compact(&mut self, sparse: Sparse) -> Result<bool, DiskError> {
        self.inventory.check_writable()?;
        self.flush();
        if self.reclaim.retiring.is_some() {
            // What has begun ends first.
            self.reclaim_unit(0, Haste::Urgent)?;
        }
        let Some(pack) = self.inventory.packs.get(sparse.pack) else { return Ok(false) };
        let path = self.inventory.layout.pack_file(pack.id);
        let length_bytes = pack.file.len_bytes().map_err(DiskError::io("measure", &path))?;
        if length_bytes != sparse.length_bytes {
            return Ok(false);
        }
        if pack.id == self.pack.id {
            self.leave_pack()?;
        }
        drop(pack);
        let (unit, entries) = (sparse.pack.into(), sparse.entries);
        match self.begin_retiring(Victim { unit, entries, purpose: Purpose::Compaction })? {
            Advance::Going(_) => self.reclaim_unit(0, Haste::Urgent),
            Advance::Waiting | Advance::UnitGone | Advance::Nothing => Ok(false),
        }
    }
}
