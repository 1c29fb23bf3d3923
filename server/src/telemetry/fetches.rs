//! [`FetchMetrics`]: fetches from origins, asked at each scrape.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::fetch::Origin;

/// Fetches from origins, asked at each scrape.
#[derive(Debug)]
pub struct FetchMetrics(pub Arc<Origin>);

impl Collector for FetchMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let stats = self.0.stats();
        let help =
            "Fetches from origins by how they ended; denied ones may be probes of this network";
        let mut ended =
            encoder.encode_descriptor("larder_fetches", help, None, MetricType::Counter)?;
        for (label, count) in stats.ended() {
            let labels = [("outcome", label)];
            ended.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        encoder
            .encode_descriptor(
                "larder_fetched_bytes",
                "Bytes of the blobs that came from origins",
                None,
                MetricType::Counter,
            )?
            .encode_counter::<NoLabelSet, _, u64>(&stats.fetched_bytes(), None)
    }
}
