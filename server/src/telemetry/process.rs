//! What the operating system knows about this process: CPU, memory, open files, start time, version. The names are Prometheus' own.

use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use rustix::process::{Resource, getrlimit};

use crate::bounded_read::bounded_read;

/// Registers what the operating system knows about this process, and the build.
pub fn register_process(registry: &mut Registry, started: SystemTime) {
    let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
    registry.register(
        "larder_build",
        "The version that runs; several at once mean an update that has not ended",
        build,
    );
    registry.register_collector(Box::new(ProcessMetrics { started }));
}

/// Bytes of memory that are resident; known on Linux only.
fn resident_bytes() -> Option<u64> {
    let statm = bounded_read(Path::new("/proc/self/statm"), 256).ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * u64::try_from(rustix::param::page_size()).ok()?)
}

/// User and system time; known on Linux only. Source: `proc_pid_stat(5)`, the 14th and 15th field.
fn cpu_seconds() -> Option<f64> {
    let stat = bounded_read(Path::new("/proc/self/stat"), 1024).ok()?;
    // The second field is a name in brackets that may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u32>().ok().map(f64::from);
    let ticks = ticks()? + ticks()?;
    let a_second = u32::try_from(rustix::param::clock_ticks_per_second()).ok()?;
    Some(ticks / f64::from(a_second))
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
                "Start, in seconds since 1970; a change that nobody ordered is a crash",
                None,
                MetricType::Gauge,
            )?
            .encode_gauge(&start_seconds)?;
        let measured = [
            (
                "process_resident_memory_bytes",
                "Resident memory; near the limit of the control group the process is killed",
                resident_bytes(),
            ),
            (
                "process_open_fds",
                "Open file descriptors; near process_max_fds connections are refused",
                open_files(),
            ),
            (
                "process_max_fds",
                "How many file descriptors may be open; under 16384 fewer connections are taken",
                getrlimit(Resource::Nofile).current,
            ),
        ];
        for (name, help, value) in measured {
            if let Some(value) = value {
                encoder
                    .encode_descriptor(name, help, None, MetricType::Gauge)?
                    .encode_gauge(&value)?;
            }
        }
        if let Some(cpu_seconds) = cpu_seconds() {
            let name = "process_cpu";
            let help = "CPU time, user and system; as many seconds a second as there are cores is the limit";
            encoder
                .encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Counter)?
                .encode_counter::<NoLabelSet, _, u64>(&cpu_seconds, None)?;
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
        assert!(cpu_seconds().unwrap() >= 0.0);
    }
}
