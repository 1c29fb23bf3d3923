//! [`Machine`]: the facts that defaults are made from.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread;

use etcetera::BaseStrategy as _;
use rustix::fs::StatVfs;

use super::ByteSize;
use crate::memory::ControlGroup;

/// The facts that defaults are made from. Plain values, so that a test can make one up.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Where this user's programs keep what can be fetched again.
    pub cache_dir: Option<PathBuf>,
    /// Cores this process may use.
    pub cores: NonZeroUsize,
    /// Memory of the machine or of the control group, whichever is less.
    pub memory: ByteSize,
    /// What a data directory may have.
    pub disk_room: fn(&Path) -> Option<DiskRoom>,
    /// How large the file system of a data directory is.
    pub disk_size: fn(&Path) -> Option<ByteSize>,
}

/// What a data directory has and could have.
#[derive(Copy, Clone, Debug)]
pub struct DiskRoom {
    /// Free for this user on the file system.
    pub free: ByteSize,
    /// Taken by the directory's files.
    pub used: ByteSize,
}

impl Machine {
    /// Asks the operating system.
    pub fn inspect() -> Self {
        Self {
            cache_dir: etcetera::choose_base_strategy().ok().map(|base| base.cache_dir()),
            cores: thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            memory: memory(),
            disk_room,
            disk_size,
        }
    }
}

fn memory() -> ByteSize {
    let info = rustix::system::sysinfo();
    #[allow(clippy::useless_conversion, reason = "the fields are as wide as the platform's long")]
    let physical_bytes = u64::from(info.totalram).saturating_mul(u64::from(info.mem_unit));
    let group = ControlGroup::of_process(Path::new("/"));
    let limit_bytes = group.and_then(|group| group.limit_bytes());
    ByteSize::bytes(limit_bytes.map_or(physical_bytes, |limit| limit.min(physical_bytes)))
}

/// The file system where the directory is, or will be.
fn file_system_of(data_dir: &Path) -> Option<StatVfs> {
    let absolute = std::path::absolute(data_dir).ok()?;
    let existing = absolute.ancestors().find(|path| path.exists())?;
    rustix::fs::statvfs(existing).ok()
}

fn disk_size(data_dir: &Path) -> Option<ByteSize> {
    let file_system = file_system_of(data_dir)?;
    Some(ByteSize::bytes(file_system.f_blocks.saturating_mul(file_system.f_frsize)))
}

fn disk_room(data_dir: &Path) -> Option<DiskRoom> {
    let file_system = file_system_of(data_dir)?;
    let free_bytes = file_system.f_bavail.saturating_mul(file_system.f_frsize);
    Some(DiskRoom {
        free: ByteSize::bytes(free_bytes),
        used: ByteSize::bytes(tree_bytes(data_dir)),
    })
}

/// What cannot be read counts as nothing: this only feeds a default.
fn tree_bytes(root: &Path) -> u64 {
    let mut directories = vec![root.to_owned()];
    let mut total_bytes = 0;
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => directories.push(entry.path()),
                Ok(metadata) => total_bytes += metadata.len(),
                Err(_) => {}
            }
        }
    }
    total_bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_something() {
        let machine = Machine::inspect();
        assert!(machine.memory > ByteSize::mib(16), "{machine:?}");
    }

    #[test]
    fn room_is_found_for_a_directory_that_does_not_exist_yet() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("a")).unwrap();
        std::fs::write(directory.path().join("a/b"), [0; 100]).unwrap();
        let room = disk_room(directory.path()).unwrap();
        assert_eq!(room.used, ByteSize::bytes(100));
        let room = disk_room(&directory.path().join("x/y")).unwrap();
        assert_eq!(room.used, ByteSize::bytes(0));
        assert!(disk_size(&directory.path().join("x/y")).unwrap() >= room.free);
    }
}
