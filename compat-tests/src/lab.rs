//! [`Lab`]: where the runs of a client happen, and with which server binary.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::CompatError;

/// What stays in the directory from one run to the next: clients from package registries.
const INSTALLS: &str = "installs";

/// A scratch directory and the server binary under test.
#[derive(Debug)]
pub(crate) struct Lab {
    server: PathBuf,
    dir: PathBuf,
    rounds: u32,
}

impl Lab {
    /// Takes `dir`, emptied of what an earlier run left but for installed clients, for the runs against the binary `server`.
    /// What leaves things to chance does so `rounds` times as often as usual.
    pub(crate) fn set_up(server: &Path, dir: &Path, rounds: u32) -> Result<Self, CompatError> {
        fs::create_dir_all(dir).map_err(CompatError::io(dir))?;
        empty(dir)?;
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

    /// Where the client `name` is installed to, and found again by the next run.
    pub(crate) fn installs(&self, name: &str) -> Result<PathBuf, CompatError> {
        self.dir(&format!("{INSTALLS}/{name}"))
    }

    /// A directory of this name, made where it is not yet.
    pub(crate) fn dir(&self, name: &str) -> Result<PathBuf, CompatError> {
        let dir = self.dir.join(name);
        fs::create_dir_all(&dir).map_err(CompatError::io(&dir))?;
        Ok(dir)
    }
}

/// Removes all of `dir` but what is installed there.
fn empty(dir: &Path) -> Result<(), CompatError> {
    for entry in fs::read_dir(dir).map_err(CompatError::io(dir))? {
        let entry = entry.map_err(CompatError::io(dir))?;
        if entry.file_name() == INSTALLS {
            continue;
        }
        let path = entry.path();
        let is_dir = entry.file_type().map_err(CompatError::io(&path))?.is_dir();
        let removed = if is_dir { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(CompatError::io(&path))?;
    }
    Ok(())
}
