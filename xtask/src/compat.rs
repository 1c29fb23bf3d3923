//! `cargo xtask compat`: builds the server as it is released, and hands it to `larder-compat`.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use cargo_metadata::MetadataCommand;
use xshell::Shell;

use crate::cargo::cargo;

/// Runs `clients` (all of them when none is named) against the binary `server`, or against one built now.
pub(crate) fn run(
    root: &Path,
    server: Option<&Path>,
    clients: &[String],
    rounds: u32,
) -> Result<ExitCode, Box<dyn Error>> {
    let metadata = MetadataCommand::new().current_dir(root).no_deps().exec()?;
    let shell = Shell::new()?;
    // What the user names is relative to where the user stands.
    let named = server.map(Path::canonicalize).transpose()?;
    shell.change_dir(root);
    let server = if let Some(server) = named {
        server
    } else {
        cargo(&shell).args(["build", "--release", "--package", "larder-server"]).run()?;
        metadata.target_directory.join("release/larder").into()
    };
    let work_dir = metadata.target_directory.join("compat");
    let compat = cargo(&shell)
        .args([
            "run",
            "--quiet",
            "--package",
            "larder-compat-tests",
            "--bin",
            "larder-compat",
            "--",
        ])
        .args(["--work-dir", work_dir.as_str(), "--server"])
        .arg(server)
        .args(["--rounds", &rounds.to_string()])
        .args(clients);
    let status = std::process::Command::from(compat).status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
