//! The transport: sockets in, requests to a service; a runtime per core; drain.
//!
//! One thread accepts and hands each socket to the worker with the fewest connections. A connection
//! stays with its worker for life: a `current_thread` runtime answers many small calls with a third
//! of the CPU that the multi-thread runtime takes (DESIGN.md, "The edge").
//!
//! Bounds: connections, streams of a connection, header sizes, bytes in flight of a stream and of a
//! connection, blocking threads. End: [`Transport::drain`], then [`Transport::join`].

mod acceptor;
mod connection;
mod gathered;
mod listen;
mod metrics;
mod outgoing;
mod patient;
#[cfg(test)]
mod tests;
mod tls;
mod worker;

use std::convert::Infallible;
use std::io;
use std::num::NonZeroUsize;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use parking_lot::Mutex;
use rustls::ServerConfig;
use tokio::runtime;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

pub(crate) use self::connection::{CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES};
pub use self::listen::{ListenError, Listener, SocketFile, listen};
pub use self::metrics::TransportMetrics;
pub use self::tls::{Tls, TlsConfigs, TlsError, open_tls};
use crate::auth::Port;
use crate::telemetry::BoxError;

/// What a transport is started with.
#[derive(Clone, Debug)]
pub struct TransportOptions {
    /// Begins the names of its threads.
    pub name: &'static str,
    /// Threads with a runtime each.
    pub workers: NonZeroUsize,
    /// Further connections are closed at once, and counted.
    pub max_connections: usize,
    /// How long requests in flight may take to end after the drain has begun.
    pub drain_timeout: Duration,
    /// What TCP connections are encrypted with, if they are.
    pub encryption: Option<Encryption>,
}

/// What connections are encrypted with; asked for each new one.
#[derive(Clone, Debug)]
pub struct Encryption {
    /// The certificates.
    pub tls: Arc<Tls>,
    /// Whose connections they are.
    pub port: Port,
}

impl Encryption {
    fn config(&self) -> Arc<ServerConfig> {
        let configs = self.tls.current();
        Arc::clone(match self.port {
            Port::Clients => &configs.clients,
            Port::Admin => &configs.admin,
        })
    }
}

/// A transport that runs; dropping it drains it.
#[derive(Debug)]
pub struct Transport {
    draining: CancellationToken,
    /// Each worker has a sender for as long as it serves. Nobody locks it: it can be shared so.
    serving: Mutex<mpsc::Receiver<Infallible>>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.drain();
        self.join();
    }
}

/// What a transport can serve. It is always ready: nobody asks before it is called.
///
/// An alias by blanket implementation, since this list of bounds stands at every function below.
pub trait HttpService:
    Service<
        Request<Incoming>,
        Response = Response<<Self as HttpService>::AnswerBody>,
        Error = Infallible,
        Future: Send + 'static,
    > + Clone
    + Send
    + 'static
{
    /// The body of an answer.
    type AnswerBody: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static;
}

impl<S, B> HttpService for S
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type AnswerBody = B;
}

/// Serves `service` to whoever connects to one of `listeners`, until [`Transport::drain`].
pub fn serve<S: HttpService>(
    listeners: Vec<Listener>,
    service: &S,
    options: &TransportOptions,
    metrics: &Arc<TransportMetrics>,
) -> io::Result<Transport> {
    let draining = CancellationToken::new();
    // Without this a failure half-way would leave the threads started so far running.
    let cancel_on_error = draining.clone().drop_guard();
    let mut threads = Vec::new();
    let mut workers = Vec::new();
    let (serves, serving) = mpsc::channel();
    for index in 0..options.workers.get() {
        let terms = worker::Terms {
            draining: draining.clone(),
            drain_timeout: options.drain_timeout,
            encryption: options.encryption.clone(),
            handshake_errors: metrics.handshake_errors.clone(),
        };
        let (seat, work) = worker::channel(terms);
        let service = service.clone();
        let runtime = runtime(worker::BLOCKING_THREADS_MAX)?;
        let name = format!("{}-{index}", options.name);
        let serves = serves.clone();
        let thread = thread::Builder::new().name(name).spawn(move || {
            // Goes before the runtime, whose end waits for its blocking work.
            let _serves = serves;
            runtime.block_on(worker::run(work, service));
        })?;
        threads.push(thread);
        workers.push(seat);
    }
    let acceptor = acceptor::Acceptor::new(workers, options.max_connections, Arc::clone(metrics));
    let runtime = runtime(1)?;
    let doors = {
        let _entered = runtime.enter();
        listeners.into_iter().map(acceptor::Door::open).collect::<io::Result<Vec<_>>>()?
    };
    let until = draining.clone();
    let thread =
        thread::Builder::new().name(format!("{}-accept", options.name)).spawn(move || {
            runtime.block_on(until.run_until_cancelled(acceptor.run(doors)));
        })?;
    threads.push(thread);
    Ok(Transport { draining: cancel_on_error.disarm(), serving: Mutex::new(serving), threads })
}

impl Transport {
    /// Stops accepting, tells every client to go (GOAWAY, `connection: close`) and lets requests in
    /// flight end. Returns at once; further calls do nothing.
    pub fn drain(&self) {
        self.draining.cancel();
    }

    /// Blocks until requests in flight have ended or were cut, which takes a drain. Blocking work of theirs may go on.
    pub fn wait_drained(&mut self) {
        // Nothing is ever sent: this ends with the last sender.
        let _ended = self.serving.get_mut().recv();
    }

    /// Blocks until every thread has ended, which takes a drain.
    pub fn join(&mut self) {
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                // ERROR: a defect; the panic hook has logged where.
                tracing::error!("a thread of the transport ended by a panic");
            }
        }
    }
}

fn runtime(blocking_threads_max: usize) -> io::Result<runtime::Runtime> {
    runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(blocking_threads_max)
        .build()
}
