//! [`Neighbour`]: another program that serves on a port of this machine, beside the server under test.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::error::CompatError;
use crate::process;

/// How long it may take to listen, and to end. One that is written in Python imports for seconds.
const LIMIT: Duration = Duration::from_mins(1);

/// Dropping it kills it.
pub(crate) struct Neighbour {
    program: &'static str,
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

/// An address that nobody listens on; that another process takes it before its program does shows as a program that ended.
pub(crate) fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

impl Neighbour {
    /// Starts a program that will listen on `address`, and waits until it accepts connections.
    pub(crate) fn start(
        program: &'static str,
        command: &mut Command,
        address: SocketAddr,
        log: &Path,
    ) -> Result<Self, CompatError> {
        let child = process::start(command, log)?;
        let mut neighbour = Self { program, child, address, log: log.to_path_buf() };
        neighbour.await_listening()?;
        Ok(neighbour)
    }

    /// Where its clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it says.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Asks it to end; the answer is what it logged.
    pub(crate) fn stop(mut self) -> Result<String, CompatError> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)
            .map_err(|errno| CompatError::io(&self.log)(errno.into()))?;
        let ended = process::wait(&mut self.child, LIMIT).map_err(CompatError::io(&self.log))?;
        if ended.is_none() {
            return Err(self.overdue());
        }
        process::read(&self.log)
    }

    fn await_listening(&mut self) -> Result<(), CompatError> {
        let deadline = Instant::now() + LIMIT;
        while TcpStream::connect(self.address).is_err() {
            if let Some(actual) = self.child.try_wait().map_err(CompatError::io(&self.log))? {
                let (program, log) = (self.program.to_owned(), self.log.clone());
                return Err(CompatError::Exit { program, expected: 0, actual, log });
            }
            if Instant::now() >= deadline {
                return Err(self.overdue());
            }
            process::pause();
        }
        Ok(())
    }

    fn overdue(&self) -> CompatError {
        let (program, log) = (self.program.to_owned(), self.log.clone());
        CompatError::Overdue { program, limit: LIMIT, log }
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        // After `stop` there is nothing left to kill.
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}
