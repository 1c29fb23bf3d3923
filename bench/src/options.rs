//! [`Options`]: the command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::load::{Arrivals, Rate};
use crate::scenario::Kind;
use crate::target::{Header, Target, TargetError};
use crate::wire::{Tls, TlsError, Wire};

const EXAMPLES: &str = "\
Examples:
  larder-bench grpc://127.0.0.1:8980 --pid 4711                  all scenarios on one server
  larder-bench grpc://127.0.0.1:8980 --only read-small --rate 80%
  larder-bench grpcs://cache:443 --tls-ca ca.pem --header 'authorization: Bearer TOKEN'
  larder-bench --compare a=grpc://127.0.0.1:8980 b=grpc://127.0.0.1:9092,pid=4712 --only session

Exit codes: 0; 1 where something went wrong or the first server could not be measured; 2 usage.";

/// Loads REAPI caches and prints latency, throughput, and what it cost: the servers' CPU time and memory, and how that
/// compares with what the machine can do.
#[derive(Debug, Parser)]
#[command(version, args_override_self = true, after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The cache, such as `grpc://127.0.0.1:8980`, with TLS `grpcs://HOST:PORT`
    #[arg(required_unless_present_any = ["compare", "only_limits", "session_of"])]
    target: Option<String>,
    /// Its process, for its CPU time and memory
    #[arg(long, conflicts_with = "compare")]
    pid: Option<u32>,
    /// Its HTTP cache, where that has another address
    #[arg(long, conflicts_with = "compare")]
    http: Option<String>,
    /// The instance that data goes to
    #[arg(long, default_value = "", conflicts_with = "compare")]
    instance: String,
    /// What every call says besides, such as `authorization: Bearer TOKEN`; may be given several times
    #[arg(long, value_name = "NAME:VALUE", conflicts_with = "compare")]
    header: Vec<Header>,
    /// Servers to run in turn and compare, the first with all others:
    /// `NAME=URL[,pid=N][,http=URL][,instance=NAME][,entries=N][,header=NAME:VALUE]`
    #[arg(long, num_args = 1.., value_name = "SERVER", conflicts_with = "target")]
    compare: Vec<Target>,
    /// Who has signed the certificates of servers that speak TLS, as PEM; by default whom this machine trusts
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// What to run; all of them if none is named
    #[arg(long, value_enum, num_args = 1.., value_name = "SCENARIO")]
    pub(crate) only: Vec<Kind>,

    /// How long each scenario is measured, in each round
    #[arg(long, default_value = "3s", value_parser = humantime::parse_duration)]
    pub(crate) duration: Duration,
    /// How long it runs before
    #[arg(long, default_value = "1s", value_parser = humantime::parse_duration)]
    pub(crate) warm_up: Duration,
    /// How many times each server has its turn
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: u32,
    /// The most operations of a round, whatever time is left
    #[arg(long)]
    pub(crate) operations: Option<u64>,
    /// Operations under way at a time; by default 64, of large blobs 4
    #[arg(long)]
    pub(crate) in_flight: Option<usize>,
    /// From how many connections; several are run one after the other. By default 1, for `session` 1, 8 and 64, for `mixed` 8
    #[arg(long, value_delimiter = ',')]
    pub(crate) connections: Vec<usize>,
    /// Threads that make the load; more than one take CPU from a server on the same machine
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: usize,
    /// An open loop: of so many operations a second, or, after each round of the closed loop, of a share of what that reached: 80%
    #[arg(long)]
    pub(crate) rate: Option<Rate>,
    /// How the open loop spreads them
    #[arg(long, value_enum, default_value = "poisson")]
    pub(crate) arrivals: Arrivals,

    /// The largest HTTP/2 frame that the client takes, in KiB; Bazel's is 16
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(16..=16_383))]
    frame_kib: u32,
    /// The data of one message of an upload, in KiB
    #[arg(long, default_value_t = 64)]
    message_kib: usize,
    /// The size of large blobs, in MiB
    #[arg(long, default_value_t = 64)]
    pub(crate) large_mib: usize,
    /// Small blobs of 2 KiB that are read once each. They are cold where the server's memory does not hold them: where a pid is
    /// given, the report says how much came out of files
    #[arg(long, default_value_t = 100_000)]
    pub(crate) cold_blobs: u64,
    /// Entries that `find-missing` and `mixed` find in the store: three of four are blobs of 256 B, one is an action result
    #[arg(long, default_value_t = 10_000)]
    pub(crate) entries: u64,
    /// Of these, so many are what `mixed` looks at, spread over the store: as many as builds ask for at a time. What is not among them
    /// takes no part but by being there; with all of them nothing is found in the server's memory
    #[arg(long, default_value_t = 10_000)]
    pub(crate) working_set: u64,
    /// A session to replay instead of the recorded one, which is of Bazel
    #[arg(long, value_name = "FILE")]
    pub(crate) session: Option<PathBuf>,

    /// Writes all figures as JSON to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Where the limits of the file system are measured: on the servers' disk, for a fair comparison
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    pub(crate) scratch: PathBuf,
    /// Measures what the machine can do, and no server
    #[arg(long)]
    pub(crate) only_limits: bool,
    /// Writes the session of what Bazel logged in builds to standard output, and does nothing else: a log for each, as
    /// `--experimental_remote_grpc_log` writes it
    #[arg(long, num_args = 1.., value_name = "LOG")]
    pub(crate) session_of: Vec<PathBuf>,
}

impl Options {
    /// The servers, in their order.
    pub(crate) fn targets(&self) -> Result<Vec<Target>, TargetError> {
        let targets = match &self.target {
            Some(url) => vec![self.only_target(url)?],
            None => self.compare.clone(),
        };
        if self.tls_ca.is_some() && !targets.iter().any(Target::is_encrypted) {
            return Err(TargetError::Unencrypted);
        }
        Ok(targets)
    }

    fn only_target(&self, url: &str) -> Result<Target, TargetError> {
        let mut target = Target::of("server", url)?;
        // Most servers that speak HTTP have a port of their own for it; Larder has one for both.
        let http = self.http.as_deref().map_or_else(|| Ok(target.grpc.clone()), str::parse)?;
        (target.http, target.pid) = (Some(http), self.pid);
        target.instance.clone_from(&self.instance);
        self.header.iter().cloned().for_each(|header| target.say(header));
        Ok(target)
    }

    /// How the client speaks.
    pub(crate) fn wire(&self) -> Result<Wire, TlsError> {
        Ok(Wire {
            max_frame: (self.frame_kib << 10).min((1 << 24) - 1),
            stream_window: 8 << 20,
            connection_window: 64 << 20,
            tls: Tls::trusting(self.tls_ca.as_deref())?,
        })
    }

    /// The data of one message of an upload.
    pub(crate) fn message_bytes(&self) -> usize {
        self.message_kib.max(1) << 10
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, clap::Error> {
        Options::try_parse_from(std::iter::once("larder-bench").chain(line.split_whitespace()))
    }

    #[test]
    fn one_server_or_several_are_named() {
        let names = |line: &str| -> Option<Vec<String>> {
            let targets = parse(line).ok()?.targets().ok()?;
            Some(targets.into_iter().map(|target| target.name).collect())
        };
        let check = |line: &str, expect: Option<&[&str]>| {
            let expect = expect.map(|names| names.iter().map(|&it| it.to_owned()).collect());
            assert_eq!(names(line), expect, "{line}");
        };
        check("grpc://localhost:1 --pid 7 --rate 80%", Some(&["server"]));
        check("--compare a=grpc://h:1 b=grpc://h:2,pid=3 --only read-small", Some(&["a", "b"]));
        check("--only-limits", Some(&[]));
        check("", None);
        check("--pid 7 --compare a=grpc://h:1", None);
        check("grpc://localhost:1 --compare a=grpc://h:1", None);
        check("localhost:1", None);
        check("grpc://localhost:1 --rate fast", None);
        check("grpc://localhost:1 --duration soon", None);
        check("grpc://localhost:1 --frame-kib 8", None);
    }

    #[test]
    fn http_is_looked_for_at_the_same_port() {
        let http = |line: &str| {
            let target = parse(line).unwrap().targets().unwrap().remove(0);
            let http = target.http.unwrap();
            (http.authority, http.certified.is_some())
        };
        assert_eq!(http("grpc://h:1"), ("h:1".to_owned(), false));
        assert_eq!(http("grpcs://h:1"), ("h:1".to_owned(), true));
        assert_eq!(http("grpcs://h:1 --http http://h:2"), ("h:2".to_owned(), false));
    }

    #[test]
    fn headers_and_authorities_are_for_who_needs_them() {
        let said = |line: &str| parse(line).unwrap().targets().unwrap().remove(0).headers.len();
        assert_eq!(said("grpc://h:1 --header a:b --header c:d --header a:c"), 3);
        assert!(parse("--compare a=grpc://h:1 --header a:b").is_err());
        assert!(parse("grpc://h:1 --header ab").is_err());
        let refused = |line: &str| parse(line).unwrap().targets().err();
        assert_eq!(refused("grpcs://h:1 --tls-ca f"), None);
        assert_eq!(refused("--compare a=grpc://h:1 b=grpcs://h:2 --tls-ca f"), None);
        assert_eq!(refused("grpc://h:1 --tls-ca f"), Some(TargetError::Unencrypted));
    }

    #[test]
    fn connections_are_a_list() {
        assert_eq!(parse("grpc://h:1 --connections 1,8,64").unwrap().connections, [1, 8, 64]);
    }
}
