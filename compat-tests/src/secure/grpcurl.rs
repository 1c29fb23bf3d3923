//! grpcurl over TLS: credentials as metadata, and a client's certificate.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use super::keys::{Keys, READER, WRITER};
use super::{Clients, NAME, start};
use crate::blob::Blob;
use crate::error::CompatError;
use crate::expectations::Expectations;
use crate::grpcurl::PACKAGES;
use crate::lab::Lab;
use crate::larder::Larder;
use crate::process;
use crate::report::Report;

const LIMIT: Duration = Duration::from_secs(30);
/// What it ends with where reflection, or the handshake before it, is refused.
const EXIT_FAILED: i32 = 1;
/// Its exit code is else 64 and the status code.
const EXIT_PERMISSION_DENIED: i32 = 64 + 7;

const UPDATE: &str = "build.bazel.remote.execution.v2.ContentAddressableStorage/BatchUpdateBlobs";
const CAPABILITIES: &str = "build.bazel.remote.execution.v2.Capabilities/GetCapabilities";
/// What writers alone are told.
const UPDATE_ENABLED: &str = "\"updateEnabled\": true";

pub(super) fn run(lab: &Lab, keys: &Keys, report: &mut Report<'_>) -> Result<(), CompatError> {
    let log = lab.dir(NAME)?.join("install.log");
    let binary = PACKAGES.ensure(lab, &log)?.join("bin/grpcurl");
    report.case(&format!("{NAME}/grpcurl-credentials"), || credentials(lab, keys, &binary));
    report.case(&format!("{NAME}/grpcurl-certificates"), || certificates(lab, keys, &binary));
    Ok(())
}

fn credentials(lab: &Lab, keys: &Keys, binary: &Path) -> Result<String, CompatError> {
    let dir = lab.dir(&format!("{NAME}/grpcurl-credentials"))?;
    let larder = start(lab, &dir, keys, Clients::ShowNone)?;
    let grpcurl = Grpcurl::new(binary, &larder, &dir, keys);
    let mut expectations = Expectations::of(&grpcurl.log);
    let bearer = |token: &str| ["-H".to_owned(), format!("authorization: Bearer {token}")];
    let refused = grpcurl.call(EXIT_FAILED, &[], CAPABILITIES)?;
    expectations.says("a call without credentials", &refused, "Unauthenticated");
    let reader = grpcurl.call(0, &bearer(READER), CAPABILITIES)?;
    expectations.says_not("GetCapabilities by a reader", &reader, UPDATE_ENABLED);
    let denied = grpcurl.call(EXIT_PERMISSION_DENIED, &bearer(READER), UPDATE)?;
    expectations.says("BatchUpdateBlobs by a reader", &denied, "PermissionDenied");
    let writer = grpcurl.call(0, &bearer(WRITER), CAPABILITIES)?;
    expectations.says("GetCapabilities by a writer", &writer, UPDATE_ENABLED);
    grpcurl.call(0, &bearer(WRITER), UPDATE)?;
    expectations.equal("blobs stored", larder.metrics()?.blobs_stored(), 1);
    expectations.met()?;
    larder.stop()?;
    Ok("a writer stores; a reader may not, and is not told that he may; nobody is let in"
        .to_owned())
}

fn certificates(lab: &Lab, keys: &Keys, binary: &Path) -> Result<String, CompatError> {
    let dir = lab.dir(&format!("{NAME}/grpcurl-certificates"))?;
    let larder = start(lab, &dir, keys, Clients::ShowCertificates)?;
    let grpcurl = Grpcurl::new(binary, &larder, &dir, keys);
    let mut expectations = Expectations::of(&grpcurl.log);
    let path = |name: &str| keys.path(name).display().to_string();
    let shows = ["-cert".to_owned(), path("client.crt"), "-key".to_owned(), path("client.key")];
    grpcurl.call(EXIT_FAILED, &[], CAPABILITIES)?;
    let writer = grpcurl.call(0, &shows, CAPABILITIES)?;
    expectations.says("GetCapabilities by certificate", &writer, UPDATE_ENABLED);
    grpcurl.call(0, &shows, UPDATE)?;
    expectations.equal("blobs stored", larder.metrics()?.blobs_stored(), 1);
    expectations.met()?;
    larder.stop()?;
    Ok("a client's certificate may write, nobody gets in without".to_owned())
}

/// grpcurl, and the server that it asks.
struct Grpcurl {
    binary: PathBuf,
    authority: PathBuf,
    address: String,
    log: PathBuf,
}

impl Grpcurl {
    fn new(binary: &Path, larder: &Larder, dir: &Path, keys: &Keys) -> Self {
        Self {
            binary: binary.to_owned(),
            authority: keys.path("servers.crt"),
            address: larder.address().to_string(),
            log: dir.join("grpcurl.log"),
        }
    }

    /// Calls a method, with a blob for the one that stores.
    fn call(&self, expected: i32, flags: &[String], method: &str) -> Result<String, CompatError> {
        let blob = Blob::of("larder");
        let digest = json!({"hash": blob.hash, "sizeBytes": blob.bytes.len().to_string()});
        let request = match method {
            UPDATE => json!({"requests": [{"digest": digest, "data": "bGFyZGVy"}]}),
            _ => json!({}),
        };
        let mut command = Command::new(&self.binary);
        command.arg("-cacert").arg(&self.authority).args(["-connect-timeout", "10"]);
        command.args(flags).args(["-d", &request.to_string()]).args([&self.address, method]);
        process::output(expected, &mut command, &self.log, LIMIT)
    }
}
