//! [`Report`]: one line for each policy.

use std::fmt;

use larder_disk::EvictionPolicy;
use larder_disk::eviction::SimulationTotals;

use crate::requests::{Requests, Score};
use crate::size::Size;

/// One line.
#[derive(Debug)]
pub(crate) struct Report {
    name: String,
    hit_percent: f64,
    byte_hit_percent: f64,
    /// Of a policy: evictions, and copies as a part of what was stored.
    costs: Option<(u64, f64)>,
}

impl Report {
    /// What stands above the lines.
    pub(crate) fn header(size: Size) -> String {
        format!(
            "{:<18} {:>8} {:>12} {:>11} {:>9}",
            size.to_string(),
            "hits %",
            "byte hits %",
            "evictions",
            "copied %"
        )
    }

    pub(crate) fn of(name: &str, requests: &Requests, score: Score) -> Self {
        let all = requests.lookups();
        Self {
            name: name.to_owned(),
            hit_percent: percent(score.hits, all.hits),
            byte_hit_percent: percent(score.hit_bytes, all.hit_bytes),
            costs: None,
        }
    }

    pub(crate) fn of_policy(
        policy: EvictionPolicy,
        requests: &Requests,
        score: Score,
        totals: SimulationTotals,
    ) -> Self {
        let costs = Some((totals.evictions, percent(totals.copied_bytes, totals.stored_bytes)));
        Self { costs, ..Self::of(policy.name(), requests, score) }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a report needs four digits")]
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, hit_percent, byte_hit_percent, costs } = self;
        write!(f, "{name:<18} {hit_percent:>8.2} {byte_hit_percent:>12.2}")?;
        match costs {
            Some((evictions, copied)) => write!(f, " {evictions:>11} {copied:>9.2}"),
            None => Ok(()),
        }
    }
}
