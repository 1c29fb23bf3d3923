//! Finding clients on this machine, and installing what Debian packages.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::error::CompatError;
use crate::process;

/// Fetching and unpacking a package of a few hundred megabytes with what it depends on.
const INSTALL_LIMIT: Duration = Duration::from_mins(10);

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

/// Whether a program of this name can be started.
fn is_present(program: &'static str) -> Result<bool, CompatError> {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match command.status() {
        Ok(_any_code) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(CompatError::Start { program: program.to_owned(), source }),
    }
}
