//! Giving up what somebody asks to be given up: [`Engine::purge`] removes the records that a rule names, [`Engine::give_up`]
//! makes the store smaller by what the eviction policy would give up next.
//!
//! Both go in small steps between the batches of clients. A purge reads the beginning of each record that it removes, since the
//! log wants its whole name; what it removes stays gone after a restart, as with [`Engine::remove`]. What it leaves of packs is
//! compacted.
//! Invariant: clients go on meanwhile, so the committer looks once more at what it removes: what was asked for since stays where the
//! rule says for how long it must not have been, and what was stored since under the same key stays. What was only moved goes.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::committer::Job;
use crate::engine::Engine;
use crate::error::DiskError;
use crate::inventory::Unit;
use crate::io::OpenMode;
use crate::key::{Keyspace, RecordKind};
use crate::prologue::{Effect, Place, Prologue};
use crate::reader::{first_bytes, prologue_at};
use crate::slot::{Entry, Location, believed_s};
use crate::table::SHARDS;

/// Removals that wait for the committer at a time.
const STEP_RECORDS: usize = 256;
/// How often a record is looked for that moves each time.
const TRIES: usize = 4;

/// What a purge removes: what fits all that is said.
#[derive(Clone, Debug, Default)]
pub struct PurgeRule {
    /// Of one of these keyspaces.
    pub keyspaces: Option<Vec<Keyspace>>,
    /// Of those, where this says yes to the keyspace and the kind.
    pub partitions: Option<fn(&Keyspace, RecordKind) -> bool>,
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

/// What a purge is about, once it has begun.
#[derive(Debug)]
struct Begun {
    /// By number; one that comes later is not meant.
    partitions: Vec<bool>,
    /// What was asked for after this moment stays, seconds since 1970.
    asked_by_s: u32,
    now_s: u32,
    unix_ms: u64,
}

impl Begun {
    fn fits(&self, entry: &Entry) -> bool {
        self.partitions.get(usize::from(entry.key.partition)) == Some(&true)
            && self.seen(entry).is(entry)
    }

    fn seen(&self, entry: &Entry) -> Seen {
        Seen { location: entry.location, asked_by_s: self.asked_by_s, now_s: self.now_s }
    }
}

/// What a removal is about, where it is not about whatever stands under a key.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Seen {
    location: Location,
    asked_by_s: u32,
    now_s: u32,
}

impl Seen {
    /// Whether what stands there now is what was seen, and was not asked for since.
    pub(crate) fn is(&self, entry: &Entry) -> bool {
        entry.location == self.location
            && believed_s(entry.recency_s, self.now_s) <= self.asked_by_s
    }
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
        let begun = self.begin_purge(rule);
        let mut purged = Purged::default();
        for shard in 0..SHARDS {
            let mut entries = Vec::new();
            self.inventory().table.for_each_in(shard, |entry| {
                purged.seen_records += 1;
                if begun.fits(entry) {
                    entries.push(*entry);
                }
            });
            // The table is not in the order of the disk.
            entries.sort_unstable_by_key(|entry| entry.location);
            let files = self.blob_files(&entries);
            for step in entries.chunks(STEP_RECORDS) {
                self.purge_step(&begun, step, &files, &mut purged)?;
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

    fn begin_purge(&self, rule: &PurgeRule) -> Begun {
        let inventory = self.inventory();
        inventory.tick();
        let now_s = inventory.now_s();
        let fits = |number: u16| {
            inventory.partitions.get(number).is_some_and(|partition| {
                rule.partitions.is_none_or(|takes| takes(&partition.keyspace, partition.kind))
                    && rule
                        .keyspaces
                        .as_ref()
                        .is_none_or(|names| names.contains(&partition.keyspace))
            })
        };
        let asked_by_s = rule.unused_for.map_or(u32::MAX, |least| {
            let least_s = u32::try_from(least.as_secs()).unwrap_or(u32::MAX);
            now_s.saturating_sub(least_s)
        });
        let partitions = (0..inventory.partitions.count()).map(fits).collect();
        Begun { partitions, asked_by_s, now_s, unix_ms: inventory.io.unix_ms() }
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
        begun: &Begun,
        step: &[Entry],
        files: &HashMap<u64, PathBuf>,
        purged: &mut Purged,
    ) -> Result<(), DiskError> {
        let mut left = self.remove_seen(begun, step.to_vec(), files, u64::MAX, purged)?;
        for _ in 1..TRIES {
            let mut moved = Vec::new();
            for entry in left {
                let Some(found) = self.inventory().table.get(&entry.key) else { continue };
                if begun.seen(&entry).is(&found) {
                    purged.skipped_records += 1;
                } else if begun.fits(&found) && matches!(found.location, Location::Pack { .. }) {
                    // Files do not move: one that was not there before is new.
                    moved.push(found);
                }
            }
            if moved.is_empty() {
                return Ok(());
            }
            left = self.remove_seen(begun, moved, files, begun.unix_ms, purged)?;
        }
        purged.skipped_records += left.len() as u64;
        Ok(())
    }

    /// Removes what still is as it was seen and was stored before `before_unix_ms`; returns what is elsewhere by now or cannot be
    /// named.
    fn remove_seen(
        &self,
        begun: &Begun,
        entries: Vec<Entry>,
        files: &HashMap<u64, PathBuf>,
        before_unix_ms: u64,
        purged: &mut Purged,
    ) -> Result<Vec<Entry>, DiskError> {
        let mut waiting = Vec::with_capacity(entries.len());
        let mut left = Vec::new();
        for entry in entries {
            let Some(prologue) = self.prologue_of(&entry, files) else {
                left.push(entry);
                continue;
            };
            if prologue.written_unix_ms < before_unix_ms {
                let (answer, receiver) = oneshot::channel();
                let seen = Some(begun.seen(&entry));
                self.submit(Job::Remove { key: prologue.key, short: entry.key, seen, answer })?;
                waiting.push((receiver, entry));
            }
        }
        for (receiver, entry) in waiting {
            if receiver.blocking_recv().unwrap_or(Err(DiskError::Closed))? {
                purged.records += 1;
                purged.bytes += entry.record_bytes;
            } else {
                left.push(entry);
            }
        }
        Ok(left)
    }

    /// What stands before a record, its whole name above all. What cannot be read is left to who reads all of it.
    fn prologue_of(&self, entry: &Entry, files: &HashMap<u64, PathBuf>) -> Option<Prologue> {
        let inventory = self.inventory();
        let Location::File { sequence } = entry.location else {
            return prologue_at(inventory, entry).ok()?;
        };
        let file = inventory.io.open(files.get(&sequence)?, OpenMode::Read).ok()?;
        let head = first_bytes(&*file, entry.record_bytes, 0).ok()?;
        let prologue = Prologue::parse(&head, Place::in_file(inventory.salt)).ok()?;
        let is_its =
            prologue.effect == Effect::Store && inventory.is_short_of(entry, &prologue.key);
        is_its.then_some(prologue)
    }
}
