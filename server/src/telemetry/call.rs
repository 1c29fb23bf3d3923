//! [`Call`]: one request until its answer has ended, and the outcome it is counted under.

use std::sync::Arc;
use std::time::Instant;

use http::{HeaderMap, HeaderValue, StatusCode};
use tonic::Code;
use tracing::Span;

use super::method::Method;
use super::rpc_metrics::RpcMetrics;
use crate::caller::{Caller, Tool};

/// One request until its answer has ended; recorded when dropped. Until something else is known
/// the outcome is CANCELLED, since a client that goes away leaves only a drop.
#[derive(Debug)]
pub(super) struct Call {
    metrics: Arc<RpcMetrics>,
    method: Method,
    tool: Tool,
    span: Span,
    started: Instant,
    code: Code,
}

impl Call {
    pub(super) fn begin(metrics: Arc<RpcMetrics>, method: Method, caller: &Caller) -> Self {
        let (tool, span) = (caller.tool(), caller.span());
        Self { metrics, method, tool, span, started: Instant::now(), code: Code::Cancelled }
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
        self.metrics.record_panic();
        // ERROR: a defect. The panic hook has logged where; this line says in which call.
        let _entered = self.span.enter();
        tracing::error!(method = self.method.label(), "request ended by a panic");
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.metrics.record(self.method, self.tool, self.code, self.started.elapsed());
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
