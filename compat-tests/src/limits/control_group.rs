//! [`ControlGroup`]: a memory control group of a case's own, version 2 or 1.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::CompatError;
use crate::process;

const MOUNT: &str = "/sys/fs/cgroup";

/// A group below the one that this program is in. Dropping it removes it, once its processes have ended.
pub(super) struct ControlGroup {
    directory: PathBuf,
    files: &'static Files,
}

/// The names that a version of control groups has for the same things.
struct Files {
    limit: &'static str,
    usage: &'static str,
    /// Of `memory.stat`: pages of files.
    file_pages: [&'static str; 2],
}

const VERSION_2: Files = Files {
    limit: "memory.max",
    usage: "memory.current",
    file_pages: ["inactive_file", "active_file"],
};
const VERSION_1: Files = Files {
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    file_pages: ["total_inactive_file", "total_active_file"],
};

impl ControlGroup {
    /// Makes one; `None` where that is not allowed, or there is no memory controller.
    pub(super) fn create(name: &str) -> Option<Self> {
        let membership = process::read(Path::new("/proc/self/cgroup")).ok()?;
        let own = |controller: &str| {
            membership.lines().find_map(|line| {
                let (_, rest) = line.split_once(':')?;
                let (controllers, path) = rest.split_once(':')?;
                let is_it = controllers.split(',').any(|name| name == controller);
                is_it.then(|| path.trim_start_matches('/').to_owned())
            })
        };
        let mount = Path::new(MOUNT);
        let version_2 = own("").map(|path| (mount.join(path), &VERSION_2));
        let version_1 = own("memory").map(|path| (mount.join("memory").join(path), &VERSION_1));
        version_2.into_iter().chain(version_1).find_map(|(parent, files)| {
            let directory = parent.join(name);
            fs::create_dir(&directory).ok()?;
            let group = Self { directory, files };
            group.directory.join(files.limit).exists().then_some(group)
        })
    }

    /// Moves a process into it, with all that it takes from now on.
    pub(super) fn take_in(&self, pid: u32) -> Result<(), CompatError> {
        self.write("cgroup.procs", &pid.to_string())
    }

    pub(super) fn set_limit_bytes(&self, limit_bytes: u64) -> Result<(), CompatError> {
        self.write(self.files.limit, &limit_bytes.to_string())
    }

    /// What is in use, without the page cache.
    pub(super) fn used_bytes(&self) -> Result<u64, CompatError> {
        let usage: u64 = self.read(self.files.usage)?.trim().parse().unwrap_or(0);
        let stat = self.read("memory.stat")?;
        let file_bytes = stat.lines().filter_map(|line| line.split_once(' '));
        let file_bytes = file_bytes
            .filter(|(name, _)| self.files.file_pages.contains(name))
            .filter_map(|(_, value)| value.parse::<u64>().ok())
            .sum();
        Ok(usage.saturating_sub(file_bytes))
    }

    fn read(&self, file: &str) -> Result<String, CompatError> {
        process::read(&self.directory.join(file))
    }

    fn write(&self, file: &str, text: &str) -> Result<(), CompatError> {
        let path = self.directory.join(file);
        fs::write(&path, text).map_err(CompatError::io(&path))
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        let _busy = fs::remove_dir(&self.directory);
    }
}
