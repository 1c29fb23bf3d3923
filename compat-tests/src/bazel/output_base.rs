//! [`OutputBase`]: Bazel with an output base, which is what one machine has: its own server process, outputs and local action cache.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::console::Console;
use super::execution_log;
use super::record::BuildRecord;
use crate::error::CompatError;
use crate::process;
use crate::snapshot::Snapshot;

/// Most of it is for a slow machine: a cold run takes about 15 s on two cores.
const COMMAND_LIMIT: Duration = Duration::from_mins(5);
/// Should this program die, its Bazel servers end by themselves.
const MAX_IDLE: &str = "--max_idle_secs=120";
/// What `bazel test` says of a build that succeeded with a test that failed.
const EXIT_TESTS_FAILED: i32 = 3;

/// The folder of the workspace and of the stand-ins for repositories that Bazel would download.
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bazel");
const WORKSPACE_NAME: &str = "larder_compat";
const STAND_INS: [&str; 4] = ["rules_cc", "rules_java", "rules_proto", "remote_coverage_tools"];

/// How much of what was built is fetched from the cache.
#[derive(Clone, Copy, Debug)]
pub(super) enum Download {
    Everything,
    /// "Build without the bytes": what a local process needs. Bazel 4 refuses symlinks here, so those targets are left out.
    Minimal,
}

/// The cache that a build uses.
pub(super) struct Remote<'a> {
    pub(super) url: String,
    pub(super) flags: &'a [&'a str],
    pub(super) download: Download,
}

/// Dropping it ends the Bazel server and removes the outputs.
pub(super) struct OutputBase {
    workspace: PathBuf,
    user_root: PathBuf,
    base: PathBuf,
    log: PathBuf,
}

impl OutputBase {
    /// Of the workspace that the scenarios build.
    pub(super) fn new(dir: &Path, name: &str) -> Self {
        Self::of(&Path::new(SOURCES).join("workspace"), dir, name)
    }

    /// Of another one.
    pub(super) fn of(workspace: &Path, dir: &Path, name: &str) -> Self {
        Self {
            workspace: workspace.to_owned(),
            user_root: dir.join("user-root"),
            base: dir.join(name),
            log: dir.join(format!("{name}.log")),
        }
    }

    /// What `bazel help build --long` prints.
    pub(super) fn build_options(&self, log: &Path) -> Result<String, CompatError> {
        let mut command = self.command("help");
        command.args(["build", "--long"]);
        process::run_expecting(0, &mut command, log, COMMAND_LIMIT)?;
        process::read(log)
    }

    /// Removes what was built, and with it the local action cache.
    pub(super) fn clean(&self) -> Result<(), CompatError> {
        process::run_expecting(0, &mut self.command("clean"), &self.log, COMMAND_LIMIT)
    }

    /// Builds and tests the whole workspace; `step` names the logs in `dir`.
    pub(super) fn test(
        &self,
        remote: &Remote<'_>,
        dir: &Path,
        step: &str,
    ) -> Result<BuildRecord, CompatError> {
        let log = dir.join(format!("{step}.log"));
        let execution_log = dir.join(format!("{step}.json"));
        let mut command = self.build_command("test", &remote.url);
        command
            .args(["--keep_going", "--nosandbox_debug", "--test_output=errors"])
            .args(remote.flags)
            .arg(joined("--execution_log_json_file=", &execution_log));
        match remote.download {
            Download::Everything => {}
            Download::Minimal => {
                command.args([
                    "--remote_download_minimal",
                    "--build_tag_filters=-symlinks-in-outputs",
                ]);
            }
        }
        let begun = Instant::now();
        process::run_expecting(EXIT_TESTS_FAILED, &mut command, &log, COMMAND_LIMIT)?;
        let took = begun.elapsed();
        let spawns = execution_log::parse(&process::read(&execution_log)?)
            .map_err(|source| CompatError::ExecutionLog { path: execution_log, source })?;
        Ok(BuildRecord { console: Console::parse(&process::read(&log)?), spawns, took, log })
    }

    /// Builds the whole workspace with the cache at `url`; `calls` takes Bazel's log of what it asked the cache. The answer is what
    /// became of the actions, as Bazel says it.
    pub(super) fn build(&self, url: &str, calls: &Path, log: &Path) -> Result<String, CompatError> {
        let mut command = self.build_command("build", url);
        command.arg(joined("--experimental_remote_grpc_log=", calls));
        let printed = process::output(0, &mut command, log, COMMAND_LIMIT)?;
        let counts = printed.lines().find(|line| line.contains(" processes: "));
        counts.map(|line| line.trim_start_matches("INFO: ").to_owned()).ok_or_else(|| {
            CompatError::Unreadable {
                what: "what Bazel printed",
                text: printed.clone(),
                log: log.to_owned(),
            }
        })
    }

    /// What was built, for every configuration. Test logs are left out, since they carry times, and runfiles, which Bazel lays out
    /// itself with absolute paths in them.
    pub(super) fn snapshot(&self) -> Result<Snapshot, CompatError> {
        Snapshot::take(&self.execution_root(), &self.bin_dirs()?, is_runfiles)
    }

    /// Whether an output, in whatever configuration, is on this machine's disk.
    pub(super) fn has_output(&self, path: &str) -> Result<bool, CompatError> {
        Ok(self.bin_dirs()?.iter().any(|bin| bin.join(path).exists()))
    }

    /// The outputs of each configuration: for the host, for the target.
    fn bin_dirs(&self) -> Result<Vec<PathBuf>, CompatError> {
        let out = self.execution_root().join("bazel-out");
        let configurations = fs::read_dir(&out).map_err(CompatError::io(&out))?;
        configurations
            .map(|configuration| {
                Ok(configuration.map_err(CompatError::io(&out))?.path().join("bin"))
            })
            .collect()
    }

    fn execution_root(&self) -> PathBuf {
        self.base.join("execroot").join(WORKSPACE_NAME)
    }

    /// All targets, run here or taken from the cache at `url`.
    fn build_command(&self, name: &str, url: &str) -> Command {
        let stand_ins = STAND_INS
            .map(|name| format!("--override_repository={name}={SOURCES}/stand-ins/{name}"));
        let mut command = self.command(name);
        command
            .args(["//...", "--spawn_strategy=local"])
            .args(stand_ins)
            .args(["--symlink_prefix=/", "--color=no", "--curses=no", "--noshow_progress"])
            .arg(format!("--remote_cache={url}"));
        command
    }

    /// Debian's Bazel finds its own installation by the system's rc file, so that one is read; the user's is not.
    fn command(&self, name: &str) -> Command {
        let mut command = Command::new("bazel");
        command
            .current_dir(&self.workspace)
            .args(["--nohome_rc", "--noworkspace_rc", MAX_IDLE])
            .arg(joined("--output_user_root=", &self.user_root))
            .arg(joined("--output_base=", &self.base))
            .arg(name);
        command
    }
}

impl Drop for OutputBase {
    fn drop(&mut self) {
        let mut command = self.command("clean");
        command.arg("--expunge");
        // What keeps it from ending is in the log, and `MAX_IDLE` ends it then.
        let _ended = process::run(&mut command, &self.log, COMMAND_LIMIT);
    }
}

fn is_runfiles(path: &Path) -> bool {
    let endings = [".runfiles", ".runfiles_manifest"];
    path.to_str().is_some_and(|path| endings.iter().any(|ending| path.ends_with(ending)))
}

fn joined(flag: &str, path: &Path) -> OsString {
    let mut argument = OsString::from(flag);
    argument.push(path);
    argument
}
