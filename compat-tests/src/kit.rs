//! The conformance kit on the binary under test: every case must pass, over TCP, over a unix socket, and at a named instance.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use clap::Parser;

use crate::conformance::{self, Arguments};
use crate::error::{CompatError, Unmet};
use crate::lab::Lab;
use crate::larder::{Larder, Launch};
use crate::report::Report;

/// What the command line calls it.
pub(crate) const NAME: &str = "conformance";

/// Runs the kit over every transport.
pub(crate) fn run(lab: &Lab, report: &mut Report<'_>) -> Result<(), CompatError> {
    let dir = lab.dir(NAME)?;
    // The path of a socket has room for about 100 bytes, and that of the lab may be longer.
    let sockets = tempfile::tempdir().map_err(CompatError::io(&dir))?;
    let socket = sockets.path().join("larder.sock");
    let unix = format!("unix:{}", socket.display());
    let address = free_address().map_err(CompatError::io(&dir))?;
    let settings = vec![("listen", format!("{address},{unix}"))];
    let launch = Launch { wrapper: Vec::new(), settings, data_dir: dir.join("data") };
    let larder = Larder::launch(lab, &dir, launch)?;
    let (grpc, http) = (format!("grpc://{address}"), format!("http://{address}"));
    let ways = [
        ("tcp", vec![grpc.as_str(), "--http", &http]),
        ("unix", vec![&unix, "--http", &unix]),
        ("instance", vec![&grpc, "--http", &http, "--instance", "some/instance"]),
    ];
    for (way, target) in ways {
        report.case(&format!("{NAME}/{way}"), || check(&dir, way, &target));
    }
    larder.stop()
}

/// An address that nobody listens on; that another process takes it before the server does shows as a server that ended.
fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// All cases of all levels must pass; the answer counts them.
fn check(dir: &Path, way: &str, target: &[&str]) -> Result<String, CompatError> {
    let log = dir.join(format!("{way}.txt"));
    let mut arguments = vec!["larder-conformance", "--fail-on", "client"];
    arguments.extend(target);
    let mut out = Vec::new();
    let mut err = Vec::new();
    let code = conformance::run(&Arguments::parse_from(arguments), &mut out, &mut err);
    out.append(&mut err);
    fs::write(&log, &out).map_err(CompatError::io(&log))?;
    let text = String::from_utf8_lossy(&out);
    let lines = |word: &str| text.lines().filter(|line| line.starts_with(word)).count();
    let seen = format!("{} cases passed, {} skipped", lines("pass "), lines("skip "));
    if code == 0 {
        return Ok(seen);
    }
    let unmet = Unmet::new(format!("expected exit code 0 from the kit, got {code}: {seen}"));
    Err(CompatError::Unmet { unmet: vec![unmet], log })
}
