//! HTTP/1.1, one exchange a connection.

use std::convert::Infallible;
use std::pin::pin;

use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tonic::metadata::KeyAndValueRef;

use crate::conformance::context::Cx;
use crate::conformance::digest::Blob;
use crate::conformance::expect;
use crate::conformance::outcome::{Halt, Outcome, violated};
use crate::conformance::target::Target;

/// A request's body.
type RequestBody = BoxBody<Bytes, Infallible>;

/// What an exchange came to.
pub(crate) type HttpAnswer = Result<Response<Bytes>, HttpError>;

/// Why an exchange came to nothing.
#[derive(Debug, Error)]
pub(crate) enum HttpError {
    #[error("no --http address was given")]
    NoAddress,
    #[error("the connection could not be made: {source}")]
    Connect {
        #[source]
        source: std::io::Error,
    },
    #[error("the request is malformed: {source}")]
    Request {
        #[from]
        source: http::Error,
    },
    #[error("the exchange broke off: {source}")]
    Exchange {
        #[from]
        source: hyper::Error,
    },
}

/// The answer has this status; gives it.
pub(crate) fn status(
    answer: HttpAnswer,
    expected: &[u16],
    what: &str,
) -> Result<Response<Bytes>, Halt> {
    let expected_text = || {
        let codes: Vec<_> = expected.iter().map(ToString::to_string).collect();
        codes.join(" or ")
    };
    match answer {
        Ok(response) if expected.contains(&response.status().as_u16()) => Ok(response),
        Ok(response) => {
            let (code, size) = (response.status().as_u16(), response.body().len());
            let expected = expected_text();
            violated(format!("expected {expected} for {what}, got {code} with {size} B"))
        }
        Err(error) => violated(format!("expected {} for {what}, but {error}", expected_text())),
    }
}

impl Cx {
    /// The path of an entry: `{prefix}{/instance}/{kind}/{hash}`.
    pub(crate) fn http_path(&self, kind: &str, hash: &str) -> String {
        let prefix = self.server.http.as_ref().map_or("", |(_, prefix)| prefix);
        let instance = self.instance();
        let instance = if instance.is_empty() { instance } else { format!("/{instance}") };
        format!("{prefix}{instance}/{kind}/{hash}")
    }

    /// The path of a blob.
    pub(crate) fn cas_path(&self, blob: &Blob) -> String {
        self.http_path("cas", &blob.hash)
    }

    /// One exchange whose request has a body of a known length.
    pub(crate) async fn http(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> HttpAnswer {
        let body = Full::new(Bytes::copy_from_slice(body)).boxed();
        self.exchange(method, path, headers, body).await
    }

    /// The same with a body in chunks, its length not announced.
    pub(crate) async fn http_chunked(
        &self,
        method: Method,
        path: &str,
        chunks: Vec<Vec<u8>>,
    ) -> HttpAnswer {
        let frames = chunks.into_iter().map(|chunk| Ok(Frame::data(Bytes::from(chunk))));
        let body = BodyExt::boxed(StreamBody::new(stream::iter(frames)));
        self.exchange(method, path, &[], body).await
    }

    /// `GET` without any header.
    pub(crate) async fn http_get(&self, path: &str) -> HttpAnswer {
        self.http(Method::GET, path, &[], &[]).await
    }

    /// `PUT` without any header.
    pub(crate) async fn http_put(&self, path: &str, body: &[u8]) -> HttpAnswer {
        self.http(Method::PUT, path, &[], body).await
    }

    /// The blob can be read as it was uploaded.
    pub(crate) async fn expect_http_readable(&self, blob: &Blob, what: &str) -> Outcome {
        let response = status(self.http_get(&self.cas_path(blob)).await, &[200], what)?;
        expect::bytes(response.body(), &blob.data, what)
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: RequestBody,
    ) -> HttpAnswer {
        let (target, _) = self.server.http.as_ref().ok_or(HttpError::NoAddress)?;
        let mut request = Request::builder().method(method).uri(path);
        let host = match target {
            Target::Tcp(authority) => authority,
            Target::Unix(_) => "localhost",
        };
        request = request.header(http::header::HOST, host);
        for header in self.server.headers.0.iter() {
            if let KeyAndValueRef::Ascii(name, value) = header {
                request = request.header(name.as_str(), value.as_bytes());
            }
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body)?;
        let connect = |source| HttpError::Connect { source };
        match target {
            Target::Tcp(authority) => {
                let stream = TcpStream::connect(authority.as_str()).await.map_err(connect)?;
                send(stream, request).await
            }
            Target::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(connect)?;
                send(stream, request).await
            }
        }
    }
}

async fn send<S>(stream: S, request: Request<RequestBody>) -> HttpAnswer
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let is_head = request.method() == Method::HEAD;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async move {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = if is_head || head.status == StatusCode::NO_CONTENT {
            Bytes::new()
        } else {
            body.collect().await?.to_bytes()
        };
        Ok(Response::from_parts(head, body))
    };
    let (mut exchange, connection) = (pin!(exchange), pin!(connection));
    // With the answer the connection is given up: after one that comes before all of the body is sent, it would not end by
    // itself. What it has to say at its own end matters only where there was no answer, and then the exchange says it.
    tokio::select! {
        answer = &mut exchange => answer,
        _ended = connection => exchange.await,
    }
}
