//! [`RpcMetrics`]: how many calls, by whom, with which outcome, how long they took, and how many bytes they moved.
//!
//! Recording is a dozen additions to fixed places: no lock, no look-up, no label is formatted.

use std::array;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use larder_disk::Histogram;
use larder_protos::rpc::CODE_NAMES;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use tonic::Code;

use super::exposition::{Exposition, Scale};
use super::method::Method;
use crate::caller::Tool;

/// Upper bounds in microseconds; the last bucket has none.
const BUCKETS_MICROS: &[u64] = &[
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

/// How much calls moved, of which what a call may take depends: the larger of what came and what went.
const SIZES: [(&str, u64); 4] =
    [("small", 64 << 10), ("medium", 1 << 20), ("large", 16 << 20), ("huge", u64::MAX)];

/// The code as metrics and reports have it.
pub(crate) fn code_label(code: Code) -> &'static str {
    CODE_NAMES[code as usize]
}

/// How many calls, by whom, with which outcome, how long they took, and how many bytes they moved.
#[derive(Debug)]
pub struct RpcMetrics {
    methods: [MethodMetrics; Method::COUNT],
    panics: AtomicU64,
}

#[derive(Debug)]
struct MethodMetrics {
    begun: AtomicU64,
    /// By tool.
    codes: [[AtomicU64; CODE_NAMES.len()]; Tool::COUNT],
    first_byte: Histogram,
    /// By size.
    last_byte: [Histogram; SIZES.len()],
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
}

/// A call that has ended.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) method: Method,
    pub(crate) tool: Tool,
    pub(crate) code: Code,
    /// Until the first byte of the answer's body, or its end where it has none.
    pub(crate) first_byte: Duration,
    pub(crate) last_byte: Duration,
    pub(crate) received_bytes: u64,
    pub(crate) sent_bytes: u64,
}

impl Default for MethodMetrics {
    fn default() -> Self {
        Self {
            begun: AtomicU64::default(),
            codes: <[[AtomicU64; CODE_NAMES.len()]; Tool::COUNT]>::default(),
            first_byte: Histogram::new(BUCKETS_MICROS),
            last_byte: array::from_fn(|_| Histogram::new(BUCKETS_MICROS)),
            received_bytes: AtomicU64::default(),
            sent_bytes: AtomicU64::default(),
        }
    }
}

impl MethodMetrics {
    fn ended(&self) -> u64 {
        self.codes.iter().flatten().map(read).sum()
    }
}

impl Default for RpcMetrics {
    fn default() -> Self {
        Self { methods: array::from_fn(|_| MethodMetrics::default()), panics: AtomicU64::new(0) }
    }
}

impl RpcMetrics {
    pub(super) fn begin(&self, method: Method) {
        self.methods[method.index()].begun.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end(&self, call: &Ended) {
        let metrics = &self.methods[call.method.index()];
        let moved_bytes = call.received_bytes.max(call.sent_bytes);
        let size = SIZES.partition_point(|(_, bound)| *bound < moved_bytes);
        metrics.first_byte.record(micros(call.first_byte));
        metrics.last_byte[size].record(micros(call.last_byte));
        metrics.received_bytes.fetch_add(call.received_bytes, Ordering::Relaxed);
        metrics.sent_bytes.fetch_add(call.sent_bytes, Ordering::Relaxed);
        metrics.codes[call.tool.index()][call.code as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn record_panic(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    /// Those that were called, with their label.
    fn called(&self) -> impl Iterator<Item = (&'static str, &MethodMetrics)> {
        let methods = Method::all().map(Method::label).zip(&self.methods);
        methods.filter(|(_, metrics)| read(&metrics.begun) > 0)
    }

    fn encode_counts(&self, exposition: &mut Exposition<'_, '_>) -> fmt::Result {
        let of_method = self.called().flat_map(|(method, metrics)| {
            CODE_NAMES.iter().enumerate().map(move |(code, label)| {
                let count = metrics.codes.iter().map(|codes| read(&codes[code])).sum::<u64>();
                ([("method", method), ("code", *label)], count)
            })
        });
        exposition.counters(
            "larder_rpcs",
            "Calls that ended, by method and outcome, plain HTTP in gRPC's words; INTERNAL, DATA_LOSS and UNKNOWN should not grow, \
             RESOURCE_EXHAUSTED means that disk or memory is short",
            of_method.filter(|(_, count)| *count > 0),
        )?;
        let of_tool = self.called().flat_map(|(method, metrics)| {
            Tool::all().zip(&metrics.codes).flat_map(move |(tool, codes)| {
                let labels = move |code| [("tool", tool.label()), ("method", method), code];
                CODE_NAMES
                    .iter()
                    .zip(codes)
                    .map(move |(code, count)| (labels(("code", *code)), read(count)))
            })
        });
        exposition.counters(
            "larder_tool_rpcs",
            "The same by the tool that RequestMetadata names; a tool of yours that is missing here is not connected",
            of_tool.filter(|(_, count)| *count > 0),
        )?;
        let in_flight = self.called().map(|(method, metrics)| {
            ([("method", method)], read(&metrics.begun).saturating_sub(metrics.ended()))
        });
        exposition.gauges(
            "larder_rpcs_in_flight",
            "Calls that have begun and not ended; a number that only grows means calls that hang",
            in_flight,
        )
    }

    fn encode_durations(&self, exposition: &mut Exposition<'_, '_>) -> fmt::Result {
        let help = "From the request to the first byte of the answer's body, or to its end where it has none; what the server and \
                    its disk need, without the client's network";
        let first = self.called().map(|(method, of)| ([("method", method)], &of.first_byte));
        let name = "larder_rpc_first_byte_seconds";
        exposition.histograms((name, help), Scale::Micros, first)?;
        let help = "From the request to the end of the answer, by the larger of the bytes received and sent: small up to 64 KiB, \
                    medium 1 MiB, large 16 MiB, huge above; slow here and fast to the first byte is a slow network or client";
        let last = self.called().flat_map(|(method, metrics)| {
            let sizes = SIZES.iter().zip(&metrics.last_byte);
            sizes.map(move |((size, _), of)| ([("method", method), ("size", *size)], of))
        });
        let last = last.filter(|(_, of)| of.buckets().any(|(_, count)| count > 0));
        exposition.histograms(("larder_rpc_duration_seconds", help), Scale::Micros, last)
    }

    fn encode_bytes(&self, exposition: &mut Exposition<'_, '_>) -> fmt::Result {
        let of = |bytes: fn(&MethodMetrics) -> &AtomicU64| {
            self.called().map(move |(method, of)| ([("method", method)], read(bytes(of))))
        };
        exposition.counters(
            "larder_rpc_received_bytes",
            "Bytes of request bodies that were read, by method, as they came, compressed or not; near what the network carries means \
             that it is the limit",
            of(|metrics| &metrics.received_bytes),
        )?;
        exposition.counters(
            "larder_rpc_sent_bytes",
            "Bytes of answers, by method, as they went; near what the network carries means that it is the limit",
            of(|metrics| &metrics.sent_bytes),
        )
    }
}

impl Collector for RpcMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut exposition = Exposition(&mut encoder);
        self.encode_counts(&mut exposition)?;
        self.encode_durations(&mut exposition)?;
        self.encode_bytes(&mut exposition)?;
        let help = "Panics caught in requests; each is a defect to report";
        exposition.counter("larder_panics", help, read(&self.panics))
    }
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
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
        let record = |code, last_byte, sent_bytes| {
            metrics.begin(method);
            metrics.end(&Ended {
                method,
                tool: Tool::default(),
                code,
                first_byte: Duration::from_micros(60),
                last_byte,
                received_bytes: 1,
                sent_bytes,
            });
        };
        record(Code::Ok, Duration::from_micros(100), 64 << 10);
        record(Code::NotFound, Duration::from_millis(3), 0);
        record(Code::Ok, Duration::from_hours(1), 17 << 20);
        metrics.begin(method);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            r#"larder_rpcs_total{method="http/GET",code="OK"} 2"#,
            r#"larder_rpcs_total{method="http/GET",code="NOT_FOUND"} 1"#,
            r#"larder_tool_rpcs_total{tool="none",method="http/GET",code="OK"} 2"#,
            r#"larder_rpcs_in_flight{method="http/GET"} 1"#,
            r#"larder_rpc_duration_seconds_count{method="http/GET",size="small"} 2"#,
            r#"larder_rpc_duration_seconds_bucket{le="0.0001",method="http/GET",size="small"} 1"#,
            r#"larder_rpc_duration_seconds_bucket{le="0.005",method="http/GET",size="small"} 2"#,
            r#"larder_rpc_duration_seconds_bucket{le="+Inf",method="http/GET",size="huge"} 1"#,
            r#"larder_rpc_first_byte_seconds_bucket{le="0.00005",method="http/GET"} 0"#,
            r#"larder_rpc_first_byte_seconds_bucket{le="0.0001",method="http/GET"} 3"#,
            r#"larder_rpc_received_bytes_total{method="http/GET"} 3"#,
            "larder_panics_total 0",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("ByteStream") && !text.contains("medium\""), "{text}");
    }
}
