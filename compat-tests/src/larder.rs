//! [`Larder`]: the server under test, as a process: started, killed, restarted, ended.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::error::{CompatError, Unmet};
use crate::lab::Lab;
use crate::metrics::Metrics;
use crate::process;

const READY_LIMIT: Duration = Duration::from_secs(30);
const DRAIN_LIMIT: Duration = Duration::from_secs(30);
const PROBE_LIMIT: Duration = Duration::from_secs(2);

/// How a server is started.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    /// What comes before the binary on the command line, such as a tracer.
    pub(crate) wrapper: Vec<String>,
    /// Settings, named as in the configuration file; `listen` takes the place of a free port.
    pub(crate) settings: Vec<(&'static str, String)>,
    /// Where its data goes.
    pub(crate) data_dir: PathBuf,
}

/// A running `larder serve` with a data directory of its own. Dropping it kills it.
pub(crate) struct Larder {
    binary: PathBuf,
    launch: Launch,
    log: PathBuf,
    address: SocketAddr,
    admin: SocketAddr,
    child: Child,
}

impl Larder {
    /// Starts the server on free ports with an empty cache under `dir`, and waits until it is ready.
    pub(crate) fn start(lab: &Lab, dir: &Path) -> Result<Self, CompatError> {
        let data_dir = dir.join("data");
        Self::launch(lab, dir, Launch { wrapper: Vec::new(), settings: Vec::new(), data_dir })
    }

    /// The same, started as `launch` says; `dir` takes the log.
    pub(crate) fn launch(lab: &Lab, dir: &Path, launch: Launch) -> Result<Self, CompatError> {
        let mut larder = Self::launch_unready(lab, dir, launch)?;
        larder.await_ready()?;
        Ok(larder)
    }

    /// The same, of another binary.
    pub(crate) fn launch_other(
        binary: &Path,
        dir: &Path,
        launch: Launch,
    ) -> Result<Self, CompatError> {
        let mut larder = Self::begin(binary, dir, launch)?;
        larder.await_ready()?;
        Ok(larder)
    }

    /// The same without the wait: for a server that may not live to be ready.
    pub(crate) fn launch_unready(
        lab: &Lab,
        dir: &Path,
        launch: Launch,
    ) -> Result<Self, CompatError> {
        Self::begin(lab.server(), dir, launch)
    }

    fn begin(binary: &Path, dir: &Path, launch: Launch) -> Result<Self, CompatError> {
        let (address, admin) = free_addresses().map_err(CompatError::io(dir))?;
        let (binary, log) = (binary.to_path_buf(), dir.join("server.log"));
        let child = serve(&binary, &launch, address, admin, &log)?;
        Ok(Self { binary, launch, log, address, admin, child })
    }

    /// Where the cache is served.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it is watched.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Where its data is.
    pub(crate) fn data_dir(&self) -> &Path {
        &self.launch.data_dir
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// What it counts, now.
    pub(crate) fn metrics(&self) -> Result<Metrics, CompatError> {
        Metrics::fetch(self.admin).map_err(CompatError::call("GET /metrics"))
    }

    /// Kills the server as a crash would and starts it again on the same data directory and ports.
    pub(crate) fn crash_and_restart(&mut self) -> Result<(), CompatError> {
        self.crash()?;
        self.restart()
    }

    /// Kills the server as a crash would.
    pub(crate) fn crash(&mut self) -> Result<(), CompatError> {
        self.child
            .kill()
            .and_then(|()| self.child.wait())
            .map(drop)
            .map_err(CompatError::io(&self.log))
    }

    /// Starts a server that has ended again, on the same data directory and ports, with nothing before it on the command line.
    pub(crate) fn restart(&mut self) -> Result<(), CompatError> {
        self.launch.wrapper.clear();
        self.child = serve(&self.binary, &self.launch, self.address, self.admin, &self.log)?;
        self.await_ready()
    }

    /// Holds the server still, all of its threads.
    pub(crate) fn freeze(&self) -> Result<(), CompatError> {
        kill_process(Pid::from_child(&self.child), Signal::STOP)
            .map_err(|errno| CompatError::io(&self.log)(errno.into()))?;
        let status = PathBuf::from(format!("/proc/{}/status", self.child.id()));
        while !process::read(&status)?.contains("State:\tT") {
            process::pause();
        }
        Ok(())
    }

    /// Whether the server has ended by itself.
    pub(crate) fn has_ended(&mut self) -> Result<bool, CompatError> {
        let ended = self.child.try_wait().map_err(CompatError::io(&self.log))?;
        Ok(ended.is_some())
    }

    /// Whether `/readyz` answers 200.
    pub(crate) fn is_ready(&self) -> bool {
        answers_ready(self.admin)
    }

    /// Asks the server to end: it drains, exits with 0 and has logged no error.
    pub(crate) fn stop(mut self) -> Result<(), CompatError> {
        self.terminate()?;
        self.await_end()
    }

    /// Asks the server to end, once: a second time means at once.
    pub(crate) fn terminate(&self) -> Result<(), CompatError> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)
            .map_err(|errno| CompatError::io(&self.log)(errno.into()))
    }

    /// Waits for the end of a server that was asked: it exits with 0 and has logged no error.
    pub(crate) fn await_end(&mut self) -> Result<(), CompatError> {
        let log = self.log.clone();
        let ended = process::wait(&mut self.child, DRAIN_LIMIT).map_err(CompatError::io(&log))?;
        let program = self.binary.display().to_string();
        let Some(actual) = ended else {
            return Err(CompatError::Overdue { program, limit: DRAIN_LIMIT, log });
        };
        if actual.code() != Some(0) {
            return Err(CompatError::Exit { program, expected: 0, actual, log });
        }
        let unmet = logged_errors(&process::read(&log)?);
        if unmet.is_empty() { Ok(()) } else { Err(CompatError::Unmet { unmet, log }) }
    }

    fn await_ready(&mut self) -> Result<(), CompatError> {
        let deadline = Instant::now() + READY_LIMIT;
        while !answers_ready(self.admin) {
            let log = || self.log.clone();
            if let Some(actual) = self.child.try_wait().map_err(CompatError::io(&self.log))? {
                return Err(CompatError::ServerEnded { actual, log: log() });
            }
            if Instant::now() >= deadline {
                let address = self.admin.to_string();
                return Err(CompatError::ServerNotReady {
                    address,
                    limit: READY_LIMIT,
                    log: log(),
                });
            }
            process::pause();
        }
        Ok(())
    }
}

impl Drop for Larder {
    fn drop(&mut self) {
        // After `stop` there is nothing left to kill.
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

fn serve(
    binary: &Path,
    launch: &Launch,
    address: SocketAddr,
    admin: SocketAddr,
    log: &Path,
) -> Result<Child, CompatError> {
    let mut command = match launch.wrapper.split_first() {
        Some((program, arguments)) => {
            let mut command = Command::new(program);
            command.args(arguments).arg(binary);
            command
        }
        None => Command::new(binary),
    };
    command
        .arg("serve")
        .args(["--admin-listen", &admin.to_string()])
        .arg("--data-dir")
        .arg(&launch.data_dir);
    if !launch.settings.iter().any(|(key, _)| *key == "listen") {
        command.args(["--listen", &address.to_string()]);
    }
    for (key, value) in &launch.settings {
        // In one word: a switch takes no word of its own.
        command.arg(format!("--{}={value}", key.replace(['_', '.'], "-")));
    }
    process::start(&mut command, log)
}

/// Two addresses that nobody listens on. Both stay bound until both are known, so that they differ; that another process takes
/// one before the server does is possible and shows as a server that ended.
fn free_addresses() -> std::io::Result<(SocketAddr, SocketAddr)> {
    let first = TcpListener::bind("127.0.0.1:0")?;
    let second = TcpListener::bind("127.0.0.1:0")?;
    Ok((first.local_addr()?, second.local_addr()?))
}

/// Whether `/readyz` answers 200.
fn answers_ready(admin: SocketAddr) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect_timeout(&admin, PROBE_LIMIT)?;
        stream.set_read_timeout(Some(PROBE_LIMIT))?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: larder\r\nConnection: close\r\n\r\n")?;
        let mut status_line = [0; b"HTTP/1.1 200".len()];
        stream.read_exact(&mut status_line)?;
        std::io::Result::Ok(status_line)
    };
    ask().is_ok_and(|status_line| &status_line == b"HTTP/1.1 200")
}

/// An ERROR means that a human must look, so in these runs there is none.
fn logged_errors(log: &str) -> Vec<Unmet> {
    log.lines()
        .filter(|line| line.contains(r#""level":"ERROR""#) || line.contains("panicked at"))
        .map(|line| Unmet::new(format!("expected no error in the server's log, got {line}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_panics_in_the_log_are_found() {
        let table = [
            (r#"{"level":"INFO","fields":{"message":"ERROR budget"}}"#, 0),
            (r#"{"timestamp":"now","level":"ERROR"}"#, 1),
            ("thread 'edge-0' panicked at src/x.rs:1:1:", 1),
            ("", 0),
        ];
        for (log, found) in table {
            assert_eq!(logged_errors(log).len(), found, "{log}");
        }
    }
}
