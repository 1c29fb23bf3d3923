//! Bazel 2.1 from npm, which can reach a cache by a unix socket: over gRPC and HTTP, with no TCP in between.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::error::CompatError;
use crate::expectations::Expectations;
use crate::install::{self, NpmPackage};
use crate::lab::Lab;
use crate::larder::{Larder, Launch};
use crate::process;
use crate::report::Report;
use crate::snapshot::Snapshot;

/// What the command line calls it.
pub(crate) const NAME: &str = "bazel-socket";

const PACKAGE: NpmPackage = NpmPackage { name: NAME, packages: &["@bazel/bazel-linux_x64@2.1.0"] };
const BINARY: &str = "node_modules/@bazel/bazel-linux_x64/bazel-2.1.0-linux-x86_64";

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bazel/socket");
/// The first run unpacks a Java runtime.
const LIMIT: Duration = Duration::from_mins(3);
const ACTIONS: u64 = 2;
/// The name of the socket. The path of one is short, so that it lies in a directory of its own under the system's.
const SOCKET: &str = "larder.sock";

/// Each protocol: cold, warm after a clean and a crash.
pub(crate) fn run(lab: &Lab, report: &mut Report<'_>) -> Result<(), CompatError> {
    let binary = PACKAGE.ensure(lab, &lab.dir(NAME)?.join("install.log"))?.join(BINARY);
    report.note(NAME, PACKAGE.packages.first().copied().unwrap_or_default());
    for scheme in ["grpc", "http"] {
        report.case(&format!("{NAME}/{scheme}"), || {
            cold_and_warm(lab, &lab.dir(&format!("{NAME}/{scheme}"))?, &binary, scheme)
        });
    }
    Ok(())
}

fn cold_and_warm(
    lab: &Lab,
    dir: &Path,
    binary: &Path,
    scheme: &str,
) -> Result<String, CompatError> {
    let socket = std::env::temp_dir().join(format!("larder-{}-{scheme}", std::process::id()));
    fs::create_dir_all(&socket).map_err(CompatError::io(&socket))?;
    let seen = over_socket(lab, dir, binary, scheme, &socket.join(SOCKET));
    fs::remove_dir_all(&socket).map_err(CompatError::io(&socket))?;
    seen
}

fn over_socket(
    lab: &Lab,
    dir: &Path,
    binary: &Path,
    scheme: &str,
    socket: &Path,
) -> Result<String, CompatError> {
    let launch = Launch {
        wrapper: Vec::new(),
        settings: vec![("listen", format!("unix:{}", socket.display()))],
        data_dir: dir.join("data"),
    };
    let mut larder = Larder::launch(lab, dir, launch)?;
    let bazel = Bazel::new(binary, lab, dir, scheme, socket)?;
    let mut expectations = Expectations::of(&bazel.log);
    let cold = bazel.build()?;
    expectations.says("the cold build", &cold, "INFO: 2 processes: 2 local.");
    let built = bazel.outputs()?;
    expectations.equal("action results stored", larder.metrics()?.action_updates(), ACTIONS);

    larder.crash_and_restart()?;
    bazel.run(&["clean"])?;
    let warm = bazel.build()?;
    expectations.says("the warm build", &warm, "INFO: 2 processes: 2 remote cache hit.");
    expectations.extend(built.differences(&bazel.outputs()?));
    expectations.equal("hits counted by the server", larder.metrics()?.action_hits(), ACTIONS);
    expectations.met()?;
    drop(bazel);
    larder.stop()?;
    Ok(format!("{ACTIONS} run, then {ACTIONS} hits after kill -9, over a unix socket alone"))
}

/// Bazel with an output base of its own. Dropping it ends its server and removes the outputs.
struct Bazel {
    binary: PathBuf,
    dir: PathBuf,
    user_root: PathBuf,
    remote: [OsString; 2],
    log: PathBuf,
}

impl Bazel {
    fn new(
        binary: &Path,
        lab: &Lab,
        dir: &Path,
        scheme: &str,
        socket: &Path,
    ) -> Result<Self, CompatError> {
        install::copy_tree(Path::new(SOURCES), &dir.join("workspace"))?;
        // Where it listens matters no more: the host is but a name.
        let mut proxy = OsString::from("--remote_proxy=unix:");
        proxy.push(socket);
        Ok(Self {
            binary: binary.to_owned(),
            dir: dir.to_owned(),
            user_root: lab.installs("bazel-socket-root")?,
            remote: [format!("--remote_cache={scheme}://localhost").into(), proxy],
            log: dir.join("bazel.log"),
        })
    }

    fn build(&self) -> Result<String, CompatError> {
        let mut command = self.command("build");
        command
            .args(["//:all", "--spawn_strategy=local", "--symlink_prefix=/"])
            .args(["--color=no", "--curses=no", "--noshow_progress"])
            .args(&self.remote);
        process::output(0, &mut command, &self.log, LIMIT)
    }

    fn run(&self, arguments: &[&str]) -> Result<(), CompatError> {
        let (name, rest) = arguments.split_first().unwrap_or((&"version", &[]));
        process::run_expecting(0, self.command(name).args(rest), &self.log, LIMIT)
    }

    fn outputs(&self) -> Result<Snapshot, CompatError> {
        let root = self.dir.join("base/execroot/__main__/bazel-out");
        Snapshot::take(&root, &["k8-fastbuild/bin".into()], |_| false)
    }

    fn command(&self, name: &str) -> Command {
        let flag = |flag: &str, path: &Path| {
            let mut argument = OsString::from(flag);
            argument.push(path);
            argument
        };
        let mut command = Command::new(&self.binary);
        command
            .current_dir(self.dir.join("workspace"))
            .args(["--nohome_rc", "--noworkspace_rc", "--nosystem_rc", "--max_idle_secs=120"])
            .arg(flag("--output_user_root=", &self.user_root))
            .arg(flag("--output_base=", &self.dir.join("base")))
            .arg(name);
        command
    }
}

impl Drop for Bazel {
    fn drop(&mut self) {
        // What keeps it from ending is in the log, and its idle limit ends it then.
        let _ended = self.run(&["clean", "--expunge"]);
    }
}
