//! Pants, whose client is its own engine's, in Rust: processes cached remotely, under each of its rules for what a hit must have.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::blob::Blob;
use crate::error::CompatError;
use crate::expectations::Expectations;
use crate::install::{self, PythonPackages};
use crate::lab::Lab;
use crate::larder::Larder;
use crate::process;
use crate::report::Report;

/// What the command line calls it.
pub(crate) const NAME: &str = "pants";

/// Newer ones are not on `PyPI`.
const PACKAGES: PythonPackages = PythonPackages {
    name: NAME,
    pythons: &["3.9", "3.8", "3.7"],
    requirements: include_str!("../python/pants.txt"),
};
const VERSION: &str = "2.17.1";

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/pants/workspace");
const LIMIT: Duration = Duration::from_mins(3);
/// What the workspace has.
const PROCESSES: u64 = 3;

/// When Pants takes a cached result: when its blobs came, when they are there, or at once.
const BEHAVIORS: [&str; 3] = ["fetch", "validate", "defer"];

/// Each behaviour: cold, then warm with another local store after a crash.
pub(crate) fn run(lab: &Lab, report: &mut Report<'_>) -> Result<(), CompatError> {
    let environment = PACKAGES.ensure(lab, &lab.dir(NAME)?.join("install.log"))?;
    report.note(NAME, VERSION);
    let binary = environment.join("bin/pants");
    for behavior in BEHAVIORS {
        report.case(&format!("{NAME}/{behavior}"), || {
            cold_and_warm(lab, &lab.dir(&format!("{NAME}/{behavior}"))?, &binary, behavior)
        });
    }
    Ok(())
}

fn cold_and_warm(
    lab: &Lab,
    dir: &Path,
    binary: &Path,
    behavior: &str,
) -> Result<String, CompatError> {
    let mut larder = Larder::start(lab, dir)?;
    let pants = Pants::new(binary, dir, larder.address(), behavior)?;
    let mut expectations = Expectations::of(&pants.log);
    let cold = pants.package("cold")?;
    expectations.equal("cold: remote_cache_requests_cached", cold.cached, 0);
    expectations.equal("cold: remote_cache_write_successes", cold.written, PROCESSES);
    expectations.equal("results stored", larder.metrics()?.action_updates(), PROCESSES);

    larder.crash_and_restart()?;
    let warm = pants.package("warm")?;
    expectations.equal("warm: remote_cache_requests_cached", warm.cached, PROCESSES);
    expectations.equal("warm: remote_cache_write_successes", warm.written, 0);
    expectations.equal("the same archive", warm.archive == cold.archive, true);
    for run in [&cold, &warm] {
        expectations.equal("errors", run.errors, 0);
    }
    let hits = larder.metrics()?.action_hits();
    expectations.equal("hits counted by the server", hits, PROCESSES);
    expectations.met()?;
    larder.stop()?;
    Ok(format!(
        "{PROCESSES} processes run; after kill -9 {hits} hits with another local store, \
         the archive of {} B identical",
        warm.archive.bytes.len()
    ))
}

/// What a run made, and what Pants counted.
struct Run {
    archive: Blob,
    cached: u64,
    written: u64,
    errors: u64,
}

/// Pants in a copy of the workspace.
struct Pants {
    binary: PathBuf,
    dir: PathBuf,
    workspace: PathBuf,
    log: PathBuf,
}

impl Pants {
    fn new(
        binary: &Path,
        dir: &Path,
        server: SocketAddr,
        behavior: &str,
    ) -> Result<Self, CompatError> {
        let workspace = dir.join("workspace");
        install::copy_tree(Path::new(SOURCES), &workspace)?;
        let settings = format!(
            "[GLOBAL]\n\
             pants_version = \"{VERSION}\"\n\
             backend_packages = [\"pants.backend.shell\"]\n\
             pantsd = false\n\
             watch_filesystem = false\n\
             remote_cache_read = true\n\
             remote_cache_write = true\n\
             remote_store_address = \"grpc://{server}\"\n\
             remote_instance_name = \"pants\"\n\
             cache_content_behavior = \"{behavior}\"\n\
             [anonymous-telemetry]\nenabled = false\n\
             [stats]\nlog = true\n"
        );
        let file = workspace.join("pants.toml");
        fs::write(&file, settings).map_err(CompatError::io(&file))?;
        let (dir, log) = (dir.to_owned(), dir.join("pants.log"));
        Ok(Self { binary: binary.to_owned(), dir, workspace, log })
    }

    /// Makes the archive, with a local store called `store`.
    fn package(&self, store: &str) -> Result<Run, CompatError> {
        let mut command = Command::new(&self.binary);
        command
            .current_dir(&self.workspace)
            .env("HOME", self.dir.join("home"))
            .env("XDG_CACHE_HOME", self.dir.join("cache"))
            .env("NO_COLOR", "1")
            .arg("--no-dynamic-ui")
            .arg(format!("--local-store-dir={}", self.dir.join(store).display()))
            .arg(format!("--named-caches-dir={}", self.dir.join("named").display()))
            .arg(format!("--pants-workdir={}", self.dir.join(format!("{store}-work")).display()))
            .args(["package", "//:bundle"]);
        let printed = process::output(0, &mut command, &self.log, LIMIT)?;
        let archive = self.workspace.join("dist/bundle.tar");
        let bytes = fs::read(&archive).map_err(CompatError::io(&archive))?;
        fs::remove_file(&archive).map_err(CompatError::io(&archive))?;
        let counter = |name| {
            counter(&printed, name).ok_or_else(|| CompatError::Unreadable {
                what: "what Pants counted",
                text: printed.clone(),
                log: self.log.clone(),
            })
        };
        Ok(Run {
            archive: Blob::of(bytes),
            cached: counter("remote_cache_requests_cached")?,
            written: counter("remote_cache_write_successes")?,
            errors: counter("remote_cache_read_errors")? + counter("remote_cache_write_errors")?,
        })
    }
}

/// `  remote_cache_requests_cached: 3`
fn counter(printed: &str, name: &str) -> Option<u64> {
    let value = |line: &str| line.trim().strip_prefix(name)?.strip_prefix(": ")?.parse().ok();
    printed.lines().find_map(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read() {
        let printed =
            "[INFO] Counters:\n  remote_cache_requests: 3\n  remote_cache_requests_cached: 2\n";
        assert_eq!(counter(printed, "remote_cache_requests"), Some(3));
        assert_eq!(counter(printed, "remote_cache_requests_cached"), Some(2));
        assert_eq!(counter(printed, "remote_cache_read_errors"), None);
    }

    #[test]
    fn the_version_is_the_one_that_is_installed() {
        let line = format!("pantsbuild.pants=={VERSION}");
        assert!(PACKAGES.requirements.lines().any(|requirement| requirement == line));
    }
}
