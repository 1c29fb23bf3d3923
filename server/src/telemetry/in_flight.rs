//! [`InFlightMetrics`]: the budget of bytes that requests hold in memory, and uploads kept without one; asked at each scrape.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::exposition::Exposition;
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
        let mut exposition = Exposition(&mut encoder);
        let stats = self.budget.stats();
        let uploads = self.uploads.stats();
        let gauges = [
            (
                "larder_in_flight_bytes",
                "Memory that requests in progress hold for their messages and blobs; at the limit others wait",
                stats.held_bytes,
            ),
            (
                "larder_in_flight_limit_bytes",
                "The setting max_in_flight, which larder_in_flight_bytes never passes",
                stats.limit_bytes,
            ),
            (
                "larder_in_flight_waiting",
                "Requests that wait until others give memory back; above zero for long means that max_in_flight is too small",
                stats.waiting,
            ),
            (
                "larder_uploads_kept",
                "Uploads that lost their connection and wait to be resumed; many mean an unsteady network",
                uploads.kept,
            ),
            (
                "larder_uploads_kept_bytes",
                "Bytes of the uploads that wait to be resumed; they take disk until they are given up",
                uploads.kept_bytes,
            ),
        ];
        for (name, help, value) in gauges {
            exposition.gauge(name, help, value)?;
        }
        let counters = [
            (
                "larder_in_flight_waits",
                "Requests that had to wait for memory; many mean that max_in_flight is too small",
                stats.waits,
            ),
            (
                "larder_in_flight_refusals",
                "Requests and blobs of batches that got no memory and ended with RESOURCE_EXHAUSTED or 503; any means that max_in_flight is too small",
                stats.refusals,
            ),
            (
                "larder_connections_stalled",
                "Connections closed because their clients moved next to nothing for 10 s while the requests of others waited for the memory that theirs held; many are suspended, broken or hostile clients",
                stats.stalled_connections,
            ),
            (
                "larder_uploads_resumed",
                "Uploads that went on over another connection, each a transfer that need not begin again",
                uploads.resumed,
            ),
            (
                "larder_uploads_given_up",
                "Uploads that were kept and not resumed in time, or made room for others; many mean clients that cannot resume",
                uploads.dropped,
            ),
        ];
        for (name, help, value) in counters {
            exposition.counter(name, help, value)?;
        }
        Ok(())
    }
}
