//! [`HotMetrics`]: what the caches in memory hold and do, asked at each scrape.

use std::fmt;

use larder_cas::HotStats;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::memory::HotMemory;

/// What the caches in memory hold and do, asked at each scrape.
#[derive(Debug)]
pub struct HotMetrics(pub HotMemory);

/// One of the caches.
struct Kind {
    /// What its metrics begin with.
    prefix: &'static str,
    /// The metric of how many entries there are.
    count: &'static str,
    /// What they are.
    entries: &'static str,
}

const KINDS: [Kind; 3] = [
    Kind { prefix: "larder_hot", count: "larder_hot_blobs", entries: "blobs" },
    Kind {
        prefix: "larder_hot_action",
        count: "larder_hot_actions",
        entries: "decoded action results",
    },
    Kind {
        prefix: "larder_hot_tree",
        count: "larder_hot_trees",
        entries: "lists of what trees name",
    },
];

impl Collector for HotMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (kind, stats) in KINDS.iter().zip(self.0.stats()) {
            encode(&mut encoder, kind, &stats)?;
        }
        Ok(())
    }
}

fn encode(encoder: &mut DescriptorEncoder<'_>, kind: &Kind, stats: &HotStats) -> fmt::Result {
    let Kind { prefix, count, entries } = kind;
    let gauges = [
        (format!("{prefix}_bytes"), format!("Memory of {entries}"), stats.bytes),
        (
            format!("{prefix}_limit_bytes"),
            format!(
                "What {entries} may take now; below {prefix}_capacity_bytes while memory is short"
            ),
            stats.limit_bytes,
        ),
        (
            format!("{prefix}_capacity_bytes"),
            format!("What {entries} may take when memory is not short"),
            stats.capacity_bytes,
        ),
        ((*count).to_owned(), format!("Now in memory: {entries}"), stats.entries),
    ];
    for (name, help, value) in gauges {
        encoder.encode_descriptor(&name, &help, None, MetricType::Gauge)?.encode_gauge(&value)?;
    }
    let counters = [
        ("hits", format!("Reads that {entries} in memory answered"), stats.hits),
        ("misses", format!("Reads that {entries} in memory did not answer"), stats.misses),
        (
            "evictions",
            format!(
                "Of {entries}, those that left memory for others or because the limit fell; as many as misses means that hot.capacity is too small"
            ),
            stats.evictions,
        ),
    ];
    for (name, help, value) in counters {
        encoder
            .encode_descriptor(&format!("{prefix}_{name}"), &help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, u64>(&value, None)?;
    }
    Ok(())
}
