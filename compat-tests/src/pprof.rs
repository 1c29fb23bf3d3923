//! pprof, which reads the profile of a server under load and finds our own code in it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::blob::Blob;
use crate::error::CompatError;
use crate::expectations::Expectations;
use crate::http::{Answer, Connection};
use crate::install::GoProgram;
use crate::lab::Lab;
use crate::larder::{Larder, Launch};
use crate::process;
use crate::report::Report;

/// What the command line calls it.
pub(crate) const NAME: &str = "pprof";

const PROGRAM: GoProgram = GoProgram {
    name: NAME,
    package: "github.com/google/pprof",
    go_mod: include_str!("../pprof/go.mod"),
    go_sum: include_str!("../pprof/go.sum"),
};

const LIMIT: Duration = Duration::from_mins(1);
const BLOB_BYTES: usize = 100_000;

/// A profile of reads.
pub(crate) fn run(lab: &Lab, report: &mut Report<'_>) -> Result<(), CompatError> {
    let binary = PROGRAM.ensure(lab, &lab.dir(NAME)?.join("install.log"))?;
    let version = PROGRAM.go_mod.lines().find_map(|line| line.strip_prefix("require github.com/"));
    report.note(NAME, version.unwrap_or_default());
    report.case(&format!("{NAME}/top"), || top(lab, &binary));
    Ok(())
}

fn top(lab: &Lab, binary: &Path) -> Result<String, CompatError> {
    let dir = lab.dir(&format!("{NAME}/top"))?;
    let settings = vec![("debug_profiles", "true".to_owned())];
    let launch = Launch { wrapper: Vec::new(), settings, data_dir: dir.join("data") };
    let larder = Larder::launch(lab, &dir, launch)?;
    let Answer { code, body } = profile_under_load(&larder)?;
    let (path, log) = (dir.join("profile.pb.gz"), dir.join("pprof.log"));
    fs::write(&path, &body).map_err(CompatError::io(&path))?;
    let mut pprof = Command::new(binary);
    // The names are in the profile.
    pprof.args(["-symbolize=none", "-top", "-cum", "-nodecount=1000"]).arg(&path);
    let printed = process::output(0, &mut pprof, &log, LIMIT)?;
    let mut expectations = Expectations::of(&log);
    expectations.equal("status", code, 200);
    expectations.says("the kind of profile", &printed, "Type: cpu");
    expectations.says("its functions", &printed, "larder_server::");
    expectations.says("its functions", &printed, "tokio::");
    expectations.met()?;
    larder.stop()?;
    Ok(format!("{} functions", printed.lines().count()))
}

/// What the admin port answers while a client reads.
fn profile_under_load(larder: &Larder) -> Result<Answer, CompatError> {
    let blob = Blob::noise(BLOB_BYTES, 1);
    let path = format!("/cas/{}", blob.hash);
    let mut client = Connection::open(larder.address()).map_err(CompatError::call("connect"))?;
    client.put(&path, &blob.bytes).map_err(CompatError::call("PUT"))?;
    let mut admin = Connection::open(larder.admin()).map_err(CompatError::call("connect"))?;
    let is_enough = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            while !is_enough.load(Ordering::Relaxed) {
                client.get(&path).map_err(CompatError::call("GET"))?;
            }
            Ok(())
        });
        let answer = admin.get("/debug/pprof/profile?seconds=2");
        is_enough.store(true, Ordering::Relaxed);
        let loaded = load.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        loaded.and_then(|()| answer.map_err(CompatError::call("GET /debug/pprof/profile")))
    })
}
