//! [`Reported`]: what became of log lines, access log events and spans, asked at each scrape.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::exposition::Exposition;
use super::outlet::OutletCounts;

/// What became of what the server tells about itself. What is absent does not run, and has no metric.
#[derive(Clone, Debug, Default)]
pub struct Reported {
    /// Lines of the log.
    pub log: Option<Arc<OutletCounts>>,
    /// Events of the access log.
    pub access_log: Option<Arc<OutletCounts>>,
    /// Spans.
    pub spans: Option<Arc<OutletCounts>>,
}

impl Collector for Reported {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut exposition = Exposition(&mut encoder);
        let counters = [
            (
                "larder_log_lines",
                "Lines of the log; a burst of thousands is worth a look at what they say",
                self.log.as_deref().map(OutletCounts::accepted),
            ),
            (
                "larder_log_dropped_lines",
                "Lines of the log that were lost since standard error took them too slowly or not at all; any means that its reader stalls",
                self.log.as_deref().map(OutletCounts::dropped),
            ),
            (
                "larder_access_log_events",
                "Events of the access log; far below the rate of calls means that access_log.sample_ratio is low",
                self.access_log.as_deref().map(OutletCounts::accepted),
            ),
            (
                "larder_access_log_dropped_events",
                "Events of the access log that were lost since its file or pipe took them too slowly; any means that it is incomplete",
                self.access_log.as_deref().map(OutletCounts::dropped),
            ),
            (
                "larder_otlp_spans",
                "Spans on their way to the collector; none under load means that nothing is sampled",
                self.spans.as_deref().map(OutletCounts::accepted),
            ),
            (
                "larder_otlp_dropped_spans",
                "Spans that were lost since the collector was too slow or did not take them; growth means that traces have gaps",
                self.spans.as_deref().map(OutletCounts::dropped),
            ),
        ];
        for (name, help, value) in counters {
            let Some(value) = value else { continue };
            exposition.counter(name, help, value)?;
        }
        Ok(())
    }
}
