//! What came of a run: for people as it happens ([`text`]), for programs ([`json`], [`junit`]), and as a table over several
//! servers ([`table`]).

pub(crate) mod json;
pub(crate) mod junit;
pub(crate) mod table;
pub(crate) mod text;

use serde::{Deserialize, Serialize};

use super::case::Level;
use super::runner::Verdict;

/// How many cases ended how.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Count {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl Count {
    /// Counts one more.
    pub(crate) fn add(&mut self, verdict: &Verdict) {
        match verdict {
            Verdict::Passed => self.passed += 1,
            Verdict::Failed(_) => self.failed += 1,
            Verdict::Skipped(_) => self.skipped += 1,
        }
    }
}

/// The sum, and a count for each level.
pub(crate) fn tally<'a>(
    verdicts: impl Iterator<Item = (Level, &'a Verdict)>,
) -> (Count, [(Level, Count); 3]) {
    let mut all = Count::default();
    let mut levels = Level::ALL.map(|level| (level, Count::default()));
    for (level, verdict) in verdicts {
        all.add(verdict);
        for (of, count) in &mut levels {
            if *of == level {
                count.add(verdict);
            }
        }
    }
    (all, levels)
}
