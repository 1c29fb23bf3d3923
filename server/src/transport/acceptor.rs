//! [`Acceptor`]: takes connections and hands each to the worker that has the fewest.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time;

use super::listen::{Listener, SocketFile};
use super::metrics::TransportMetrics;
use super::worker::Seat;

const BACKOFF_MIN: Duration = Duration::from_millis(5);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// A listener on the acceptor's runtime.
pub(super) enum Door {
    Tcp(TcpListener),
    /// The file goes when the door closes.
    Unix(UnixListener, #[expect(dead_code, reason = "it is kept to be dropped")] SocketFile),
}

/// A connection, and who is at its other end.
pub(super) enum Arrival {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

impl Door {
    /// Within the runtime that will accept.
    pub(super) fn open(listener: Listener) -> io::Result<Self> {
        match listener {
            Listener::Tcp(listener) => TcpListener::from_std(listener).map(Self::Tcp),
            Listener::Unix(listener, file) => {
                UnixListener::from_std(listener).map(|listener| Self::Unix(listener, file))
            }
        }
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Arrival>> {
        Poll::Ready(match self {
            Self::Tcp(listener) => {
                ready!(listener.poll_accept(cx)).map(|(stream, peer)| Arrival::Tcp(stream, peer))
            }
            Self::Unix(listener, _) => {
                ready!(listener.poll_accept(cx)).map(|(stream, _)| Arrival::Unix(stream))
            }
        })
    }
}

/// The next connection of any door. They take turns in being asked first.
async fn accept(doors: &mut [Door]) -> io::Result<Arrival> {
    doors.rotate_left(1);
    poll_fn(|cx| {
        let arrived = doors.iter().map(|door| door.poll_accept(cx)).find(Poll::is_ready);
        arrived.unwrap_or(Poll::Pending)
    })
    .await
}

/// Takes connections and hands each to the worker that has the fewest.
pub(super) struct Acceptor {
    workers: Vec<Seat>,
    /// Where the search for the emptiest worker begins, so that short connections do not all go to
    /// the first.
    next: usize,
    max_connections: usize,
    metrics: Arc<TransportMetrics>,
    /// Whether the last connection was refused, so that a flood logs one line.
    full: bool,
}

impl Acceptor {
    /// `workers` is not empty.
    pub(super) fn new(
        workers: Vec<Seat>,
        max_connections: usize,
        metrics: Arc<TransportMetrics>,
    ) -> Self {
        Self { workers, next: 0, max_connections, metrics, full: false }
    }

    /// Accepts until dropped. Cancel-safe: at most the connection at hand is closed. `doors` is not empty.
    pub(super) async fn run(mut self, mut doors: Vec<Door>) {
        let mut backoff = BACKOFF_MIN;
        loop {
            match accept(&mut doors).await {
                Ok(arrival) => {
                    backoff = BACKOFF_MIN;
                    self.take(arrival).await;
                }
                // The client has gone before it was its turn.
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    self.metrics.accept_errors.inc();
                    tracing::warn!(%error, ?backoff, "no connection can be accepted");
                    // The listener stays ready, so trying at once would spin.
                    time::sleep(backoff).await;
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                }
            }
        }
    }

    async fn take(&mut self, arrival: Arrival) {
        let peer = arrival.peer();
        let open: usize = self.workers.iter().map(Seat::connections).sum();
        if open >= self.max_connections {
            self.metrics.refused.inc();
            if !self.full {
                tracing::warn!(peer, limit = self.max_connections, "too many connections");
            }
            self.full = true;
            return;
        }
        self.full = false;
        let (before, after) = self.workers.split_at(self.next);
        self.next = (self.next + 1) % self.workers.len();
        let least = after.iter().chain(before).min_by_key(|seat| seat.connections());
        let worker = least.expect("there is a worker");
        if let Err(error) = worker.hand_over(arrival, &self.metrics.connections).await {
            tracing::debug!(peer, %error, "connection lost before it was served");
        }
    }
}

impl Arrival {
    fn peer(&self) -> String {
        match self {
            Self::Tcp(_, peer) => peer.to_string(),
            Self::Unix(_) => "unix".to_owned(),
        }
    }
}

fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
