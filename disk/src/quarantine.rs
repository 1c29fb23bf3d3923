//! Quarantine: what happens to a record that disagrees with its checksum, its name or its place.
//!
//! It is a miss from here on, counted and logged once, and a new put heals it. So that it stays a miss when the index is
//! rebuilt from the log, a removal record follows it in the log; a blob file is removed.

use std::path::{Path, PathBuf};

use crate::codec::encode_removal;
use crate::committer::{Committer, Job};
use crate::error::{DiskError, with_causes};
use crate::indexer::IndexUpdate;
use crate::inventory::Inventory;
use crate::key::RecordKey;
use crate::layout::{fan_of, fan_of_prefix};
use crate::slot::{Entry, Location, RAW_BYTES};

impl Inventory {
    /// Drops a record that disagrees with its checksum or its key: a miss from here on, and a new put heals it. Not for the
    /// committer's thread, on whose queue it may have to wait.
    pub(crate) fn quarantine(&self, key: &RecordKey, entry: &Entry, reason: &str) -> DiskError {
        let (place, file) = match entry.location {
            Location::Pack { pack, offset } => {
                (format!("{} +{offset}", self.layout.pack_file(pack).display()), None)
            }
            Location::File { sequence } => {
                let path = self.layout.blob_file(key.hash(), sequence);
                (path.display().to_string(), Some(path))
            }
        };
        if self.condemn(entry, file.as_deref()) {
            if file.is_none() {
                self.bury(key, entry);
            } else {
                self.durable.note_dirty_fan(fan_of(key.hash()));
            }
            tracing::warn!(%key, place, reason, "a corrupt record is dropped; a new put heals it");
        }
        DiskError::Corrupt { key: key.clone(), place }
    }

    /// Drops a record of which not even the key can be read any more. Says whether it still was where the caller saw it. A
    /// rebuild from the log does not find it either, and a removal cannot be written, which has the whole key. So of an action result
    /// that replaced another only the index says that the older one is not to be found, for as long as the pack is there.
    pub(crate) fn quarantine_unnamed(
        &self,
        entry: &Entry,
        file: Option<&Path>,
        reason: &str,
    ) -> bool {
        let is_condemned = self.condemn(entry, file);
        if is_condemned {
            let place = match entry.location {
                Location::Pack { pack, offset } => {
                    PathBuf::from(format!("{} +{offset}", self.layout.pack_file(pack).display()))
                }
                Location::File { .. } => file.map(Path::to_owned).unwrap_or_default(),
            };
            if file.is_some() {
                self.durable.note_dirty_fan(fan_of_prefix(&entry.key.prefix));
            }
            let (place, hash) = (place.display(), ShownPrefix(&entry.key.prefix[..RAW_BYTES]));
            tracing::warn!(%hash, %place, reason, "a corrupt record is dropped; a new put heals it");
        }
        is_condemned
    }

    fn condemn(&self, entry: &Entry, file: Option<&Path>) -> bool {
        if self.remove_at(&entry.key, entry.location).is_none() {
            return false;
        }
        self.counters.count_corrupt();
        match entry.location {
            Location::Pack { pack, .. } => {
                // It hides what is older; whoever ends the pack has to know, should the removal below not be written.
                if let Some(pack) = self.packs.get(pack) {
                    pack.note_removal();
                }
                self.tell_index(IndexUpdate::Dead(entry.location));
            }
            Location::File { sequence } => {
                self.forget_file(sequence);
                if let Some(path) = file {
                    // One that stays is found again at the next start, and dropped again when it is read.
                    let _ = self.io.remove_file(path);
                }
            }
        }
        true
    }

    fn bury(&self, key: &RecordKey, entry: &Entry) {
        if !self.loaded.is_open() {
            // A newer record may not have been read yet, and a removal would end that one too. Until the index is lost, it
            // says what the log does not, of an older action result as well; whoever ends the pack says it to the log.
            return;
        }
        let job = Job::Bury { key: key.clone(), entry: *entry };
        let weight = job.weight();
        // Closed when the engine ends: what is listed again at the next start is dropped again when it is read.
        let _ = self.jobs.push(job, weight);
    }
}

/// The first bytes of a hash, all that the table knows of it.
struct ShownPrefix<'a>(&'a [u8]);

impl std::fmt::Display for ShownPrefix<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("…")
    }
}

impl Committer {
    /// Writes down that a corrupt record is gone, unless its key is stored anew in a pack: then the newer record says so. Of
    /// blob files removals say nothing.
    pub(crate) fn bury(&mut self, key: &RecordKey, entry: &Entry) {
        self.flush();
        let there = self.inventory.table.get(&entry.key);
        if there.is_some_and(|there| matches!(there.location, Location::Pack { .. })) {
            return;
        }
        if let Err(error) = self.say_removed(key, entry) {
            tracing::info!(%key, error = %with_causes(&error), "the log is told of a corrupt record when its pack goes");
        }
    }

    /// Writes a removal of what is not in the table any more.
    pub(crate) fn say_removed(&mut self, key: &RecordKey, entry: &Entry) -> Result<(), DiskError> {
        // By itself: what reclaims does not make room for itself.
        self.flush();
        let now_ms = self.inventory.io.unix_ms();
        let removal = encode_removal(key, entry.logical_size_bytes, now_ms);
        self.prepare(removal.bytes.len() as u64)?;
        self.push_removal(removal, entry.key)?;
        self.write_gathered()
    }
}
