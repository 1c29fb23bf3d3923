//! [`check`]: texts in, a [`Config`] out, or everything that is wrong with them.
//!
//! Every setting is read here by its key, gets its type and is held against its limits.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::machine::Machine;
use super::problem::{Origin, Problem, Problems};
use super::settings::{Fallback, Setting};
use super::sources::Sources;
use super::value::{DurabilityWord, Value};
use super::{
    ByteSize, ClientAuth, Compression, Config, DefaultFunction, Durability, Hot, ListenAddress,
    Log, WeakFunction,
};
use crate::fetch::{FetchSettings, HostRules, Networks};

/// Below this not even a few packs fit.
const DATA_SIZE_MIN: ByteSize = ByteSize::mib(16);
const DATA_SIZE_DEFAULT: ByteSize = ByteSize::gib(50);
const MIN_FREE_DISK_DEFAULT: ByteSize = ByteSize::gib(1);
/// Of a small file system one part in this many stays free.
const MIN_FREE_DISK_PART: u64 = 20;
const HOT_CAPACITY_DEFAULT: ByteSize = ByteSize::mib(512);
const HOT_BLOB_DEFAULT: ByteSize = ByteSize::mib(1);
const INDEX_CACHE: RangeInclusive<ByteSize> = ByteSize::mib(1)..=ByteSize::gib(64);
const SCRUB_RATE: RangeInclusive<ByteSize> = ByteSize::bytes(0)..=ByteSize::gib(64);
const SYNC_INTERVAL: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_mins(1);
const IN_FLIGHT_DEFAULT: ByteSize = ByteSize::gib(1);
/// One upload of each kind fits, and a batch.
const IN_FLIGHT_MIN: ByteSize = ByteSize::mib(16);
const DRAIN_TIMEOUT_MAX: Duration = Duration::from_hours(1);
const FETCH_TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(1);
const FETCH_SIZE: RangeInclusive<ByteSize> = ByteSize::bytes(0)..=ByteSize::bytes(u64::MAX);
const ZSTD_LEVELS: RangeInclusive<i32> = 1..=19;
const WORKERS_MAX: NonZeroUsize = NonZeroUsize::new(1024).expect("it is not zero");

/// Texts in, a [`Config`] out, or everything that is wrong with them.
pub(super) fn check(mut sources: Sources, machine: &Machine) -> Result<Config, Problems> {
    let problems = std::mem::take(&mut sources.problems);
    let mut reader = Reader { sources, problems };
    let tls = reader.tls();
    let client_auth =
        tls.as_ref().ok().and_then(Option::as_ref).map_or(ClientAuth::None, |tls| tls.client_auth);
    let auth = reader.auth(client_auth);
    // Where the settings of auth are wrong, that is the problem to solve first.
    let asks = if auth.as_ref().map_or(true, Option::is_some) { Asks::Yes } else { Asks::No };
    let addresses = reader.addresses(asks);
    let socket_mode = reader.value("socket_mode");
    let data_dir = reader.data_dir(machine);
    let max_size = reader.max_size(data_dir.as_deref(), machine);
    let eviction = reader.value("eviction");
    let min_free_disk = reader.min_free_disk(data_dir.as_deref(), machine);
    let trace_file = reader.value_or("trace_file", || None);
    let max_blob_size = reader.max_blob_size(max_size);
    let functions = reader.functions();
    let durability = reader.durability();
    let index_cache = reader.within("index_cache", INDEX_CACHE);
    let scrub_rate = reader.within("scrub_rate", SCRUB_RATE);
    let workers = reader.value_or("workers", || Some(machine.cores));
    let workers = reader.held(workers, "workers", NonZeroUsize::MIN..=WORKERS_MAX);
    let max_in_flight = reader.max_in_flight(machine);
    let drain_timeout = reader.within("drain_timeout", Duration::ZERO..=DRAIN_TIMEOUT_MAX);
    let debug_profiles = reader.value("debug_profiles");
    let level = reader.within("compression.level", ZSTD_LEVELS);
    let hot = reader.hot(max_size, machine);
    let fetch = reader.fetch();
    let log = reader.log();
    let access_log = reader.access_log();
    let traces = reader.traces();
    reader.finish(|| {
        let (listen, admin_listen, unsafe_anonymous) = addresses?;
        let (weak_digest_functions, default_digest_function) = functions?;
        let (is_fetching, fetch) = fetch?;
        Some(Config {
            listen,
            socket_mode: socket_mode?,
            admin_listen,
            unsafe_anonymous,
            data_dir: data_dir?,
            max_size: max_size?,
            eviction: eviction?,
            min_free_disk: min_free_disk?,
            trace_file,
            max_blob_size,
            weak_digest_functions,
            default_digest_function,
            durability: durability?,
            index_cache: index_cache?,
            scrub_rate: scrub_rate?,
            workers: workers?,
            max_in_flight: max_in_flight?,
            drain_timeout: drain_timeout?,
            debug_profiles: debug_profiles?,
            compression: Compression { level: level? },
            hot: hot?,
            fetch: is_fetching.then_some(fetch),
            tls: tls.ok()?,
            auth: auth.ok()?,
            log: log?,
            access_log,
            traces,
        })
    })
}

/// Reads settings one by one; each `None` it gives has left a problem.
pub(super) struct Reader {
    sources: Sources,
    pub(super) problems: Vec<Problem>,
}

/// Whether clients are asked who they are.
#[derive(Copy, Clone, Eq, PartialEq)]
enum Asks {
    Yes,
    No,
}

impl Reader {
    fn addresses(&mut self, asks: Asks) -> Option<(Vec<ListenAddress>, SocketAddr, bool)> {
        let listen: Option<Vec<ListenAddress>> = self.value("listen");
        let admin_listen: Option<SocketAddr> = self.value("admin_listen");
        let unsafe_anonymous = self.value("unsafe_anonymous");
        let is_exposed = |address: &SocketAddr| !address.ip().to_canonical().is_loopback();
        if unsafe_anonymous == Some(false) && asks == Asks::No {
            let addresses = listen.iter().flatten().filter_map(ListenAddress::tcp);
            let addresses = addresses.map(|address| ("listen", address));
            let addresses = addresses.chain(admin_listen.map(|address| ("admin_listen", address)));
            let exposed = addresses.filter(|(_, address)| is_exposed(address));
            self.problems.extend(exposed.map(|(key, address)| Problem::Exposed { key, address }));
        }
        if let Some(address) = admin_listen
            && listen.iter().flatten().any(|listen| listen.tcp() == admin_listen)
            && address.port() != 0
        {
            self.problems.push(Problem::SameAddress { address });
        }
        Some((listen?, admin_listen?, unsafe_anonymous?))
    }

    fn data_dir(&mut self, machine: &Machine) -> Option<PathBuf> {
        let default = machine.cache_dir.as_ref().map(|cache_dir| cache_dir.join("larder"));
        if default.is_none() && self.text("data_dir").is_none() {
            let missing = "the user has no home directory";
            self.problems.push(Problem::NoDefault { key: "data_dir", missing });
        }
        self.value_or("data_dir", || default)
    }

    fn max_size(&mut self, data_dir: Option<&Path>, machine: &Machine) -> Option<ByteSize> {
        let size = self.value_or("max_size", || {
            let room = (machine.disk_room)(data_dir?)?;
            // What the cache already took counts as room, or the limit would fall at every start.
            let half_bytes = room.free.as_bytes().saturating_add(room.used.as_bytes()) / 2;
            Some(DATA_SIZE_DEFAULT.min(ByteSize::mib(half_bytes >> 20)))
        });
        if size.is_none() && data_dir.is_some() && self.text("max_size").is_none() {
            let missing = "the free space of the data directory cannot be read";
            self.problems.push(Problem::NoDefault { key: "max_size", missing });
        }
        self.held(size, "max_size", DATA_SIZE_MIN..=ByteSize::bytes(u64::MAX))
    }

    fn min_free_disk(&mut self, data_dir: Option<&Path>, machine: &Machine) -> Option<ByteSize> {
        let disk = data_dir.and_then(machine.disk_size);
        let size = self.value_or("min_free_disk", || {
            let part = disk.map(|disk| ByteSize::mib((disk.as_bytes() / MIN_FREE_DISK_PART) >> 20));
            Some(part.unwrap_or(MIN_FREE_DISK_DEFAULT).min(MIN_FREE_DISK_DEFAULT))
        });
        if let (Some(size), Some(disk), Some((origin, _))) =
            (size, disk, self.text("min_free_disk"))
            && disk.as_bytes().saturating_sub(size.as_bytes()) < DATA_SIZE_MIN.as_bytes()
        {
            self.problems.push(Problem::NoRoom { size, disk, least: DATA_SIZE_MIN, origin });
        }
        size
    }

    /// `None` is no limit.
    fn max_blob_size(&mut self, max_size: Option<ByteSize>) -> Option<ByteSize> {
        let size = self.value_or("max_blob_size", || None);
        let limit = max_size.unwrap_or(ByteSize::bytes(u64::MAX));
        self.held(size, "max_blob_size", ByteSize::bytes(1)..=limit)
    }

    fn functions(&mut self) -> Option<(Vec<WeakFunction>, Vec<DefaultFunction>)> {
        let weak: Option<Vec<WeakFunction>> =
            self.value_or("weak_digest_functions", || Some(vec![]));
        let defaults: Option<Vec<DefaultFunction>> =
            self.value_or("default_digest_function", || Some(vec![]));
        let (weak, defaults) = (weak?, defaults?);
        for (position, default) in defaults.iter().enumerate() {
            let function = default.function;
            if function.is_weak() && !weak.contains(&WeakFunction(function)) {
                self.problems.push(Problem::NotAllowed { function });
            }
            if let Some(other) =
                defaults[..position].iter().find(|other| other.contradicts(default))
            {
                let (first, second) = (other.show(), default.show());
                self.problems.push(Problem::Contradiction { first, second });
            }
        }
        Some((weak, defaults))
    }

    fn durability(&mut self) -> Option<Durability> {
        let word = self.value("durability");
        let interval = self.within("sync_interval", SYNC_INTERVAL);
        match word? {
            DurabilityWord::Interval => Some(Durability::Interval(interval?)),
            DurabilityWord::Sync => Some(Durability::Sync),
        }
    }

    fn max_in_flight(&mut self, machine: &Machine) -> Option<ByteSize> {
        let quarter = ByteSize::bytes(machine.memory.as_bytes() / 4);
        let default = IN_FLIGHT_DEFAULT.min(quarter).max(IN_FLIGHT_MIN);
        let size = self.value_or("max_in_flight", || Some(default));
        self.held(size, "max_in_flight", IN_FLIGHT_MIN..=machine.memory.max(IN_FLIGHT_MIN))
    }

    fn hot(&mut self, max_size: Option<ByteSize>, machine: &Machine) -> Option<Hot> {
        let default = || {
            let eighth = ByteSize::bytes(machine.memory.as_bytes() / 8);
            // A hot tier as large as the store would hold everything twice.
            let quarter = max_size.map(|size| ByteSize::bytes(size.as_bytes() / 4));
            Some(HOT_CAPACITY_DEFAULT.min(eighth).min(quarter.unwrap_or(eighth)))
        };
        let capacity = self.value_or("hot.capacity", default);
        let capacity = self.held(capacity, "hot.capacity", ByteSize::bytes(0)..=machine.memory);
        let limit = capacity.unwrap_or(ByteSize::bytes(u64::MAX));
        let blob = self.value_or("hot.max_blob_size", || Some(HOT_BLOB_DEFAULT.min(limit)));
        let blob = self.held(blob, "hot.max_blob_size", ByteSize::bytes(0)..=limit);
        Some(Hot { capacity: capacity?, max_blob_size: blob? })
    }

    /// Whether it is on, and what then holds.
    fn fetch(&mut self) -> Option<(bool, FetchSettings)> {
        let enabled = self.value("fetch.enabled");
        let allow = self.value_or("fetch.allow", || Some(HostRules::default()));
        let allow_addresses = self.value_or("fetch.allow_addresses", || Some(Networks::default()));
        let timeout = self.within("fetch.timeout", FETCH_TIMEOUT);
        let max_size = self.within("fetch.max_size", FETCH_SIZE);
        let unchecked = self.value("fetch.unchecked");
        let ca_file = self.value_or("fetch.ca_file", || None);
        if enabled == Some(true) && allow.as_ref().is_some_and(HostRules::is_empty) {
            self.problems.push(Problem::NoHostAllowed);
        }
        let settings = FetchSettings {
            allow: allow?,
            allow_addresses: allow_addresses?,
            timeout: timeout?,
            max_size: max_size?,
            unchecked: unchecked?,
            ca_file,
        };
        Some((enabled?, settings))
    }

    fn log(&mut self) -> Option<Log> {
        let level = self.value("log.level");
        let format = self.value("log.format");
        Some(Log { level: level?, format: format? })
    }

    fn finish(self, build: impl FnOnce() -> Option<Config>) -> Result<Config, Problems> {
        if !self.problems.is_empty() {
            return Err(Problems(self.problems));
        }
        Ok(build().expect("a setting without a value has left a problem"))
    }

    fn text(&self, key: &'static str) -> Option<(Origin, String)> {
        let (origin, text) = self.sources.strongest(key)?;
        Some((origin.clone(), text.to_owned()))
    }

    /// Whether any source gives it.
    pub(super) fn is_said(&self, key: &'static str) -> bool {
        self.sources.strongest(key).is_some()
    }

    /// A setting whose fallback is a text.
    pub(super) fn value<T: Value>(&mut self, key: &'static str) -> Option<T> {
        let setting = Setting::find(key).expect("the key is in the table");
        let (origin, text) = match (self.text(key), setting.fallback) {
            (Some(said), _) => said,
            (None, Fallback::Text(text)) => (Origin::Default, text.to_owned()),
            (None, Fallback::Machine(_) | Fallback::Off) => return None,
        };
        let value = T::read(&text);
        if value.is_none() {
            self.problems.push(Problem::Malformed {
                key,
                value: text,
                expected: T::EXPECTED,
                origin,
            });
        }
        value
    }

    /// A setting whose fallback comes from the machine.
    pub(super) fn value_or<T: Value>(
        &mut self,
        key: &'static str,
        fallback: impl FnOnce() -> Option<T>,
    ) -> Option<T> {
        if self.text(key).is_some() { self.value(key) } else { fallback() }
    }

    fn within<T: Value + PartialOrd>(
        &mut self,
        key: &'static str,
        limits: RangeInclusive<T>,
    ) -> Option<T> {
        let value = self.value(key);
        self.held(value, key, limits)
    }

    /// The value if it is within its limits.
    pub(super) fn held<T: Value + PartialOrd>(
        &mut self,
        value: Option<T>,
        key: &'static str,
        limits: RangeInclusive<T>,
    ) -> Option<T> {
        let value = value?;
        let (side, limit) = match &value {
            value if value < limits.start() => ("below", limits.start()),
            value if value > limits.end() => ("over", limits.end()),
            _ => return Some(value),
        };
        let origin = self.text(key).map_or(Origin::Default, |(origin, _)| origin);
        self.problems.push(Problem::OutOfRange {
            key,
            value: value.show(),
            side,
            limit: limit.show(),
            origin,
        });
        None
    }
}
