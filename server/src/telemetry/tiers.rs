//! [`TierMetrics`]: what the tiers answered and what the caches in memory hold, asked at each scrape.

use std::fmt;

use larder_cas::HotStats;
use larder_disk::RecordKind;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::exposition::Exposition;
use crate::compose::Stacks;

/// What the tiers answered and what the caches in memory hold, asked at each scrape.
#[derive(Debug)]
pub struct TierMetrics(pub Stacks);

/// The caches in memory, in the order of their figures.
const HOT_KINDS: [&str; 3] = ["blob", "action_result", "tree"];
const DISK_KINDS: [(&str, RecordKind); 2] =
    [("blob", RecordKind::Blob), ("action_result", RecordKind::ActionResult)];

/// A gauge of the caches in memory.
type HotGauge = (&'static str, &'static str, fn(&HotStats) -> u64);

const HOT_GAUGES: [HotGauge; 4] = [
    (
        "larder_hot_bytes",
        "Memory of the entries, their bookkeeping included; far below the limit means that hot.capacity is more than is hot",
        |stats| stats.bytes,
    ),
    (
        "larder_hot_limit_bytes",
        "What they may take now; below larder_hot_capacity_bytes while memory is short",
        |stats| stats.limit_bytes,
    ),
    (
        "larder_hot_capacity_bytes",
        "What they may take when memory is not short: their share of hot.capacity",
        |stats| stats.capacity_bytes,
    ),
    (
        "larder_hot_entries",
        "Entries in memory now; none after a start means that nothing was worth keeping, or no memory",
        |stats| stats.entries,
    ),
];

impl Collector for TierMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut exposition = Exposition(&mut encoder);
        let stats = self.0.hot().stats();
        let hot = HOT_KINDS.iter().zip(&stats);
        let reads = hot.clone().map(|(kind, stats)| ("hot", *kind, (stats.hits, stats.misses)));
        let activity = self.0.activity();
        let disk = DISK_KINDS.iter().map(|(kind, of)| ("disk", *kind, activity.reads(*of)));
        let reads = reads.chain(disk).flat_map(|(tier, kind, (hits, misses))| {
            let labels = move |outcome| [("tier", tier), ("kind", kind), ("outcome", outcome)];
            [(labels("hit"), hits), (labels("miss"), misses)]
        });
        exposition.counters(
            "larder_tier_reads",
            "Reads of a tier by kind and outcome, each chunk by itself, the refill after a start included; few hits of the hot tier \
             while it evicts mean that hot.capacity is too small",
            reads,
        )?;
        for (name, help, value) in HOT_GAUGES {
            let values = hot.clone().map(|(kind, stats)| ([("kind", *kind)], value(stats)));
            exposition.gauges(name, help, values)?;
        }
        exposition.counters(
            "larder_hot_evictions",
            "Entries that left memory for others or because the limit fell; as many as the tier's misses means that hot.capacity is \
             too small",
            hot.map(|(kind, stats)| ([("kind", *kind)], stats.evictions)),
        )
    }
}
