//! [`Profile`]: stacks, and how much was seen in each.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// What was seen while it was looked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Profile {
    /// When it began; of memory, when it was looked.
    pub begun: SystemTime,
    /// What is counted.
    pub measure: Measure,
    /// How much each stack has of that.
    pub samples: BTreeMap<Stack, u64>,
}

/// What a profile counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Measure {
    /// How often a stack was seen on a CPU.
    Cpu {
        /// The CPU time that one sample stands for.
        period: Duration,
        /// For how long it was looked.
        length: Duration,
    },
    /// Bytes that a stack has allocated and nobody has freed.
    Heap {
        /// Of how many bytes, about, one is sampled.
        period_bytes: u64,
    },
}

/// Where a thread was.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Stack {
    /// The thread's name; of memory nobody knows it.
    pub thread: Option<String>,
    /// The functions, each called by the one before it.
    pub functions: Vec<String>,
}

impl Profile {
    /// All samples together.
    pub fn total(&self) -> u64 {
        self.samples.values().sum()
    }
}
