//! [`SETTINGS`]: every setting there is, declared once.
//!
//! A flag, an environment variable, the key in the file, the help text and `larder.example.toml`
//! are all derived from this table; `check.rs` gives each value its type and its limits.

/// One setting: what it is called, what it does, what goes wrong.
#[derive(Debug)]
pub struct Setting {
    /// The path in the file, such as `hot.capacity`.
    pub key: &'static str,
    /// What stands for the value in the help text.
    pub value_name: &'static str,
    /// What holds where no source says anything.
    pub fallback: Fallback,
    /// What it is, in one sentence.
    pub help: &'static str,
    /// What too small or too large looks like, or what else to know.
    pub advice: &'static str,
}

/// The value of a setting that no source gives.
#[derive(Copy, Clone, Debug)]
pub enum Fallback {
    /// This text.
    Text(&'static str),
    /// Found from the machine, in this way.
    Machine(&'static str),
    /// Nothing: the feature is off.
    Off,
}

impl Setting {
    /// Without the leading dashes: `hot-capacity`.
    pub fn flag(&self) -> String {
        self.key.replace(['.', '_'], "-")
    }

    /// `LARDER_HOT_CAPACITY`.
    pub fn variable(&self) -> String {
        format!("LARDER_{}", self.key.replace('.', "_").to_ascii_uppercase())
    }

    /// A switch may stand on the command line without a value.
    pub fn is_switch(&self) -> bool {
        self.value_name == "BOOL"
    }

    /// A list has commas between its items, and may be given several times on the command line.
    pub fn is_list(&self) -> bool {
        self.value_name.ends_with(",…")
    }

    /// The setting of that name.
    pub fn find(key: &str) -> Option<&'static Setting> {
        SETTINGS.iter().find(|setting| setting.key == key)
    }
}

/// In the order of the help text and of the example file; those of a section stand together.
pub const SETTINGS: &[Setting] = &[
    Setting {
        key: "listen",
        value_name: "ADDRESS,…",
        fallback: Fallback::Text("127.0.0.1:8980"),
        help: "Where clients connect: gRPC and the HTTP/1.1 cache on each address, or on a unix socket \
               such as unix:/run/larder.sock.",
        advice: "Port 0 takes a free one. Beyond loopback only with auth or tls.client_auth, or with \
                 unsafe_anonymous: anyone who can connect can then read and write the cache.",
    },
    Setting {
        key: "socket_mode",
        value_name: "MODE",
        fallback: Fallback::Text("0600"),
        help: "Who may connect to the unix sockets in listen, as the permissions of their files.",
        advice: "0660 lets in the group of the directory or of the server, 0666 every user of the machine.",
    },
    Setting {
        key: "admin_listen",
        value_name: "ADDRESS",
        fallback: Fallback::Text("127.0.0.1:8981"),
        help: "Where health, metrics and status are read: /livez, /readyz, /metrics, /statusz.",
        advice: "Beyond loopback only as listen. Shows counters to whoever connects; settings to whoever \
                 may read; what purges and evicts wants the role admin, or loopback where no auth is set.",
    },
    Setting {
        key: "data_dir",
        value_name: "DIR",
        fallback: Fallback::Machine("larder in the user's cache directory"),
        help: "Where blobs and action results are stored; created if need be.",
        advice: "One server at a time. On a network file system restarts and evictions are slow.",
    },
    Setting {
        key: "max_size",
        value_name: "SIZE",
        fallback: Fallback::Machine("50GiB, or half of the disk space it can have if that is less"),
        help: "How much disk the data directory may take; eviction says what goes first.",
        advice: "Too small: larder_disk_evictions_total grows all day and yesterday's \
                 build is cold. Too large: the disk fills and uploads end with RESOURCE_EXHAUSTED.",
    },
    Setting {
        key: "eviction",
        value_name: "lru|lfu|arc|s3-fifo",
        fallback: Fallback::Text("lfu"),
        help: "What goes first when the limit is met: what was asked for longest ago, or least, or by \
               rules that tell newcomers from what comes back.",
        advice: "Record a trace with trace_file and compare with larder-replay before changing it.",
    },
    Setting {
        key: "min_free_disk",
        value_name: "SIZE",
        fallback: Fallback::Machine("1GiB, or a twentieth of the file system if that is less"),
        help: "What the file system of data_dir keeps free for others; below it the cache shrinks.",
        advice: "Too small: what else is on the disk fails when it is full. Too large: the cache \
                 empties itself and larder_disk_evictions_total grows. 0 turns the guard off.",
    },
    Setting {
        key: "trace_file",
        value_name: "FILE",
        fallback: Fallback::Off,
        help: "Where a trace of what clients ask is written, for larder-replay.",
        advice: "Takes about 30 B a request, at most 1GiB. Whoever reads it can tell whether a blob he \
                 has was asked for.",
    },
    Setting {
        key: "max_blob_size",
        value_name: "SIZE",
        fallback: Fallback::Off,
        help: "The largest blob that is accepted; without it, any that fits.",
        advice: "Too small: uploads of large outputs are refused and their actions run every time.",
    },
    Setting {
        key: "weak_digest_functions",
        value_name: "FUNCTION,…",
        fallback: Fallback::Off,
        help: "Digest functions served although collisions are known: SHA1, MD5, GITSHA1.",
        advice: "Whoever can make two files with one hash can have the other one's build take the \
                 wrong file. GITSHA1 is git's name of a file; directories stay messages.",
    },
    Setting {
        key: "default_digest_function",
        value_name: "INSTANCE=FUNCTION,…",
        fallback: Fallback::Off,
        help: "What hashes mean on an instance where the client does not say: 64 digits SHA256, BLAKE3 \
               or SHA256TREE, 40 digits SHA1 or GITSHA1.",
        advice: "For Buck2, which never says: buck=BLAKE3, or =BLAKE3 for the empty instance name. \
                 SHA256 is then no longer announced on that instance. Wrong: uploads end with a \
                 digest mismatch.",
    },
    Setting {
        key: "durability",
        value_name: "interval|sync",
        fallback: Fallback::Text("interval"),
        help: "What an acknowledged upload survives: a crash of the server, or also a power cut.",
        advice: "interval syncs every sync_interval, and what a power cut takes is a miss, never a \
                 wrong byte. sync syncs before each answer; small uploads then take the disk's \
                 flush latency.",
    },
    Setting {
        key: "sync_interval",
        value_name: "DURATION",
        fallback: Fallback::Text("1s"),
        help: "How often written data is synced to the disk, with durability interval.",
        advice: "Too small: the disk is busy with flushes. Too large: a power cut takes more.",
    },
    Setting {
        key: "index_cache",
        value_name: "SIZE",
        fallback: Fallback::Text("64MiB"),
        help: "Memory for pages of the index on disk; look-ups use their own table.",
        advice: "Too small: a restart and bursts of uploads read the index from the disk.",
    },
    Setting {
        key: "scrub_rate",
        value_name: "SIZE",
        fallback: Fallback::Text("8MiB"),
        help: "How much the scrub reads in a second, looking for what has rotten on the disk; 0 turns \
               it off.",
        advice: "It gives way to clients, and begins a round at most once a day. Too small: a round \
                 takes weeks, and rot is found by who asks for it. Too large: the disk is busy \
                 with it; larder_disk_scrub_bytes_total shows what it reads.",
    },
    Setting {
        key: "workers",
        value_name: "COUNT",
        fallback: Fallback::Machine("the number of cores"),
        help: "Threads that serve connections, each with a runtime of its own.",
        advice: "Too few: cores idle under load. More than cores: latency rises, throughput does \
                 not.",
    },
    Setting {
        key: "max_in_flight",
        value_name: "SIZE",
        fallback: Fallback::Machine("1GiB, or a quarter of the memory if that is less"),
        help: "Memory for the messages and blobs of all requests in progress together.",
        advice: "Too small: larder_in_flight_waits_total grows, and with it the time of uploads; \
                 requests that wait too long end with RESOURCE_EXHAUSTED. Too large: a burst of \
                 uploads takes the memory that the page cache and the index need.",
    },
    Setting {
        key: "drain_timeout",
        value_name: "DURATION",
        fallback: Fallback::Text("30s"),
        help: "How long requests in flight may take to end after SIGTERM.",
        advice: "Too small: long uploads are cut. Larger than the grace period of what stops the \
                 server: it is killed while it waits.",
    },
    Setting {
        key: "unsafe_anonymous",
        value_name: "BOOL",
        fallback: Fallback::Text("false"),
        help: "Allow listening beyond loopback without authentication.",
        advice: "For closed networks: whoever can write the cache decides what everyone's builds \
                 take from it.",
    },
    Setting {
        key: "debug_profiles",
        value_name: "BOOL",
        fallback: Fallback::Text("false"),
        help: "Let admins profile the running server: /debug/pprof/profile, /debug/pprof/heap and their \
               flamegraphs on admin_listen.",
        advice: "Costs memory: the first profiles of CPU and memory take some 130MiB, twice as much where \
                 the program has debug information, which the process keeps; leave room for it below the \
                 control group's limit. Costs calls up to 2 % of CPU. Where no auth is set, whoever is on \
                 the machine is an admin.",
    },
    Setting {
        key: "compression.level",
        value_name: "LEVEL",
        fallback: Fallback::Text("1"),
        help: "zstd's level for blobs at rest and for compressed reads of blobs that are not, 1 to 19.",
        advice: "Too large: uploads, and reads of blobs fresh in memory, take CPU many times over \
                 for a few per cent of disk and network.",
    },
    Setting {
        key: "hot.capacity",
        value_name: "SIZE",
        fallback: Fallback::Machine(
            "512MiB, or an eighth of the memory or a quarter of max_size if that is less",
        ),
        help: "Memory for the hottest blobs and action results; the index is not counted.",
        advice: "Too small: blobs that every build reads come from the disk each time. Too large: \
                 the page cache, which helps every read, shrinks. 0 turns the tier off.",
    },
    Setting {
        key: "hot.max_blob_size",
        value_name: "SIZE",
        fallback: Fallback::Machine("1MiB, or hot.capacity if that is less"),
        help: "The largest blob that enters the hot tier.",
        advice: "Too large: one big artifact pushes thousands of small blobs out.",
    },
    Setting {
        key: "fetch.enabled",
        value_name: "BOOL",
        fallback: Fallback::Text("false"),
        help: "Fetch from origins over http and https what Remote Asset clients ask for by URI and \
               nobody has pushed.",
        advice: "The server then connects to where clients say, as far as fetch.allow goes. \
                 larder_fetches_total counts how it ends.",
    },
    Setting {
        key: "fetch.allow",
        value_name: "HOST,…",
        fallback: Fallback::Off,
        help: "The hosts that may be asked: github.com, *.example.com for all below it, \
               mirror.corp:8443 where the port is not the scheme's.",
        advice: "Redirects are held against it too: releases of GitHub also need \
                 *.githubusercontent.com. * allows every public host.",
    },
    Setting {
        key: "fetch.allow_addresses",
        value_name: "NETWORK,…",
        fallback: Fallback::Off,
        help: "Addresses that are not public and may be connected to all the same, such as 10.1.0.0/16.",
        advice: "Without it nothing is fetched from loopback, link-local, private, multicast and other \
                 special addresses, whatever name leads there. Whoever may fetch can reach what you list.",
    },
    Setting {
        key: "fetch.timeout",
        value_name: "DURATION",
        fallback: Fallback::Text("5m"),
        help: "How long a fetch may take; what clients ask for is cut to it.",
        advice: "Too small: large archives from slow mirrors end with DEADLINE_EXCEEDED. Too large: \
                 origins that hang hold their places, of which there are 32.",
    },
    Setting {
        key: "fetch.max_size",
        value_name: "SIZE",
        fallback: Fallback::Text("2GiB"),
        help: "The largest body that is fetched; max_blob_size holds as well.",
        advice: "Too small: fetches of large archives end with RESOURCE_EXHAUSTED.",
    },
    Setting {
        key: "fetch.unchecked",
        value_name: "BOOL",
        fallback: Fallback::Text("false"),
        help: "Fetch also without checksum.sri.",
        advice: "Whoever answers for the host, or sits on the way to it over http, then decides what \
                 every client of the instance gets for that URI.",
    },
    Setting {
        key: "fetch.ca_file",
        value_name: "FILE",
        fallback: Fallback::Off,
        help: "Certificates of authorities, as PEM, that are trusted for https besides the system's.",
        advice: "Read at the start only.",
    },
    Setting {
        key: "tls.cert_file",
        value_name: "FILE",
        fallback: Fallback::Off,
        help: "The server's certificate with its chain, as PEM; listen then speaks TLS only, its unix \
               sockets aside.",
        advice: "Read again when it changes; one that cannot be used is logged and counted in \
                 larder_tls_reloads_total, and the one before stays.",
    },
    Setting {
        key: "tls.key_file",
        value_name: "FILE",
        fallback: Fallback::Off,
        help: "The private key of tls.cert_file, as PEM.",
        advice: "Should be readable by the server alone.",
    },
    Setting {
        key: "tls.client_ca_file",
        value_name: "FILE",
        fallback: Fallback::Off,
        help: "Certificates of the authorities that clients' certificates are held against, as PEM.",
        advice: "Read again when it changes, like tls.cert_file. tls.client_auth says whether clients \
                 must show one.",
    },
    Setting {
        key: "tls.client_auth",
        value_name: "none|optional|required",
        fallback: Fallback::Text("none"),
        help: "Whether clients show a certificate of tls.client_ca_file.",
        advice: "optional lets others in with credentials. required ends the handshake of those without, \
                 health checks included.",
    },
    Setting {
        key: "tls.admin",
        value_name: "BOOL",
        fallback: Fallback::Text("false"),
        help: "Speak TLS on admin_listen too, without asking for clients' certificates.",
        advice: "Probes and scrapers then need https.",
    },
    Setting {
        key: "auth.credentials_file",
        value_name: "FILE",
        fallback: Fallback::Off,
        help: "Who may do what: a line for each name, with its role and the hash of its secret, as \
               larder hash-credential writes it.",
        advice: "Read again when it changes; one with a mistake, or with nothing in it, is logged and counted in \
                 larder_credentials_reloads_total, and the one before stays. Without tls.cert_file the \
                 secrets pass over the network in plain text.",
    },
    Setting {
        key: "auth.anonymous",
        value_name: "none|read",
        fallback: Fallback::Off,
        help: "What those may do who show neither credentials nor a certificate, once any auth is set.",
        advice: "Without it: nothing. read alone makes a cache that nobody can write.",
    },
    Setting {
        key: "auth.certificates",
        value_name: "none|read|write",
        fallback: Fallback::Text("none"),
        help: "What clients may do whose certificate is of tls.client_ca_file and in no line of the \
               credentials file.",
        advice: "write trusts every certificate that the authority ever signs.",
    },
    Setting {
        key: "auth.header",
        value_name: "HEADER",
        fallback: Fallback::Off,
        help: "A header that carries a token, beside authorization, for clients that can send no other.",
        advice: "Such as x-api-key.",
    },
    Setting {
        key: "log.level",
        value_name: "FILTER",
        fallback: Fallback::Text("info"),
        help: "What is logged: error, warn, info, debug, trace, or a filter for each module.",
        advice: "Such as info,larder_disk=debug. debug writes a line for each connection.",
    },
    Setting {
        key: "log.format",
        value_name: "auto|human|json",
        fallback: Fallback::Text("auto"),
        help: "How it is logged; auto is human on a terminal and JSON otherwise.",
        advice: "Logs go to standard error. While nobody reads it, lines are dropped and \
                 larder_log_dropped_lines_total counts them.",
    },
    Setting {
        key: "access_log.to",
        value_name: "FILE|stderr",
        fallback: Fallback::Off,
        help: "Where a line of JSON is written for each request that has ended.",
        advice: "The file is appended to, so that logrotate's copytruncate works. A disk or a pipe that \
                 stalls costs lines, never requests: larder_access_log_dropped_events_total grows.",
    },
    Setting {
        key: "access_log.sample_ratio",
        value_name: "RATIO",
        fallback: Fallback::Text("1"),
        help: "The share of requests that have a line, from 0 to 1; those that ended in an error all do.",
        advice: "A miss is no error, nor is a request that its client gave up. A line takes about 300 B.",
    },
    Setting {
        key: "traces.endpoint",
        value_name: "URL",
        fallback: Fallback::Off,
        help: "The OpenTelemetry collector that spans are sent to, such as http://127.0.0.1:4317; https \
               encrypts them.",
        advice: "While it does not answer, larder_otlp_dropped_spans_total grows and nothing waits. It is \
                 not told who sends: one that asks for a token needs an agent between.",
    },
    Setting {
        key: "traces.ca_file",
        value_name: "FILE",
        fallback: Fallback::Off,
        help: "Certificates of authorities, as PEM, that are trusted for an https traces.endpoint \
               besides the system's.",
        advice: "Read at the start only.",
    },
    Setting {
        key: "traces.protocol",
        value_name: "grpc|http",
        fallback: Fallback::Text("grpc"),
        help: "What the collector speaks: OTLP over gRPC, or protobuf over HTTP.",
        advice: "By custom gRPC is on port 4317 and HTTP on 4318, where /v1/traces is added to an \
                 address without a path.",
    },
    Setting {
        key: "traces.sample_ratio",
        value_name: "RATIO",
        fallback: Fallback::Text("0.01"),
        help: "The share of requests that have spans, from 0 to 1, where the client does not decide.",
        advice: "A client that sends traceparent decides by its sampled flag. A sampled request costs \
                 some ten microseconds.",
    },
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_follow_from_the_key() {
        let setting = Setting::find("hot.max_blob_size").unwrap();
        assert_eq!(setting.flag(), "hot-max-blob-size");
        assert_eq!(setting.variable(), "LARDER_HOT_MAX_BLOB_SIZE");
    }

    #[test]
    fn no_two_settings_share_a_flag() {
        let flags: HashSet<_> = SETTINGS.iter().map(Setting::flag).collect();
        assert_eq!(flags.len(), SETTINGS.len());
    }
}
