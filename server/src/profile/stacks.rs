//! [`Profile`]: stacks that the process was seen in, and how often.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// What was seen while it was looked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Profile {
    /// When it began.
    pub begun: SystemTime,
    /// For how long it was looked.
    pub length: Duration,
    /// The CPU time that one sample stands for.
    pub period: Duration,
    /// How often each stack was seen.
    pub samples: BTreeMap<Stack, u64>,
}

/// Where a thread was.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Stack {
    /// The thread's name.
    pub thread: String,
    /// The functions, each called by the one before it.
    pub functions: Vec<String>,
}

impl Profile {
    /// All samples together.
    pub fn total(&self) -> u64 {
        self.samples.values().sum()
    }
}
