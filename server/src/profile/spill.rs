//! [`Spill`]: a place for the file that the sampler keeps, for what it has no room for in memory.
//!
//! The sampler makes it where temporary files are made, and in a container that may be read-only.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tempfile::TempDir;
use tempfile::env::override_temp_dir;

/// A place for the sampler's file.
#[derive(Debug)]
pub(super) struct Spill {
    /// The store's place for what is being written.
    directory: PathBuf,
    /// Ours within it, where it is needed; it goes with the server.
    own: OnceLock<TempDir>,
}

impl Spill {
    /// Within the data directory at most.
    pub(super) fn new(data_dir: &Path) -> Self {
        Self { directory: data_dir.join("tmp"), own: OnceLock::new() }
    }

    /// Sees to it that the process can make temporary files.
    pub(super) fn prepare(&self) -> io::Result<()> {
        if tempfile::tempfile().is_ok() {
            return Ok(());
        }
        let own = tempfile::tempdir_in(&self.directory)?;
        if override_temp_dir(own.path()).is_ok() {
            let _first = self.own.set(own);
        }
        Ok(())
    }
}
