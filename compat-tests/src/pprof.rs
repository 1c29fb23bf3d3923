//! pprof, which reads the profiles of a server under load, of CPU and of memory, and finds our own code in them; also where the
//! server has no symbols.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::blob::Blob;
use crate::error::CompatError;
use crate::expectations::Expectations;
use crate::http::{Answer, Connection};
use crate::install::{DebianPackage, GoProgram};
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

const BINUTILS: DebianPackage = DebianPackage { program: "addr2line", package: "binutils" };

const LIMIT: Duration = Duration::from_mins(1);
const BLOB_BYTES: usize = 100_000;
const BLOBS: u64 = 400;
const PROFILE: &str = "/debug/pprof/profile?seconds=2";

/// A profile of reads.
pub(crate) fn run(lab: &Lab, report: &mut Report<'_>) -> Result<(), CompatError> {
    let binary = PROGRAM.ensure(lab, &lab.dir(NAME)?.join("install.log"))?;
    let version = PROGRAM.go_mod.lines().find_map(|line| line.strip_prefix("require github.com/"));
    report.note(NAME, version.unwrap_or_default());
    report.case(&format!("{NAME}/top"), || top(lab, &binary));
    report.case(&format!("{NAME}/heap"), || heap(lab, &binary));
    report.case(&format!("{NAME}/stripped"), || stripped(lab, &binary));
    Ok(())
}

fn top(lab: &Lab, pprof: &Path) -> Result<String, CompatError> {
    let dir = lab.dir(&format!("{NAME}/top"))?;
    let larder = Larder::launch(lab, &dir, launch(&dir))?;
    let answer = under_load(&larder, PROFILE)?;
    let printed = shown(&dir, pprof, &answer)?;
    let mut expectations = Expectations::of(&dir.join("pprof.log"));
    expectations.equal("status", answer.code, 200);
    expectations.says("the kind of profile", &printed, "Type: cpu");
    expectations.says("its functions", &printed, "larder_server::");
    expectations.says("its functions", &printed, "tokio::");
    expectations.says_not("its functions", &printed, "perf_signal_handler");
    expectations.met()?;
    larder.stop()?;
    Ok(format!("{} functions", printed.lines().count()))
}

fn heap(lab: &Lab, pprof: &Path) -> Result<String, CompatError> {
    let dir = lab.dir(&format!("{NAME}/heap"))?;
    let larder = Larder::launch(lab, &dir, launch(&dir))?;
    // What is stored stays in the memory in front of the disk.
    let mut client = Connection::open(larder.address()).map_err(CompatError::call("connect"))?;
    for seed in 0..BLOBS {
        let blob = Blob::noise(BLOB_BYTES, seed);
        let path = format!("/cas/{}", blob.hash);
        client.put(&path, &blob.bytes).map_err(CompatError::call("PUT"))?;
    }
    let answer = under_load(&larder, "/debug/pprof/heap")?;
    let printed = shown(&dir, pprof, &answer)?;
    let mut expectations = Expectations::of(&dir.join("pprof.log"));
    expectations.equal("status", answer.code, 200);
    expectations.says("the kind of profile", &printed, "Type: inuse_space");
    expectations.says("its functions", &printed, "larder_server::");
    expectations.says_not("its functions", &printed, "_rjem_");
    expectations.met()?;
    larder.stop()?;
    let total = printed.lines().find(|line| line.contains(" total"));
    Ok(total.unwrap_or_default().to_owned())
}

/// Without symbols functions are places in the program, which `addr2line` names by a copy that has them.
fn stripped(lab: &Lab, pprof: &Path) -> Result<String, CompatError> {
    let dir = lab.dir(&format!("{NAME}/stripped"))?;
    let (binary, log) = (dir.join("larder"), dir.join("binutils.log"));
    BINUTILS.ensure(&log)?;
    let mut strip = Command::new("strip");
    strip.arg("--strip-all").arg("-o").arg(&binary).arg(lab.server());
    process::run_expecting(0, &mut strip, &log, LIMIT)?;
    let larder = Larder::launch_other(&binary, &dir, launch(&dir))?;
    let answer = under_load(&larder, PROFILE)?;
    let printed = shown(&dir, pprof, &answer)?;
    larder.stop()?;
    let places = printed.split_ascii_whitespace().filter_map(|word| word.strip_prefix("larder+"));
    let mut addr2line = Command::new("addr2line");
    addr2line.args(["-f", "-C", "-e"]).arg(lab.server()).args(places.clone());
    let names = process::output(0, &mut addr2line, &log, LIMIT)?;
    let mut expectations = Expectations::of(&log);
    expectations.equal("status", answer.code, 200);
    expectations.at_least("places in the program", places.clone().count(), 10);
    expectations.says("addr2line", &names, "larder_server::");
    expectations.met()?;
    Ok(format!("{} places", places.count()))
}

fn launch(dir: &Path) -> Launch {
    let settings = vec![("debug_profiles", "true".to_owned())];
    Launch { wrapper: Vec::new(), settings, data_dir: dir.join("data") }
}

/// What pprof prints of a profile.
fn shown(dir: &Path, pprof: &Path, answer: &Answer) -> Result<String, CompatError> {
    let (path, log) = (dir.join("profile.pb.gz"), dir.join("pprof.log"));
    fs::write(&path, &answer.body).map_err(CompatError::io(&path))?;
    let mut pprof = Command::new(pprof);
    // The names are in the profile.
    pprof.args(["-symbolize=none", "-top", "-cum", "-nodecount=1000"]).arg(&path);
    process::output(0, &mut pprof, &log, LIMIT)
}

/// What the admin port answers while a client reads.
fn under_load(larder: &Larder, profile: &str) -> Result<Answer, CompatError> {
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
        let answer = admin.get(profile);
        is_enough.store(true, Ordering::Relaxed);
        let loaded = load.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        loaded.and_then(|()| answer.map_err(CompatError::call("GET /debug/pprof/…")))
    })
}
