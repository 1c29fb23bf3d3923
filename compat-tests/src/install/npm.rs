//! [`NpmPackage`]: what npm packages, in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{INSTALL_LIMIT, begin, end, is_installed, is_present};
use crate::error::CompatError;
use crate::lab::Lab;
use crate::process;

/// Packages in exact versions.
pub(crate) struct NpmPackage {
    /// Names the folder.
    pub(crate) name: &'static str,
    /// As npm takes them: `name@version`.
    pub(crate) packages: &'static [&'static str],
}

impl NpmPackage {
    /// The folder, where `node_modules/` has the packages. Their install scripts do not run.
    pub(crate) fn ensure(&self, lab: &Lab, log: &Path) -> Result<PathBuf, CompatError> {
        let dir = lab.installs(self.name)?;
        let wanted = self.packages.join("\n");
        if is_installed(&dir, &wanted) {
            return Ok(dir);
        }
        if !is_present("npm")? {
            return Err(CompatError::NotHere { what: "npm".to_owned() });
        }
        begin(&dir)?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"])
            .arg("--prefix")
            .arg(&dir)
            .args(self.packages);
        process::run_expecting(0, &mut npm, log, INSTALL_LIMIT)?;
        end(&dir, &wanted)?;
        Ok(dir)
    }
}
