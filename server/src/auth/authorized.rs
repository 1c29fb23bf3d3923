//! [`Authorized`]: a service that only those reach who may. The layer over both ports.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use pin_project_lite::pin_project;
use tonic::body::Body;
use tower_service::Service;

use super::access::{Access, Granted, Verdict};
use super::peer::Peer;
use super::refusal::Refusal;
use super::rules::{admin_need, client_need};
use crate::edge::is_grpc;
use crate::telemetry::BoxError;

/// Whose rules hold.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Port {
    /// Of the cache's clients.
    Clients,
    /// Of its operators.
    Admin,
}

/// A service that only those reach who may.
#[derive(Clone, Debug)]
pub struct Authorized<S> {
    inner: S,
    access: Arc<Access>,
    port: Port,
}

impl<S> Authorized<S> {
    /// Stands before `inner`.
    pub fn new(inner: S, access: Arc<Access>, port: Port) -> Self {
        Self { inner, access, port }
    }
}

pin_project! {
    /// The answer of [`Authorized`].
    pub struct AuthorizedFuture<F> {
        #[pin]
        course: Course<F>,
    }
}

pin_project! {
    #[project = CourseProjection]
    enum Course<F> {
        // Let in at once.
        Inner { #[pin] inner: F },
        // Refused at once.
        Refused { response: Option<Response<Body>> },
        // A password is checked first.
        Undecided { checked: Pin<Box<dyn Future<Output = Response<Body>> + Send>> },
    }
}

impl<F, B> Future for AuthorizedFuture<F>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().course.project() {
            CourseProjection::Inner { inner } => {
                inner.poll(cx).map_ok(|response| response.map(Body::new))
            }
            CourseProjection::Refused { response } => {
                Poll::Ready(Ok(response.take().expect("the future is not polled after its answer")))
            }
            CourseProjection::Undecided { checked } => checked.as_mut().poll(cx).map(Ok),
        }
    }
}

impl<S, B, R> Service<Request<R>> for Authorized<S>
where
    S: Service<Request<R>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    R: HttpBody<Data: Send, Error: Send> + Send + Unpin + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = AuthorizedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<R>) -> Self::Future {
        let need = match self.port {
            Port::Clients => client_need(&request),
            Port::Admin => admin_need(&request),
        };
        let course = match self.access.judge(&request, need) {
            Verdict::Granted(granted) => {
                request.extensions_mut().insert(granted);
                Course::Inner { inner: self.inner.call(request) }
            }
            Verdict::Refused(refusal) => {
                let response = refused(&self.access, request, &refusal);
                Course::Refused { response: Some(response) }
            }
            Verdict::Undecided(check) => {
                let (access, mut inner) = (Arc::clone(&self.access), self.inner.clone());
                let checked = Box::pin(async move {
                    match access.check(check).await {
                        Ok(granted) => admitted(&mut inner, request, granted).await,
                        Err(refusal) => refused(&access, request, &refusal),
                    }
                });
                Course::Undecided { checked }
            }
        };
        AuthorizedFuture { course }
    }
}

async fn admitted<S, B, R>(
    inner: &mut S,
    mut request: Request<R>,
    granted: Granted,
) -> Response<Body>
where
    S: Service<Request<R>, Response = Response<B>, Error = Infallible>,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    request.extensions_mut().insert(granted);
    match inner.call(request).await {
        Ok(response) => response.map(Body::new),
        Err(never) => match never {},
    }
}

fn refused<R>(access: &Access, request: Request<R>, refusal: &Refusal) -> Response<Body>
where
    R: HttpBody<Data: Send, Error: Send> + Send + Unpin + 'static,
{
    access.refusals().count(refusal);
    refusal.log(Peer::of(request.extensions()));
    let response = if is_grpc(&request) { refusal.grpc() } else { refusal.http() };
    access.discard(request.into_body());
    response
}
