//! [`UsageMetrics`]: what the stores hold, asked at each scrape.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::compose::{Stacks, UsageReport};

/// What the stores hold, asked at each scrape.
#[derive(Debug)]
pub struct UsageMetrics(pub Stacks);

type Figure = (&'static str, &'static str, u64);

impl Collector for UsageMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let usage = self.0.usage();
        for (name, help, value) in gauges(&usage).into_iter().chain(scrub_gauges(&usage)) {
            encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)?;
        }
        if let Some(retention_s) = usage.min_retention_s {
            let help = "Age of the youngest record evicted lately; absent when none was";
            let name = "larder_disk_min_retention_seconds";
            let mut gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            gauge.encode_gauge(&retention_s)?;
        }
        for (name, help, value) in counters(&usage).into_iter().chain(scrub_counters(&usage)) {
            encoder
                .encode_descriptor(name, help, None, MetricType::Counter)?
                .encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }
}

fn gauges(usage: &UsageReport) -> [Figure; 7] {
    [
        ("larder_disk_records", "Blobs and action results", usage.records),
        ("larder_disk_logical_bytes", "Their bytes before compression", usage.logical_bytes),
        ("larder_disk_stored_bytes", "Their bytes on disk", usage.stored_bytes),
        ("larder_disk_dead_bytes", "Bytes on disk that nothing uses any more", usage.dead_bytes),
        ("larder_disk_limit_bytes", "The limit for stored and dead bytes", usage.limit_bytes),
        (
            "larder_disk_writes_refused",
            "1 once a failed sync has ended writes",
            u64::from(usage.writes_refused),
        ),
        (
            "larder_disk_loaded",
            "1 once all that is stored is known; before, a miss waits for it",
            u64::from(usage.is_loaded),
        ),
    ]
}

fn scrub_gauges(usage: &UsageReport) -> [Figure; 4] {
    let scrub = usage.scrub;
    [
        (
            "larder_disk_scrub_rate_bytes",
            "What the scrub may read in a second; 0 when it is off",
            scrub.rate_bytes,
        ),
        (
            "larder_disk_scrub_running",
            "1 while a round of the scrub is under way",
            u64::from(scrub.is_running),
        ),
        (
            "larder_disk_scrub_round_begun_timestamp_seconds",
            "When the round under way, or the last one, began",
            scrub.round_begun_unix_seconds,
        ),
        (
            "larder_disk_scrub_round_bytes",
            "Bytes that that round has checked, before a restart too",
            scrub.round_bytes,
        ),
    ]
}

fn counters(usage: &UsageReport) -> [Figure; 5] {
    [
        ("larder_disk_evictions", "Records that made room for others", usage.evictions),
        (
            "larder_disk_copied_bytes",
            "Bytes written again since they were worth keeping when their pack went",
            usage.copied_bytes,
        ),
        ("larder_disk_corrupt_records", "Records found damaged", usage.corrupt_records),
        (
            "larder_disk_full_disk_evictions",
            "Times that the disk was full and records made room on it",
            usage.full_disk_evictions,
        ),
        (
            "larder_disk_io_errors",
            "Operations on the disk that the operating system refused",
            usage.io_errors,
        ),
    ]
}

fn scrub_counters(usage: &UsageReport) -> [Figure; 5] {
    let scrub = usage.scrub;
    [
        ("larder_disk_scrub_rounds", "Rounds that the scrub has ended", scrub.rounds),
        ("larder_disk_scrub_records", "Records that the scrub has checked", scrub.records),
        ("larder_disk_scrub_bytes", "Bytes that the scrub has checked", scrub.bytes),
        (
            "larder_disk_scrub_corrupt_records",
            "Records that the scrub found damaged, and dropped",
            scrub.corrupt_records,
        ),
        (
            "larder_disk_scrub_skipped_records",
            "Records that the scrub could not open and leaves for the next round",
            scrub.skipped_records,
        ),
    ]
}
