//! What processes have used: the server's, from `/proc`, and the threads of this one.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A process on this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerProcess {
    pid: u32,
}

/// What a process had used at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) cpu: Duration,
    pub(crate) rss_bytes: u64,
    pub(crate) peak_rss_bytes: u64,
    /// Unless the kernel keeps it from us, as of other users' processes.
    pub(crate) read: Option<BytesRead>,
}

/// What a process had read at one moment; bytes that it maps into its memory count only where they came from a device.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct BytesRead {
    /// By reading files, out of the page cache or not.
    pub(crate) files: u64,
    /// From a device.
    pub(crate) device: u64,
}

impl BytesRead {
    /// What was read from `before` on.
    pub(crate) fn since(self, before: Self) -> Self {
        let files = self.files.saturating_sub(before.files);
        Self { files, device: self.device.saturating_sub(before.device) }
    }

    /// Together with what was read at another time.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { files: self.files + other.files, device: self.device + other.device }
    }
}

impl ServerProcess {
    pub(crate) fn new(pid: u32) -> Self {
        Self { pid }
    }

    pub(crate) fn sample(self) -> std::io::Result<Sample> {
        let stat = std::fs::read(format!("/proc/{}/stat", self.pid))?;
        let status = std::fs::read(format!("/proc/{}/status", self.pid))?;
        let status = String::from_utf8_lossy(&status);
        let io = std::fs::read(format!("/proc/{}/io", self.pid)).ok();
        Ok(Sample {
            cpu: cpu_time(&String::from_utf8_lossy(&stat)),
            rss_bytes: status_bytes(&status, "VmRSS:"),
            peak_rss_bytes: status_bytes(&status, "VmHWM:"),
            read: io.and_then(|io| bytes_read(&String::from_utf8_lossy(&io))),
        })
    }
}

/// What this thread has used.
pub(crate) fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// `utime` and `stime`, fields 14 and 15 of proc(5), counted behind the name, which may hold spaces.
fn cpu_time(stat: &str) -> Duration {
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
}

/// `rchar` and `read_bytes` of proc(5). What sockets receive is not among them.
fn bytes_read(io: &str) -> Option<BytesRead> {
    let field = |name| io.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    Some(BytesRead { files: field("rchar:")?, device: field("read_bytes:")? })
}

fn status_bytes(status: &str, field: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap_or_default();
    kib * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_any_name() {
        let stat = "7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0";
        let ticks = rustix::param::clock_ticks_per_second();
        assert_eq!(cpu_time(stat), Duration::from_millis(300 * 1000 / ticks));
        let read = bytes_read("rchar: 9\nwchar: 8\nsyscr: 7\nread_bytes: 4096\n");
        assert_eq!(read, Some(BytesRead { files: 9, device: 4096 }));
        assert_eq!(bytes_read("rchar: 9\n"), None);
        assert_eq!(status_bytes("Name:\tx\nVmRSS:\t  12 kB\n", "VmRSS:"), 12 * 1024);
    }
}
