//! [`Observed`]: a service whose calls are counted and timed, and whose panics stay its own.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tonic::Code;
use tower_service::Service;

use super::call::{Call, grpc_code, http_code};
use super::method::Method;
use super::rpc_metrics::RpcMetrics;
use super::tasks::TaskMetrics;
use crate::caller::{Caller, Tool};
use crate::report::{Report, Reports};

/// Whatever ends a body early.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// A service whose calls are counted and timed. A panic in it becomes INTERNAL or 500.
#[derive(Clone, Debug)]
pub struct Observed<S> {
    inner: S,
    sinks: Arc<Sinks>,
}

/// Where what is observed goes. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Sinks {
    /// By method.
    pub rpcs: Arc<RpcMetrics>,
    /// By task.
    pub tasks: Arc<TaskMetrics>,
    /// Call by call, where that is on.
    pub reports: Option<Arc<Reports>>,
}

impl<S> Observed<S> {
    /// Records into `sinks` what `inner` does.
    pub fn new(inner: S, sinks: Sinks) -> Self {
        Self { inner, sinks: Arc::new(sinks) }
    }
}

impl<S, B, R> Service<Request<R>> for Observed<S>
where
    S: Service<Request<R>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    type Response = Response<ObservedBody<B>>;
    type Error = Infallible;
    type Future = ObservedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<R>) -> Self::Future {
        let protocol = Protocol::of(&request);
        let method = Method::of(&request, protocol == Protocol::Grpc);
        let caller = Caller::of(request.headers());
        let begin = |reports| Report::begin(reports, &mut request, &caller, method.label());
        let report = self.sinks.reports.as_ref().map(begin);
        let mut call = Call::begin(Arc::clone(&self.sinks), method, caller, report);
        // Who does not find one takes the default.
        if call.tool() != Tool::default() {
            request.extensions_mut().insert(call.tool());
        }
        request.extensions_mut().insert(Arc::clone(call.tally()));
        let inner = catch_unwind(AssertUnwindSafe(|| self.inner.call(request))).ok();
        if inner.is_none() {
            call.panicked();
        }
        ObservedFuture { inner, protocol, call: Some(call) }
    }
}

/// What the client speaks, which decides how it learns the outcome.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
enum Protocol {
    Grpc,
    Http,
    /// The answer has headers only, whatever they say about its length.
    HttpHead,
}

impl Protocol {
    fn of<R>(request: &Request<R>) -> Self {
        let content_type = request.headers().get(CONTENT_TYPE);
        if content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc")) {
            Self::Grpc
        } else if request.method() == http::Method::HEAD {
            Self::HttpHead
        } else {
            Self::Http
        }
    }
}

pin_project! {
    /// The answer of [`Observed`]. Dropping it cancels the call, which is counted as CANCELLED.
    #[derive(Debug)]
    pub struct ObservedFuture<F> {
        // None after a panic.
        #[pin]
        inner: Option<F>,
        protocol: Protocol,
        call: Option<Call>,
    }
}

impl<F, B> Future for ObservedFuture<F>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    type Output = Result<Response<ObservedBody<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let poll = this.inner.as_mut().as_pin_mut().map(|inner| {
            let _entered = this.call.as_ref().map(|call| call.span().enter());
            // What a panic leaves behind is dropped, not used again.
            catch_unwind(AssertUnwindSafe(|| inner.poll(cx)))
        });
        let mut call = match poll {
            Some(Ok(Poll::Pending)) => return Poll::Pending,
            _ => this.call.take().expect("the future is not polled after its answer"),
        };
        Poll::Ready(Ok(match poll {
            Some(Ok(Poll::Ready(Ok(response)))) => {
                observed_response(response, *this.protocol, call)
            }
            Some(Err(_)) => {
                this.inner.set(None);
                call.panicked();
                panicked_response(*this.protocol, call)
            }
            _ => panicked_response(*this.protocol, call),
        }))
    }
}

fn observed_response<B: Body>(
    response: Response<B>,
    protocol: Protocol,
    mut call: Call,
) -> Response<ObservedBody<B>> {
    let (head, inner) = response.into_parts();
    let end = match protocol {
        Protocol::Grpc => {
            let code = grpc_code(&head.headers);
            code.map_or(End::Trailers, End::Reached)
        }
        Protocol::HttpHead => End::Reached(http_code(head.status)),
        Protocol::Http => {
            End::Bytes { code: http_code(head.status), remaining_bytes: length(&head.headers) }
        }
    };
    let end = if inner.is_end_stream() { end.reached() } else { end };
    if let End::Reached(code) = end {
        call.set_code(code);
    }
    Response::from_parts(head, ObservedBody { inner: Some(inner), end, call })
}

fn panicked_response<B>(protocol: Protocol, call: Call) -> Response<ObservedBody<B>> {
    let body = ObservedBody { inner: None, end: End::Reached(Code::Internal), call };
    let mut response = Response::new(body);
    if protocol == Protocol::Grpc {
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.extend(panicked_trailers());
    } else {
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    }
    response
}

fn panicked_trailers() -> HeaderMap {
    // 13 is INTERNAL.
    let fields = [("grpc-status", "13"), ("grpc-message", "defect in the server")];
    let fields = fields.map(|(name, value)| {
        (http::HeaderName::from_static(name), HeaderValue::from_static(value))
    });
    HeaderMap::from_iter(fields)
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Where an answer ends, and so when its outcome is certain.
#[derive(Copy, Clone, Debug)]
enum End {
    /// Here.
    Reached(Code),
    /// With the trailers, which hold the outcome.
    Trailers,
    /// After so many bytes: hyper drops a body once it has as many as the headers say.
    Bytes { code: Code, remaining_bytes: Option<u64> },
}

impl End {
    fn reached(self) -> Self {
        match self {
            Self::Bytes { code, .. } | Self::Reached(code) => Self::Reached(code),
            // Without trailers no gRPC client knows the outcome either.
            Self::Trailers => Self::Reached(Code::Unknown),
        }
    }

    fn after(self, frame: Option<&Frame<Bytes>>) -> Self {
        let Some(frame) = frame else { return self.reached() };
        match (self, frame.data_ref(), frame.trailers_ref()) {
            (Self::Bytes { code, remaining_bytes: Some(remaining_bytes) }, Some(data), _) => {
                let remaining_bytes = remaining_bytes.saturating_sub(data.remaining() as u64);
                let end = Self::Bytes { code, remaining_bytes: Some(remaining_bytes) };
                if remaining_bytes == 0 { end.reached() } else { end }
            }
            (Self::Trailers, _, Some(trailers)) => {
                Self::Reached(grpc_code(trailers).unwrap_or(Code::Unknown))
            }
            _ => self,
        }
    }
}

pin_project! {
    /// The body of an observed answer; the call is recorded when it is dropped.
    #[derive(Debug)]
    pub struct ObservedBody<B> {
        // None after a panic.
        #[pin]
        inner: Option<B>,
        end: End,
        call: Call,
    }
}

/// The answer ends here because the code behind it panicked.
#[derive(Debug)]
struct BodyPanicked;

impl fmt::Display for BodyPanicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body panicked")
    }
}

impl Error for BodyPanicked {}

impl<B> Body for ObservedBody<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        let Some(inner) = this.inner.as_mut().as_pin_mut() else { return Poll::Ready(None) };
        let polled = {
            let _entered = this.call.span().enter();
            catch_unwind(AssertUnwindSafe(|| inner.poll_frame(cx)))
        };
        let Ok(poll) = polled else {
            this.inner.set(None);
            this.call.panicked();
            return Poll::Ready(Some(match this.end {
                End::Trailers => Ok(Frame::trailers(panicked_trailers())),
                // Cutting the connection is all that tells an HTTP client.
                End::Bytes { .. } | End::Reached(_) => Err(Box::new(BodyPanicked)),
            }));
        };
        let frame = match ready!(poll).transpose() {
            Ok(frame) => frame,
            Err(error) => {
                this.call.set_code(Code::Internal);
                return Poll::Ready(Some(Err(error.into())));
            }
        };
        if let Some(data) = frame.as_ref().and_then(Frame::data_ref) {
            this.call.note_sent(data.len());
        }
        *this.end = this.end.after(frame.as_ref());
        // A body that says it is over is not polled again.
        if this.inner.as_ref().as_pin_ref().is_some_and(|inner| inner.is_end_stream()) {
            *this.end = this.end.reached();
        }
        if let End::Reached(code) = this.end {
            this.call.set_code(*code);
        }
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}
