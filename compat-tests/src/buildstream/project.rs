//! [`Project`]: a copy of the project in `compat-tests/buildstream`, and `bst` with caches of its own.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::error::CompatError;
use crate::install;
use crate::process;
use crate::snapshot::Snapshot;

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/buildstream/project");
const LIMIT: Duration = Duration::from_mins(2);
/// What the project's commands call.
const TOOLS: [&str; 5] = ["sh", "mkdir", "seq", "cp", "date"];
const BUSYBOX: [&str; 2] = ["/bin/busybox", "/usr/bin/busybox"];

/// What the server is to `BuildStream`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Caches {
    /// Where the local cache keeps its blobs.
    Storage,
    Artifacts,
    Sources,
}

/// A machine with the project on it.
pub(super) struct Project {
    environment: PathBuf,
    dir: PathBuf,
    pub(super) log: PathBuf,
}

impl Project {
    pub(super) fn new(
        environment: &Path,
        dir: &Path,
        server: SocketAddr,
        caches: Caches,
    ) -> Result<Self, CompatError> {
        let this = Self {
            environment: environment.to_owned(),
            dir: dir.to_owned(),
            log: dir.join("bst.log"),
        };
        let project = this.dir.join("project");
        install::copy_tree(Path::new(SOURCES), &project)?;
        let bin = project.join("rootfs/bin");
        fs::create_dir_all(&bin).map_err(CompatError::io(&bin))?;
        let busybox = BUSYBOX.into_iter().map(Path::new).find(|path| path.exists());
        let busybox = busybox.ok_or_else(|| CompatError::NotHere { what: BUSYBOX.join(" or ") })?;
        fs::copy(busybox, bin.join("busybox")).map_err(CompatError::io(busybox))?;
        for tool in TOOLS {
            let link = bin.join(tool);
            symlink("busybox", &link).map_err(CompatError::io(&link))?;
        }
        let settings = format!(
            "cachedir: {}\nlogdir: {}\n{}",
            this.dir.join("cache").display(),
            this.dir.join("logs").display(),
            caches.settings(server)
        );
        let file = this.dir.join("buildstream.conf");
        fs::write(&file, settings).map_err(CompatError::io(&file))?;
        Ok(this)
    }

    /// Runs `bst` with these arguments; the answer is what it printed.
    pub(super) fn bst(&self, arguments: &[&str]) -> Result<String, CompatError> {
        let mut command = Command::new(self.environment.join("bin/bst"));
        command
            .current_dir(self.dir.join("project"))
            .env("HOME", self.dir.join("home"))
            .env("XDG_CONFIG_HOME", self.dir.join("home"))
            .arg("--config")
            .arg(self.dir.join("buildstream.conf"))
            .args(["--no-colors", "--no-interactive"])
            .args(arguments);
        process::output(0, &mut command, &self.log, LIMIT)
    }

    /// The files that the last element made.
    pub(super) fn checkout(&self, name: &str) -> Result<Snapshot, CompatError> {
        let to = self.dir.join(format!("checkout-{name}"));
        let path = to.display().to_string();
        // Without the elements that it was built from.
        self.bst(&["artifact", "checkout", "--deps", "none", "--directory", &path, "made.bst"])?;
        Snapshot::take(&to, &["data".into()], |_| false)
    }

    /// Removes what is kept on this machine: all, or a part of it.
    pub(super) fn forget(&self, part: &str) -> Result<(), CompatError> {
        let path = self.dir.join("cache").join(part);
        fs::remove_dir_all(&path).map_err(CompatError::io(&path))
    }
}

impl Caches {
    fn settings(self, server: SocketAddr) -> String {
        let group = match self {
            Self::Storage => {
                return format!(
                    "cache:\n  storage-service:\n    url: http://{server}\n    \
                     instance-name: bst/storage\n"
                );
            }
            Self::Artifacts => "artifacts",
            Self::Sources => "source-caches",
        };
        format!(
            "{group}:\n  servers:\n  - url: http://{server}\n    \
             instance-name: bst/{group}\n    push: true\n"
        )
    }
}
