//! Keeping under the limit: units (packs, blob files) are given up as the eviction policy plans it, and what is worth keeping in
//! a pack is appended again, within the write budget.
//!
//! Invariant: what the log no longer says may not come back when it is read again. Packs do not go in the order of the log, so
//! while an older one is left, removals are carried on, and an action result that had an older one leaves a removal behind.
//! Runs on the committer's thread, a unit at a time between batches; only a full disk makes a batch wait for it.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::codec::encode_removal;
use crate::committer::Committer;
use crate::durable::sync_pack;
use crate::error::DiskError;
use crate::eviction::{
    Cut, HIGH_WATERMARK_PART, Histogram, LOW_WATERMARK_PART, Queue, Standing, UnitTally, divide,
    survival_budget_bytes,
};
use crate::inventory::{Inventory, Unit};
use crate::io::read_full;
use crate::key::RecordKind;
use crate::pack::Pack;
use crate::prologue::{Effect, Place, Prologue};
use crate::scan::{Bodies, Scanner};
use crate::slot::{Entry, Location};

/// Survivors of less than one part in this many of a pack get no pack of their own.
const OWN_PACK_PART: u64 = 16;

/// Where reclaiming stands.
#[derive(Debug)]
pub(crate) struct Reclaim {
    is_running: bool,
    /// Units of the main queue, by [`unit_of`]. Not kept over a restart: what is warm gets there again.
    main: HashSet<u64>,
    /// What is still to go, and by which cut it was chosen.
    planned: VecDeque<Victim>,
    cut: Cut,
}

#[derive(Debug)]
struct Victim {
    unit: u64,
    entries: Vec<Entry>,
}

impl Default for Reclaim {
    fn default() -> Self {
        let (main, planned) = (HashSet::new(), VecDeque::new());
        Self { is_running: false, main, planned, cut: Cut::KEEP_ALL }
    }
}

impl Reclaim {
    pub(crate) fn is_running(&self) -> bool {
        self.is_running
    }

    /// Whether a pack is there for survivors only.
    pub(crate) fn is_for_survivors(&self, pack: u32) -> bool {
        self.main.contains(&u64::from(pack))
    }

    /// Makes a pack one for survivors, or one for all.
    pub(crate) fn set_for_survivors(&mut self, pack: u32, is: bool) {
        if is {
            self.main.insert(pack.into())
        } else {
            self.main.remove(&pack.into())
        };
    }

    fn queue_of(&self, unit: u64) -> Queue {
        if self.main.contains(&unit) { Queue::Main } else { Queue::Small }
    }
}

/// What stands for a unit: the pack's id, or a number that no pack has.
fn unit_of(location: Location) -> u64 {
    match location {
        Location::Pack { pack, .. } => pack.into(),
        Location::File { .. } => location.to_bits(),
    }
}

fn unit_number(unit: &Unit) -> u64 {
    match unit {
        Unit::Pack { id } => (*id).into(),
        Unit::File { sequence, .. } => unit_of(Location::File { sequence: *sequence }),
    }
}

fn standing(entry: &Entry) -> Standing {
    Standing { recency_s: entry.recency_s, hits: entry.hits }
}

impl Committer {
    /// Reclaims one unit if the watermarks say so, and all that is stored is known.
    pub(crate) fn reclaim_step(&mut self) {
        if !self.inventory.loaded.is_open() {
            return;
        }
        let limit = self.room.limit_bytes(&self.inventory);
        let used = self.inventory.counters.file_bytes();
        if used > limit - limit / HIGH_WATERMARK_PART {
            self.reclaim.is_running = true;
        }
        if self.reclaim.is_running {
            let is_enough = used <= limit - limit / LOW_WATERMARK_PART;
            self.reclaim.is_running = !is_enough && matches!(self.reclaim_unit(0), Ok(true));
        }
        if !self.reclaim.is_running {
            self.reclaim.planned.clear();
        }
    }

    /// Reclaims until `bytes` more fit under the limit.
    pub(crate) fn make_room(&mut self, bytes: u64) -> Result<(), DiskError> {
        loop {
            let needed_bytes = self.gathered_bytes() + bytes;
            let used_bytes = self.inventory.counters.file_bytes();
            let limit_bytes = self.room.limit_bytes(&self.inventory);
            if used_bytes + needed_bytes <= limit_bytes {
                return Ok(());
            }
            self.inventory.loaded.wait();
            // What can never fit is no reason to empty the rest.
            if needed_bytes > limit_bytes || !self.reclaim_unit(needed_bytes)? {
                return Err(DiskError::Full { needed_bytes, used_bytes, limit_bytes });
            }
        }
    }

    /// Gives up one unit on the way to `needed_bytes` under the limit; `false` when there is none.
    pub(crate) fn reclaim_unit(&mut self, needed_bytes: u64) -> Result<bool, DiskError> {
        self.inventory.check_writable()?;
        self.flush();
        if self.reclaim.planned.is_empty() {
            self.plan(needed_bytes)?;
        }
        let Some(mut victim) = self.reclaim.planned.pop_front() else { return Ok(false) };
        let unit = {
            let units = self.inventory.units.lock();
            let found = units.iter().find(|(_, unit)| unit_number(unit) == victim.unit);
            found.map(|(order, unit)| (*order, unit.clone()))
        };
        // One that is gone was a file that was removed or found corrupt.
        let Some((order, unit)) = unit else { return Ok(true) };
        let was_kept = |entry: &Entry| self.reclaim.cut.keeps(standing(entry));
        let first = victim.entries.first().is_some_and(was_kept);
        self.refresh(&mut victim.entries);
        match unit {
            Unit::Pack { id } => self.reclaim_pack(id, victim.entries)?,
            Unit::File { path, record_bytes, .. } => {
                if !first && victim.entries.first().is_some_and(was_kept) {
                    // Asked for since it was planned; the next plan knows.
                    return Ok(true);
                }
                self.evict(&victim.entries, victim.unit);
                if let Err(error) = self.inventory.io.remove_file(&path) {
                    tracing::warn!(path = %path.display(), %error, "an evicted blob file stays");
                }
                self.inventory.counters.shrink_files(record_bytes);
            }
        }
        self.inventory.units.lock().remove(&order);
        self.reclaim.main.remove(&victim.unit);
        Ok(true)
    }

    /// Surveys the table and plans what goes: as much as the low watermark and `needed_bytes` take.
    fn plan(&mut self, needed_bytes: u64) -> Result<(), DiskError> {
        let limit_bytes = self.room.limit_bytes(&self.inventory);
        let enough_bytes =
            (limit_bytes - limit_bytes / LOW_WATERMARK_PART).saturating_sub(needed_bytes);
        let used_bytes = self.inventory.counters.file_bytes();
        let needed_bytes = used_bytes.saturating_sub(enough_bytes).max(1);
        let cut = find_cut(&self.inventory, needed_bytes);
        let tallies = self.tallies(&cut)?;
        let plan = self.inventory.policy.lock().plan(tallies, needed_bytes, limit_bytes);
        let active = u64::from(self.active().0.id);
        if plan.victims.contains(&active) || plan.spared.contains(&active) {
            self.leave_pack()?;
        }
        let mut entries: HashMap<u64, Vec<Entry>> =
            plan.victims.iter().chain(&plan.spared).map(|unit| (*unit, Vec::new())).collect();
        self.inventory.table.for_each(|entry| {
            if let Some(of_unit) = entries.get_mut(&unit_of(entry.location)) {
                of_unit.push(*entry);
            }
        });
        for unit in plan.spared {
            self.spare(unit, &entries.remove(&unit).unwrap_or_default());
        }
        let victim = |unit| Victim { unit, entries: entries.remove(&unit).unwrap_or_default() };
        self.reclaim.planned = plan.victims.into_iter().map(victim).collect();
        self.reclaim.cut = cut;
        Ok(())
    }

    /// What is in each unit. The pack that is appended to is one if there is a record in it.
    fn tallies(&self, cut: &Cut) -> Result<Vec<UnitTally>, DiskError> {
        let mut holdings: HashMap<u64, (u64, u64)> = HashMap::new();
        self.inventory.table.for_each(|entry| {
            let holding = holdings.entry(unit_of(entry.location)).or_default();
            holding.0 += entry.record_bytes;
            holding.1 += if cut.keeps(standing(entry)) { entry.record_bytes } else { 0 };
        });
        let (active, has_records) = self.active();
        let active = active.id;
        let units: Vec<(u64, Unit)> = {
            let units = self.inventory.units.lock();
            units.iter().map(|(order, unit)| (*order, unit.clone())).collect()
        };
        let mut tallies = Vec::with_capacity(units.len());
        for (order, unit) in units {
            let length_bytes = match unit {
                Unit::Pack { id } if id == active && !has_records => continue,
                Unit::Pack { id } => {
                    let Some(pack) = self.inventory.packs.get(id) else { continue };
                    let path = self.inventory.layout.pack_file(id);
                    pack.file.len_bytes().map_err(DiskError::io("measure", &path))?
                }
                Unit::File { record_bytes, .. } => record_bytes,
            };
            let unit = unit_number(&unit);
            let (live_bytes, kept_bytes) = holdings.get(&unit).copied().unwrap_or_default();
            let queue = self.reclaim.queue_of(unit);
            tallies.push(UnitTally { unit, order, queue, length_bytes, live_bytes, kept_bytes });
        }
        Ok(tallies)
    }

    /// Lets a unit stay for another round.
    fn spare(&mut self, unit: u64, entries: &[Entry]) {
        let queue = self.reclaim.queue_of(unit);
        for entry in entries {
            let policy = self.inventory.policy.lock();
            let after = policy.hits_after(entry.hits, queue);
            self.inventory.table.set_hits(&entry.key, entry.location, after);
        }
        let mut units = self.inventory.units.lock();
        let found = units.iter().find(|(_, found)| unit_number(found) == unit);
        if let Some(order) = found.map(|(order, _)| *order)
            && let Some(spared) = units.remove(&order)
        {
            units.insert(self.inventory.take_sequence(), spared);
            self.reclaim.main.insert(unit);
        }
    }

    /// Looks again at what was planned: some is gone or was asked for.
    fn refresh(&self, entries: &mut Vec<Entry>) {
        entries.retain_mut(|entry| {
            let found = self.inventory.table.get(&entry.key);
            let found = found.filter(|found| found.location == entry.location);
            found.inspect(|found| *entry = *found).is_some()
        });
    }

    fn reclaim_pack(&mut self, id: u32, entries: Vec<Entry>) -> Result<(), DiskError> {
        let Some(pack) = self.inventory.packs.get(id) else { return Ok(()) };
        let path = self.inventory.layout.pack_file(id);
        let length = pack.file.len_bytes().map_err(DiskError::io("measure", &path))?;
        // Copies are written before the old pack goes, and must not break the limit meanwhile.
        let limit_bytes = self.room.limit_bytes(&self.inventory);
        let free_bytes = limit_bytes.saturating_sub(self.inventory.counters.file_bytes());
        let budget_bytes = survival_budget_bytes(length).min(free_bytes);
        let look = |entry: &Entry| (standing(entry), entry.record_bytes);
        let (mut survivors, mut evicted) = divide(&self.reclaim.cut, budget_bytes, entries, look);
        survivors.sort_unstable_by_key(|entry| entry.location.to_bits());
        let is_oldest = self.inventory.packs.oldest() == Some(id);
        let has_moved = self.save_survivors(id, &survivors);
        let has_forgotten = !is_oldest && self.save_removals(&pack, length, &evicted);
        if has_moved || has_forgotten {
            self.flush();
            sync_pack(&self.inventory, self.active().0)?;
        }
        // Those that could not be written are lost with their pack.
        evicted.extend(survivors);
        self.evict(&evicted, id.into());
        self.inventory.remove_pack(id);
        self.inventory.io.remove_file(&path).map_err(DiskError::io("remove", &path))?;
        self.inventory.counters.shrink_files(length);
        Ok(())
    }

    /// Appends again what survives, in packs of their own where it is much: warm records together are reclaimed late, and are not
    /// copied again each time.
    fn save_survivors(&mut self, from: u32, survivors: &[Entry]) -> bool {
        let bytes: u64 = survivors.iter().map(|entry| entry.record_bytes).sum();
        let has_own_pack = bytes >= self.limits.pack_cap_bytes / OWN_PACK_PART;
        if has_own_pack && self.begin_survivors().is_err() {
            return false;
        }
        let queue = self.reclaim.queue_of(from.into());
        let mut has_moved = false;
        for entry in survivors {
            let hits = self.inventory.policy.lock().hits_after(entry.hits, queue);
            self.inventory.table.set_hits(&entry.key, entry.location, hits);
            let Some((bytes, prologue)) = self.read_whole(entry) else { continue };
            if self.push_move(bytes, prologue.length_bytes(), entry).is_err() {
                // Without room for copies the pack must go all the more.
                break;
            }
            has_moved = true;
        }
        has_moved
    }

    /// Appends what keeps older records from coming back: the removals of a pack, and one for each result that had an older one.
    fn save_removals(&mut self, pack: &Pack, length: u64, evicted: &[Entry]) -> bool {
        let mut removals = Vec::new();
        for entry in evicted.iter().filter(|entry| entry.kind == RecordKind::ActionResult) {
            if self.inventory.table.has_older(&entry.key, entry.location)
                && let Some((_, prologue)) = self.read_whole(entry)
            {
                removals.push((entry.key, prologue));
            }
        }
        if pack.has_removals() {
            let origin = (self.inventory.salt, pack.id);
            let mut scanner = Scanner::new(&*pack.file, origin, 0, length, Bodies::Trusted);
            while let Ok(Some(found)) = scanner.next() {
                let prologue = found.prologue;
                if prologue.effect == Effect::Remove
                    && let Some(key) = self.inventory.short_key(&prologue.key)
                    && self.inventory.table.get(&key).is_none()
                {
                    removals.push((key, prologue));
                }
            }
        }
        let has_any = !removals.is_empty();
        for (key, prologue) in removals {
            let bytes = prologue.logical_size_bytes;
            let removal = encode_removal(&prologue.key, bytes, prologue.written_unix_ms);
            if self.push_removal(removal, key).is_err() {
                break;
            }
        }
        has_any
    }

    /// A record's bytes, if they are sound, and its prologue.
    fn read_whole(&self, entry: &Entry) -> Option<(Vec<u8>, Prologue)> {
        let Location::Pack { pack, offset } = entry.location else { return None };
        let file = &self.inventory.packs.get(pack)?.file;
        let mut bytes = vec![0; usize::try_from(entry.record_bytes).ok()?];
        if read_full(&**file, &mut bytes, u64::from(offset)).ok()? != bytes.len() {
            return None;
        }
        let place = Place::in_pack(self.inventory.salt, pack, offset);
        let prologue = Prologue::parse(&bytes, place).ok()?;
        let is_sound = prologue.is_body(&bytes[prologue.length_bytes()..]);
        is_sound.then_some((bytes, prologue))
    }

    /// Forgets what is still where it was seen.
    fn evict(&self, entries: &[Entry], unit: u64) {
        let queue = self.reclaim.queue_of(unit);
        let now_s = self.inventory.now_s();
        for entry in entries {
            if let Some(entry) = self.inventory.remove_at(&entry.key, entry.location) {
                self.inventory.counters.count_eviction(&entry);
                self.inventory.policy.lock().evicted(entry.key.name(), entry.hits, queue);
                self.inventory.retention.lock().note(now_s, entry.recency_s);
            }
        }
    }
}

/// What is worth keeping, from a look at the whole table.
fn find_cut(inventory: &Inventory, needed_bytes: u64) -> Cut {
    let mut histogram = Histogram::new(inventory.now_s());
    let mut stored = (0, 0);
    let wants_histogram = inventory.policy.lock().wants_histogram();
    if wants_histogram {
        inventory.table.for_each(|entry| {
            histogram.add(standing(entry), entry.record_bytes);
            stored.0 += entry.record_bytes;
        });
    }
    stored.1 = inventory.counters.records();
    inventory.policy.lock().cut(&histogram, needed_bytes, stored)
}
