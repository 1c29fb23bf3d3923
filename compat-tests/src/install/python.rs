//! [`PythonPackages`]: what `PyPI` packages, in a virtual environment of its own, for one of the Pythons that it runs with.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{INSTALL_LIMIT, begin, end, is_installed};
use crate::error::CompatError;
use crate::lab::Lab;
use crate::process;

/// Packages with all that they need, each in an exact version, and the Pythons that can run them, the preferred first.
pub(crate) struct PythonPackages {
    /// Names the environment.
    pub(crate) name: &'static str,
    /// As `python3 --version` tells, without the last number.
    pub(crate) pythons: &'static [&'static str],
    /// What pip takes as a requirements file, with `==` on every line.
    pub(crate) requirements: &'static str,
}

impl PythonPackages {
    /// The environment's folder, where `bin/` has what the packages brought.
    pub(crate) fn ensure(&self, lab: &Lab, log: &Path) -> Result<PathBuf, CompatError> {
        let dir = lab.installs(self.name)?;
        let (version, python) = self.find_python()?;
        let wanted = format!("Python {version}\n{}", self.requirements);
        if is_installed(&dir, &wanted) {
            return Ok(dir);
        }
        begin(&dir)?;
        let mut venv = Command::new(python);
        venv.args(["-m", "venv"]).arg(&dir);
        process::run_expecting(0, &mut venv, log, INSTALL_LIMIT)?;
        let requirements = dir.join("requirements.txt");
        fs::write(&requirements, self.requirements).map_err(CompatError::io(&requirements))?;
        let mut pip = Command::new(dir.join("bin/pip"));
        pip.args(["install", "--quiet", "--no-input", "--no-deps", "--only-binary=:all:"])
            .arg("--requirement")
            .arg(&requirements);
        process::run_expecting(0, &mut pip, log, INSTALL_LIMIT)?;
        end(&dir, &wanted)?;
        Ok(dir)
    }

    /// The first of the Pythons that is on this machine: on the path, or among those that pyenv keeps.
    fn find_python(&self) -> Result<(&'static str, PathBuf), CompatError> {
        for version in self.pythons {
            let on_path = ["python3".into(), format!("python{version}").into()];
            let found = on_path.into_iter().chain(pyenv()).find(|python| is(version, python));
            if let Some(python) = found {
                return Ok((version, python));
            }
        }
        Err(CompatError::NotHere { what: format!("Python {}", self.pythons.join(" or ")) })
    }
}

/// The interpreters in the user's pyenv.
fn pyenv() -> Vec<PathBuf> {
    let versions = env::home_dir().map(|home| home.join(".pyenv/versions"));
    let entries = versions.and_then(|dir| fs::read_dir(dir).ok()).into_iter().flatten();
    entries.flatten().map(|entry| entry.path().join("bin/python3")).collect()
}

/// Whether `python` is a Python of this version.
fn is(version: &str, python: &Path) -> bool {
    let printed = Command::new(python).arg("--version").output();
    let Ok(output) = printed else { return false };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let rest = text.strip_prefix("Python ").and_then(|text| text.strip_prefix(version));
    output.status.success() && rest.is_some_and(|rest| rest.starts_with('.'))
}
