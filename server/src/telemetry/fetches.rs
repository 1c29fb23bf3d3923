//! [`FetchMetrics`]: fetches from origins, asked at each scrape.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::exposition::Exposition;
use crate::fetch::Origin;

/// Fetches from origins, asked at each scrape.
#[derive(Debug)]
pub struct FetchMetrics(pub Arc<Origin>);

impl Collector for FetchMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut exposition = Exposition(&mut encoder);
        let stats = self.0.stats();
        exposition.counters(
            "larder_fetches",
            "Fetches from origins by how they ended, where fetch.enabled; denied ones may be probes of this network",
            stats.ended().map(|(outcome, count)| ([("outcome", outcome)], count)),
        )?;
        let help = "Bytes of the blobs that came from origins; much again each day means that they are evicted between builds";
        exposition.counter("larder_fetched_bytes", help, stats.fetched_bytes())
    }
}
