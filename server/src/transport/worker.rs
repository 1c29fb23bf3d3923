//! A worker: one thread with one runtime, and the connections that were handed to it.
//!
//! The runtime owns all that runs here: connections in a `JoinSet`, and the tasks hyper makes for
//! HTTP/2 streams, which end with the runtime at the latest.

use std::io;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use socket2::{SockRef, TcpKeepalive};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time;
use tokio_util::sync::CancellationToken;

use super::acceptor::Arrival;
use super::connection::{self, Manner, serve_connection};
use super::{Encryption, HttpService};

/// Hashing, compression, fsync and cold reads; more threads than this only queue at the disk.
pub(super) const BLOCKING_THREADS_MAX: usize = 8;

/// Sockets on the way to a worker; the kernel's backlog holds the rest.
const INBOX: usize = 64;

/// The kernel asks a silent client whether it is there: first after this time, then so often, so many times.
const KEEPALIVE_TIME: Duration = Duration::from_mins(1);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_RETRIES: u32 = 3;

/// The acceptor's end: where it hands sockets over.
pub(super) struct Seat {
    inbox: mpsc::Sender<Handover>,
    connections: Arc<AtomicUsize>,
}

/// The worker's end.
pub(super) struct Work {
    inbox: mpsc::Receiver<Handover>,
    terms: Terms,
}

/// What holds for all connections of a worker.
pub(super) struct Terms {
    pub(super) draining: CancellationToken,
    pub(super) drain_timeout: Duration,
    pub(super) encryption: Option<Encryption>,
    pub(super) handshake_errors: Counter,
}

/// A socket, off the acceptor's runtime and not yet on the worker's.
struct Handover {
    stream: Handed,
    place: Place,
}

/// A socket between two runtimes.
pub(super) enum Handed {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Counts one connection for as long as it lives.
struct Place {
    connections: Arc<AtomicUsize>,
    gauge: Gauge,
}

pub(super) fn channel(terms: Terms) -> (Seat, Work) {
    let (sender, receiver) = mpsc::channel(INBOX);
    let seat = Seat { inbox: sender, connections: Arc::default() };
    (seat, Work { inbox: receiver, terms })
}

impl Seat {
    /// Open connections, those on the way included.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Waits for room in the inbox.
    pub(super) async fn hand_over(&self, arrival: Arrival, gauge: &Gauge) -> io::Result<()> {
        let stream = match arrival {
            Arrival::Tcp(stream, _) => {
                prepare(&stream)?;
                Handed::Tcp(stream.into_std()?)
            }
            Arrival::Unix(stream) => Handed::Unix(stream.into_std()?),
        };
        let place = Place::take(Arc::clone(&self.connections), gauge.clone());
        let handover = Handover { stream, place };
        self.inbox.send(handover).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

fn prepare(stream: &tokio::net::TcpStream) -> io::Result<()> {
    // Without it small answers wait for the client's delayed acknowledgement: 44 ms (PEERS.md).
    stream.set_nodelay(true)?;
    // A client that is gone without a word is found, also while it has nothing to say.
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_TIME)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_RETRIES);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

impl Place {
    fn take(connections: Arc<AtomicUsize>, gauge: Gauge) -> Self {
        connections.fetch_add(1, Ordering::Relaxed);
        gauge.inc();
        Self { connections, gauge }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
        self.gauge.dec();
    }
}

/// Serves what is handed over until the drain, then waits for what is in flight.
pub(super) async fn run<S: HttpService>(work: Work, service: S) {
    let Work { mut inbox, terms } = work;
    let Terms { draining, drain_timeout, encryption, handshake_errors } = terms;
    let manner = Manner { builder: connection::builder(), encryption, draining, handshake_errors };
    let manner = Arc::new(manner);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = manner.draining.cancelled() => break,
            handover = inbox.recv() => match handover {
                Some(handover) => {
                    let service = service.clone();
                    begin(handover, service, &manner, &mut connections);
                }
                None => break,
            },
            Some(_) = connections.join_next() => {}
        }
    }
    // What was accepted before the drain is still answered.
    inbox.close();
    while let Some(handover) = inbox.recv().await {
        begin(handover, service.clone(), &manner, &mut connections);
    }
    let ended = async { while connections.join_next().await.is_some() {} };
    if time::timeout(drain_timeout, ended).await.is_err() {
        tracing::warn!(
            connections = connections.len(),
            ?drain_timeout,
            "drain timeout, connections cut"
        );
    }
}

fn begin<S: HttpService>(
    handover: Handover,
    service: S,
    manner: &Arc<Manner>,
    connections: &mut JoinSet<()>,
) {
    let Handover { stream, place } = handover;
    let manner = Arc::clone(manner);
    connections.spawn(async move {
        let _place = place;
        serve_connection(stream, service, &manner).await;
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sockets_are_handed_over_with_keepalive_and_without_delay() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, peer) = listener.accept().await.unwrap();
        let (seat, mut work) = channel(Terms {
            draining: CancellationToken::new(),
            drain_timeout: Duration::ZERO,
            encryption: None,
            handshake_errors: Counter::default(),
        });
        seat.hand_over(Arrival::Tcp(accepted, peer), &Gauge::default()).await.unwrap();
        let handed = work.inbox.recv().await.unwrap();
        let Handed::Tcp(stream) = handed.stream else { panic!("a TCP stream") };
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap() && socket.tcp_nodelay().unwrap());
        drop(client);
    }
}
