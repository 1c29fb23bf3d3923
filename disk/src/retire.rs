//! [`Retiring`]: how a unit goes: what is worth keeping is appended again, what must stay forgotten is said again, the rest is
//! evicted, the file removed.
//!
//! Invariant: what the log no longer says may not come back when it is read again. Packs do not go in the order of the log, so
//! while an older one is left, removals are carried on, an action result that had an older one leaves a removal behind, and so
//! does one that was dropped as corrupt. A pack goes only when these are written and synced; where the disk has no room even
//! for them, or they cannot be read, the oldest pack goes in its place, of which nothing has to be said once the ends of those before it
//! are synced.
//! Invariant: writers come between two steps, so a step looks again at what it acts on, and writes what it has gathered.

use std::io;
use std::sync::Arc;

use crate::codec::encode_removal;
use crate::committer::Committer;
use crate::durable::{sync_dir, sync_pack};
use crate::error::{DiskError, with_causes};
use crate::eviction::{Cut, divide, survival_budget_bytes};
use crate::inventory::Unit;
use crate::io::read_full;
use crate::key::RecordKind;
use crate::pack::{LogPosition, Pack};
use crate::prologue::{Effect, Place, Prologue};
use crate::reader::first_bytes;
use crate::reclaim::{Advance, Haste, Victim, standing, unit_number, unit_of};
use crate::scan::{Bodies, Scanner};
use crate::slot::{Entry, Location, ShortKey};

/// Survivors of less than one part in this many of a pack get no pack of their own.
const OWN_PACK_PART: u64 = 16;
/// Entries that a step looks at.
const STEP_ENTRIES: usize = 2_048;

/// Why a unit goes.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Purpose {
    /// To make room: what is not worth keeping is lost.
    Eviction,
    /// To give back what is dead: it stays if not all that can be read is appended again.
    Compaction,
}

/// A pack that is going.
#[derive(Debug)]
pub(crate) struct Retiring {
    /// Its place among the units.
    order: u64,
    pack: Arc<Pack>,
    length_bytes: u64,
    purpose: Purpose,
    /// No pack is older, so nothing it says has to be said again.
    is_oldest: bool,
    /// What is still to be looked at again; later, what is evicted.
    entries: Vec<Entry>,
    /// What was looked at again.
    fresh: Vec<Entry>,
    /// How many of `entries` the phase has been through.
    done: usize,
    phase: Phase,
}

#[derive(Copy, Clone, Debug)]
enum Phase {
    /// Entries are looked at again: some are gone or were asked for.
    Refreshing,
    /// Survivors are appended. From here on `entries` are those that are evicted.
    Saving,
    /// The pack's own removals are appended again; behind this offset they are not looked at yet.
    Repeating(u64),
    /// Each action result that had an older one leaves a removal.
    Forgetting,
    /// What was appended must be synced up to here.
    Syncing(LogPosition),
    Evicting,
}

/// Why the log cannot be told what must stay forgotten.
#[derive(Debug)]
enum Unsaid {
    /// It cannot be read what there is to say.
    Unread(DiskError),
    Unwritten(DiskError),
}

impl From<DiskError> for Unsaid {
    fn from(error: DiskError) -> Self {
        Self::Unwritten(error)
    }
}

impl Retiring {
    /// The next entries, and whether there are more behind them.
    fn take_step(&mut self) -> std::ops::Range<usize> {
        let first = self.done;
        self.done = (first + STEP_ENTRIES).min(self.entries.len());
        first..self.done
    }

    fn is_through(&self) -> bool {
        self.done == self.entries.len()
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.done = 0;
    }

    /// What a step through so many entries is worth to writers: they are gone through twice, and for each byte that is written
    /// two go.
    fn pay_bytes(&self, entries: usize) -> u64 {
        let count = self.entries.len() + self.fresh.len();
        self.length_bytes / 4 / count.max(1) as u64 * entries as u64
    }
}

impl Committer {
    /// Begins with a unit; a blob file goes at once.
    pub(crate) fn begin_retiring(&mut self, victim: Victim) -> Result<Advance, DiskError> {
        let Some((order, unit)) = self.unit(victim.unit) else {
            // A file that was removed or found corrupt.
            return Ok(Advance::UnitGone);
        };
        let (path, record_bytes) = match unit {
            Unit::Pack { id } => {
                let Some(pack) = self.inventory.packs.get(id) else { return Ok(Advance::UnitGone) };
                self.reclaim.retiring =
                    Some(self.retiring((order, victim.purpose), pack, victim.entries)?);
                return Ok(Advance::Going(0));
            }
            Unit::File { path, record_bytes, .. } => (path, record_bytes),
        };
        let now_s = self.inventory.now_s();
        let is_kept = |entry: &Entry| self.reclaim.cut.keeps(standing(entry, now_s));
        let was_kept = victim.entries.first().is_some_and(is_kept);
        let entries: Vec<_> =
            victim.entries.iter().filter_map(|entry| self.look_again(entry)).collect();
        if !was_kept && entries.first().is_some_and(is_kept) {
            // Asked for since it was planned; the next plan knows.
            return Ok(Advance::UnitGone);
        }
        self.evict(&entries, victim.unit);
        if let Err(error) = self.inventory.io.remove_file(&path) {
            tracing::warn!(path = %path.display(), error = %with_causes(&error), "an evicted blob file stays");
        }
        // One that was found corrupt meanwhile is counted out already.
        if self.forget_unit(order, victim.unit) {
            self.inventory.counters.shrink_files(record_bytes);
        }
        Ok(Advance::UnitGone)
    }

    fn retiring(
        &self,
        (order, purpose): (u64, Purpose),
        pack: Arc<Pack>,
        entries: Vec<Entry>,
    ) -> Result<Retiring, DiskError> {
        let path = self.inventory.layout.pack_file(pack.id);
        let length_bytes = pack.file.len_bytes().map_err(DiskError::io("measure", &path))?;
        let is_oldest = self.inventory.packs.oldest() == Some(pack.id);
        let phase = Phase::Refreshing;
        let fresh = Vec::new();
        let done = 0;
        Ok(Retiring { order, pack, length_bytes, purpose, is_oldest, entries, fresh, done, phase })
    }

    /// Takes a step of a pack's end. After an error the pack stays, with what is left in it.
    pub(crate) fn retire_step(
        &mut self,
        mut retiring: Retiring,
        haste: Haste,
    ) -> Result<Advance, DiskError> {
        let paid_bytes = match retiring.phase {
            Phase::Refreshing => {
                let paid_bytes = retiring.pay_bytes(STEP_ENTRIES);
                let left = retiring.entries.len().saturating_sub(STEP_ENTRIES);
                let step = retiring.entries.split_off(left);
                retiring.fresh.extend(step.iter().filter_map(|entry| self.look_again(entry)));
                if left == 0 {
                    retiring.enter(Phase::Saving);
                }
                paid_bytes
            }
            Phase::Saving => {
                self.save(&mut retiring);
                if retiring.purpose == Purpose::Compaction && !retiring.entries.is_empty() {
                    return Ok(Advance::Nothing);
                }
                retiring.enter(match (retiring.is_oldest, retiring.pack.has_removals()) {
                    (true, _) => Phase::Syncing(self.end_of_log()),
                    (false, true) => Phase::Repeating(0),
                    (false, false) => Phase::Forgetting,
                });
                0
            }
            Phase::Forgetting | Phase::Repeating(_) => {
                if let Err(unsaid) = self.say_again(&mut retiring) {
                    return self.retire_another(retiring.purpose, unsaid);
                }
                0
            }
            Phase::Syncing(end) => {
                if !self.is_synced(end, haste)? {
                    self.reclaim.retiring = Some(retiring);
                    return Ok(Advance::Waiting);
                }
                retiring.enter(Phase::Evicting);
                0
            }
            Phase::Evicting => {
                let step = retiring.take_step();
                self.evict(&retiring.entries[step.clone()], retiring.pack.id.into());
                if retiring.is_through() {
                    return self.remove_retired(retiring);
                }
                retiring.pay_bytes(step.len())
            }
        };
        self.reclaim.retiring = Some(retiring);
        Ok(Advance::Going(paid_bytes))
    }

    /// Appends again what is worth keeping, and leaves in `entries` what is to be evicted.
    fn save(&mut self, retiring: &mut Retiring) {
        // Copies are written before the old pack goes, and must not break the limit meanwhile.
        let limit_bytes = self.room.limit_bytes(&self.inventory);
        let free_bytes = limit_bytes.saturating_sub(self.inventory.counters.file_bytes());
        let budget_bytes = survival_budget_bytes(retiring.length_bytes).min(free_bytes);
        let entries = std::mem::take(&mut retiring.fresh);
        let now_s = self.inventory.now_s();
        let look = |entry: &Entry| (standing(entry, now_s), entry.record_bytes);
        let cut = match retiring.purpose {
            Purpose::Eviction => &self.reclaim.cut,
            Purpose::Compaction => &Cut::KEEP_ALL,
        };
        let (mut survivors, evicted) = divide(cut, budget_bytes, entries, look);
        survivors.sort_unstable_by_key(|entry| entry.location.to_bits());
        self.save_survivors(retiring.pack.id, &survivors);
        retiring.entries = evicted;
        // Those that could not be written go with their pack.
        survivors.retain(|entry| self.look_again(entry).is_some());
        retiring.entries.extend(survivors);
    }

    /// Appends again what survives, in packs of their own where it is much: warm records together are reclaimed late, and are not
    /// copied again each time.
    fn save_survivors(&mut self, from: u32, survivors: &[Entry]) {
        let bytes: u64 = survivors.iter().map(|entry| entry.record_bytes).sum();
        let has_own_pack = bytes >= self.limits.pack_cap_bytes / OWN_PACK_PART;
        if has_own_pack && self.begin_survivors().is_err() {
            return;
        }
        let queue = self.reclaim.queue_of(from.into());
        for entry in survivors {
            let Some(entry) = &self.look_again(entry) else { continue };
            let hits = self.inventory.policy.lock().hits_after(entry.hits, queue);
            self.inventory.table.set_hits(&entry.key, entry.location, hits);
            let Some((bytes, prologue)) = self.read_whole(entry) else { continue };
            if self.push_move(bytes, prologue.length_bytes(), entry).is_err() {
                // Without room for copies the pack must go all the more.
                return;
            }
        }
        self.flush();
    }

    /// Appends some of what keeps older records from coming back: the pack's own removals, one for each result of which the table
    /// knows nothing any more, then one for each result that had an older one.
    fn say_again(&mut self, retiring: &mut Retiring) -> Result<(), Unsaid> {
        if let Phase::Repeating(from) = retiring.phase {
            return self.repeat(retiring, from);
        }
        let step = retiring.take_step();
        let (mut forgotten, mut unread) = (Vec::new(), None);
        for entry in &retiring.entries[step] {
            if entry.kind == RecordKind::ActionResult
                && self.inventory.table.has_older(&entry.key, entry.location)
            {
                match self.read_name(&retiring.pack, entry) {
                    Ok(prologue) => self.forget_again(entry.key, &prologue)?,
                    Err(error) => {
                        unread = Some(error);
                        break;
                    }
                }
                forgotten.push(*entry);
            }
        }
        self.write_gathered()?;
        // The log says that they are gone.
        self.evict(&forgotten, retiring.pack.id.into());
        if let Some(error) = unread {
            return Err(Unsaid::Unread(error));
        }
        if retiring.is_through() {
            retiring.enter(Phase::Syncing(self.end_of_log()));
        }
        Ok(())
    }

    fn repeat(&mut self, retiring: &mut Retiring, from: u64) -> Result<(), Unsaid> {
        let pack = Arc::clone(&retiring.pack);
        let origin = (self.inventory.salt, pack.id);
        let mut scanner =
            Scanner::new(&*pack.file, origin, from, retiring.length_bytes, Bodies::Trusted);
        for _ in 0..STEP_ENTRIES {
            let found = match scanner.next() {
                Ok(Some(found)) => found,
                Ok(None) => {
                    self.write_gathered()?;
                    retiring.enter(Phase::Forgetting);
                    return Ok(());
                }
                Err(error) => {
                    let path = self.inventory.layout.pack_file(pack.id);
                    let error = self.inventory.io_error("read", &path)(error);
                    // Clients' records are not gathered behind what was said so far.
                    self.write_gathered()?;
                    return Err(Unsaid::Unread(error));
                }
            };
            let prologue = found.prologue;
            let Some(key) = self.inventory.short_key(&prologue.key) else { continue };
            let table = &self.inventory.table;
            let is_hidden = match prologue.effect {
                // What is stored under the key hides what is older, and from now on it is alone in doing so.
                Effect::Remove => table.note_older(&key),
                Effect::Store => {
                    prologue.key.kind() == RecordKind::Blob || table.get(&key).is_some()
                }
            };
            if !is_hidden {
                self.forget_again(key, &prologue)?;
            }
        }
        retiring.phase = Phase::Repeating(scanner.good_end());
        Ok(self.write_gathered()?)
    }

    fn forget_again(&mut self, key: ShortKey, prologue: &Prologue) -> Result<(), DiskError> {
        let bytes = prologue.logical_size_bytes;
        self.push_removal(encode_removal(&prologue.key, bytes, prologue.written_unix_ms), key)
    }

    /// What is written behind the last sync may be lost, and what it replaced in this pack with it: an older record must not
    /// be found then.
    fn is_synced(&self, end: LogPosition, haste: Haste) -> Result<bool, DiskError> {
        if self.inventory.durable.synced() >= end {
            return Ok(true);
        }
        if haste == Haste::Patient
            && let Some(syncer) = &self.syncer
        {
            syncer.ask();
            return Ok(false);
        }
        let now = self.end_of_log();
        sync_pack(&self.inventory, &self.pack)?;
        self.inventory.durable.note_synced(now);
        Ok(true)
    }

    /// The log could not be told what must stay forgotten. On a full disk, or where it cannot be read what there is to say, the oldest
    /// pack goes instead; a compaction is not worth that.
    fn retire_another(&mut self, purpose: Purpose, unsaid: Unsaid) -> Result<Advance, DiskError> {
        let (error, may_another) = match unsaid {
            Unsaid::Unread(error) => (error, true),
            Unsaid::Unwritten(error) => {
                let is_full = error.is_disk_full();
                (error, is_full)
            }
        };
        if may_another && purpose == Purpose::Compaction {
            return Ok(Advance::Nothing);
        }
        let Some(oldest) = self.inventory.packs.oldest().filter(|_| may_another) else {
            return Err(error);
        };
        tracing::warn!(error = %with_causes(&error), pack = oldest, "it cannot be said what is gone; the oldest pack goes instead");
        self.reclaim.planned.clear();
        if oldest == self.pack.id {
            self.leave_pack()?;
        }
        let unit = u64::from(oldest);
        let (Some((order, _)), Some(pack)) = (self.unit(unit), self.inventory.packs.get(oldest))
        else {
            return Err(error);
        };
        let mut entries = Vec::new();
        self.inventory.table.for_each(|entry| {
            if unit_of(entry.location) == unit {
                entries.push(*entry);
            }
        });
        let mut retiring = self.retiring((order, Purpose::Eviction), pack, entries)?;
        // There is no room for survivors either.
        retiring.enter(Phase::Evicting);
        self.reclaim.retiring = Some(retiring);
        Ok(Advance::Going(0))
    }

    fn remove_retired(&mut self, retiring: Retiring) -> Result<Advance, DiskError> {
        let Retiring { order, pack, length_bytes, is_oldest, .. } = retiring;
        if is_oldest {
            // What it hides, by a removal or a newer result, must not be found again after a power cut.
            sync_dir(&self.inventory, &self.inventory.layout.packs_dir())?;
        }
        let id = pack.id;
        let path = self.inventory.layout.pack_file(id);
        self.let_go(id);
        // Bytes that count as free are so only once nobody here has the file open any more.
        drop(pack);
        self.inventory.io.remove_file(&path).map_err(DiskError::io("remove", &path))?;
        self.inventory.counters.shrink_files(length_bytes);
        self.forget_unit(order, id.into());
        Ok(Advance::UnitGone)
    }

    fn unit(&self, number: u64) -> Option<(u64, Unit)> {
        let units = self.inventory.units.lock();
        let found = units.iter().find(|(_, unit)| unit_number(unit) == number);
        found.map(|(order, unit)| (*order, unit.clone()))
    }

    /// Says whether it still was one.
    fn forget_unit(&mut self, order: u64, unit: u64) -> bool {
        self.reclaim.main.remove(&unit);
        self.inventory.units.lock().remove(&order).is_some()
    }

    /// What is known of an entry now, if it still is where it was seen.
    fn look_again(&self, entry: &Entry) -> Option<Entry> {
        let found = self.inventory.table.get(&entry.key);
        found.filter(|found| found.location == entry.location)
    }

    /// What a record's prologue says, whatever has become of its body.
    fn read_name(&self, pack: &Pack, entry: &Entry) -> Result<Prologue, DiskError> {
        let path = self.inventory.layout.pack_file(pack.id);
        let read = || {
            let Location::Pack { offset, .. } = entry.location else {
                return Err(io::ErrorKind::NotFound.into());
            };
            let head = first_bytes(&*pack.file, entry.record_bytes, offset.into())?;
            let place = Place::in_pack(self.inventory.salt, pack.id, offset);
            Prologue::parse(&head, place).map_err(|_| io::ErrorKind::InvalidData.into())
        };
        read().map_err(self.inventory.io_error("read", &path))
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
                let age_s = now_s.saturating_sub(entry.recency_s);
                self.inventory.activity.eviction_age_s.record(age_s.into());
                self.inventory.retention.lock().note(now_s, entry.recency_s);
            }
        }
    }
}
