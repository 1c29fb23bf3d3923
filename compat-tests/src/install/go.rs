//! [`GoProgram`]: a program from the Go module proxy, built from sources whose checksums are written down.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{INSTALL_LIMIT, begin, end, is_installed, is_present};
use crate::error::CompatError;
use crate::lab::Lab;
use crate::process;

/// Where Go's own installer puts it.
const USUAL_PLACE: &str = "/usr/local/go/bin/go";

/// A program and the module that requires it in an exact version.
pub(crate) struct GoProgram {
    /// Names the folder and the binary.
    pub(crate) name: &'static str,
    /// The package of the program.
    pub(crate) package: &'static str,
    /// `go.mod` of the requiring module.
    pub(crate) go_mod: &'static str,
    /// Its `go.sum`: what the sources must be, whatever the proxy says.
    pub(crate) go_sum: &'static str,
}

impl GoProgram {
    /// The binary.
    pub(crate) fn ensure(&self, lab: &Lab, log: &Path) -> Result<PathBuf, CompatError> {
        let dir = lab.installs(self.name)?;
        let binary = dir.join(self.name);
        let wanted = format!("{}\n{}\n{}", self.package, self.go_mod, self.go_sum);
        if is_installed(&dir, &wanted) {
            return Ok(binary);
        }
        let go = if is_present("go")? {
            "go"
        } else if is_present(USUAL_PLACE)? {
            USUAL_PLACE
        } else {
            return Err(CompatError::NotHere { what: "Go".to_owned() });
        };
        begin(&dir)?;
        for (file, text) in [("go.mod", self.go_mod), ("go.sum", self.go_sum)] {
            let path = dir.join(file);
            fs::write(&path, text).map_err(CompatError::io(&path))?;
        }
        let cache = dir.join("go-cache");
        let mut build = Command::new(go);
        build
            .current_dir(&dir)
            .env("GOPATH", cache.join("path"))
            .env("GOCACHE", cache.join("build"))
            .env("GOFLAGS", "-modcacherw")
            .env("GOTOOLCHAIN", "local")
            .args(["build", "-mod=readonly", "-o"])
            .arg(&binary)
            .arg(self.package);
        process::run_expecting(0, &mut build, log, INSTALL_LIMIT)?;
        fs::remove_dir_all(&cache).map_err(CompatError::io(&cache))?;
        end(&dir, &wanted)?;
        Ok(binary)
    }
}
