//! [`MemoryReader`]: how short memory is, now.

use std::path::{Path, PathBuf};

use super::control_group::{ControlGroup, GroupMemory};
use crate::bounded_read::bounded_read;

/// Reads how short memory is.
#[derive(Clone, Debug)]
pub struct MemoryReader {
    root: PathBuf,
}

/// How short memory is at one moment. What the system does not tell is `None`.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub struct MemoryReading {
    /// The control group's limit and use.
    pub group: Option<GroupMemory>,
    /// Of the last ten seconds, the share in which some task waited for memory (PSI), in thousandths.
    pub stalled_per_mille: Option<u64>,
}

impl MemoryReader {
    /// Reads `proc` and `sys` below `root`.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Reads it now: that of the group that the process is in now, since whoever started it may move it at any time.
    pub fn read(&self) -> MemoryReading {
        let group = ControlGroup::of_process(&self.root);
        // The group's own stalls where they are told, else the machine's.
        let own = group.as_ref().and_then(ControlGroup::pressure_file);
        let stalls = own.unwrap_or_else(|| self.root.join("proc/pressure/memory"));
        let stalls = bounded_read(&stalls, 1 << 10).ok();
        MemoryReading {
            group: group.as_ref().and_then(ControlGroup::memory),
            stalled_per_mille: stalls.as_deref().and_then(some_avg10_per_mille),
        }
    }
}

/// `some avg10=1.23 …` as 12. Source: the kernel's `accounting/psi.rst`.
fn some_avg10_per_mille(stalls: &str) -> Option<u64> {
    let some = stalls.lines().find_map(|line| line.strip_prefix("some "))?;
    let average = some.split(' ').find_map(|field| field.strip_prefix("avg10="))?;
    let (whole, hundredths) = average.split_once('.')?;
    let tenths = hundredths.get(..1)?;
    Some(whole.parse::<u64>().ok()?.checked_mul(10)? + tenths.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_stalls(text: &str, expect: Option<u64>) {
        assert_eq!(some_avg10_per_mille(text), expect, "{text:?}");
    }

    #[test]
    fn stalls_are_read_from_their_first_line() {
        let full = "full avg10=99.00 avg60=0.00 avg300=0.00 total=0\n";
        check_stalls(&format!("some avg10=1.23 avg60=0.00 avg300=0.00 total=1\n{full}"), Some(12));
        check_stalls("some avg10=0.00 avg60=9.00 avg300=0.00 total=1\n", Some(0));
        check_stalls("some avg10=100.00 avg60=9.00", Some(1000));
        check_stalls(full, None);
        check_stalls("some avg10=x.y", None);
        check_stalls("some avg10=99999999999999999999.0", None);
        check_stalls("", None);
    }

    #[test]
    fn the_groups_own_stalls_come_before_the_machines() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        assert_eq!(MemoryReader::new(root.path()).read(), MemoryReading::default());
        write("proc/pressure/memory", "some avg10=5.00 avg60=0.00 avg300=0.00 total=0\n");
        let machine = MemoryReading { group: None, stalled_per_mille: Some(50) };
        assert_eq!(MemoryReader::new(root.path()).read(), machine);
        write("proc/self/cgroup", "0::/\n");
        write("sys/fs/cgroup/memory.max", "2000");
        write("sys/fs/cgroup/memory.current", "500");
        write("sys/fs/cgroup/memory.pressure", "some avg10=7.00 avg60=0.00 avg300=0.00 total=0\n");
        let reader = MemoryReader::new(root.path());
        let group = Some(GroupMemory { limit_bytes: 2000, used_bytes: 500 });
        assert_eq!(reader.read(), MemoryReading { group, stalled_per_mille: Some(70) });
        write("sys/fs/cgroup/memory.current", "1900");
        let group = Some(GroupMemory { limit_bytes: 2000, used_bytes: 1900 });
        assert_eq!(reader.read().group, group, "each reading is new");
        write("sys/fs/cgroup/pod/memory.max", "3000");
        write("sys/fs/cgroup/pod/memory.current", "2950");
        write("proc/self/cgroup", "0::/pod\n");
        let group = Some(GroupMemory { limit_bytes: 3000, used_bytes: 2950 });
        assert_eq!(reader.read().group, group, "the process was moved");
    }
}
