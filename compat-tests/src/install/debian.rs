//! [`DebianPackage`]: a client that Debian packages, found as it is or installed.

use std::path::Path;
use std::process::Command;

use super::{INSTALL_LIMIT, is_present};
use crate::error::CompatError;
use crate::process;

/// A client that Debian packages.
pub(crate) struct DebianPackage {
    pub(crate) program: &'static str,
    pub(crate) package: &'static str,
}

impl DebianPackage {
    /// Sees to it that the program can be run: found as it is, or installed when this is Debian and we are root.
    pub(crate) fn ensure(&self, log: &Path) -> Result<(), CompatError> {
        if is_present(self.program)? {
            return Ok(());
        }
        let missing =
            |reason| CompatError::Missing { program: self.program, package: self.package, reason };
        if !is_present("apt-get")? {
            return Err(missing("there is no apt-get on this machine to do it"));
        }
        if !rustix::process::geteuid().is_root() {
            return Err(missing("only root may do it"));
        }
        for arguments in
            [&["update"][..], &["install", "--yes", "--no-install-recommends", self.package]]
        {
            let mut apt = Command::new("apt-get");
            apt.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
            process::run_expecting(0, &mut apt, log, INSTALL_LIMIT)?;
        }
        if is_present(self.program)? {
            return Ok(());
        }
        Err(missing("apt-get installed the package without it"))
    }

    /// The version that Debian's database has for the package; `None` where the program came from elsewhere.
    pub(crate) fn version(&self) -> Option<String> {
        let query = ["--show", "--showformat=${Version}", self.package];
        let output = Command::new("dpkg-query").args(query).output().ok()?;
        let version = String::from_utf8(output.stdout).ok()?;
        (output.status.success() && !version.is_empty()).then_some(version)
    }
}
