//! remotetool, which is the Go SDK on the command line: uploads, then an action, its result and its trees by their digests.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::blob::Blob;
use crate::error::CompatError;
use crate::expectations::Expectations;
use crate::http::Connection;
use crate::install::GoProgram;
use crate::lab::Lab;
use crate::larder::Larder;
use crate::process;
use crate::report::Report;
use crate::sample_action::SampleAction;
use crate::snapshot::Snapshot;

/// What the command line calls it.
pub(crate) const NAME: &str = "remotetool";

/// The newest version that both the proxy and the checksum database have.
const PROGRAM: GoProgram = GoProgram {
    name: NAME,
    package: "github.com/bazelbuild/remote-apis-sdks/go/cmd/remotetool",
    go_mod: include_str!("../remotetool/go.mod"),
    go_sum: include_str!("../remotetool/go.sum"),
};

const LIMIT: Duration = Duration::from_mins(1);
const INSTANCE: &str = "go/sdk";

/// Everything that remotetool can do with a cache, cold, then warm after a crash.
pub(crate) fn run(lab: &Lab, report: &mut Report<'_>) -> Result<(), CompatError> {
    let binary = PROGRAM.ensure(lab, &lab.dir(NAME)?.join("install.log"))?;
    let version = PROGRAM.go_mod.lines().find_map(|line| line.strip_prefix("require "));
    report.note(NAME, version.unwrap_or_default());
    report.case(&format!("{NAME}/action"), || action(lab, &binary));
    Ok(())
}

fn action(lab: &Lab, binary: &Path) -> Result<String, CompatError> {
    let dir = lab.dir(&format!("{NAME}/action"))?;
    let mut larder = Larder::start(lab, &dir)?;
    let tool = Remotetool {
        binary: binary.to_owned(),
        address: larder.address().to_string(),
        log: dir.join("remotetool.log"),
    };
    let mut expectations = Expectations::of(&tool.log);
    let sample = SampleAction::new();

    let (file, got) = (dir.join("file"), dir.join("got"));
    let absent = tool.fetch(1, "download_blob", &sample.small, &got)?;
    expectations.says("download_blob, cold", &absent, "code = NotFound");
    for blob in sample.blobs() {
        blob.write(&file)?;
        tool.run(0, &["--operation", "upload_blob", "--path"], &file)?;
    }
    let absent = tool.fetch(1, "download_action_result", &sample.action, &dir.join("none"))?;
    expectations.says("download_action_result, cold", &absent, "not found in cache");
    expectations.equal("blobs stored", larder.metrics()?.blobs_stored(), 8);
    // What stores results through the SDK is a worker, which remotetool is not.
    let path = format!("/{INSTANCE}/ac/{}", sample.action.hash);
    let stored = Connection::open(larder.address())
        .and_then(|mut connection| connection.put(&path, &sample.result.bytes))
        .map_err(CompatError::call("PUT"))?;
    expectations.equal("PUT of the result", stored.code, 200);

    larder.crash_and_restart()?;
    for blob in [&sample.small, &sample.large] {
        tool.fetch(0, "download_blob", blob, &got)?;
        expectations.equal("the same bytes", blob.is_in(&got), true);
    }
    let inputs = dir.join("inputs");
    sample.lay_out(&inputs)?;
    let expected = Snapshot::take(&inputs, &[PathBuf::new()], |_| false)?;
    let download = dir.join("download-dir");
    tool.fetch(0, "download_dir", &sample.root, &download)?;
    let downloaded = Snapshot::take(&download, &[PathBuf::new()], |_| false)?;
    expectations.extend(expected.differences(&downloaded));
    let outputs = dir.join("outputs");
    tool.fetch(0, "download_action_result", &sample.action, &outputs)?;
    let tree = outputs.join("out/tree");
    let downloaded = Snapshot::take(&tree, &[PathBuf::new()], |_| false)?;
    expectations.extend(expected.differences(&downloaded));
    let result = sample.small.is_in(&outputs.join("out/result.txt"));
    expectations.equal("out/result.txt: the same bytes", result, true);
    expectations.equal(
        "stdout: the same bytes",
        sample.stdout.is_in(&outputs.join("stdout")),
        true,
    );
    let action = dir.join("action");
    tool.fetch(0, "download_action", &sample.action, &action)?;
    let downloaded = Snapshot::take(&action.join("input"), &[PathBuf::new()], |_| false)?;
    expectations.extend(expected.differences(&downloaded));
    let shown = tool.fetch(0, "show_action", &sample.action, &got)?;
    for part in ["sh tool.sh", "out/result.txt", "large.bin", &sample.large.digest()] {
        expectations.says("show_action", &shown, part);
    }
    let metrics = larder.metrics()?;
    expectations.at_least("hits counted by the server", metrics.action_hits(), 2);
    expectations.at_least("GetTree", metrics.calls("ContentAddressableStorage/GetTree"), 1);
    expectations.at_least("blobs read, counted by the server", metrics.blob_hits(), 8);
    expectations.met()?;
    larder.stop()?;
    Ok(format!(
        "8 uploads; after kill -9 blobs, an action of {} files and its result identical, {} hits",
        expected.file_count(),
        metrics.action_hits(),
    ))
}

/// remotetool, and the server that it asks.
struct Remotetool {
    binary: PathBuf,
    address: String,
    log: PathBuf,
}

impl Remotetool {
    fn fetch(
        &self,
        expected: i32,
        operation: &str,
        blob: &Blob,
        to: &Path,
    ) -> Result<String, CompatError> {
        let digest = blob.digest();
        self.run(expected, &["--operation", operation, "--digest", &digest, "--path"], to)
    }

    fn run(&self, expected: i32, arguments: &[&str], path: &Path) -> Result<String, CompatError> {
        let mut command = Command::new(&self.binary);
        command
            .args(["--service", &self.address, "--service_no_security", "--logtostderr"])
            .args(["--instance", INSTANCE])
            .args(arguments)
            .arg(path);
        process::output(expected, &mut command, &self.log, LIMIT)
    }
}
