//! [`ControlGroup`]: the memory limit that this process runs under, version 2 or 1 of control groups.
//!
//! Source: the kernel's `admin-guide/cgroup-v2.rst` and `admin-guide/cgroup-v1/memory.rst`.

use std::path::{Path, PathBuf};

use crate::bounded_read::bounded_read;

const GROUPS: &str = "sys/fs/cgroup";
const NUMBER_LIMIT_BYTES: u64 = 64;
const STAT_LIMIT_BYTES: u64 = 64 << 10;

/// Version 1 writes "no limit" as the largest number of pages; nothing real comes near this.
const NO_LIMIT_BYTES: u64 = 1 << 60;

/// Where a group and those above it stand, the process's own first.
#[derive(Clone, Debug)]
pub struct ControlGroup {
    groups: Vec<PathBuf>,
    files: &'static Files,
}

/// A limit, and what of it is in use.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct GroupMemory {
    /// The limit.
    pub limit_bytes: u64,
    /// What counts against it and cannot simply be dropped: the page cache of files is left out.
    pub used_bytes: u64,
}

/// The names that a version of control groups has for the same things.
#[derive(Debug)]
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
    /// The group of this process, as `proc` and `sys` below `root` show it; `None` without a memory controller.
    pub fn of_process(root: &Path) -> Option<Self> {
        let membership = bounded_read(&root.join("proc/self/cgroup"), 1 << 16).ok()?;
        let own = |controller: &str| {
            membership.lines().find_map(|line| {
                let (_, rest) = line.split_once(':')?;
                let (controllers, path) = rest.split_once(':')?;
                controllers.split(',').any(|name| name == controller).then_some(path)
            })
        };
        let mount = root.join(GROUPS);
        let version_2 = own("").and_then(|path| Self::below(&mount, path, &VERSION_2));
        version_2.or_else(|| Self::below(&mount.join("memory"), own("memory")?, &VERSION_1))
    }

    /// The groups from `path` up that have a limit's file. In a namespace the path does not stand below the mount; then
    /// the mount itself is the group.
    fn below(mount: &Path, path: &str, files: &'static Files) -> Option<Self> {
        let own = mount.join(path.trim_start_matches('/'));
        let groups = own.ancestors().take_while(|group| group.starts_with(mount));
        let groups: Vec<_> =
            groups.filter(|group| group.join(files.limit).exists()).map(Path::to_owned).collect();
        (!groups.is_empty()).then_some(Self { groups, files })
    }

    /// The tightest limit of the group and those above it.
    pub fn limit_bytes(&self) -> Option<u64> {
        self.groups.iter().filter_map(|group| self.limit_of(group)).min()
    }

    /// The group, its own or one above, that is nearest to its limit; `None` where no limit is set.
    pub fn memory(&self) -> Option<GroupMemory> {
        let limited = self.groups.iter().filter_map(|group| {
            let limit_bytes = self.limit_of(group)?;
            Some(GroupMemory { limit_bytes, used_bytes: self.used_of(group)? })
        });
        limited.max_by_key(|memory| memory.used_per_mille())
    }

    /// Where the group's own pressure is told, if the kernel does.
    pub(super) fn pressure_file(&self) -> Option<PathBuf> {
        let own = self.groups.first()?.join("memory.pressure");
        own.exists().then_some(own)
    }

    fn limit_of(&self, group: &Path) -> Option<u64> {
        // `max`, no limit, is no number.
        number(&group.join(self.files.limit)).filter(|limit_bytes| *limit_bytes < NO_LIMIT_BYTES)
    }

    fn used_of(&self, group: &Path) -> Option<u64> {
        let usage_bytes = number(&group.join(self.files.usage))?;
        let stat = bounded_read(&group.join("memory.stat"), STAT_LIMIT_BYTES).unwrap_or_default();
        let file_pages = stat.lines().filter_map(|line| {
            let (name, bytes) = line.split_once(' ')?;
            self.files.file_pages.contains(&name).then(|| bytes.trim().parse::<u64>().ok())?
        });
        Some(usage_bytes.saturating_sub(file_pages.sum()))
    }
}

impl GroupMemory {
    /// How much of the limit is in use, in thousandths.
    pub fn used_per_mille(self) -> u64 {
        self.used_bytes.saturating_mul(1_000) / self.limit_bytes.max(1)
    }
}

fn number(path: &Path) -> Option<u64> {
    bounded_read(path, NUMBER_LIMIT_BYTES).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root with these files, and what is found there.
    fn check(files: &[(&str, &str)], expect: Option<(u64, u64)>) {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let memory = ControlGroup::of_process(root.path()).and_then(|group| group.memory());
        let found = memory.map(|memory| (memory.limit_bytes, memory.used_bytes));
        assert_eq!(found, expect, "{files:?}");
    }

    #[test]
    fn version_2_has_the_tightest_group_and_leaves_page_cache_out() {
        let own = ("proc/self/cgroup", "0::/a/b\n");
        let stat = "anon 300\nfile 650\ninactive_file 500\nactive_file 150\n";
        check(
            &[
                own,
                ("sys/fs/cgroup/a/b/memory.max", "1000\n"),
                ("sys/fs/cgroup/a/b/memory.current", "950\n"),
                ("sys/fs/cgroup/a/b/memory.stat", stat),
                ("sys/fs/cgroup/a/memory.max", "max\n"),
                ("sys/fs/cgroup/a/memory.current", "5000\n"),
            ],
            Some((1000, 300)),
        );
        check(
            &[
                own,
                ("sys/fs/cgroup/a/b/memory.max", "1000"),
                ("sys/fs/cgroup/a/b/memory.current", "500"),
                ("sys/fs/cgroup/a/memory.max", "1200"),
                ("sys/fs/cgroup/a/memory.current", "1100"),
            ],
            Some((1200, 1100)),
        );
        check(&[own, ("sys/fs/cgroup/a/b/memory.max", "max")], None);
    }

    #[test]
    fn a_container_sees_its_group_as_the_root() {
        check(
            &[
                ("proc/self/cgroup", "0::/\n"),
                ("sys/fs/cgroup/memory.max", "1000"),
                ("sys/fs/cgroup/memory.current", "600"),
            ],
            Some((1000, 600)),
        );
    }

    #[test]
    fn version_1_is_read_where_version_2_has_no_memory() {
        let own = ("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/a\n0::/\n");
        let usage = ("sys/fs/cgroup/memory/a/memory.usage_in_bytes", "900\n");
        let stat = "inactive_file 1\ntotal_inactive_file 300\ntotal_active_file 100\n";
        check(
            &[
                own,
                ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1000\n"),
                usage,
                ("sys/fs/cgroup/memory/a/memory.stat", stat),
            ],
            Some((1000, 500)),
        );
        let none = ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n");
        check(&[own, none, usage], None);
    }

    #[test]
    fn damaged_files_are_no_limit() {
        check(&[], None);
        check(&[("proc/self/cgroup", "garbage\n::\n0:")], None);
        check(
            &[
                ("proc/self/cgroup", "0::/../../..\n"),
                ("sys/fs/cgroup/memory.max", "-5"),
                ("sys/fs/cgroup/memory.current", ""),
            ],
            None,
        );
    }
}
