//! [`Server`]: from a checked configuration to a server that runs, and back to nothing.
//!
//! Order: sockets, so that an address in use fails before anything is opened; the admin port, which
//! says "starting"; the store; the edge; then clients are let in.

use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use larder_cas::{Warmed, warm};
use larder_disk::{DiskError, Io, RealIo};
use prometheus_client::registry::Registry;
use rustix::process::{Resource, getrlimit, getuid};
use tokio_util::sync::CancellationToken;

use crate::admin::{Addresses, Admin, Operations, StoreView, UsageReport};
use crate::auth::{Authorized, CredentialsError, Port};
use crate::background::{Background, Chore, every};
use crate::compose::{self, ComposeError, Stacks};
use crate::config::{Config, ListenAddress};
use crate::edge::{Edge, HealthHandle};
use crate::fetch::Origin;
use crate::guard::Guard;
use crate::lifecycle::{Lifecycle, Phase};
use crate::memory::{HotLimit, MemoryReader};
use crate::reload::{Again, Reload};
use crate::report::{AccessLogError, Reports};
use crate::telemetry::{
    DiskMetrics, FetchMetrics, InFlightMetrics, Observed, Reported, Sinks, TierMetrics,
    register_process,
};
use crate::transport::{
    ListenError, Listener, TlsError, Transport, TransportMetrics, TransportOptions, listen, serve,
};
use crate::trust::TrustError;

/// Well above what the clients of one server open. Few descriptors make it fewer: [`connections_max`].
const CONNECTIONS_MAX: usize = 8192;
/// Probes, a scraper, a person.
const ADMIN_CONNECTIONS_MAX: usize = 64;
/// The descriptors of a runtime of tokio with one thread, for what it polls and what wakes it.
const RUNTIME_FILES: usize = 4;
/// What few descriptors are left for packs, blob files, uploads and the admin port.
const SPARE_FILES: u64 = 16;
const ADMIN_DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
/// How often uploads that nobody came back for are given up.
const UPLOADS_EXPIRE_EVERY: Duration = Duration::from_secs(10);
/// A disk gives many times as much, and a core decodes it in a fraction of the time; 384 MiB are read in six seconds.
const REFILL_BYTES_PER_SECOND: u64 = 64 << 20;
/// How often it is looked whether memory is short.
const MEMORY_READ_EVERY: Duration = Duration::from_secs(1);
/// How often certificates and credentials are held against their files.
const FILES_LOOKED_AT_EVERY: Duration = Duration::from_secs(5);

/// Starts servers.
#[derive(Debug)]
pub struct Server;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// No certificate, or none that can be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No credentials, or none that can be used.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// No socket.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Another server has the data directory.
    #[error(
        "data directory {} is in use, perhaps by another larder; stop it, or choose another \
         directory with --data-dir",
        data_dir.display()
    )]
    DataDirInUse {
        /// The directory.
        data_dir: PathBuf,
    },
    /// The user that this runs as may not use the data directory, or make it.
    #[error(
        "user {user} may not read and write the data directory: give it to that user, or choose another \
         directory with --data-dir"
    )]
    DataDirDenied {
        /// The number of the user.
        user: u32,
        /// What was refused, and where.
        source: DiskError,
    },
    /// Nobody can write the data directory, and nothing is in it that could be read.
    #[error(
        "the data directory is on a read-only file system and holds nothing to serve: mount it \
         writable, or choose another directory with --data-dir"
    )]
    DataDirReadOnly {
        /// What was refused, and where.
        source: DiskError,
    },
    /// No store.
    #[error(transparent)]
    Compose(ComposeError),
    /// No fetching from origins.
    #[error("fetching from origins cannot be set up")]
    Origin(#[from] TrustError),
    /// No access log.
    #[error(transparent)]
    AccessLog(#[from] AccessLogError),
    /// No thread or runtime.
    #[error("a thread cannot be started")]
    Thread(#[source] io::Error),
}

/// A server that runs; dropping it drains it.
#[derive(Debug)]
pub struct RunningServer {
    addresses: Addresses,
    stacks: Stacks,
    health: HealthHandle,
    lifecycle: Arc<Lifecycle>,
    ending: CancellationToken,
    clients: Transport,
    admin: Transport,
    background: Option<Background>,
    reload: Arc<Reload>,
}

impl From<ComposeError> for StartError {
    fn from(error: ComposeError) -> Self {
        match error {
            ComposeError::Disk { source: DiskError::Locked { data_dir } } => {
                Self::DataDirInUse { data_dir }
            }
            ComposeError::Disk { source } => match source.refusal() {
                Some(io::ErrorKind::PermissionDenied) => {
                    Self::DataDirDenied { user: getuid().as_raw(), source }
                }
                Some(io::ErrorKind::ReadOnlyFilesystem) => Self::DataDirReadOnly { source },
                _ => Self::Compose(ComposeError::Disk { source }),
            },
            other @ ComposeError::Trace { .. } => Self::Compose(other),
        }
    }
}

impl Server {
    /// Starts a server and returns once clients are let in. Blocking.
    pub fn start(config: &Config) -> Result<RunningServer, StartError> {
        Self::start_on(config, Arc::new(RealIo))
    }

    /// The same on a disk of the caller's.
    pub fn start_on(config: &Config, io: Arc<dyn Io>) -> Result<RunningServer, StartError> {
        Self::start_again(config, io, Again::nothing(config), Reported::default())
    }

    /// The same for a server that can be told to read its configuration again, in a process whose log and spans are counted.
    pub fn start_again(
        config: &Config,
        io: Arc<dyn Io>,
        again: Again,
        reported: Reported,
    ) -> Result<RunningServer, StartError> {
        let ending = CancellationToken::new();
        let guard = Guard::open(config, ending.clone())?;
        let mode = config.socket_mode;
        let opened = config.listen.iter().map(|address| listen(address, mode, "listen"));
        let (listeners, listen_addresses) = opened.collect::<Result<(Vec<_>, Vec<_>), _>>()?;
        let admin_listen = ListenAddress::Tcp(config.admin_listen);
        let (admin_listener, admin_address) = listen(&admin_listen, mode, "admin-listen")?;
        let addresses = Addresses {
            listen: listen_addresses,
            admin: admin_address.tcp().unwrap_or(config.admin_listen),
        };
        let lifecycle = Arc::new(Lifecycle::default());
        let (shown, phase) = (addresses.clone(), Arc::clone(&lifecycle));
        let admin = Arc::new(Admin::new(config.clone(), shown, phase, ending.clone()));
        let admin_transport =
            serve_admin(admin_listener, &admin, &guard, config).map_err(StartError::Thread)?;

        let mut registry = Registry::default();
        register_process(&mut registry, SystemTime::now());
        let reports = Reports::start(config, seed())?.map(Arc::new);
        let access_log = reports.as_deref().and_then(Reports::access_log_counts).cloned();
        registry.register_collector(Box::new(Reported { access_log, ..reported }));
        tracing::debug!(data_dir = %config.data_dir.display(), "opening the store");
        // The stores name their metrics without the product.
        let stacks = compose::build(config, io, registry.sub_registry_with_prefix("larder"))?;
        registry.register_collector(Box::new(DiskMetrics(stacks.clone())));
        registry.register_collector(Box::new(TierMetrics(stacks.clone())));
        let health = HealthHandle::new(stacks.writes_refused());
        let origin = origin(config, &mut registry)?;
        let edge = Edge::new(&stacks, config, origin, health.clone(), ending.clone());
        let in_flight =
            InFlightMetrics { budget: edge.budget().clone(), uploads: Arc::clone(edge.uploads()) };
        registry.register_collector(Box::new(in_flight));
        let uploads = Arc::clone(edge.uploads());
        if config.auth.is_some() || config.tls.is_some() {
            registry.register_collector(Box::new(guard.metrics()));
        }
        let sinks = Sinks { reports, ..Sinks::default() };
        let clients = serve_clients(listeners, edge, &guard, sinks, config, &mut registry);
        let clients = clients.map_err(StartError::Thread)?;
        let expire = every(UPLOADS_EXPIRE_EVERY, move || uploads.expire());
        let operations = Operations::new(stacks.clone());
        let reload = Arc::new(Reload::new(again, config, guard.clone(), operations.clone()));
        let watch = every(FILES_LOOKED_AT_EVERY, move || drop(guard.refresh()));
        let chores = vec![relieve_memory(&stacks), refill_hot(&stacks), expire, watch];
        let background = Some(Background::start(chores).map_err(StartError::Thread)?);

        let stack = stacks.to_string();
        let counted = stacks.clone();
        let usage = Box::new(move || counted.usage());
        let hot = stacks.hot().clone();
        let hot = Box::new(move || hot.stats());
        let shown = Arc::clone(&reload);
        admin.show_store(StoreView { registry, stack, usage, hot, operations, reload: shown });
        health.set_serving();
        lifecycle.advance(Phase::Serving);
        let admin = admin_transport;
        Ok(RunningServer {
            addresses,
            stacks,
            health,
            lifecycle,
            ending,
            clients,
            admin,
            background,
            reload,
        })
    }
}

/// Whom Remote Asset may have asked.
fn origin(config: &Config, registry: &mut Registry) -> Result<Option<Arc<Origin>>, StartError> {
    let Some(settings) = &config.fetch else { return Ok(None) };
    let max_blob_size = config.max_blob_size.unwrap_or(config.max_size);
    let origin = Arc::new(Origin::new(settings, max_blob_size)?);
    registry.register_collector(Box::new(FetchMetrics(Arc::clone(&origin))));
    Ok(Some(origin))
}

/// Differs from start to start, so that not always the same requests are sampled.
fn seed() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::from(since.subsec_nanos()) ^ u64::from(std::process::id()) << 32
}

/// Fills the hot tier with what was used last before the start.
fn refill_hot(stacks: &Stacks) -> Chore {
    let (hot, disk) = (Arc::clone(&stacks.hot().blobs), stacks.disk().clone());
    Box::pin(async move {
        if hot.capacity_bytes() == 0 {
            return;
        }
        let recent = match disk.recent(hot.capacity_bytes(), hot.max_blob_bytes()).await {
            Ok(recent) => recent,
            Err(error) => {
                tracing::warn!(%error, "the hot tier is not refilled");
                return;
            }
        };
        let Warmed { blobs, bytes } = warm(&hot, recent, REFILL_BYTES_PER_SECOND).await;
        tracing::info!(blobs, bytes, "the hot tier is refilled");
    })
}

/// Lets what is kept in memory shrink while memory is short, and grow again.
fn relieve_memory(stacks: &Stacks) -> Chore {
    let hot = stacks.hot().clone();
    let reader = MemoryReader::new(Path::new("/"));
    let mut limit = HotLimit::new(hot.capacity_bytes());
    let mut limit_bytes = hot.capacity_bytes();
    every(MEMORY_READ_EVERY, move || {
        let reading = reader.read();
        let next_bytes = limit.next(reading);
        if next_bytes < limit_bytes {
            tracing::warn!(
                from_bytes = limit_bytes,
                to_bytes = next_bytes,
                ?reading,
                "memory is short: the hot tier shrinks"
            );
        } else if next_bytes > limit_bytes {
            tracing::info!(
                from_bytes = limit_bytes,
                to_bytes = next_bytes,
                "the hot tier grows again"
            );
        }
        limit_bytes = next_bytes;
        hot.set_limit(next_bytes);
    })
}

fn serve_admin(
    listener: Listener,
    admin: &Arc<Admin>,
    guard: &Guard,
    config: &Config,
) -> io::Result<Transport> {
    let is_encrypted = config.tls.as_ref().is_some_and(|tls| tls.admin);
    let options = TransportOptions {
        name: "admin",
        workers: NonZeroUsize::MIN,
        max_connections: ADMIN_CONNECTIONS_MAX,
        drain_timeout: ADMIN_DRAIN_TIMEOUT,
        encryption: guard.encryption(Port::Admin).filter(|_| is_encrypted),
    };
    let router = Arc::clone(admin).router();
    let service = Authorized::new(router, Arc::clone(&guard.access), Port::Admin);
    // These metrics are not shown: what counts are the clients.
    serve(vec![listener], &service, &options, &Arc::default())
}

fn serve_clients(
    listeners: Vec<Listener>,
    edge: Edge,
    guard: &Guard,
    sinks: Sinks,
    config: &Config,
    registry: &mut Registry,
) -> io::Result<Transport> {
    registry.register_collector(Box::new(Arc::clone(&sinks.rpcs)));
    registry.register_collector(Box::new(Arc::clone(&sinks.tasks)));
    let transport_metrics = Arc::new(TransportMetrics::default());
    transport_metrics.register(registry);
    if config.tls.is_some() {
        transport_metrics.register_encrypted(registry);
    }
    let options = TransportOptions {
        name: "worker",
        workers: config.workers,
        max_connections: connections_max(config.workers),
        drain_timeout: config.drain_timeout,
        encryption: guard.encryption(Port::Clients),
    };
    let edge = Authorized::new(edge, Arc::clone(&guard.access), Port::Clients);
    serve(listeners, &Observed::new(edge, sinks), &options, &transport_metrics)
}

/// So many connections that files can still be opened for them, with a warning where that is fewer than usual.
fn connections_max(workers: NonZeroUsize) -> usize {
    let open_files = getrlimit(Resource::Nofile).current;
    let taken = files_taken(workers);
    let max = connections_within(open_files, taken);
    if max < CONNECTIONS_MAX {
        tracing::warn!(
            connections = max,
            open_files,
            taken,
            "few open files are allowed, so fewer connections are taken; raise `ulimit -n` or LimitNOFILE to {}",
            2 * CONNECTIONS_MAX
        );
    }
    max
}

/// How many descriptors are open now, and will be for the runtimes of the workers and the chores.
fn files_taken(workers: NonZeroUsize) -> u64 {
    let opened = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    (opened + RUNTIME_FILES * (workers.get() + 1)) as u64
}

/// Half of the descriptors at most, and no more than leave [`SPARE_FILES`]. `None` is no limit.
fn connections_within(open_files: Option<u64>, taken: u64) -> usize {
    let room = |limit: u64| (limit / 2).min(limit.saturating_sub(taken + SPARE_FILES));
    let room = open_files.map_or(u64::MAX, room);
    usize::try_from(room).unwrap_or(usize::MAX).clamp(1, CONNECTIONS_MAX)
}

impl RunningServer {
    /// Where it listens, with the ports that port 0 became.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// What its stores hold.
    pub fn usage(&self) -> UsageReport {
        self.stacks.usage()
    }

    /// Reads the configuration again.
    pub(crate) fn reload(&self) -> &Arc<Reload> {
        &self.reload
    }

    /// Begins the drain: `/readyz` and health say so, no new connections, requests in flight end.
    pub fn shutdown(&self) {
        self.lifecycle.advance(Phase::Draining);
        self.health.set_draining();
        self.ending.cancel();
        self.clients.drain();
    }

    /// Blocks until the drain has ended; [`RunningServer::shutdown`] begins it.
    pub fn wait(mut self) {
        self.join();
    }

    fn join(&mut self) {
        self.clients.wait_drained();
        // Threads that wait until all that is stored is known would hold up all that follows.
        self.stacks.engine().stop_loading();
        self.clients.join();
        self.background = None;
        self.admin.drain();
        self.admin.join();
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        self.shutdown();
        self.join();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_files() {
        for (open_files, taken, expect) in [
            (None, 36, 8192),
            (Some(1 << 20), 36, 8192),
            (Some(16_384), 36, 8192),
            (Some(4096), 36, 2048),
            (Some(128), 36, 64),
            (Some(64), 36, 12),
            (Some(48), 36, 1),
            (Some(0), 36, 1),
        ] {
            assert_eq!(connections_within(open_files, taken), expect, "{open_files:?}");
        }
    }
}
