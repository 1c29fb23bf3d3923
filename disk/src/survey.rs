//! [`Survey`]: three walks over the table that end in a plan of what goes, some shards at a time.
//!
//! The first counts what is asked for how often, the second tallies what is worth keeping in each unit, the third gathers the
//! entries of those that go. The committer takes a step between two batches, so no writer waits for a whole walk.
//! Invariant: units are tallied as they were when the second walk began: what is appended meanwhile counts in neither its unit's
//! length nor its live bytes, so a young unit never looks dead.

use std::collections::HashMap;

use crate::committer::Committer;
use crate::error::DiskError;
use crate::eviction::{Cut, Histogram, LOW_WATERMARK_PART, Plan, UnitTally};
use crate::full_disk::FREE_AT_LEAST_BYTES;
use crate::inventory::{Inventory, Unit};
use crate::reclaim::{Haste, Victim, standing, unit_number, unit_of};
use crate::retire::Purpose;
use crate::slot::{Entry, Location};
use crate::table::{SHARDS, Table};

/// Shards that a step looks at …
const STEP_SHARDS: usize = 8;
/// … or fewer, once it has seen so many entries: half a millisecond or so.
const STEP_ENTRIES: usize = 16_384;
/// Walks of a survey.
const WALKS: usize = 3;

/// A survey under way.
#[derive(Debug)]
pub(crate) struct Survey {
    stage: Stage,
    next_shard: usize,
    now_s: u32,
    needed_bytes: u64,
    /// What a shard's look pays of the debt to writers.
    pay_bytes: u64,
}

#[derive(Debug)]
enum Stage {
    Counting { histogram: Histogram, stored_bytes: u64 },
    Tallying { cut: Cut, tallies: HashMap<u64, UnitTally> },
    Gathering { cut: Cut, plan: Plan, entries: HashMap<u64, Vec<Entry>> },
}

/// What goes, and by which cut it was chosen.
#[derive(Debug)]
pub(crate) struct Surveyed {
    pub(crate) victims: Vec<Victim>,
    pub(crate) cut: Cut,
}

impl Survey {
    /// Begins. When it ends, about half of `free_bytes` may have been written meanwhile.
    pub(crate) fn begin(inventory: &Inventory, needed_bytes: u64, free_bytes: u64) -> Self {
        let now_s = inventory.now_s();
        let histogram = Histogram::new(now_s);
        let wants_histogram = inventory.policy.lock().wants_histogram();
        Self {
            stage: Stage::Counting { histogram, stored_bytes: 0 },
            next_shard: if wants_histogram { 0 } else { SHARDS },
            now_s,
            needed_bytes,
            pay_bytes: free_bytes / 2 / (WALKS * SHARDS) as u64,
        }
    }

    /// Looks at some shards; says what that pays.
    fn walk(&mut self, table: &Table) -> u64 {
        let (mut seen, first) = (0, self.next_shard);
        while self.next_shard < SHARDS
            && self.next_shard - first < STEP_SHARDS
            && seen < STEP_ENTRIES
        {
            let (stage, now_s) = (&mut self.stage, self.now_s);
            table.for_each_in(self.next_shard, |entry| {
                seen += 1;
                stage.note(entry, now_s);
            });
            self.next_shard += 1;
        }
        self.pay_bytes * (self.next_shard - first) as u64
    }
}

impl Stage {
    fn note(&mut self, entry: &Entry, now_s: u32) {
        match self {
            Self::Counting { histogram, stored_bytes } => {
                histogram.add(standing(entry, now_s), entry.record_bytes);
                *stored_bytes += entry.record_bytes;
            }
            Self::Tallying { cut, tallies } => {
                let Some(tally) = tallies.get_mut(&unit_of(entry.location)) else { return };
                let is_newer = match entry.location {
                    Location::Pack { offset, .. } => u64::from(offset) >= tally.length_bytes,
                    Location::File { .. } => false,
                };
                if !is_newer {
                    tally.live_bytes += entry.record_bytes;
                    tally.kept_bytes +=
                        if cut.keeps(standing(entry, now_s)) { entry.record_bytes } else { 0 };
                }
            }
            Self::Gathering { entries, .. } => {
                if let Some(of_unit) = entries.get_mut(&unit_of(entry.location)) {
                    of_unit.push(*entry);
                }
            }
        }
    }
}

impl Committer {
    /// Takes a step of the survey, or begins one; its end says what goes. Also says what the step pays.
    pub(crate) fn survey_step(
        &mut self,
        needed_bytes: u64,
        haste: Haste,
    ) -> Result<(u64, Option<Surveyed>), DiskError> {
        let survey = self.reclaim.survey.take();
        let mut survey = survey.unwrap_or_else(|| {
            let limit_bytes = self.room.limit_bytes(&self.inventory);
            let free_bytes = limit_bytes.saturating_sub(self.inventory.counters.file_bytes());
            let needed_bytes = self.short_bytes(needed_bytes);
            Survey::begin(&self.inventory, needed_bytes, free_bytes)
        });
        let paid_bytes = survey.walk(&self.inventory.table);
        if survey.next_shard < SHARDS {
            self.reclaim.survey = Some(survey);
            return Ok((paid_bytes, None));
        }
        survey.next_shard = 0;
        survey.stage = match survey.stage {
            Stage::Counting { histogram, stored_bytes } => {
                let stored = (stored_bytes, self.inventory.counters.records());
                let cut = self.inventory.policy.lock().cut(&histogram, survey.needed_bytes, stored);
                Stage::Tallying { cut, tallies: self.begin_tallies(haste)? }
            }
            Stage::Tallying { cut, tallies } => {
                // More may have been written than the survey began with.
                survey.needed_bytes = survey.needed_bytes.max(self.short_bytes(needed_bytes));
                self.choose(cut, tallies, survey.needed_bytes)?
            }
            Stage::Gathering { cut, plan, mut entries } => {
                for unit in plan.spared {
                    self.spare(unit, &entries.remove(&unit).unwrap_or_default());
                }
                let victim = |unit| {
                    let entries = entries.remove(&unit).unwrap_or_default();
                    Victim { unit, entries, purpose: Purpose::Eviction }
                };
                let victims = plan.victims.into_iter().map(victim).collect();
                return Ok((paid_bytes, Some(Surveyed { victims, cut })));
            }
        };
        self.reclaim.survey = Some(survey);
        Ok((paid_bytes, None))
    }

    /// What must go for the low watermark and `needed_bytes` more.
    fn short_bytes(&mut self, needed_bytes: u64) -> u64 {
        let limit_bytes = self.room.limit_bytes(&self.inventory);
        let enough_bytes =
            (limit_bytes - limit_bytes / LOW_WATERMARK_PART).saturating_sub(needed_bytes);
        self.inventory.counters.file_bytes().saturating_sub(enough_bytes).max(1)
    }

    /// The units there are, with nothing in them yet. The pack that is appended to is one if there is a record in it.
    fn begin_tallies(&self, haste: Haste) -> Result<HashMap<u64, UnitTally>, DiskError> {
        let is_spared = haste == Haste::DiskFull && self.end <= FREE_AT_LEAST_BYTES;
        let stays = is_spared || !self.holds_records();
        let units: Vec<(u64, Unit)> = {
            let units = self.inventory.units.lock();
            units.iter().map(|(order, unit)| (*order, unit.clone())).collect()
        };
        let mut tallies = HashMap::with_capacity(units.len());
        for (order, unit) in units {
            let length_bytes = match unit {
                Unit::Pack { id } if id == self.pack.id && stays => continue,
                Unit::Pack { id } => {
                    let Some(pack) = self.inventory.packs.get(id) else { continue };
                    let path = self.inventory.layout.pack_file(id);
                    pack.file.len_bytes().map_err(DiskError::io("measure", &path))?
                }
                Unit::File { record_bytes, .. } => record_bytes,
            };
            let unit = unit_number(&unit);
            let queue = self.reclaim.queue_of(unit);
            let (live_bytes, kept_bytes) = (0, 0);
            let tally = UnitTally { unit, order, queue, length_bytes, live_bytes, kept_bytes };
            tallies.insert(unit, tally);
        }
        Ok(tallies)
    }

    /// Decides what goes. Nothing more is appended to what is chosen.
    fn choose(
        &mut self,
        cut: Cut,
        tallies: HashMap<u64, UnitTally>,
        needed_bytes: u64,
    ) -> Result<Stage, DiskError> {
        let limit_bytes = self.room.limit_bytes(&self.inventory);
        let tallies = tallies.into_values().collect();
        let plan = self.inventory.policy.lock().plan(tallies, needed_bytes, limit_bytes);
        let active = u64::from(self.pack.id);
        if plan.victims.contains(&active) || plan.spared.contains(&active) {
            self.leave_pack()?;
        }
        let chosen = plan.victims.iter().chain(&plan.spared);
        let entries = chosen.map(|unit| (*unit, Vec::new())).collect();
        Ok(Stage::Gathering { cut, plan, entries })
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
}
