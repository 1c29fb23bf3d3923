//! `larder-bench`: loads any REAPI cache and prints what it took, of the client, of the server and beside what the machine can do.

mod blobs;
mod client;
mod error;
mod limits;
mod load;
mod options;
mod process;
mod progress;
mod report;
mod run;
mod scenario;
mod session;
mod target;
mod wire;

use std::fs::File;
use std::io::{BufWriter, Write, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Parser, ValueEnum};

use crate::error::BenchError;
use crate::limits::Limits;
use crate::options::Options;
use crate::progress::Progress;
use crate::report::{LimitTable, RatioTable, Report, Row, RowTable, described, ratios};
use crate::run::Run;
use crate::scenario::{Kind, Sizes};
use crate::session::Session;
use crate::target::Target;

fn main() -> ExitCode {
    let options = Options::parse();
    let targets = options.targets().unwrap_or_else(|error| {
        use clap::CommandFactory;
        Options::command().error(clap::error::ErrorKind::ValueValidation, error).exit()
    });
    match run(&options, &targets, &mut stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // With standard error closed, the exit code still tells.
            let _unread = writeln!(stderr(), "error: {}", described(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options, targets: &[Target], out: &mut dyn Write) -> Result<(), BenchError> {
    if !options.session_of.is_empty() {
        return Ok(write!(out, "{}", converted(&options.session_of)?)?);
    }
    let sizes = sizes(options)?;
    let wire = options.wire()?;
    Run::greet(options, targets, &wire)?;
    let kinds = if options.only.is_empty() { Kind::value_variants() } else { &options.only };
    let steps = kinds.iter().map(|kind| Run::steps(options, targets.len(), *kind));
    let progress = Progress::new(steps.sum());
    let limits = Limits::measure(&options.scratch, |limit| {
        progress.tell(format!("limits: {}", limit.name()));
    })?;
    progress.suspend(|| writeln!(out, "{}", LimitTable(&limits)))?;
    let mut report = Report { version: env!("CARGO_PKG_VERSION"), limits, ..Report::default() };
    if !options.only_limits {
        progress.suspend(|| writeln!(out, "{}", RowTable::HEADER))?;
        let limits = &report.limits;
        let (wire, sizes, progress) = (&wire, &sizes, &progress);
        let run = Run { options, targets, wire, sizes, limits, progress };
        for kind in kinds {
            report.rows.extend(run.scenario(*kind, out)?);
        }
    }
    drop(progress);
    if let [first, _, ..] = targets {
        report.ratios = ratios(&report.rows, &first.name);
        write!(out, "\n{} {}", first.name, RatioTable(&report.ratios))?;
    }
    if let Some(path) = &options.json {
        write_json(path, &report)?;
    }
    judge(&report.rows, targets.first())
}

/// What a server does not offer at all is no error of its own, unless it is the one that the run is about.
fn judge(rows: &[Row], first: Option<&Target>) -> Result<(), BenchError> {
    let operations =
        rows.iter().filter(|row| row.unmeasured().is_none()).map(|row| row.errors).sum();
    if operations > 0 {
        return Err(BenchError::Operations { operations });
    }
    let is_first = |row: &&Row| first.is_some_and(|first| first.name == row.server);
    let unmeasured = rows.iter().filter(is_first).find(|row| row.unmeasured().is_some());
    unmeasured.map_or(Ok(()), |row| {
        Err(BenchError::Unmeasured { scenario: row.scenario, server: row.server.clone() })
    })
}

fn sizes(options: &Options) -> Result<Sizes, BenchError> {
    let session = match &options.session {
        None => Session::recorded(),
        Some(path) => read_session(path)?,
    };
    // Blobs that no earlier run has stored: the time picks the first one.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Sizes {
        large_bytes: options.large_mib << 20,
        cold_blobs: options.cold_blobs,
        entries: options.entries,
        working_set: options.working_set,
        session,
        salt: u64::try_from(now.as_micros()).unwrap_or_default(),
    })
}

/// The session of these logs of Bazel's.
fn converted(logs: &[PathBuf]) -> Result<Session, BenchError> {
    let read = |path: &PathBuf| {
        let shown = || path.display().to_string();
        std::fs::read(path).map_err(|source| BenchError::File { path: shown(), source })
    };
    let logs = logs.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(session::session_of(&logs)?)
}

#[expect(clippy::disallowed_methods, reason = "the user's own file, on the user's machine")]
fn read_session(path: &Path) -> Result<Session, BenchError> {
    let shown = || path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|source| BenchError::File { path: shown(), source })?;
    Session::parse(&text).map_err(|(line, source)| BenchError::Session {
        path: shown(),
        line,
        source,
    })
}

fn write_json(path: &Path, report: &Report) -> Result<(), BenchError> {
    let created = File::create(path);
    let file =
        created.map_err(|source| BenchError::File { path: path.display().to_string(), source })?;
    let mut out = BufWriter::new(file);
    serde_json::to_writer_pretty(&mut out, report)?;
    Ok(out.flush()?)
}
