//! One connection, by TLS where that is set up: HTTP/1.1 or HTTP/2, told apart by the first bytes.

use std::cell::RefCell;
use std::future::{pending, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use prometheus_client::metrics::counter::Counter;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::gathered::{Outlet, gathered};
use super::outgoing::{Noted, Outgoing};
use super::patient::{GREETING_TIMEOUT, Patient};
use super::worker::Handed;
use super::{Encryption, HttpService};
use crate::auth::{Peer, WithPeer, certificate_names};
use crate::link::Link;
use crate::telemetry::BoxError;

/// Bazel opens up to 100 streams on each connection, Buck2 and cuenv several hundred on one.
const STREAMS_MAX: u32 = 4096;
/// What one upload may send ahead: a round trip of 50 ms still moves 80 MB/s.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 4 << 20;
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
/// hyper counts the pause between two requests too, and clients keep idle connections.
const HEADER_TIMEOUT: Duration = Duration::from_mins(5);
/// Finds HTTP/2 clients that are gone without a word.
const KEEPALIVE_INTERVAL: Duration = Duration::from_mins(1);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// What a drain leaves to the head of a first request that has not come whole, or to the farewell of who asked nothing.
const UNASKED_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection was closed for the others' sake (`edge/stalls.rs`).
#[derive(Debug, thiserror::Error)]
#[error("the client stalled while others waited for the memory that its requests held")]
struct Stalled;

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

/// How the connections of a worker are served.
pub(super) struct Manner {
    pub(super) builder: auto::Builder<TokioExecutor>,
    pub(super) encryption: Option<Encryption>,
    pub(super) draining: CancellationToken,
    pub(super) handshake_errors: Counter,
}

/// Serves until the client leaves or, once the worker drains, until its requests in flight have ended.
pub(super) async fn serve_connection<S: HttpService>(stream: Handed, service: S, manner: &Manner) {
    if let Err(error) = try_serve(stream, service, manner).await {
        // The client's doing in almost every case: resets, timeouts, garbage instead of HTTP.
        tracing::debug!(error, "connection ended");
    }
}

async fn try_serve<S: HttpService>(
    stream: Handed,
    service: S,
    manner: &Manner,
) -> Result<(), BoxError> {
    match stream {
        Handed::Tcp(stream) => {
            let stream = tokio::net::TcpStream::from_std(stream)?;
            if !greeted(stream.readable(), &manner.draining).await? {
                return Ok(());
            }
            let address = Some(stream.peer_addr()?.ip());
            let Some(encryption) = &manner.encryption else {
                return speak(stream, service, Peer { address, ..Peer::default() }, manner).await;
            };
            let Some(stream) = shake_hands(stream, encryption, manner).await? else {
                return Ok(());
            };
            let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
            let certificate = shown.map(|certificate| certificate_names(certificate));
            let peer = Peer { address, certificate, ..Peer::default() };
            speak(stream, service, peer, manner).await
        }
        // Who may connect, the file's permissions say.
        Handed::Unix(stream) => {
            let stream = tokio::net::UnixStream::from_std(stream)?;
            if greeted(stream.readable(), &manner.draining).await? {
                speak(stream, service, Peer::default(), manner).await?;
            }
            Ok(())
        }
    }
}

/// `None` where a drain came first: nothing was asked yet.
async fn shake_hands(
    stream: tokio::net::TcpStream,
    encryption: &Encryption,
    manner: &Manner,
) -> Result<Option<TlsStream<tokio::net::TcpStream>>, BoxError> {
    let handshake = TlsAcceptor::from(encryption.config()).accept(stream);
    let shaken = tokio::select! {
        shaken = time::timeout(GREETING_TIMEOUT, handshake) => shaken,
        () = manner.draining.cancelled() => return Ok(None),
    };
    match shaken {
        Ok(Ok(stream)) => Ok(Some(stream)),
        Ok(Err(error)) => {
            manner.handshake_errors.inc();
            Err(error.into())
        }
        Err(elapsed) => {
            manner.handshake_errors.inc();
            Err(elapsed.into())
        }
    }
}

/// Waits for the client's first bytes. A client that has not asked yet has nothing in flight, so a drain ends the wait.
async fn greeted(
    readable: impl Future<Output = io::Result<()>>,
    draining: &CancellationToken,
) -> Result<bool, BoxError> {
    tokio::select! {
        biased;
        first = time::timeout(GREETING_TIMEOUT, readable) => first??,
        () = draining.cancelled() => return Ok(false),
    }
    Ok(true)
}

async fn speak<I, S>(io: I, service: S, peer: Peer, manner: &Manner) -> Result<(), BoxError>
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    S: HttpService,
{
    let outgoing = Outgoing::default();
    let peer = Arc::new(peer);
    let (io, outlet) = gathered(Patient::new(io, Arc::clone(&peer)), outgoing.clone());
    let noted = move |response: Response<S::AnswerBody>| {
        response.map(|body| Noted::new(body, outgoing.clone()))
    };
    let service = WithPeer::new(service, Arc::clone(&peer)).map_response(noted);
    let service = Called { service: RefCell::new(service), peer: Arc::clone(&peer) };
    let mut connection = pin!(manner.builder.serve_connection(TokioIo::new(io), service));
    tokio::select! {
        ended = drained(connection.as_mut(), &outlet, &peer.link) => return ended,
        () = manner.draining.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        ended = drained(connection.as_mut(), &outlet, &peer.link) => ended,
        () = unasked(&peer.link) => Ok(()),
    }
}

/// Ends where nothing is asked for a time; a connection that has asked ends by itself.
async fn unasked(link: &Link) {
    time::sleep(UNASKED_TIMEOUT).await;
    if link.has_asked() {
        pending::<()>().await;
    }
}

/// A service as hyper calls it. Others clone theirs for each request, to wait until the clone is ready; ours always are.
/// Never borrowed twice: a `RefCell` is used by one thread at a time, and a call, which only makes its future, does not call again.
struct Called<S> {
    service: RefCell<S>,
    peer: Arc<Peer>,
}

impl<S: tower_service::Service<Request<Incoming>>> hyper::service::Service<Request<Incoming>>
    for Called<S>
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, request: Request<Incoming>) -> S::Future {
        self.peer.link.note_asked();
        self.service.borrow_mut().call(request)
    }
}

/// Polls the connection's protocol to its end or until the link is cut, and each time writes what it said.
async fn drained<C, I>(
    mut connection: Pin<&mut C>,
    outlet: &Outlet<I>,
    link: &Link,
) -> Result<(), BoxError>
where
    C: Future<Output = Result<(), BoxError>>,
    I: AsyncWrite + Unpin,
{
    poll_fn(|cx| {
        if link.poll_cut(cx).is_ready() {
            return Poll::Ready(Err(Stalled.into()));
        }
        let ended = connection.as_mut().poll(cx);
        // A protocol that ends in an error has said why; whether the client still hears it is not waited for.
        match (ended, outlet.poll_drain(cx)) {
            (Poll::Ready(ended), _) => Poll::Ready(ended),
            (Poll::Pending, Poll::Ready(Err(error))) => Poll::Ready(Err(error.into())),
            (Poll::Pending, _) => Poll::Pending,
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use http_body_util::{BodyExt as _, Full};
    use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::time::{Instant, sleep};
    use tower::service_fn;

    use super::super::patient::SILENCE_TIMEOUT;
    use super::*;

    /// Serves one connection whose client does what `client` says; how long that took, in seconds.
    async fn seconds_served(client: impl AsyncFnOnce(&mut DuplexStream)) -> u64 {
        let (mut ours, theirs) = duplex(1 << 16);
        let service = service_fn(async |request: Request<Incoming>| {
            // An answer comes after the whole body, or never.
            let _broken = request.into_body().collect().await;
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
        });
        let service = tower::util::BoxCloneService::new(service);
        let manner = Manner {
            builder: builder(),
            encryption: None,
            draining: CancellationToken::new(),
            handshake_errors: Counter::default(),
        };
        let begun = Instant::now();
        let served = async {
            let ended = speak(theirs, service, Peer::default(), &manner);
            let _how = time::timeout(Duration::from_hours(10), ended).await.expect("it ends");
            begun.elapsed().as_secs()
        };
        let (seconds, ()) = tokio::join!(served, client(&mut ours));
        seconds
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_finish_a_greeting_gives_the_place_up() {
        for (greeting, pause) in [("PRI", 0), ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r", 0), ("PRI", 20)] {
            let client = async |ours: &mut DuplexStream| {
                for byte in greeting.as_bytes() {
                    sleep(Duration::from_secs(pause)).await;
                    let _closed = ours.write_all(&[*byte]).await;
                }
            };
            assert_eq!(seconds_served(client).await, GREETING_TIMEOUT.as_secs(), "{greeting:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_may_be_slow_but_not_silent() {
        let client = async |ours: &mut DuplexStream| {
            ours.write_all(b"PUT / HTTP/1.1\r\ncontent-length: 100\r\n\r\n").await.expect("read");
            for _ in 0..10 {
                sleep(Duration::from_mins(4)).await;
                ours.write_all(b"x").await.expect("still served");
            }
        };
        let silent_since = Duration::from_mins(40);
        assert_eq!(seconds_served(client).await, (silent_since + SILENCE_TIMEOUT).as_secs());
    }
}
