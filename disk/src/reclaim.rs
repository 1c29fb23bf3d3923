//! Keeping under the limit: whole units (packs, blob files) are given up in the order they were written, with a second
//! chance for what was asked for since.
//!
//! Invariant: packs go oldest first, so a removal never goes before the record it removes.
//! Runs on the committer's thread, a unit at a time between batches; only a full disk makes a batch wait for it.

use crate::committer::Committer;
use crate::durable::sync_pack;
use crate::error::DiskError;
use crate::inventory::Unit;
use crate::io::read_full;
use crate::prologue::{Place, Prologue};
use crate::slot::{Entry, Location, ShortKey};

/// Reclaiming begins when less than one part in this many of the limit is free …
const HIGH_WATERMARK_PART: u64 = 32;
/// … and goes on until one part in this many is.
const LOW_WATERMARK_PART: u64 = 16;
/// At most one part in this many of a pack is appended again.
const SURVIVING_PART: u64 = 4;

/// Whether reclaiming is under way.
#[derive(Default, Debug)]
pub(crate) struct Reclaim {
    is_running: bool,
}

impl Reclaim {
    pub(crate) fn is_running(&self) -> bool {
        self.is_running
    }
}

impl Committer {
    /// Reclaims one unit if the watermarks say so, and all that is stored is known.
    pub(crate) fn reclaim_step(&mut self) {
        if !self.inventory.loaded.is_open() {
            return;
        }
        let limit = self.limits.max_size_bytes;
        let used = self.inventory.counters.file_bytes();
        if used > limit - limit / HIGH_WATERMARK_PART {
            self.reclaim.is_running = true;
        }
        if self.reclaim.is_running {
            let is_enough = used <= limit - limit / LOW_WATERMARK_PART;
            self.reclaim.is_running = !is_enough && matches!(self.reclaim_unit(), Ok(true));
        }
    }

    /// Reclaims until `bytes` more fit under the limit.
    pub(crate) fn make_room(&mut self, bytes: u64) -> Result<(), DiskError> {
        loop {
            let needed_bytes = self.gathered_bytes() + bytes;
            let used_bytes = self.inventory.counters.file_bytes();
            let limit_bytes = self.limits.max_size_bytes;
            if used_bytes + needed_bytes <= limit_bytes {
                return Ok(());
            }
            self.inventory.loaded.wait();
            if !self.reclaim_unit()? {
                return Err(DiskError::Full { needed_bytes, used_bytes, limit_bytes });
            }
        }
    }

    /// Gives up the oldest unit that has had its second chance; `false` when there is none.
    fn reclaim_unit(&mut self) -> Result<bool, DiskError> {
        self.inventory.check_writable()?;
        self.flush();
        let mut chances = self.inventory.units.lock().len();
        while let Some((order, unit)) = self.oldest_unit()? {
            match unit {
                Unit::Pack { id } => {
                    self.reclaim_pack(id)?;
                    self.inventory.units.lock().remove(&order);
                    return Ok(true);
                }
                Unit::File { key, path, sequence, record_bytes } => {
                    let location = Location::File { sequence };
                    let touched = self.inventory.table.take_hits(&key, location) > 0;
                    let mut units = self.inventory.units.lock();
                    units.remove(&order);
                    if touched && chances > 0 {
                        chances -= 1;
                        let order = self.inventory.take_sequence();
                        units.insert(order, Unit::File { key, path, sequence, record_bytes });
                        continue;
                    }
                    drop(units);
                    self.evict(&key, location);
                    if let Err(error) = self.inventory.io.remove_file(&path) {
                        tracing::warn!(path = %path.display(), %error, "an evicted blob file stays");
                    }
                    self.inventory.counters.shrink_files(record_bytes);
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// The oldest unit. The pack that is appended to is sealed first when it is the oldest; an empty one is no unit.
    fn oldest_unit(&mut self) -> Result<Option<(u64, Unit)>, DiskError> {
        let (active, has_records) = self.active();
        let active = active.id;
        let is_active = |unit: &Unit| matches!(unit, Unit::Pack { id } if *id == active);
        let oldest = self
            .inventory
            .units
            .lock()
            .iter()
            .find(|(_, unit)| has_records || !is_active(unit))
            .map(|(order, unit)| (*order, unit.clone()));
        if oldest.as_ref().is_some_and(|(_, unit)| is_active(unit)) {
            self.roll()?;
        }
        Ok(oldest)
    }

    fn reclaim_pack(&mut self, id: u32) -> Result<(), DiskError> {
        let mut entries = Vec::new();
        self.inventory.table.for_each(|entry| {
            if matches!(entry.location, Location::Pack { pack, .. } if pack == id) {
                entries.push(*entry);
            }
        });
        entries.sort_unstable_by_key(|entry| entry.location.to_bits());
        let Some(pack) = self.inventory.packs.get(id) else { return Ok(()) };
        let path = self.inventory.layout.pack_file(id);
        let length = pack.file.len_bytes().map_err(DiskError::io("measure", &path))?;
        self.save_survivors(&entries, length / SURVIVING_PART)?;
        for entry in &entries {
            self.evict(&entry.key, entry.location);
        }
        self.inventory.remove_pack(id);
        self.inventory.io.remove_file(&path).map_err(DiskError::io("remove", &path))?;
        self.inventory.counters.shrink_files(length);
        Ok(())
    }

    /// Appends again what was asked for, as far as the budget goes, and makes sure of it before the old pack goes.
    fn save_survivors(
        &mut self,
        entries: &[Entry],
        mut budget_bytes: u64,
    ) -> Result<(), DiskError> {
        let mut has_moved = false;
        for entry in entries {
            if self.inventory.table.take_hits(&entry.key, entry.location) == 0
                || entry.record_bytes > budget_bytes
            {
                continue;
            }
            let Some((bytes, prologue_bytes)) = self.read_whole(entry) else { continue };
            if self.push_move(bytes, prologue_bytes, entry).is_err() {
                // Without room for copies the pack must go all the more.
                break;
            }
            budget_bytes -= entry.record_bytes;
            has_moved = true;
        }
        if has_moved {
            self.flush();
            sync_pack(&self.inventory, self.active().0)?;
        }
        Ok(())
    }

    /// A record's bytes, if they are sound, and the length of its prologue.
    fn read_whole(&self, entry: &Entry) -> Option<(Vec<u8>, usize)> {
        let Location::Pack { pack, offset } = entry.location else { return None };
        let file = &self.inventory.packs.get(pack)?.file;
        let mut bytes = vec![0; usize::try_from(entry.record_bytes).ok()?];
        if read_full(&**file, &mut bytes, u64::from(offset)).ok()? != bytes.len() {
            return None;
        }
        let place = Place::in_pack(self.inventory.salt, pack, offset);
        let prologue = Prologue::parse(&bytes, place).ok()?;
        let body = &bytes[prologue.length_bytes()..];
        prologue.is_body(body).then(|| prologue.length_bytes()).map(|length| (bytes, length))
    }

    fn evict(&self, key: &ShortKey, location: Location) {
        if let Some(entry) = self.inventory.remove_at(key, location) {
            self.inventory.counters.count_eviction(&entry);
        }
    }
}
