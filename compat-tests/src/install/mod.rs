//! Finding clients on this machine, and installing them from Debian, `PyPI`, npm and the Go module proxy, in versions that are
//! written down. What was installed stays for the next run (`Lab::installs`).

mod debian;
mod go;
mod node;
mod npm;
mod python;

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::error::CompatError;
use crate::process;

pub(crate) use debian::DebianPackage;
pub(crate) use go::GoProgram;
pub(crate) use node::{NodeInstall, NodePackages};
pub(crate) use npm::NpmPackage;
pub(crate) use python::PythonPackages;

/// Fetching and unpacking a package of a few hundred megabytes with what it depends on.
const INSTALL_LIMIT: Duration = Duration::from_mins(10);

/// In a folder whose installation ended well: what was installed there.
const RECEIPT: &str = "installed";

/// Whether `dir` has what `wanted` describes already.
fn is_installed(dir: &Path, wanted: &str) -> bool {
    process::read(&dir.join(RECEIPT)).is_ok_and(|installed| installed == wanted)
}

/// Empties `dir` for an installation that takes the place of another or of half a one.
fn begin(dir: &Path) -> Result<(), CompatError> {
    std::fs::remove_dir_all(dir)
        .and_then(|()| std::fs::create_dir_all(dir))
        .map_err(CompatError::io(dir))
}

/// Notes in `dir` what was installed there.
fn end(dir: &Path, wanted: &str) -> Result<(), CompatError> {
    let receipt = dir.join(RECEIPT);
    std::fs::write(&receipt, wanted).map_err(CompatError::io(&receipt))
}

/// Copies the folders and files below `from` to `to`: projects for clients, which write into them.
pub(crate) fn copy_tree(from: &Path, to: &Path) -> Result<(), CompatError> {
    std::fs::create_dir_all(to).map_err(CompatError::io(to))?;
    for entry in std::fs::read_dir(from).map_err(CompatError::io(from))? {
        let entry = entry.map_err(CompatError::io(from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy_tree(&source, &target)?;
        } else {
            std::fs::copy(&source, &target).map_err(CompatError::io(&source))?;
        }
    }
    Ok(())
}

/// Whether a program of this name can be started.
pub(crate) fn is_present(program: &str) -> Result<bool, CompatError> {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match command.status() {
        Ok(_any_code) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(CompatError::Start { program: program.to_owned(), source }),
    }
}
