//! One connection: HTTP/1.1 or HTTP/2 with prior knowledge, told apart by the first bytes.

use std::net::TcpStream;
use std::pin::pin;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::time;
use tokio_util::sync::CancellationToken;

use super::HttpService;
use crate::telemetry::BoxError;

/// Bazel opens up to 100 streams on each connection, Buck2 and cuenv several hundred on one.
const STREAMS_MAX: u32 = 4096;
/// What one upload may send ahead: a round trip of 10 ms still moves 200 MB/s.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 2 << 20;
/// What all uploads of a connection may send ahead. Only uploads that wait for memory leave it unread (`edge/budget.rs`).
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;
/// Fewer, larger frames cost less to take apart; the default is 16 KiB.
const FRAME_BYTES_MAX: u32 = 256 << 10;
/// What waits for the socket, for each stream.
const SEND_BUFFER_BYTES: usize = 1 << 20;
/// Bearer tokens and `RequestMetadata` take a few KiB.
const HEADERS_BYTES_MAX: u32 = 64 << 10;
/// Also what a connection reads at a time, so it bounds an HTTP/1.1 header less tightly.
const HTTP1_BUFFER_BYTES: usize = 256 << 10;
/// Bazel cancels calls in bursts; the default of 20 would end the connection for it.
const CANCELLED_STREAMS_MAX: usize = 1024;
/// A client that says nothing at all gives its place up.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(30);
/// hyper counts the pause between two requests too, and clients keep idle connections.
const HEADER_TIMEOUT: Duration = Duration::from_mins(5);
/// Finds HTTP/2 clients that are gone without a word.
const KEEPALIVE_INTERVAL: Duration = Duration::from_mins(1);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// How connections speak; one for all of a worker.
pub(super) fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HTTP1_BUFFER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .adaptive_window(false)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_header_list_size(HEADERS_BYTES_MAX)
        .max_pending_accept_reset_streams(CANCELLED_STREAMS_MAX)
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT);
    builder
}

/// Serves until the client leaves or, once `draining`, until its requests in flight have ended.
pub(super) async fn serve_connection<S: HttpService>(
    stream: TcpStream,
    service: S,
    builder: &auto::Builder<TokioExecutor>,
    draining: &CancellationToken,
) {
    if let Err(error) = try_serve(stream, service, builder, draining).await {
        // The client's doing in almost every case: resets, timeouts, garbage instead of HTTP.
        tracing::debug!(error, "connection ended");
    }
}

async fn try_serve<S: HttpService>(
    stream: TcpStream,
    service: S,
    builder: &auto::Builder<TokioExecutor>,
    draining: &CancellationToken,
) -> Result<(), BoxError> {
    let stream = tokio::net::TcpStream::from_std(stream)?;
    tokio::select! {
        biased;
        first = time::timeout(FIRST_BYTE_TIMEOUT, stream.readable()) => first??,
        // A client that has not asked yet has nothing in flight.
        () = draining.cancelled() => return Ok(()),
    }
    let service = TowerToHyperService::new(service);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = draining.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}
