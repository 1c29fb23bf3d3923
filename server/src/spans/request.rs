//! [`RequestSpans`]: which requests are sampled, and the span of one that is.

use opentelemetry::trace::{
    SpanContext, SpanId, Status, TraceContextExt as _, TraceFlags, TraceId as OtelTraceId,
    TraceState,
};
use opentelemetry::{Context, KeyValue};
use tonic::Code;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::caller::Caller;
use crate::config::Ratio;
use crate::report::{About, Draws, TraceId, Traceparent};
use crate::telemetry::{Ended, code_label};

/// Decides which requests are sampled.
#[derive(Debug)]
pub(crate) struct RequestSpans {
    sample_ratio: Ratio,
    draws: Draws,
}

impl RequestSpans {
    /// For requests whose clients do not decide, such a share.
    pub(crate) fn new(sample_ratio: Ratio, seed: u64) -> Self {
        Self { sample_ratio, draws: Draws::seeded(seed) }
    }

    /// The span of a request, and its trace, if it is sampled.
    pub(crate) fn begin(
        &self,
        parent: Option<Traceparent>,
        caller: &Caller,
        method: &'static str,
    ) -> Option<(Span, Option<TraceId>)> {
        let is_sampled = match parent {
            Some(parent) => parent.is_sampled,
            None => self.sample_ratio.takes(self.draws.next()),
        };
        if !is_sampled {
            return None;
        }
        let span = caller.sampled_span(method);
        if let Some(parent) = parent {
            // Refused only where nothing is exported, as in tests without a collector.
            let _refused = span.set_parent(remote(parent));
        }
        let trace_id = own_trace_id(&span).or(parent.map(|parent| parent.trace_id));
        if let Some(trace_id) = trace_id {
            span.record("trace_id", tracing::field::display(trace_id));
        }
        Some((span, trace_id))
    }
}

/// Notes in the span of a request how it ended.
pub(crate) fn end(span: &Span, ended: &Ended, about: &About) {
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let attributes = [
        KeyValue::new("rpc.method", ended.method.label()),
        KeyValue::new("rpc.response.status_code", code_label(ended.code)),
        KeyValue::new("larder.received_bytes", number(ended.received_bytes)),
        KeyValue::new("larder.sent_bytes", number(ended.sent_bytes)),
    ];
    for KeyValue { key, value, .. } in attributes {
        span.set_attribute(key, value);
    }
    if let Some(instance) = about.instance() {
        span.set_attribute("larder.instance", instance.to_owned());
    }
    if let Some(digest) = about.digest() {
        span.set_attribute("larder.digest", digest.to_owned());
    }
    if matches!(ended.code, Code::Unknown | Code::Internal | Code::DataLoss | Code::Unavailable) {
        span.set_status(Status::error(code_label(ended.code)));
    }
}

fn remote(parent: Traceparent) -> Context {
    let trace_id = OtelTraceId::from(parent.trace_id.get());
    let span_id = SpanId::from(parent.span_id);
    let flags = TraceFlags::SAMPLED;
    let context = SpanContext::new(trace_id, span_id, flags, true, TraceState::default());
    Context::new().with_remote_span_context(context)
}

/// That of a span which is exported.
fn own_trace_id(span: &Span) -> Option<TraceId> {
    let context = span.context();
    let id = context.span().span_context().trace_id();
    TraceId::new(u128::from_be_bytes(id.to_bytes()))
}
