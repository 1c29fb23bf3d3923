//! [`Lab`]: where the runs of a client happen, and with which server binary.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::CompatError;

/// A scratch directory and the server binary under test.
#[derive(Debug)]
pub(crate) struct Lab {
    server: PathBuf,
    dir: PathBuf,
    rounds: u32,
}

impl Lab {
    /// Takes `dir`, emptied of what an earlier run left, for the runs against the binary `server`. What leaves things to
    /// chance does so `rounds` times as often as usual.
    pub(crate) fn set_up(server: &Path, dir: &Path, rounds: u32) -> Result<Self, CompatError> {
        match fs::remove_dir_all(dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(CompatError::io(dir)(error));
            }
            Ok(()) | Err(_) => {}
        }
        fs::create_dir_all(dir).map_err(CompatError::io(dir))?;
        Ok(Self {
            server: server.canonicalize().map_err(CompatError::io(server))?,
            dir: dir.canonicalize().map_err(CompatError::io(dir))?,
            rounds,
        })
    }

    /// The server binary under test.
    pub(crate) fn server(&self) -> &Path {
        &self.server
    }

    /// How much longer than usual to try what leaves things to chance.
    pub(crate) fn rounds(&self) -> u32 {
        self.rounds
    }

    /// A directory of this name, made where it is not yet.
    pub(crate) fn dir(&self, name: &str) -> Result<PathBuf, CompatError> {
        let dir = self.dir.join(name);
        fs::create_dir_all(&dir).map_err(CompatError::io(&dir))?;
        Ok(dir)
    }
}
