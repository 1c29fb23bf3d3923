//! [`BuildRecord`]: one run of `bazel test`, as Bazel itself told it.

use std::path::PathBuf;
use std::time::Duration;

use super::console::Console;
use super::execution_log::Spawn;

#[derive(Debug)]
pub(super) struct BuildRecord {
    pub(super) console: Console,
    pub(super) spawns: Vec<Spawn>,
    pub(super) took: Duration,
    /// Where what Bazel printed was read from.
    pub(super) log: PathBuf,
}

impl BuildRecord {
    pub(super) fn hits(&self) -> usize {
        self.spawns.iter().filter(|spawn| spawn.remote_cache_hit).count()
    }
}
