//! Spans: one for each sampled request, below it one for each tier that it asks, sent to an OpenTelemetry collector.
//!
//! A request is sampled before it begins, by its client or by `RequestSpans`. Only the stores of a server whose traces are
//! on are wrapped ([`SpannedBlobs`], [`SpannedActions`]); for a request that is not sampled they make no span.

mod actions;
mod blobs;
mod export;
mod request;
mod unsaid;

use tracing::Span;

pub use self::actions::SpannedActions;
pub use self::blobs::SpannedBlobs;
pub use self::export::{SpanExport, SpanExportError, span_layer};
pub(crate) use self::request::{RequestSpans, end};

/// The target of spans of requests that are sampled; log lines name them.
pub(crate) const REQUEST: &str = "larder_server::spans::request";
/// The target of spans of tiers; log lines do not name them.
pub(crate) const TIER: &str = "larder_server::spans::tier";

/// A span below the one that is entered, if that belongs to a sampled request; else none.
fn tier_span(tier: &'static str, operation: &'static str) -> Span {
    let current = Span::current();
    let is_sampled = current
        .metadata()
        .is_some_and(|metadata| metadata.target() == REQUEST || metadata.target() == TIER);
    if !is_sampled {
        return Span::none();
    }
    tracing::info_span!(
        target: TIER,
        parent: &current,
        "tier",
        otel.name = tier,
        operation,
        outcome = tracing::field::Empty,
    )
}
