//! What the operating system knows about this process: memory, open files, start time, version.

use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::bounded_read::bounded_read;

/// Registers what the operating system knows about this process, and the build.
pub fn register_process(registry: &mut Registry, started: SystemTime) {
    let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("larder_build", "The version that runs", build);
    registry.register_collector(Box::new(ProcessMetrics { started }));
}

/// Bytes of memory that are resident; known on Linux only.
fn resident_bytes() -> Option<u64> {
    let statm = bounded_read(Path::new("/proc/self/statm"), 256).ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * u64::try_from(rustix::param::page_size()).ok()?)
}

fn open_files() -> Option<u64> {
    // The directory itself is open while it is read.
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as u64)
}

#[derive(Debug)]
struct ProcessMetrics {
    started: SystemTime,
}

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let since_epoch = self.started.duration_since(SystemTime::UNIX_EPOCH);
        let start_seconds = since_epoch.unwrap_or(Duration::ZERO).as_secs_f64();
        encoder
            .encode_descriptor(
                "process_start_time_seconds",
                "Start, in seconds since 1970",
                None,
                MetricType::Gauge,
            )?
            .encode_gauge(&start_seconds)?;
        let measured = [
            ("process_resident_memory_bytes", "Resident memory", resident_bytes()),
            ("process_open_fds", "Open file descriptors", open_files()),
        ];
        for (name, help, value) in measured {
            if let Some(value) = value {
                encoder
                    .encode_descriptor(name, help, None, MetricType::Gauge)?
                    .encode_gauge(&value)?;
            }
        }
        Ok(())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn linux_knows() {
        assert!(resident_bytes().unwrap() > 1 << 20);
        assert!(open_files().unwrap() >= 3);
    }
}
