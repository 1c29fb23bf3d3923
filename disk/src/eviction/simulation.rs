//! [`Simulation`]: what an engine would keep, by the same policies, without its bytes.
//!
//! Packs fill up and are reclaimed as in the engine; time comes from the caller. What it leaves out: action results that
//! clients replace leave dead bytes here too, but no removal records.

use std::collections::{BTreeMap, HashMap};

use super::histogram::Histogram;
use super::plan::{divide, survival_budget_bytes};
use super::{
    Cut, EvictionPolicy, HIGH_WATERMARK_PART, HITS_MAX, LOW_WATERMARK_PART, Policy, Queue,
    Standing, UnitTally,
};
use crate::pack::{HEADER_BYTES, cap_bytes};

/// What is simulated.
#[derive(Copy, Clone, Debug)]
pub struct SimulationOptions {
    /// What decides.
    pub policy: EvictionPolicy,
    /// The limit for packs and blob files together.
    pub max_size_bytes: u64,
    /// A record of this size or more has a file of its own.
    pub large_blob_bytes: u64,
}

/// What happened in a [`Simulation`].
#[derive(Copy, Clone, Eq, PartialEq, Default, Debug)]
pub struct SimulationTotals {
    /// Bytes that were stored.
    pub stored_bytes: u64,
    /// Entries that were evicted.
    pub evictions: u64,
    /// Bytes that were appended again because they survived.
    pub copied_bytes: u64,
}

/// An engine without bytes.
#[derive(Debug)]
pub struct Simulation {
    options: SimulationOptions,
    policy: Policy,
    entries: HashMap<u64, SimulatedEntry>,
    units: BTreeMap<u64, SimulatedUnit>,
    /// The unit that is appended to, if there is one.
    active: Option<u64>,
    next_unit: u64,
    next_order: u64,
    used_bytes: u64,
    totals: SimulationTotals,
}

#[derive(Copy, Clone, Debug)]
struct SimulatedEntry {
    unit: u64,
    bytes: u64,
    standing: Standing,
}

#[derive(Debug)]
struct SimulatedUnit {
    order: u64,
    queue: Queue,
    length_bytes: u64,
    /// Names of what was stored here; some may be elsewhere by now.
    names: Vec<u64>,
}

impl Simulation {
    /// An empty engine.
    pub fn new(options: SimulationOptions) -> Self {
        Self {
            options,
            policy: Policy::new(options.policy),
            entries: HashMap::new(),
            units: BTreeMap::new(),
            active: None,
            next_unit: 0,
            next_order: 0,
            used_bytes: 0,
            totals: SimulationTotals::default(),
        }
    }

    /// Whether an entry is there; extends its life.
    pub fn touch(&mut self, now_s: u32, name: u64) -> bool {
        let Some(entry) = self.entries.get_mut(&name) else { return false };
        let standing = &mut entry.standing;
        let is_first = standing.recency_s != now_s;
        standing.recency_s = now_s;
        if (is_first && standing.hits < HITS_MAX) || standing.hits == 0 {
            standing.hits += 1;
        }
        true
    }

    /// Stores an entry, in place of an older one; what is larger than the limit is not stored.
    pub fn store(&mut self, now_s: u32, name: u64, bytes: u64) {
        if bytes > self.options.max_size_bytes {
            return;
        }
        if let Some(old) = self.entries.remove(&name) {
            self.drop_file(old.unit, old.bytes);
        }
        let hits = self.policy.admit(name, bytes);
        self.append(name, bytes, Standing { recency_s: now_s, hits }, Queue::Small);
        self.totals.stored_bytes += bytes;
        let limit_bytes = self.options.max_size_bytes;
        if self.used_bytes > limit_bytes - limit_bytes / HIGH_WATERMARK_PART {
            let enough_bytes = limit_bytes - limit_bytes / LOW_WATERMARK_PART;
            while self.used_bytes > enough_bytes && self.reclaim(now_s, enough_bytes) {}
        }
    }

    /// Bytes that are taken, those included that nothing readable occupies.
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    /// What happened so far.
    pub fn totals(&self) -> SimulationTotals {
        self.totals
    }

    fn append(&mut self, name: u64, bytes: u64, standing: Standing, queue: Queue) {
        let is_large = bytes >= self.options.large_blob_bytes;
        let unit = if is_large { self.add_unit(queue) } else { self.pack_for(bytes, queue) };
        let found = self.units.get_mut(&unit).expect("it was just found");
        found.names.push(name);
        found.length_bytes += bytes;
        self.used_bytes += bytes;
        self.entries.insert(name, SimulatedEntry { unit, bytes, standing });
    }

    fn pack_for(&mut self, bytes: u64, queue: Queue) -> u64 {
        if let Some(active) = self.active {
            let unit = &self.units[&active];
            let cap_bytes = cap_bytes(self.options.max_size_bytes);
            if unit.queue == queue && unit.length_bytes + bytes <= cap_bytes {
                return active;
            }
        }
        let unit = self.add_unit(queue);
        self.units.get_mut(&unit).expect("it was just added").length_bytes = HEADER_BYTES as u64;
        self.used_bytes += HEADER_BYTES as u64;
        self.active = Some(unit);
        unit
    }

    fn add_unit(&mut self, queue: Queue) -> u64 {
        let unit = self.next_unit;
        self.next_unit += 1;
        let order = self.take_order();
        let added = SimulatedUnit { order, queue, length_bytes: 0, names: Vec::new() };
        self.units.insert(unit, added);
        unit
    }

    fn take_order(&mut self) -> u64 {
        self.next_order += 1;
        self.next_order
    }

    /// The file of an entry that is gone goes too; a pack stays.
    fn drop_file(&mut self, unit: u64, bytes: u64) {
        if bytes >= self.options.large_blob_bytes && self.units.remove(&unit).is_some() {
            self.used_bytes -= bytes;
        }
    }

    /// One round of reclaiming; `false` when nothing is left to reclaim.
    fn reclaim(&mut self, now_s: u32, enough_bytes: u64) -> bool {
        let needed_bytes = self.used_bytes - enough_bytes;
        let mut histogram = Histogram::new(now_s);
        let mut live_bytes = 0;
        for entry in self.entries.values() {
            histogram.add(entry.standing, entry.bytes);
            live_bytes += entry.bytes;
        }
        let stored = (live_bytes, self.entries.len() as u64);
        let cut = self.policy.cut(&histogram, needed_bytes, stored);
        // Live bytes of each unit, and those worth keeping.
        let mut holdings: HashMap<u64, (u64, u64)> = HashMap::new();
        for entry in self.entries.values() {
            let (live_bytes, kept_bytes) = holdings.entry(entry.unit).or_default();
            *live_bytes += entry.bytes;
            *kept_bytes += if cut.keeps(entry.standing) { entry.bytes } else { 0 };
        }
        let tally = |(unit, found): (&u64, &SimulatedUnit)| UnitTally {
            unit: *unit,
            order: found.order,
            queue: found.queue,
            length_bytes: found.length_bytes,
            live_bytes: holdings.get(unit).map_or(0, |holding| holding.0),
            kept_bytes: holdings.get(unit).map_or(0, |holding| holding.1),
        };
        let units = self.units.iter().map(tally).collect();
        let plan = self.policy.plan(units, needed_bytes, self.options.max_size_bytes);
        for unit in plan.spared {
            self.spare(unit);
        }
        let has_victims = !plan.victims.is_empty();
        for unit in plan.victims {
            self.reclaim_unit(&cut, unit);
        }
        has_victims
    }

    fn spare(&mut self, unit: u64) {
        let order = self.take_order();
        let Some(spared) = self.units.get_mut(&unit) else { return };
        for name in &spared.names {
            if let Some(entry) = self.entries.get_mut(name).filter(|entry| entry.unit == unit) {
                entry.standing.hits = self.policy.hits_after(entry.standing.hits, spared.queue);
            }
        }
        spared.queue = Queue::Main;
        spared.order = order;
        self.active = self.active.filter(|active| *active != unit);
    }

    fn reclaim_unit(&mut self, cut: &Cut, unit: u64) {
        let Some(victim) = self.units.remove(&unit) else { return };
        self.active = self.active.filter(|active| *active != unit);
        self.used_bytes -= victim.length_bytes;
        let mut entries = Vec::new();
        for name in victim.names {
            // A name that was stored here twice is met once.
            if self.entries.get(&name).is_some_and(|entry| entry.unit == unit)
                && let Some(entry) = self.entries.remove(&name)
            {
                entries.push((name, entry));
            }
        }
        let budget_bytes = survival_budget_bytes(victim.length_bytes);
        let (survivors, evicted) =
            divide(cut, budget_bytes, entries, |(_, entry)| (entry.standing, entry.bytes));
        for (name, entry) in survivors {
            let hits = self.policy.hits_after(entry.standing.hits, victim.queue);
            self.totals.copied_bytes += entry.bytes;
            self.append(name, entry.bytes, Standing { hits, ..entry.standing }, Queue::Main);
        }
        for (name, entry) in evicted {
            self.policy.evicted(name, entry.standing.hits, victim.queue);
            self.totals.evictions += 1;
        }
    }
}

#[cfg(test)]
mod tests;
