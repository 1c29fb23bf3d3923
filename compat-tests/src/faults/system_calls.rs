//! Killed at, or failed by, exactly the Nth system call of a kind, N swept (strace's injection).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::scarce::cpu_ticks;
use super::{Bench, Oracle, Promise, case, launch};
use crate::error::CompatError;
use crate::http::Connection;
use crate::install::DebianPackage;
use crate::lab::Lab;
use crate::larder::Larder;
use crate::process;
use crate::report::Report;

const STRACE: DebianPackage = DebianPackage { program: "strace", package: "strace" };

/// What the server writes with: packs and blob files by `pwritev`, its index by `pwrite64`.
const CALLS: [&str; 7] =
    ["pwritev", "pwrite64", "fdatasync", "fsync", "rename", "unlink", "ftruncate"];
const NUMBERS: [u32; 4] = [1, 2, 5, 13];
/// A run in which the call never comes so often ends here.
const ENOUGH: u32 = 120;

/// A load that no longer gets anything acknowledged ends here.
const LOAD_LIMIT: Duration = Duration::from_secs(1);
const ATTACH_LIMIT: Duration = Duration::from_secs(20);

/// Errors that a call may end with, and whether records may go to make room.
const ERRORS: [(&str, &str, bool); 8] = [
    ("pwritev", "ENOSPC", true),
    ("pwritev", "EDQUOT", true),
    ("pwritev", "EIO", false),
    ("fdatasync", "EIO", false),
    ("fsync", "EIO", false),
    ("rename", "ENOSPC", true),
    ("openat", "EMFILE", false),
    ("pwrite64", "EIO", false),
];

/// Both sweeps, or a note that says why not.
pub(super) fn run(lab: &Lab, report: &mut Report<'_>) -> Result<(), CompatError> {
    let log = lab.dir(super::NAME)?.join("install.log");
    if let Err(error) = STRACE.ensure(&log) {
        report.note("faults/strace", &format!("NOT RUN: {error}"));
        return Ok(());
    }
    case(lab, report, "kill-at-system-call", kill_at);
    case(lab, report, "fail-system-call", fail_at);
    case(lab, report, "accept-without-descriptors", accept);
    Ok(())
}

fn strace(call: &str, injection: &str) -> Vec<String> {
    // -D: the server stays the child, the tracer is the grandchild.
    let words = ["strace", "-D", "-f", "-qqq", "-o", "/dev/null", "-e"];
    let mut words: Vec<_> = words.map(str::to_owned).to_vec();
    words.extend([format!("trace={call}"), "-e".to_owned(), format!("inject={call}:{injection}")]);
    words
}

fn kill_at(bench: &mut Bench<'_>) -> Result<String, CompatError> {
    let mut killed = 0;
    let data_dir = bench.dir.join("data");
    for (index, call) in CALLS.into_iter().enumerate() {
        for number in NUMBERS.into_iter().chain((0..bench.lab.rounds() - 1).map(|more| 20 + more)) {
            // On what the runs before left, so that starts are hit as well.
            let mut launch = launch(&data_dir, ["sync", "interval"][index % 2]);
            launch.wrapper = strace(call, &format!("signal=KILL:when={number}"));
            let mut server = Larder::launch_unready(bench.lab, &bench.dir, launch)?;
            while !server.has_ended()? && !server.is_ready() {
                process::pause();
            }
            let address = server.address();
            bench.oracle.load(address, |acknowledged| Ok(acknowledged >= ENOUGH))?;
            if server.has_ended()? {
                killed += 1;
            } else {
                server.crash()?;
            }
            server.restart()?;
            bench.verify(&server, Promise::Acknowledged)?;
            server.crash()?;
        }
    }
    // Some calls never come so often: the last ones of a sweep end unharmed.
    bench.expect(killed >= CALLS.len(), format!("expected more than {killed} runs to be hit"));
    Ok(format!("{killed} kills at a system call, {} names kept", bench.oracle.acknowledged()))
}

/// A call fails a few times: the server lives on, what was acknowledged is there, and after a restart too.
fn fail_at(bench: &mut Bench<'_>) -> Result<String, CompatError> {
    let mut failures = 0;
    for (call, errno, may_evict) in ERRORS {
        for number in [1, 4] {
            let data_dir = bench.dir.join(format!("{call}-{errno}-{number}"));
            bench.oracle = Oracle::default();
            let launch = launch(&data_dir, "sync");
            let mut server = Larder::launch(bench.lab, &bench.dir, launch)?;
            let address = server.address();
            bench.oracle.load(address, |acknowledged| Ok(acknowledged >= 30))?;
            let injection = format!("error={errno}:when={number}..{}", number + 2);
            let tracer = Tracer::attach(&server, call, &injection, &bench.dir)?;
            let begun = Instant::now();
            let is_enough = |acknowledged| acknowledged >= 60 || begun.elapsed() > LOAD_LIMIT;
            bench.oracle.load(address, |acknowledged| Ok(is_enough(acknowledged)))?;
            drop(tracer);
            failures += 1;
            let promise = if may_evict { Promise::Nothing } else { Promise::Acknowledged };
            bench.verify(&server, promise)?;
            server.crash_and_restart()?;
            bench.verify(&server, promise)?;
            bench.oracle.load(address, |acknowledged| Ok(acknowledged >= 10))?;
            server.crash()?;
        }
    }
    Ok(format!("{failures} runs with failing calls"))
}

/// Each accept fails for want of descriptors: the server waits instead of spinning, and then takes who has waited.
fn accept(bench: &mut Bench<'_>) -> Result<String, CompatError> {
    let launch = launch(&bench.dir.join("data"), "sync");
    let server = Larder::launch(bench.lab, &bench.dir, launch)?;
    let address = server.address();
    let mut early = Connection::open(address).map_err(CompatError::call("connect"))?;
    early.get("/cas/absent").map_err(CompatError::call("GET"))?;
    let tracer = Tracer::attach(&server, "accept4", "error=EMFILE", &bench.dir)?;
    let waiting = Connection::open(address).map_err(CompatError::call("connect"));
    let spent = cpu_ticks(server.pid())?;
    let begun = Instant::now();
    while begun.elapsed() < LOAD_LIMIT {
        process::pause();
    }
    let spent = cpu_ticks(server.pid())? - spent;
    // A tick is 10 ms of CPU: who spins spends 100.
    bench.expect(spent < 30, format!("expected an acceptor that waits, it took {spent} ticks"));
    let answer = early.get("/cas/absent").map_err(CompatError::call("GET"))?;
    bench.expect(answer.code != 500, format!("expected an answer, got {}", answer.code));
    drop(tracer);
    waiting?.get("/cas/absent").map_err(CompatError::call("GET"))?;
    server.stop()?;
    Ok(format!("{spent} ticks of CPU in {} s of EMFILE", LOAD_LIMIT.as_secs()))
}

/// A tracer of a running server; dropping it lets go.
struct Tracer(Child);

impl Tracer {
    fn attach(
        server: &Larder,
        call: &str,
        injection: &str,
        dir: &Path,
    ) -> Result<Self, CompatError> {
        let pid = server.pid();
        let mut command = Command::new(STRACE.program);
        command.args(["-f", "-qqq", "-o", "/dev/null", "-p", &pid.to_string()]);
        command.args(["-e", &format!("trace={call}"), "-e", &format!("inject={call}:{injection}")]);
        let tracer = Self(process::start(&mut command, &dir.join("strace.log"))?);
        // All threads are being traced once the last of them says so.
        let tasks = PathBuf::from(format!("/proc/{pid}/task"));
        let deadline = Instant::now() + ATTACH_LIMIT;
        while !are_traced(&tasks)? {
            if Instant::now() > deadline {
                return Err(CompatError::call("strace")("it does not attach"));
            }
            process::pause();
        }
        Ok(tracer)
    }
}

fn are_traced(tasks: &Path) -> Result<bool, CompatError> {
    for task in fs::read_dir(tasks).map_err(CompatError::io(tasks))? {
        let path = task.map_err(CompatError::io(tasks))?.path().join("status");
        // A thread may end meanwhile.
        if process::read(&path).is_ok_and(|status| status.contains("TracerPid:\t0\n")) {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // Asked to end, it lets go of the server; killed, it would leave threads stopped.
        let _gone = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let _ended = self.0.wait();
    }
}
