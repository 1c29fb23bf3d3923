//! `cargo xtask bench-peers` and `record-session`: build server and load generator as they are released, and hand them to the programs
//! of `compat-tests` that know other people's servers and clients.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use cargo_metadata::MetadataCommand;
use xshell::Shell;

use crate::cargo::cargo;

/// Loads Larder, with these settings, and its peers in turn; `options` are the load generator's.
pub(crate) fn peers(
    root: &Path,
    durability: &str,
    hot: Option<&str>,
    options: &[String],
) -> Result<ExitCode, Box<dyn Error>> {
    let built = Built::now(root, "larder-comparison")?;
    let mut command = built.command();
    command
        .arg("--work-dir")
        .arg(built.target.join("compat"))
        .arg("--report-dir")
        .arg(built.target.join("bench-peers"))
        .args(["--durability", durability])
        .args(hot.map(|hot| format!("--hot={hot}")))
        .arg("--")
        .args(options);
    end(command)
}

/// Records what Bazel asks a cache for.
pub(crate) fn record(
    root: &Path,
    builds: u32,
    session_builds: u32,
) -> Result<ExitCode, Box<dyn Error>> {
    let built = Built::now(root, "larder-recording")?;
    let mut command = built.command();
    command
        .arg("--work-dir")
        .arg(built.target.join("recording"))
        .args(["--builds", &builds.to_string()])
        .args(["--session-builds", &session_builds.to_string()]);
    end(command)
}

/// What both need.
struct Built {
    target: PathBuf,
    program: &'static str,
}

impl Built {
    fn now(root: &Path, program: &'static str) -> Result<Self, Box<dyn Error>> {
        let metadata = MetadataCommand::new().current_dir(root).no_deps().exec()?;
        let shell = Shell::new()?;
        shell.change_dir(root);
        let released = ["--package", "larder-server", "--package", "larder-bench"];
        cargo(&shell).args(["build", "--release"]).args(released).run()?;
        let started = ["--package", "larder-compat-tests", "--bin", program];
        cargo(&shell).args(["build", "--quiet"]).args(started).run()?;
        Ok(Self { target: metadata.target_directory.into(), program })
    }

    /// Files that its options name are relative to where the user stands.
    fn command(&self) -> Command {
        let released = |name: &str| self.target.join("release").join(name);
        let mut command = Command::new(self.target.join("debug").join(self.program));
        command.arg("--server").arg(released("larder"));
        command.arg("--bench").arg(released("larder-bench"));
        command
    }
}

fn end(mut command: Command) -> Result<ExitCode, Box<dyn Error>> {
    let status = command.status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
