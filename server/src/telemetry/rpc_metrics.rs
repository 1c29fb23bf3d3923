//! [`RpcMetrics`]: how many calls, by whom, with which outcome, how long they took.
//!
//! Recording is three additions to fixed places: no lock, no look-up, no label is formatted.

use std::array;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use tonic::Code;

use super::method::Method;
use crate::caller::Tool;

/// Upper bounds in microseconds; the last bucket has none.
const BUCKETS_MICROS: [u64; 16] = [
    50,
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    1_000_000,
    5_000_000,
    30_000_000,
    120_000_000,
];

/// The labels, at the code's number.
const CODE_LABELS: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// How many calls, by whom, with which outcome, how long they took.
#[derive(Debug)]
pub struct RpcMetrics {
    methods: [MethodMetrics; Method::COUNT],
    panics: AtomicU64,
}

#[derive(Debug, Default)]
struct MethodMetrics {
    /// By tool.
    codes: [[AtomicU64; CODE_LABELS.len()]; Tool::COUNT],
    buckets: [AtomicU64; BUCKETS_MICROS.len() + 1],
    sum_micros: AtomicU64,
}

impl Default for RpcMetrics {
    fn default() -> Self {
        Self { methods: array::from_fn(|_| MethodMetrics::default()), panics: AtomicU64::new(0) }
    }
}

impl RpcMetrics {
    pub(super) fn record(&self, method: Method, tool: Tool, code: Code, duration: Duration) {
        let metrics = &self.methods[method.index()];
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS_MICROS.partition_point(|bound| *bound < micros);
        metrics.codes[tool.index()][code as usize].fetch_add(1, Ordering::Relaxed);
        metrics.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        metrics.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }

    pub(super) fn record_panic(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    fn encode_counts(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Calls that ended, by outcome";
        let mut family =
            encoder.encode_descriptor("larder_rpcs", help, None, MetricType::Counter)?;
        for method in Method::all() {
            let tools = &self.methods[method.index()].codes;
            for (code, label) in CODE_LABELS.iter().enumerate() {
                let of_tools = tools.iter().map(|codes| codes[code].load(Ordering::Relaxed));
                let count = of_tools.sum::<u64>();
                if count > 0 {
                    let labels = [("method", method.label()), ("code", label)];
                    let mut counter = family.encode_family(&labels)?;
                    counter.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
                }
            }
        }
        Ok(())
    }

    fn encode_tools(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "The same by the tool that its RequestMetadata names";
        let mut family =
            encoder.encode_descriptor("larder_tool_rpcs", help, None, MetricType::Counter)?;
        for (method, tool) in
            Method::all().flat_map(|method| Tool::all().map(move |tool| (method, tool)))
        {
            let codes = &self.methods[method.index()].codes[tool.index()];
            for (code, label) in codes.iter().zip(CODE_LABELS) {
                let count = code.load(Ordering::Relaxed);
                if count > 0 {
                    let labels =
                        [("tool", tool.label()), ("method", method.label()), ("code", label)];
                    let mut counter = family.encode_family(&labels)?;
                    counter.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
                }
            }
        }
        Ok(())
    }

    fn encode_durations(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (name, help) =
            ("larder_rpc_duration_seconds", "From the request to the end of the answer");
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for method in Method::all() {
            let metrics = &self.methods[method.index()];
            let bounds =
                BUCKETS_MICROS.iter().map(|micros| seconds(*micros)).chain([f64::INFINITY]);
            let counts = metrics.buckets.iter().map(|count| count.load(Ordering::Relaxed));
            let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
            let count = buckets.iter().map(|(_, count)| count).sum();
            if count > 0 {
                let labels = [("method", method.label())];
                let sum = seconds(metrics.sum_micros.load(Ordering::Relaxed));
                let mut histogram = family.encode_family(&labels)?;
                histogram.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
            }
        }
        Ok(())
    }
}

impl Collector for RpcMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_counts(&mut encoder)?;
        self.encode_tools(&mut encoder)?;
        self.encode_durations(&mut encoder)?;
        let help = "Panics caught in requests; each is a defect";
        encoder
            .encode_descriptor("larder_panics", help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, u64>(&self.panics.load(Ordering::Relaxed), None)
    }
}

fn seconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::Request;
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn shows_what_was_recorded_and_nothing_else() {
        let metrics = Arc::new(RpcMetrics::default());
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Arc::clone(&metrics)));
        let request = Request::get("/cas/00").body(()).unwrap();
        let method = Method::of(&request, false);
        metrics.record(method, Tool::default(), Code::Ok, Duration::from_micros(100));
        metrics.record(method, Tool::default(), Code::NotFound, Duration::from_millis(3));
        metrics.record(method, Tool::default(), Code::Ok, Duration::from_hours(1));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            r#"larder_rpcs_total{method="http/GET",code="OK"} 2"#,
            r#"larder_rpcs_total{method="http/GET",code="NOT_FOUND"} 1"#,
            r#"larder_tool_rpcs_total{tool="none",method="http/GET",code="OK"} 2"#,
            r#"larder_rpc_duration_seconds_count{method="http/GET"} 3"#,
            r#"larder_rpc_duration_seconds_bucket{le="0.0001",method="http/GET"} 1"#,
            r#"larder_rpc_duration_seconds_bucket{le="0.005",method="http/GET"} 2"#,
            r#"larder_rpc_duration_seconds_bucket{le="+Inf",method="http/GET"} 3"#,
            "larder_panics_total 0",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("ByteStream"), "{text}");
    }
}
