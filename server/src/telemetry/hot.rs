//! [`HotMetrics`]: what the tier in memory holds and does, asked at each scrape.

use std::fmt;
use std::sync::Arc;

use larder_cas::HotTier;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// What the tier in memory holds and does, asked at each scrape.
#[derive(Debug)]
pub struct HotMetrics(pub Arc<HotTier>);

impl Collector for HotMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let stats = self.0.stats();
        let gauges = [
            ("larder_hot_bytes", "Memory of the blobs in the hot tier", stats.bytes),
            (
                "larder_hot_limit_bytes",
                "What the hot tier may hold now; below larder_hot_capacity_bytes while memory is short",
                stats.limit_bytes,
            ),
            (
                "larder_hot_capacity_bytes",
                "What the hot tier may hold for blobs when memory is not short",
                self.0.capacity_bytes(),
            ),
            ("larder_hot_blobs", "Blobs in the hot tier", stats.entries),
        ];
        for (name, help, value) in gauges {
            encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)?;
        }
        let counters = [
            ("larder_hot_hits", "Reads that the hot tier answered", stats.hits),
            ("larder_hot_misses", "Reads that went to the disk", stats.misses),
            (
                "larder_hot_evictions",
                "Blobs that left the hot tier for others, or because its limit fell; as many as misses means that hot.capacity is too small",
                stats.evictions,
            ),
        ];
        for (name, help, value) in counters {
            encoder
                .encode_descriptor(name, help, None, MetricType::Counter)?
                .encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }
}
