//! Eviction: which records make room for others, and which are appended again. Pure; the engine and [`Simulation`] share it.
//!
//! Space in a log is given back a unit at a time: a pack, or a blob file. So a policy answers two questions. The first is the
//! `Cut`: which entries are worth keeping, by their recency and hits. The second is the `Plan`: in which
//! units the smallest part is worth keeping. Those units go; what is worth keeping in them is appended again as far as the write
//! budget reaches. Source: docs/adr/0008-eviction.md.

mod cut;
mod ghosts;
mod histogram;
mod plan;
mod policy;
mod retention;
mod simulation;
pub mod trace;

use std::fmt;

pub(crate) use cut::Cut;
pub(crate) use histogram::Histogram;
pub(crate) use plan::{Plan, Queue, UnitTally, divide, survival_budget_bytes};
pub(crate) use policy::Policy;
pub(crate) use retention::Retention;
pub use simulation::{Simulation, SimulationOptions, SimulationTotals};

/// How an engine decides what makes room.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum EvictionPolicy {
    /// What was not asked for the longest goes first.
    Lru,
    /// What was asked for least goes first; hits of long ago count less, by the pace of what is in use.
    Lfu,
    /// What was asked for once and what was asked for again have shares that adapt to what is missed.
    Arc,
    /// What is new has a tenth of the room, and stays when it is asked for meanwhile.
    S3Fifo,
}

impl EvictionPolicy {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Lru, Self::Lfu, Self::Arc, Self::S3Fifo];

    /// As it is written in configurations and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lru => "lru",
            Self::Lfu => "lfu",
            Self::Arc => "arc",
            Self::S3Fifo => "s3-fifo",
        }
    }

    /// The policy of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.name() == name)
    }
}

impl fmt::Display for EvictionPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is known of how an entry is used.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) struct Standing {
    /// When it was last stored or asked for, seconds since 1970.
    pub(crate) recency_s: u32,
    /// How often it was asked for, at most [`HITS_MAX`].
    pub(crate) hits: u8,
}

/// The most hits that are counted: they take four bits of an entry.
pub(crate) const HITS_MAX: u8 = 15;

/// One part in this many of a reclaimed pack may be appended again: space comes back at three quarters of the rate of
/// reclaiming at the least, and each byte that is stored costs at most a third of a byte of copies.
pub(crate) const SURVIVING_PART: u64 = 4;

/// Reclaiming begins when less than one part in this many of the limit is free …
pub(crate) const HIGH_WATERMARK_PART: u64 = 32;
/// … and goes on until one part in this many is.
pub(crate) const LOW_WATERMARK_PART: u64 = 16;
