//! What the calls of a build cost the server in instructions, held against `compat-tests/instructions.txt`.
//!
//! callgrind counts what the release binary does in user space for one call after the other, on one worker: the same on a busy
//! machine as on an idle one, to about half a per cent. What the kernel does, and what waits, is not in it, so times of the same
//! calls on the bare binary are shown too; they gate nothing. Hashing is counted as it runs under valgrind, which has no SHA extensions.

mod budget;
mod callgrind;
mod operations;

use std::fs;
use std::path::{Path, PathBuf};

use tokio::runtime::{self, Runtime};

use self::budget::Budgets;
use self::callgrind::Callgrind;
use self::operations::{Client, OPERATIONS, Operation};
use crate::error::{CompatError, Unmet};
use crate::install::DebianPackage;
use crate::lab::Lab;
use crate::larder::{Larder, Launch};
use crate::process;
use crate::report::Report;

/// What the command line calls it.
pub(crate) const NAME: &str = "instructions";

const VALGRIND: DebianPackage = DebianPackage { program: "valgrind", package: "valgrind" };

/// Calls in each part. Before the first that counts one part runs: pools, caches and tables have their size by then.
const SMALL_CALLS: u64 = 100;
const LARGE_CALLS: u64 = 4;
/// The cheapest part counts, since what else the server does now and then only adds.
const PARTS: usize = 3;

/// Each operation, on one server for the counts and one for the times.
pub(crate) fn run(lab: &Lab, report: &mut Report<'_>) -> Result<(), CompatError> {
    let dir = lab.dir(NAME)?;
    VALGRIND.ensure(&dir.join("install.log"))?;
    let budgets = Budgets::checked_in()?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(CompatError::io(&dir))?;

    let counted = Larder::launch(lab, &dir, launch(&dir, "counted", Callgrind::wrapper(&dir)))?;
    let callgrind = Callgrind::attach(counted.pid(), &dir)?;
    let client = runtime.block_on(Client::connect(counted.address()))?;
    runtime.block_on(client.prepare())?;
    let mut measured = Vec::new();
    for operation in OPERATIONS {
        let name = operation.name();
        report.case(&format!("{NAME}/{name}"), || {
            let instructions = count(*operation, &client, &runtime, &callgrind)?;
            measured.push((name, instructions));
            let verdict = budgets.hold(name, instructions);
            verdict.map_err(|unmet| missed(unmet, &dir, counted.log()))
        });
    }
    let path = dir.join("measured.txt");
    fs::write(&path, Budgets::with_measured(&measured)).map_err(CompatError::io(&path))?;
    drop(client);

    let timed = Larder::launch(lab, &dir, launch(&dir, "timed", Vec::new()))?;
    let client = runtime.block_on(Client::connect(timed.address()))?;
    runtime.block_on(client.prepare())?;
    for operation in OPERATIONS {
        let micros = time(*operation, &client, &runtime, &timed)?;
        let text = format!("{micros} µs of the server's CPU a call");
        report.note(&format!("{NAME}/{}", operation.name()), &text);
    }
    Ok(())
}

fn launch(dir: &Path, data: &str, wrapper: Vec<String>) -> Launch {
    // Nothing else is to be under way.
    let settings = [("workers", "1"), ("scrub_rate", "0")];
    let settings = settings.map(|(key, value)| (key, value.to_owned())).to_vec();
    Launch { wrapper, settings, data_dir: dir.join(data) }
}

/// Instructions of one call.
fn count(
    operation: Operation,
    client: &Client,
    runtime: &Runtime,
    callgrind: &Callgrind,
) -> Result<u64, CompatError> {
    let calls = calls(operation);
    runtime.block_on(client.repeat(operation, calls))?;
    let mut cheapest = u64::MAX;
    for _ in 0..PARTS {
        callgrind.zero()?;
        runtime.block_on(client.repeat(operation, calls))?;
        cheapest = cheapest.min(callgrind.counted()? / calls);
    }
    Ok(cheapest)
}

/// What the server's threads ran for one call, in microseconds, the kernel's part included.
fn time(
    operation: Operation,
    client: &Client,
    runtime: &Runtime,
    server: &Larder,
) -> Result<u64, CompatError> {
    let calls = calls(operation);
    runtime.block_on(client.repeat(operation, calls))?;
    let before = ran_nanos(server.pid())?;
    runtime.block_on(client.repeat(operation, calls * PARTS as u64))?;
    Ok((ran_nanos(server.pid())? - before) / (calls * PARTS as u64) / 1000)
}

/// What all threads of a process ran so far (proc(5), `schedstat`).
fn ran_nanos(pid: u32) -> Result<u64, CompatError> {
    let tasks = PathBuf::from(format!("/proc/{pid}/task"));
    let mut nanos = 0;
    for task in fs::read_dir(&tasks).map_err(CompatError::io(&tasks))? {
        let path = task.map_err(CompatError::io(&tasks))?.path().join("schedstat");
        // A thread that has ended in between is none of those that serve.
        let Ok(text) = process::read(&path) else { continue };
        nanos += text.split(' ').next().and_then(|ran| ran.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(nanos)
}

fn calls(operation: Operation) -> u64 {
    if operation.is_large() { LARGE_CALLS } else { SMALL_CALLS }
}

fn missed(unmet: Unmet, dir: &Path, log: &Path) -> CompatError {
    let measured = dir.join("measured.txt");
    let hint = format!(
        "if that is meant: cp {} compat-tests/instructions.txt, and say why in the commit",
        measured.display()
    );
    CompatError::Unmet { unmet: vec![unmet, Unmet::new(hint)], log: log.to_path_buf() }
}
