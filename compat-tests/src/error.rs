//! [`CompatError`]: why a case failed or a client could not run, with the log that tells more.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

/// Why a case failed, or why a client could not be run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CompatError {
    /// The client is neither installed nor installable here.
    #[error("{program} is missing: install Debian's package {package} ({reason})")]
    Missing { program: &'static str, package: &'static str, reason: &'static str },
    /// The client cannot run here, for a reason that neither it nor the server can mend.
    #[error("{what} is not on this machine")]
    NotHere { what: String },
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A program could not be started.
    #[error("{program} did not start: {source}")]
    Start {
        program: String,
        #[source]
        source: io::Error,
    },
    /// A program ended otherwise than it should.
    #[error("{program} ended with {actual}, expected exit code {expected}")]
    Exit { program: String, expected: i32, actual: ExitStatus, log: PathBuf },
    /// A program outlived its limit and was killed.
    #[error("{program} was still running after {} s", limit.as_secs())]
    Overdue { program: String, limit: Duration, log: PathBuf },
    /// The server under test ended by itself.
    #[error("the server ended with {actual} while it should serve")]
    ServerEnded { actual: ExitStatus, log: PathBuf },
    /// The server under test did not become ready.
    #[error("the server was not ready on {address} after {} s", limit.as_secs())]
    ServerNotReady { address: String, limit: Duration, log: PathBuf },
    /// A call to the server under test went wrong.
    #[error("{call}: {source}")]
    Call {
        call: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What the client wrote about itself cannot be read.
    #[error("{}: {source}", path.display())]
    ExecutionLog {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    /// What the client printed is not what it prints.
    #[error("{what} cannot be read: {text:?}")]
    Unreadable { what: &'static str, text: String, log: PathBuf },
    /// The run ended as it should and did not do what it should.
    #[error("{}", Bullets(unmet))]
    Unmet { unmet: Vec<Unmet>, log: PathBuf },
}

/// An expectation that a run did not meet; its text names what was expected and what was seen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Unmet(String);

impl Unmet {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl CompatError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, source }
    }

    pub(crate) fn call<E>(call: &'static str) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        move |source| Self::Call { call, source: source.into() }
    }

    /// The log whose end belongs next to the message.
    pub(crate) fn log(&self) -> Option<&Path> {
        match self {
            Self::Exit { log, .. }
            | Self::Overdue { log, .. }
            | Self::ServerEnded { log, .. }
            | Self::ServerNotReady { log, .. }
            | Self::Unreadable { log, .. }
            | Self::Unmet { log, .. } => Some(log),
            Self::Missing { .. }
            | Self::NotHere { .. }
            | Self::Io { .. }
            | Self::Start { .. }
            | Self::Call { .. }
            | Self::ExecutionLog { .. } => None,
        }
    }
}

/// One expectation a line.
struct Bullets<'a>(&'a [Unmet]);

impl fmt::Display for Bullets<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, unmet) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{unmet}")?;
        }
        Ok(())
    }
}
