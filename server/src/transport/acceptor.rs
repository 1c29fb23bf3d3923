//! [`Acceptor`]: takes connections and hands each to the worker that has the fewest.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time;

use super::metrics::TransportMetrics;
use super::worker::Seat;

const BACKOFF_MIN: Duration = Duration::from_millis(5);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

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

    /// Accepts until dropped. Cancel-safe: at most the connection at hand is closed.
    pub(super) async fn run(mut self, listener: TcpListener) {
        let mut backoff = BACKOFF_MIN;
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    backoff = BACKOFF_MIN;
                    self.take(stream, peer).await;
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

    async fn take(&mut self, stream: TcpStream, peer: SocketAddr) {
        let open: usize = self.workers.iter().map(Seat::connections).sum();
        if open >= self.max_connections {
            self.metrics.refused.inc();
            if !self.full {
                tracing::warn!(%peer, limit = self.max_connections, "too many connections");
            }
            self.full = true;
            return;
        }
        self.full = false;
        let (before, after) = self.workers.split_at(self.next);
        self.next = (self.next + 1) % self.workers.len();
        let least = after.iter().chain(before).min_by_key(|seat| seat.connections());
        let worker = least.expect("there is a worker");
        if let Err(error) = worker.hand_over(stream, &self.metrics.connections).await {
            tracing::debug!(%peer, %error, "connection lost before it was served");
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
