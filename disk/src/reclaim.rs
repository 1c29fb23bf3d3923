//! Keeping under the limit: units (packs, blob files) are given up as the eviction policy plans it, and what is worth keeping in
//! a pack is appended again, within the write budget.
//!
//! Runs on the committer's thread in steps between batches: the survey that ends in a plan ([`crate::survey`]), then the end of
//! each unit ([`crate::retire`]). A step follows each batch, and more the more the batch wrote; only a batch that would pass the
//! limit, or a full disk, waits until a unit is gone.

use std::collections::{HashSet, VecDeque};

use crate::committer::Committer;
use crate::error::DiskError;
use crate::eviction::{
    Cut, HIGH_WATERMARK_PART, LOW_WATERMARK_PART, Queue, Standing, survival_budget_bytes,
};
use crate::inventory::Unit;
use crate::retire::{Purpose, Retiring};
use crate::slot::{Entry, Location, believed_s};
use crate::survey::Survey;

/// Where reclaiming stands.
#[derive(Debug)]
pub(crate) struct Reclaim {
    is_running: bool,
    /// Waits for the thread that syncs, and has nothing else to do.
    is_waiting: bool,
    /// Units of the main queue, by [`unit_of`]. Not kept over a restart: what is warm gets there again.
    pub(crate) main: HashSet<u64>,
    /// What is being looked at.
    pub(crate) survey: Option<Survey>,
    /// What is still to go, and by which cut it was chosen.
    pub(crate) planned: VecDeque<Victim>,
    pub(crate) cut: Cut,
    /// What is going.
    pub(crate) retiring: Option<Retiring>,
    /// Bytes that were written since the last step, less those that steps have paid for.
    debt_bytes: u64,
    used_then_bytes: u64,
}

/// A unit that is to go, and what is in it.
#[derive(Debug)]
pub(crate) struct Victim {
    pub(crate) unit: u64,
    pub(crate) entries: Vec<Entry>,
    pub(crate) purpose: Purpose,
}

/// Whether a step may wait for others, and what it spares.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Haste {
    /// Steps are taken between batches.
    Patient,
    /// A writer waits for the room.
    Urgent,
    /// The same, and the disk is full: the pack that is appended to stays where it is small.
    DiskFull,
}

/// What a step came to.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Advance {
    /// There is more to do; the step is worth so many bytes of writes.
    Going(u64),
    /// Nothing to do until a sync is done.
    Waiting,
    /// A unit is gone.
    UnitGone,
    /// There is nothing that could go.
    Nothing,
}

impl Default for Reclaim {
    fn default() -> Self {
        Self {
            is_running: false,
            is_waiting: false,
            main: HashSet::new(),
            survey: None,
            planned: VecDeque::new(),
            cut: Cut::KEEP_ALL,
            retiring: None,
            debt_bytes: 0,
            used_then_bytes: 0,
        }
    }
}

impl Reclaim {
    pub(crate) fn is_running(&self) -> bool {
        self.is_running
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.is_waiting
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

    pub(crate) fn queue_of(&self, unit: u64) -> Queue {
        if self.main.contains(&unit) { Queue::Main } else { Queue::Small }
    }

    fn is_idle(&self) -> bool {
        self.survey.is_none() && self.planned.is_empty() && self.retiring.is_none()
    }

    fn stop(&mut self) {
        self.is_running = false;
        self.is_waiting = false;
        self.survey = None;
        self.planned.clear();
    }
}

/// What stands for a unit: the pack's id, or a number that no pack has.
pub(crate) fn unit_of(location: Location) -> u64 {
    match location {
        Location::Pack { pack, .. } => pack.into(),
        Location::File { .. } => location.to_bits(),
    }
}

pub(crate) fn unit_number(unit: &Unit) -> u64 {
    match unit {
        Unit::Pack { id } => (*id).into(),
        Unit::File { sequence, .. } => unit_of(Location::File { sequence: *sequence }),
    }
}

pub(crate) fn standing(entry: &Entry, now_s: u32) -> Standing {
    Standing { recency_s: believed_s(entry.recency_s, now_s), hits: entry.hits }
}

impl Committer {
    /// Works on reclaiming if the watermarks say so, and all that is stored is known: a step, and as many more as what was
    /// written since the last time asks for.
    pub(crate) fn reclaim_step(&mut self) {
        if !self.inventory.loaded.is_open() {
            return;
        }
        let limit = self.room.limit_bytes(&self.inventory);
        let (high, low) = (limit - limit / HIGH_WATERMARK_PART, limit - limit / LOW_WATERMARK_PART);
        let used = self.inventory.counters.file_bytes();
        if used > high && !self.reclaim.is_running {
            self.reclaim.is_running = true;
            self.reclaim.debt_bytes = 0;
        } else {
            let written_bytes = used.saturating_sub(self.reclaim.used_then_bytes);
            self.reclaim.debt_bytes = self.reclaim.debt_bytes.saturating_add(written_bytes);
        }
        while self.reclaim.is_running {
            let used = self.inventory.counters.file_bytes();
            let has_begun = self.reclaim.retiring.is_some();
            if used <= low && !has_begun {
                self.reclaim.stop();
                break;
            }
            match self.advance(0, Haste::Patient) {
                Ok(Advance::Going(paid_bytes)) => {
                    let debt_bytes = self.reclaim.debt_bytes;
                    self.reclaim.debt_bytes = debt_bytes.saturating_sub(paid_bytes);
                }
                Ok(Advance::UnitGone) => {
                    // A plan that is through has done what it could foresee; the rest is no reason for another yet.
                    let used = self.inventory.counters.file_bytes();
                    if self.reclaim.is_idle() && used <= high {
                        self.reclaim.stop();
                    }
                }
                Ok(Advance::Waiting) => {
                    self.reclaim.is_waiting = true;
                    break;
                }
                Ok(Advance::Nothing) | Err(_) => self.reclaim.stop(),
            }
            self.reclaim.is_waiting = false;
            if self.reclaim.debt_bytes == 0 {
                break;
            }
        }
        self.reclaim.used_then_bytes = self.inventory.counters.file_bytes();
    }

    /// Reclaims until `bytes` more fit under the limit, and what survives of the next pack beside them.
    pub(crate) fn make_room(&mut self, bytes: u64) -> Result<(), DiskError> {
        let for_survivors_bytes = survival_budget_bytes(self.limits.pack_cap_bytes);
        loop {
            let needed_bytes = self.gathered_bytes() + bytes;
            let used_bytes = self.inventory.counters.file_bytes();
            let limit_bytes = self.room.limit_bytes(&self.inventory);
            let taken_bytes = used_bytes + needed_bytes;
            if taken_bytes <= limit_bytes.saturating_sub(for_survivors_bytes) {
                return Ok(());
            }
            self.inventory.loaded.wait();
            // What can never fit is no reason to empty the rest.
            if needed_bytes > limit_bytes || !self.reclaim_unit(needed_bytes, Haste::Urgent)? {
                if taken_bytes <= limit_bytes {
                    return Ok(());
                }
                return Err(DiskError::Full { needed_bytes, used_bytes, limit_bytes });
            }
        }
    }

    /// Gives up one unit on the way to `needed_bytes` under the limit, at once; `false` when there is none.
    pub(crate) fn reclaim_unit(
        &mut self,
        needed_bytes: u64,
        haste: Haste,
    ) -> Result<bool, DiskError> {
        loop {
            match self.advance(needed_bytes, haste)? {
                Advance::Going(_) | Advance::Waiting => {}
                Advance::UnitGone => return Ok(true),
                Advance::Nothing => return Ok(false),
            }
        }
    }

    /// Gives up one unit where more than `target_bytes` are taken; says whether one went.
    pub(crate) fn give_up(&mut self, target_bytes: u64) -> Result<bool, DiskError> {
        self.flush();
        if self.inventory.counters.file_bytes() <= target_bytes {
            return Ok(false);
        }
        let limit_bytes = self.room.limit_bytes(&self.inventory);
        self.reclaim_unit(limit_bytes.saturating_sub(target_bytes), Haste::Urgent)
    }

    /// Takes one step.
    fn advance(&mut self, needed_bytes: u64, haste: Haste) -> Result<Advance, DiskError> {
        self.inventory.check_writable()?;
        self.flush();
        // The table may not have all that is stored, and what is not in it would neither be kept nor stay removed.
        if self.inventory.is_closing() {
            return Err(DiskError::Closed);
        }
        if let Some(retiring) = self.reclaim.retiring.take() {
            return self.retire_step(retiring, haste);
        }
        if let Some(victim) = self.reclaim.planned.pop_front() {
            return self.begin_retiring(victim);
        }
        let (paid_bytes, surveyed) = self.survey_step(needed_bytes, haste)?;
        let Some(surveyed) = surveyed else { return Ok(Advance::Going(paid_bytes)) };
        self.reclaim.planned = surveyed.victims.into();
        self.reclaim.cut = surveyed.cut;
        let is_empty = self.reclaim.planned.is_empty();
        Ok(if is_empty { Advance::Nothing } else { Advance::Going(paid_bytes) })
    }
}

#[cfg(test)]
mod tests;
