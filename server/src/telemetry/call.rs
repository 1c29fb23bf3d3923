//! [`Call`]: one request until its answer has ended, and the outcome it is counted under.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, StatusCode};
use tonic::Code;
use tracing::Span;

use super::method::Method;
use super::observe::Sinks;
use super::rpc_metrics::Ended;
use super::tally::Tally;
use crate::caller::{Caller, Tool};
use crate::report::Report;

/// One request until its answer has ended; recorded when dropped. Until something else is known
/// the outcome is CANCELLED, since a client that goes away leaves only a drop.
#[derive(Debug)]
pub(super) struct Call {
    sinks: Arc<Sinks>,
    method: Method,
    tool: Tool,
    mnemonic: String,
    tally: Arc<Tally>,
    span: Span,
    /// Where requests are told about.
    report: Option<Report>,
    started: Instant,
    first_byte: Option<Duration>,
    sent_bytes: u64,
    code: Code,
}

impl Call {
    pub(super) fn begin(
        sinks: Arc<Sinks>,
        method: Method,
        caller: Caller,
        report: Option<Report>,
    ) -> Self {
        sinks.rpcs.begin(method);
        let span = report.as_ref().map_or_else(|| caller.span(None), |report| report.span(&caller));
        Self {
            sinks,
            method,
            tool: caller.tool(),
            span,
            report,
            mnemonic: caller.into_mnemonic(),
            tally: Arc::default(),
            started: Instant::now(),
            first_byte: None,
            sent_bytes: 0,
            code: Code::Cancelled,
        }
    }

    /// The program that calls.
    pub(super) fn tool(&self) -> Tool {
        self.tool
    }

    /// Where those who serve the call note what they know.
    pub(super) fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// Bytes of the answer's body go out.
    pub(super) fn note_sent(&mut self, bytes: usize) {
        if self.first_byte.is_none() && bytes > 0 {
            self.first_byte = Some(self.started.elapsed());
        }
        self.sent_bytes += bytes as u64;
    }

    /// What the lines that are logged for this request carry.
    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    pub(super) fn set_code(&mut self, code: Code) {
        self.code = code;
    }

    pub(super) fn panicked(&mut self) {
        self.code = Code::Internal;
        self.sinks.rpcs.record_panic();
        // ERROR: a defect. The panic hook has logged where; this line says in which call.
        let _entered = self.span.enter();
        tracing::error!(method = self.method.label(), "request ended by a panic");
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let last_byte = self.started.elapsed();
        let ended = Ended {
            method: self.method,
            tool: self.tool,
            code: self.code,
            first_byte: self.first_byte.unwrap_or(last_byte),
            last_byte,
            received_bytes: self.tally.received_bytes(),
            sent_bytes: self.sent_bytes,
        };
        self.sinks.rpcs.end(&ended);
        self.sinks.tasks.record(self.tool, &self.mnemonic, &self.tally, self.sent_bytes);
        if let Some(report) = self.report.take() {
            report.end(ended);
        }
    }
}

/// The outcome in gRPC trailers, or in headers if the answer has no body.
pub(super) fn grpc_code(headers: &HeaderMap<HeaderValue>) -> Option<Code> {
    headers.get("grpc-status").map(|value| Code::from_bytes(value.as_bytes()))
}

/// The outcome of plain HTTP in gRPC's words, so that one dashboard shows both.
pub(super) fn http_code(status: StatusCode) -> Code {
    match status.as_u16() {
        200..=399 => Code::Ok,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::NotFound,
        405 | 501 => Code::Unimplemented,
        408 | 504 => Code::DeadlineExceeded,
        409 => Code::Aborted,
        416 => Code::OutOfRange,
        413 | 429 | 507 => Code::ResourceExhausted,
        400..=499 => Code::InvalidArgument,
        502 | 503 => Code::Unavailable,
        _ => Code::Internal,
    }
}
