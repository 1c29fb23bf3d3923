//! [`Config`]: what the server is told, checked; flags over environment over file over defaults.
//!
//! Parse ([`Sources`]) → check (all problems at once) → [`Config`]. Nothing is opened before.

mod access;
mod check;
mod functions;
mod listen;
mod machine;
mod problem;
mod reports;
mod settings;
mod size;
mod sources;
#[cfg(test)]
mod tests;
mod text;
mod value;

use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use larder_disk::EvictionPolicy;

use self::access::Allowance;
pub use self::access::{AuthSettings, ClientAuth, TlsSettings};
pub use self::functions::{DefaultFunction, WeakFunction};
pub use self::listen::{ListenAddress, SocketMode};
pub use self::machine::{DiskRoom, Machine};
pub use self::problem::{Origin, Problem, Problems};
pub use self::reports::{
    AccessLogSettings, AccessLogTarget, Endpoint, Ratio, TraceProtocol, TraceSettings,
};
pub use self::settings::{Fallback, SETTINGS, Setting};
pub use self::size::{ByteSize, ByteSizeError};
pub use self::sources::{CONFIG_VARIABLE, Sources};
pub use self::text::{example_toml, settings_toml};
use self::value::{DurabilityWord, Value};
use crate::fetch::FetchSettings;
use crate::unwaiting::Unwaiting as _;

/// The settings, checked. What each means and what goes wrong with it stands in [`SETTINGS`],
/// under the name of the field.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Config {
    /// Where clients connect; at least one place.
    pub listen: Vec<ListenAddress>,
    /// Who may connect to sockets that are files.
    pub socket_mode: SocketMode,
    /// Where health, metrics and status are read.
    pub admin_listen: SocketAddr,
    /// Where everything is stored.
    pub data_dir: PathBuf,
    /// The limit for the data directory.
    pub max_size: ByteSize,
    /// What makes room for what is new.
    pub eviction: EvictionPolicy,
    /// What the disk keeps free for others.
    pub min_free_disk: ByteSize,
    /// Where a trace is written, if one is.
    pub trace_file: Option<PathBuf>,
    /// The limit for one blob, if there is one.
    pub max_blob_size: Option<ByteSize>,
    /// Digest functions that are served although collisions are known.
    pub weak_digest_functions: Vec<WeakFunction>,
    /// What unmarked hashes mean on instances that differ from the protocol.
    pub default_digest_function: Vec<DefaultFunction>,
    /// What an acknowledged upload survives: `durability` and `sync_interval`.
    pub durability: Durability,
    /// The target for sled's page cache.
    pub index_cache: ByteSize,
    /// What the scrub reads in a second; 0 is off.
    pub scrub_rate: ByteSize,
    /// Threads that serve connections.
    pub workers: NonZeroUsize,
    /// Memory for requests in progress.
    pub max_in_flight: ByteSize,
    /// How long requests in flight may take to end.
    pub drain_timeout: Duration,
    /// Whether listening beyond loopback was allowed.
    pub unsafe_anonymous: bool,
    /// Whether admins may profile.
    pub debug_profiles: bool,
    /// Blobs at rest, and on the way to clients that take zstd.
    pub compression: Compression,
    /// The tier in memory.
    pub hot: Hot,
    /// What may be fetched from origins, if anything.
    pub fetch: Option<FetchSettings>,
    /// What the client port, and perhaps the admin port, is encrypted with.
    pub tls: Option<TlsSettings>,
    /// Who may do what, where anybody is asked.
    pub auth: Option<AuthSettings>,
    /// What is logged and how.
    pub log: Log,
    /// The access log, if there is one.
    pub access_log: Option<AccessLogSettings>,
    /// Spans, if any are sent.
    pub traces: Option<TraceSettings>,
}

/// What an acknowledged upload survives.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Durability {
    /// A crash of the server; a power cut takes what was not yet synced, at this interval.
    Interval(Duration),
    /// Also a power cut.
    Sync,
}

/// Blobs at rest, and on the way to clients that take zstd.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Compression {
    /// zstd's level, 1 to 19.
    pub level: i32,
}

/// The tier in memory.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Hot {
    /// Bytes of blobs and action results; 0 is off.
    pub capacity: ByteSize,
    /// The largest blob that may enter.
    pub max_blob_size: ByteSize,
}

/// What is logged and how.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Log {
    /// Which lines.
    pub level: LogFilter,
    /// In which form.
    pub format: LogFormat,
}

/// A filter that tracing can read, such as `info` or `warn,larder_disk=debug`.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct LogFilter(String);

impl LogFilter {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How a log line looks.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum LogFormat {
    /// Human on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// Checks what the sources say, and fills in what they leave out.
    pub fn check(sources: Sources, machine: &Machine) -> Result<Self, Problems> {
        check::check(sources, machine)
    }

    /// Tells which of the files that the settings name cannot be read. It is no part of [`Self::check`]: a configuration may be
    /// checked where the secrets are not.
    pub fn check_files(&self) -> Result<(), Problems> {
        let (tls, auth) = (self.tls.as_ref(), self.auth.as_ref());
        let files = [
            ("fetch.ca_file", self.fetch.as_ref().and_then(|fetch| fetch.ca_file.as_ref())),
            ("tls.cert_file", tls.map(|tls| &tls.cert_file)),
            ("tls.key_file", tls.map(|tls| &tls.key_file)),
            ("tls.client_ca_file", tls.and_then(|tls| tls.client_ca_file.as_ref())),
            ("auth.credentials_file", auth.and_then(|auth| auth.credentials_file.as_ref())),
            ("traces.ca_file", self.traces.as_ref().and_then(|traces| traces.ca_file.as_ref())),
        ];
        let problem = |(key, path): (_, Option<&PathBuf>)| {
            let path = path?.clone();
            let source = OpenOptions::new().read(true).open_unwaiting(&path).err()?;
            Some(Problem::Unreadable { key, path, source })
        };
        let problems: Vec<_> = files.into_iter().filter_map(problem).collect();
        if problems.is_empty() { Ok(()) } else { Err(Problems(problems)) }
    }

    /// Every setting in effect with its value, in the order of [`SETTINGS`]; one that is off is
    /// left out. Put into [`Sources`], it gives the same configuration again.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let sync_interval = match self.durability {
            Durability::Interval(interval) => Some(interval.show()),
            Durability::Sync => None,
        };
        let fetch = self.fetch.as_ref();
        let (access_log, traces) = (self.access_log.as_ref(), self.traces.as_ref());
        let allow_addresses =
            fetch.map(|fetch| &fetch.allow_addresses).filter(|list| !list.is_empty());
        let (tls, auth) = (self.tls.as_ref(), self.auth.as_ref());
        let credentials_file = auth.and_then(|auth| auth.credentials_file.as_ref());
        let shown = [
            ("listen", Some(self.listen.show())),
            ("socket_mode", Some(self.socket_mode.show())),
            ("admin_listen", Some(self.admin_listen.show())),
            ("data_dir", Some(self.data_dir.show())),
            ("max_size", Some(self.max_size.show())),
            ("eviction", Some(self.eviction.show())),
            ("min_free_disk", Some(self.min_free_disk.show())),
            ("trace_file", self.trace_file.as_ref().map(Value::show)),
            ("max_blob_size", self.max_blob_size.map(|size| size.show())),
            ("weak_digest_functions", listed(&self.weak_digest_functions)),
            ("default_digest_function", listed(&self.default_digest_function)),
            ("durability", Some(DurabilityWord::from(self.durability).show())),
            ("sync_interval", sync_interval),
            ("index_cache", Some(self.index_cache.show())),
            ("scrub_rate", Some(self.scrub_rate.show())),
            ("workers", Some(self.workers.show())),
            ("max_in_flight", Some(self.max_in_flight.show())),
            ("drain_timeout", Some(self.drain_timeout.show())),
            ("unsafe_anonymous", Some(self.unsafe_anonymous.show())),
            ("debug_profiles", Some(self.debug_profiles.show())),
            ("compression.level", Some(self.compression.level.show())),
            ("hot.capacity", Some(self.hot.capacity.show())),
            ("hot.max_blob_size", Some(self.hot.max_blob_size.show())),
            ("fetch.enabled", Some(self.fetch.is_some().show())),
            ("fetch.allow", fetch.map(|fetch| fetch.allow.show())),
            ("fetch.allow_addresses", allow_addresses.map(Value::show)),
            ("fetch.timeout", fetch.map(|fetch| fetch.timeout.show())),
            ("fetch.max_size", fetch.map(|fetch| fetch.max_size.show())),
            ("fetch.unchecked", fetch.map(|fetch| fetch.unchecked.show())),
            ("fetch.ca_file", fetch.and_then(|fetch| fetch.ca_file.as_ref()).map(Value::show)),
            ("tls.cert_file", tls.map(|tls| tls.cert_file.show())),
            ("tls.key_file", tls.map(|tls| tls.key_file.show())),
            (
                "tls.client_ca_file",
                tls.and_then(|tls| tls.client_ca_file.as_ref()).map(Value::show),
            ),
            ("tls.client_auth", Some(tls.map_or(ClientAuth::None, |tls| tls.client_auth).show())),
            ("tls.admin", Some(tls.is_some_and(|tls| tls.admin).show())),
            ("auth.credentials_file", credentials_file.map(Value::show)),
            ("auth.anonymous", auth.map(|auth| Allowance(auth.anonymous).show())),
            ("auth.certificates", Some(Allowance(auth.and_then(|auth| auth.certificates)).show())),
            ("auth.header", auth.and_then(|auth| auth.header.as_ref()).map(Value::show)),
            ("log.level", Some(self.log.level.show())),
            ("log.format", Some(self.log.format.show())),
            ("access_log.to", access_log.map(|access_log| access_log.to.show())),
            ("access_log.sample_ratio", access_log.map(|log| log.sample_ratio.show())),
            ("traces.endpoint", traces.map(|traces| traces.endpoint.show())),
            ("traces.ca_file", traces.and_then(|of| of.ca_file.as_ref()).map(Value::show)),
            ("traces.protocol", traces.map(|traces| traces.protocol.show())),
            ("traces.sample_ratio", traces.map(|traces| traces.sample_ratio.show())),
        ];
        shown.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }
}

/// `None` where there is nothing in the list.
fn listed<T: Value>(list: &Vec<T>) -> Option<String> {
    (!list.is_empty()).then(|| list.show())
}
