//! [`InFlightMetrics`]: the budget of bytes that requests hold in memory, asked at each scrape.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::edge::Budget;

/// The budget of bytes that requests hold in memory, asked at each scrape.
#[derive(Debug)]
pub struct InFlightMetrics(pub Budget);

impl Collector for InFlightMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let stats = self.0.stats();
        let gauges = [
            (
                "larder_in_flight_bytes",
                "Memory that requests in progress hold for their messages and blobs",
                stats.held_bytes,
            ),
            ("larder_in_flight_limit_bytes", "The setting max_in_flight", stats.limit_bytes),
            (
                "larder_in_flight_waiting",
                "Requests that wait until others give memory back",
                stats.waiting,
            ),
        ];
        for (name, help, value) in gauges {
            encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)?;
        }
        let counters = [
            (
                "larder_in_flight_waits",
                "Requests that had to wait for memory; many mean that max_in_flight is too small",
                stats.waits,
            ),
            (
                "larder_in_flight_refusals",
                "Requests and blobs of batches that got no memory and ended with RESOURCE_EXHAUSTED or 503",
                stats.refusals,
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
