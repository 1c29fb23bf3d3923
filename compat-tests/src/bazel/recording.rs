//! A session of Bazel, recorded: what it asks a cache for in builds with edits between them, as machines of a CI make them, each
//! from a clean checkout. Bazel tells its calls (`--experimental_remote_grpc_log`), the server what it was asked (`trace_file`).

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::PACKAGE;
use super::output_base::OutputBase;
use super::sources::Sources;
use crate::error::CompatError;
use crate::lab::Lab;
use crate::larder::{Larder, Launch};

/// Nothing is to be evicted: what a smaller cache would have kept is found out from the trace.
const MAX_SIZE: &str = "20GiB";
/// A branch takes what has come to the main line meanwhile, after so many builds.
const REBASE_EACH: u32 = 12;

/// What is recorded, and where.
#[derive(Debug)]
pub struct Recording<'a> {
    /// Larder's binary.
    pub server: &'a Path,
    /// `larder-bench`, which makes the session of Bazel's logs.
    pub bench: &'a Path,
    /// Where the builds happen; emptied first. `bazel.session`, `trace` and the logs stay there.
    pub work_dir: &'a Path,
    /// How many builds the trace has.
    pub builds: u32,
    /// How many of them, from the first on, the session has.
    pub session_builds: u32,
}

/// Records a session and a trace, and tells `out` of each build; the answer is whether all went well.
pub fn record(recording: &Recording<'_>, out: &mut dyn Write) -> bool {
    recording.run(out).map_or_else(
        |error| {
            // With nobody to read it, the answer still tells.
            let _unread = writeln!(out, "error: {error}");
            false
        },
        |()| true,
    )
}

impl Recording<'_> {
    fn run(&self, out: &mut dyn Write) -> Result<(), CompatError> {
        let lab = Lab::set_up(self.server, self.work_dir, 1)?;
        let dir = lab.dir("builds")?;
        PACKAGE.ensure(&dir.join("install.log"))?;
        let work_dir = self.work_dir.canonicalize().map_err(CompatError::io(self.work_dir))?;
        let settings = vec![
            ("max_size", MAX_SIZE.to_owned()),
            ("trace_file", work_dir.join("trace").display().to_string()),
        ];
        let data_dir = dir.join("data");
        let larder =
            Larder::launch(&lab, &dir, Launch { wrapper: Vec::new(), settings, data_dir })?;
        let logs = self.build_all(&dir, &format!("grpc://{}", larder.address()), out)?;
        larder.stop()?;

        let session = work_dir.join("bazel.session");
        let file = File::create(&session).map_err(CompatError::io(&session))?;
        let mut command = Command::new(self.bench);
        command.arg("--session-of").args(&logs[..logs.len().min(self.session_builds as usize)]);
        let program = self.bench.display().to_string();
        let started = command.stdout(file).status();
        let actual =
            started.map_err(|source| CompatError::Start { program: program.clone(), source })?;
        if !actual.success() {
            return Err(CompatError::Exit { program, expected: 0, actual, log: session });
        }
        writeln!(out, "{}\n{}", session.display(), work_dir.join("trace").display())
            .map_err(CompatError::io(&session))
    }

    /// The main line has each second build; two branches share the others.
    fn build_all(
        &self,
        dir: &Path,
        cache: &str,
        out: &mut dyn Write,
    ) -> Result<Vec<PathBuf>, CompatError> {
        let workspace = dir.join("workspace");
        let base = OutputBase::of(&workspace, dir, "base");
        let mut lines = [Sources::new(), Sources::new(), Sources::new()];
        let mut logs = Vec::new();
        for number in 0..self.builds {
            let line = if number.is_multiple_of(2) { 0 } else { 1 + number as usize / 2 % 2 };
            if number % REBASE_EACH == REBASE_EACH - 1 {
                lines[line] = lines[0].clone();
            }
            if number > 0 {
                lines[line].edit(number);
            }
            lines[line].write(&workspace).map_err(CompatError::io(&workspace))?;
            if number > 0 {
                base.clean()?;
            }
            let log = dir.join(format!("calls-{number:03}"));
            let processes = base.build(cache, &log, &dir.join(format!("build-{number:03}.log")))?;
            writeln!(out, "build {number}, line {line}: {processes}")
                .map_err(CompatError::io(&log))?;
            logs.push(log);
        }
        fs::remove_dir_all(&workspace).map_err(CompatError::io(&workspace))?;
        Ok(logs)
    }
}
