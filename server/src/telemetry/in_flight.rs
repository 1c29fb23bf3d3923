//! [`InFlightMetrics`]: the budget of bytes that requests hold in memory, and uploads kept without one; asked at each scrape.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::edge::{Budget, Uploads};

/// Requests in progress and uploads kept to be resumed, asked at each scrape.
#[derive(Debug)]
pub struct InFlightMetrics {
    /// What requests hold.
    pub budget: Budget,
    /// What is kept without a request.
    pub uploads: Arc<Uploads>,
}

impl Collector for InFlightMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let stats = self.budget.stats();
        let uploads = self.uploads.stats();
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
            (
                "larder_uploads_kept",
                "Uploads that lost their connection and wait to be resumed",
                uploads.kept,
            ),
            ("larder_uploads_kept_bytes", "Bytes of those uploads", uploads.kept_bytes),
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
            (
                "larder_uploads_resumed",
                "Uploads that went on over another connection",
                uploads.resumed,
            ),
            (
                "larder_uploads_given_up",
                "Uploads that were kept and not resumed in time, or made room for others",
                uploads.dropped,
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
