//! The conformance kit on the binary under test: every case must pass, over TCP, over a unix socket, at a named instance, and with
//! all that is off by default; the attacks too, on a server of their own whose memory is held against a bound.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Parser;

use crate::conformance::{self, Arguments};
use crate::error::{CompatError, Unmet};
use crate::lab::Lab;
use crate::larder::{Larder, Launch};
use crate::limits::{Memory, Mib};
use crate::neighbour::free_address;
use crate::report::Report;

/// What the command line calls it.
pub(crate) const NAME: &str = "conformance";

/// What the server of the attacks may have in messages and blobs of requests in progress, and in its hot tier. 200 idle uploads
/// take some 256 MiB; as long as they hold all there is, others wait.
const IN_FLIGHT: Mib = Mib(512);
const HOT: Mib = Mib(64);
/// What it may have besides: its code, connections, the memory of action results and trees, and what the allocator keeps.
const FIXED: Mib = Mib(128);

/// Cases that may be skipped, and why. All others must pass.
const MAY_SKIP: &[(&str, &str)] = &[(
    "client.buck2.unmarked-blake3",
    "Larder announces SHA256 too, and that is what unmarked hashes mean",
)];
/// The same where only the defaults are on.
const OFF_BY_DEFAULT: &[(&str, &str)] = &[
    ("digest.sha1", "weak functions are off by default"),
    ("digest.md5", "weak functions are off by default"),
    ("digest.gitsha1", "weak functions are off by default"),
    ("bytestream.write.above-blob-limit", "there is no limit by default"),
];

/// Runs the kit over every transport, and its attacks.
pub(crate) fn run(lab: &Lab, report: &mut Report<'_>) -> Result<(), CompatError> {
    defaults(lab, report)?;
    let settings = vec![
        ("weak_digest_functions", "SHA1,MD5,GITSHA1".to_owned()),
        ("max_blob_size", "128MiB".to_owned()),
    ];
    report.case(&format!("{NAME}/all-on"), || {
        let (dir, larder) = launch(lab, "all-on", settings)?;
        let (grpc, http) = targets(larder.address());
        let seen = check(&dir, "all-on", &[&grpc, "--http", &http], &[MAY_SKIP])?;
        larder.stop()?;
        Ok(seen)
    });
    report.case(&format!("{NAME}/hostile"), || hostile(lab));
    Ok(())
}

/// With the defaults, over TCP, over a unix socket and at a named instance.
fn defaults(lab: &Lab, report: &mut Report<'_>) -> Result<(), CompatError> {
    // The path of a socket has room for about 100 bytes, and that of the lab may be longer.
    let sockets = tempfile::tempdir().map_err(CompatError::io(lab.server()))?;
    let socket = sockets.path().join("larder.sock");
    let unix = format!("unix:{}", socket.display());
    let address = free_address().map_err(CompatError::io(&socket))?;
    let (dir, larder) = launch(lab, "defaults", vec![("listen", format!("{address},{unix}"))])?;
    let (grpc, http) = targets(address);
    let ways = [
        ("tcp", vec![grpc.as_str(), "--http", &http]),
        ("unix", vec![&unix, "--http", &unix]),
        ("instance", vec![&grpc, "--http", &http, "--instance", "some/instance"]),
    ];
    for (way, target) in ways {
        report.case(&format!("{NAME}/{way}"), || {
            check(&dir, way, &target, &[MAY_SKIP, OFF_BY_DEFAULT])
        });
    }
    larder.stop()
}

/// The attacks: honest clients are served all the while, and the server takes no more memory than it should.
fn hostile(lab: &Lab) -> Result<String, CompatError> {
    let settings = vec![
        ("max_in_flight", format!("{}MiB", IN_FLIGHT.0)),
        ("hot.capacity", format!("{}MiB", HOT.0)),
    ];
    let (dir, larder) = launch(lab, "hostile", settings)?;
    let (grpc, http) = targets(larder.address());
    let target = [&grpc, "--http", &http, "--include", "hostile", "--only", "hostile"];
    let seen = check(&dir, "hostile", &target, &[])?;
    let peak = Memory::of(larder.pid()).peak()?;
    let bound = Mib(IN_FLIGHT.0 + HOT.0 + FIXED.0);
    if peak > bound {
        let parts = format!("max_in_flight {IN_FLIGHT}, hot.capacity {HOT} and {FIXED}");
        let text = format!("expected at most {bound} resident ({parts}), got {peak}");
        let log = larder.log().to_owned();
        return Err(CompatError::Unmet { unmet: vec![Unmet::new(text)], log });
    }
    larder.stop()?;
    Ok(format!("{seen}, at most {peak} resident (bound {bound})"))
}

/// A server with these settings, and its folder.
fn launch(
    lab: &Lab,
    name: &str,
    settings: Vec<(&'static str, String)>,
) -> Result<(PathBuf, Larder), CompatError> {
    let dir = lab.dir(&format!("{NAME}/{name}"))?;
    let launch = Launch { wrapper: Vec::new(), settings, data_dir: dir.join("data") };
    let larder = Larder::launch(lab, &dir, launch)?;
    Ok((dir, larder))
}

/// Where it is for gRPC, and for HTTP.
fn targets(address: SocketAddr) -> (String, String) {
    (format!("grpc://{address}"), format!("http://{address}"))
}

/// All cases of all levels must pass but those that may be skipped; the answer counts them.
fn check(
    dir: &Path,
    way: &str,
    target: &[&str],
    may_skip: &[&[(&str, &str)]],
) -> Result<String, CompatError> {
    let log = dir.join(format!("{way}.txt"));
    let (code, text) = run_kit(&log, &[&["--fail-on", "client"], target].concat())?;
    let passed = text.lines().filter(|line| line.starts_with("pass ")).count();
    let skipped: Vec<_> = text.lines().filter(|line| line.starts_with("skip ")).collect();
    let mut unmet = Vec::new();
    if code != 0 || passed == 0 {
        let text = format!("expected exit code 0 from the kit, got {code}: {passed} cases passed");
        unmet.push(Unmet::new(text));
    }
    let without_reason = skipped.iter().filter(|line| !is_allowed(line, may_skip));
    unmet.extend(
        without_reason.map(|line| Unmet::new(format!("expected no skipped case, got {line}"))),
    );
    if unmet.is_empty() {
        return Ok(format!("{passed} cases passed, {} skipped", skipped.len()));
    }
    Err(CompatError::Unmet { unmet, log })
}

/// Runs the kit with these arguments; its exit code, and what it printed, which goes to `log` too.
pub(crate) fn run_kit(log: &Path, arguments: &[&str]) -> Result<(u8, String), CompatError> {
    let arguments = ["larder-conformance"].iter().chain(arguments);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = conformance::run(&Arguments::parse_from(arguments), &mut out, &mut err);
    out.append(&mut err);
    fs::write(log, &out).map_err(CompatError::io(log))?;
    Ok((code, String::from_utf8_lossy(&out).into_owned()))
}

/// Whether the skipped case of this line is of the lists: itself, or its topic.
fn is_allowed(line: &str, may_skip: &[&[(&str, &str)]]) -> bool {
    let name = line.split_whitespace().nth(2).unwrap_or("").trim_end_matches(':');
    may_skip.iter().copied().flatten().any(|(allowed, _reason)| {
        name.strip_prefix(allowed).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_listed_may_be_skipped() {
        let table = [
            ("skip  MUST    digest.md5.batch: MD5 is not among the digest_functions", true),
            ("skip  CLIENT  client.buck2.unmarked-blake3: SHA256 is announced too", true),
            ("skip  MUST    digest.md5000.batch: why", false),
            ("skip  MUST    chunking.split.whole: split_blob_support is not announced", false),
            ("skip", false),
        ];
        for (line, expect) in table {
            assert_eq!(is_allowed(line, &[MAY_SKIP, OFF_BY_DEFAULT]), expect, "{line}");
        }
    }
}
