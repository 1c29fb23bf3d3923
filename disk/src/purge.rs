//! Giving up what somebody asks to be given up: [`Engine::purge`] removes the records that a rule names, [`Engine::give_up`]
//! makes the store smaller by what the eviction policy would give up next.
//!
//! Both go in small steps between the batches of clients. A purge reads the beginning of each record that it removes, since the
//! log wants its whole name; what it removes stays gone after a restart, as with [`Engine::remove`]. What it leaves of packs is
//! compacted.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::committer::Job;
use crate::engine::Engine;
use crate::error::DiskError;
use crate::inventory::Unit;
use crate::io::OpenMode;
use crate::key::{Keyspace, RecordKey, RecordKind};
use crate::prologue::{Effect, Place, Prologue};
use crate::reader::{first_bytes, key_at};
use crate::slot::{Entry, Location};
use crate::table::SHARDS;

/// Removals that wait for the committer at a time.
const STEP_RECORDS: usize = 256;

/// What a purge removes: what fits all that is said.
#[derive(Clone, Debug, Default)]
pub struct PurgeRule {
    /// Of one of these keyspaces.
    pub keyspaces: Option<Vec<Keyspace>>,
    /// Of this kind alone.
    pub kind: Option<RecordKind>,
    /// Not asked for during this time, to the second.
    pub unused_for: Option<Duration>,
}

/// What a purge has done so far.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub struct Purged {
    /// Records that were looked at, of all that are stored.
    pub seen_records: u64,
    /// Records that were removed.
    pub records: u64,
    /// Their bytes on disk.
    pub bytes: u64,
    /// Records that fit and could not be named, since they moved or cannot be read; another purge or the scrub finds them.
    pub skipped_records: u64,
}

/// Whether a purge is to go on.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum GoOn {
    /// To the end.
    Yes,
    /// What is removed stays removed.
    No,
}

impl Engine {
    /// Removes what `rule` names, then gives up packs of which little can be read any more, and so returns to the disk what they
    /// took; tells how far it is after each step. Blocks, first until all that is stored is known.
    pub fn purge(
        &self,
        rule: &PurgeRule,
        tell: &mut dyn FnMut(Purged) -> GoOn,
    ) -> Result<Purged, DiskError> {
        self.inventory().check_writable()?;
        self.require_loaded()?;
        let partitions = self.partitions_of(rule);
        let mut purged = Purged::default();
        for shard in 0..SHARDS {
            let now_s = self.inventory().now_s();
            let mut entries = Vec::new();
            self.inventory().table.for_each_in(shard, |entry| {
                purged.seen_records += 1;
                let is_of_rule = partitions.get(usize::from(entry.key.partition)) == Some(&true);
                let unused_s = u64::from(now_s.saturating_sub(entry.recency_s));
                if is_of_rule && rule.unused_for.is_none_or(|least| unused_s >= least.as_secs()) {
                    entries.push(*entry);
                }
            });
            // The table is not in the order of the disk.
            entries.sort_unstable_by_key(|entry| entry.location);
            let files = self.blob_files(&entries);
            for step in entries.chunks(STEP_RECORDS) {
                self.purge_step(step, &files, &mut purged)?;
                if tell(purged) == GoOn::No {
                    return Ok(purged);
                }
            }
        }
        if purged.records > 0 {
            self.compact(&mut || tell(purged))?;
        }
        tell(purged);
        Ok(purged)
    }

    /// Gives up one pack or blob file on the way down to `target_bytes` of stored and dead bytes together; `false` once there,
    /// or where nothing can go. Blocks.
    pub fn give_up(&self, target_bytes: u64) -> Result<bool, DiskError> {
        self.inventory().check_writable()?;
        self.require_loaded()?;
        let (answer, receiver) = oneshot::channel();
        self.submit(Job::GiveUp { target_bytes, answer })?;
        receiver.blocking_recv().unwrap_or(Err(DiskError::Closed))
    }

    /// Which partitions the rule is about, by number. One that comes later is not.
    fn partitions_of(&self, rule: &PurgeRule) -> Vec<bool> {
        let partitions = &self.inventory().partitions;
        let fits = |number: u16| {
            partitions.get(number).is_some_and(|partition| {
                rule.kind.is_none_or(|kind| kind == partition.kind)
                    && rule
                        .keyspaces
                        .as_ref()
                        .is_none_or(|names| names.contains(&partition.keyspace))
            })
        };
        (0..partitions.count()).map(fits).collect()
    }

    /// The paths of those entries that have files of their own.
    fn blob_files(&self, entries: &[Entry]) -> HashMap<u64, PathBuf> {
        if !entries.iter().any(|entry| matches!(entry.location, Location::File { .. })) {
            return HashMap::new();
        }
        let units = self.inventory().units.lock();
        let files = units.values().filter_map(|unit| match unit {
            Unit::File { path, sequence, .. } => Some((*sequence, path.clone())),
            Unit::Pack { .. } => None,
        });
        files.collect()
    }

    fn purge_step(
        &self,
        step: &[Entry],
        files: &HashMap<u64, PathBuf>,
        purged: &mut Purged,
    ) -> Result<(), DiskError> {
        let mut waiting = Vec::with_capacity(step.len());
        for entry in step {
            let Some(key) = self.name_of(entry, files) else {
                purged.skipped_records += 1;
                continue;
            };
            let (answer, receiver) = oneshot::channel();
            self.submit(Job::Remove { key, short: entry.key, answer })?;
            waiting.push((receiver, entry.record_bytes));
        }
        for (receiver, record_bytes) in waiting {
            if receiver.blocking_recv().unwrap_or(Err(DiskError::Closed))? {
                purged.records += 1;
                purged.bytes += record_bytes;
            }
        }
        Ok(())
    }

    /// The whole name, which stands with the record alone. What cannot be read is left to who reads all of it.
    fn name_of(&self, entry: &Entry, files: &HashMap<u64, PathBuf>) -> Option<RecordKey> {
        let inventory = self.inventory();
        let Location::File { sequence } = entry.location else {
            return key_at(inventory, entry).ok()?;
        };
        let file = inventory.io.open(files.get(&sequence)?, OpenMode::Read).ok()?;
        let head = first_bytes(&*file, entry.record_bytes, 0).ok()?;
        let prologue = Prologue::parse(&head, Place::in_file(inventory.salt)).ok()?;
        let key = (prologue.effect == Effect::Store).then_some(prologue.key)?;
        inventory.is_short_of(entry, &key).then_some(key)
    }
}
