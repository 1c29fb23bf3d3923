//! `bgd`, the tools of `BuildGrid`: a Python client (grpcio) of every part of the cache, and a cache of its own.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::blob::Blob;
use crate::error::CompatError;
use crate::expectations::Expectations;
use crate::install::PythonPackages;
use crate::lab::Lab;
use crate::larder::Larder;
use crate::neighbour::{Neighbour, free_address};
use crate::process;
use crate::report::Report;
use crate::sample_action::SampleAction;
use crate::snapshot::Snapshot;

/// What the command line calls it.
pub(crate) const NAME: &str = "bgd";

const PACKAGES: PythonPackages = PythonPackages {
    name: NAME,
    // Its wheels of compiled code are for this one.
    pythons: &["3.13"],
    requirements: include_str!("../python/bgd.txt"),
};

/// A line of the requirements.
const VERSION: &str = "buildgrid==0.9.1";
/// It takes a second to start.
const LIMIT: Duration = Duration::from_mins(1);
const SERVER: &str = include_str!("../buildgrid/server.yml");
const INSTANCE: &str = "build/grid";
/// What it ends with where something is not in the cache.
const EXIT_ABSENT: i32 = 255;

/// Files, a directory and an action result, cold, then warm after a crash.
pub(crate) fn run(lab: &Lab, report: &mut Report<'_>) -> Result<(), CompatError> {
    let binary = Bgd::install(lab, &lab.dir(NAME)?.join("install.log"))?;
    report.note(NAME, VERSION);
    report.case(&format!("{NAME}/cas-and-action-cache"), || everything(lab, &binary));
    Ok(())
}

fn everything(lab: &Lab, binary: &Path) -> Result<String, CompatError> {
    let dir = lab.dir(&format!("{NAME}/cas-and-action-cache"))?;
    let mut larder = Larder::start(lab, &dir)?;
    let bgd = Bgd::new(binary, larder.address(), INSTANCE, &dir);
    let mut expectations = Expectations::of(&bgd.log);
    let sample = SampleAction::new();
    let inputs = dir.join("inputs");
    sample.lay_out(&inputs)?;
    let (result_file, result) = (dir.join("result"), &sample.result);
    result.write(&result_file)?;

    let capabilities = bgd.run(0, "capabilities", &[], &[])?;
    expectations.says("capabilities", &capabilities, "\"updateEnabled\": true");
    let absent = &sample.small.digest();
    let absent = bgd.run(EXIT_ABSENT, "cas", &["download-file", absent], &[&dir.join("none")])?;
    expectations.says("download-file, cold", &absent, "Blob not found in CAS");
    let root = bgd.upload_directory(&inputs)?;
    expectations.equal("the directory's digest", &root, &sample.root.digest());
    let files = [&sample.stdout, result];
    for (number, blob) in files.into_iter().enumerate() {
        let file = dir.join(format!("file-{number}"));
        blob.write(&file)?;
        let pushed = bgd.run(0, "cas", &["upload-file", "--verify"], &[&file])?;
        expectations.says("upload-file", &pushed, &blob.digest());
    }
    let action = &sample.action.digest();
    let absent = bgd.run(0, "actioncache", &["get", action], &[])?;
    expectations.says("actioncache get, cold", &absent, "Miss: ");
    // A result with a tree that was not uploaded must not be answered with; so this one says nothing but its exit code.
    let plain = Blob::of([0x20, 3]);
    let file = dir.join("plain-result");
    plain.write(&file)?;
    bgd.run(0, "cas", &["upload-file"], &[&file])?;
    for (stored, hit) in [(result, false), (&plain, true)] {
        bgd.run(0, "actioncache", &["update", action, &stored.digest()], &[])?;
        let found = bgd.run(0, "actioncache", &["get", action], &[])?;
        expectations.says("actioncache get", &found, if hit { "Hit: " } else { "Miss: " });
    }

    larder.crash_and_restart()?;
    let expected = Snapshot::take(&inputs, &[PathBuf::new()], |_| false)?;
    let download = dir.join("download");
    bgd.download_directory(&root, &download)?;
    expectations.extend(expected.differences(&Snapshot::take(
        &download,
        &[PathBuf::new()],
        |_| false,
    )?));
    for (number, blob) in [&sample.large, &sample.stdout].into_iter().enumerate() {
        let got = dir.join(format!("got-{number}"));
        bgd.run(0, "cas", &["download-file", "--verify", &blob.digest()], &[&got])?;
        expectations.equal("the same bytes", blob.is_in(&got), true);
    }
    let found = bgd.run(0, "actioncache", &["get", "--json", action], &[])?;
    expectations.says("actioncache get, warm", &found, "\"exitCode\": 3");
    let metrics = larder.metrics()?;
    expectations.equal("hits counted by the server", metrics.action_hits(), 1);
    expectations.at_least("GetTree", metrics.calls("ContentAddressableStorage/GetTree"), 1);
    expectations.at_least("blobs read, counted by the server", metrics.blob_hits(), 4);
    expectations.met()?;
    larder.stop()?;
    Ok(format!(
        "a directory of {} files, files and a result; after kill -9 all identical and a hit",
        expected.file_count()
    ))
}

/// Where its server keeps blobs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Storage {
    Memory,
    Disk,
}

/// What its server is called in reports.
pub(crate) fn server_version() -> String {
    VERSION.replace("buildgrid==", "BuildGrid ")
}

/// Starts its server as a cache of its own, its settings, its log and its store in `dir`.
pub(crate) fn cache(bgd: &Path, dir: &Path, storage: Storage) -> Result<Neighbour, CompatError> {
    let address = free_address().map_err(CompatError::io(dir))?;
    let storage = match storage {
        Storage::Memory => "!lru-storage &blobs {size: 4GB}".to_owned(),
        Storage::Disk => {
            format!("!disk-storage &blobs {{path: \"{}\"}}", dir.join("store").display())
        }
    };
    let text = SERVER.replace("ADDRESS", &address.to_string()).replace("STORAGE", &storage);
    let settings = dir.join("buildgrid.yml");
    fs::write(&settings, text).map_err(CompatError::io(&settings))?;
    let mut command = Command::new(bgd);
    command.args(["server", "start"]).arg(&settings);
    Neighbour::start("bgd", &mut command, address, &dir.join("buildgrid.log"))
}

/// `Success: Pushed path=[…] with digest=[…]`, of this path.
fn pushed_digest(printed: &str, path: &Path) -> Option<String> {
    let pushed = format!("Pushed path=[{}] with digest=[", path.display());
    let (_, rest) = printed.split_once(&pushed)?;
    let (digest, _) = rest.split_once(']')?;
    Some(digest.to_owned())
}

/// `bgd`, and the server that it asks.
pub(crate) struct Bgd {
    binary: PathBuf,
    remote: String,
    instance: &'static str,
    log: PathBuf,
}

impl Bgd {
    /// The program.
    pub(crate) fn install(lab: &Lab, log: &Path) -> Result<PathBuf, CompatError> {
        Ok(PACKAGES.ensure(lab, log)?.join("bin/bgd"))
    }

    /// Its log goes to `dir`.
    pub(crate) fn new(
        binary: &Path,
        address: SocketAddr,
        instance: &'static str,
        dir: &Path,
    ) -> Self {
        let remote = format!("http://{address}");
        Self { binary: binary.to_owned(), remote, instance, log: dir.join("bgd.log") }
    }

    /// What it printed so far.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// The answer is the digest of the root.
    pub(crate) fn upload_directory(&self, dir: &Path) -> Result<String, CompatError> {
        let pushed = self.run(0, "cas", &["upload-dir", "--verify"], &[dir])?;
        pushed_digest(&pushed, dir).ok_or_else(|| CompatError::Unreadable {
            what: "what bgd pushed",
            text: pushed,
            log: self.log.clone(),
        })
    }

    /// Fetches the directory to `to`, which must not exist yet.
    pub(crate) fn download_directory(&self, root: &str, to: &Path) -> Result<(), CompatError> {
        self.run(0, "cas", &["download-dir", "--verify", root], &[to]).map(drop)
    }

    /// Any command; `group` is its first word.
    pub(crate) fn run(
        &self,
        expected: i32,
        group: &str,
        arguments: &[&str],
        paths: &[&Path],
    ) -> Result<String, CompatError> {
        let mut command = Command::new(&self.binary);
        command
            .arg(group)
            .args(["--remote", &self.remote, "--instance-name", self.instance])
            .args(arguments)
            .args(paths);
        process::output(expected, &mut command, &self.log, LIMIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_one_that_is_installed() {
        assert!(PACKAGES.requirements.lines().any(|line| line == VERSION));
    }

    #[test]
    fn the_digest_of_the_pushed_path_is_found() {
        let printed = "Queueing path=[in]\nSuccess: Pushed path=[in/a] with digest=[11/4]\n\
                       Success: Pushed path=[in] with digest=[22/164]\n";
        let table = [("in", Some("22/164")), ("in/a", Some("11/4")), ("other", None)];
        for (path, digest) in table {
            assert_eq!(pushed_digest(printed, Path::new(path)).as_deref(), digest, "{path}");
        }
    }
}
