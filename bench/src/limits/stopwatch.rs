//! [`Stopwatch`]: wall time and the CPU time of this thread.

use std::time::{Duration, Instant};

use super::Cost;
use crate::process::thread_cpu;

/// How long a limit is measured.
pub(super) const LENGTH: Duration = Duration::from_millis(400);

/// Runs from when it is made.
#[derive(Debug)]
pub(super) struct Stopwatch {
    begun: Instant,
    cpu: Duration,
}

impl Stopwatch {
    pub(super) fn start() -> Self {
        Self { begun: Instant::now(), cpu: thread_cpu() }
    }

    /// Whether the time for a limit is over.
    pub(super) fn is_over(&self) -> bool {
        self.begun.elapsed() >= LENGTH
    }

    /// What one of so many units took.
    pub(super) fn cost(&self, units: u64) -> Cost {
        let cpu = thread_cpu().saturating_sub(self.cpu);
        let units = crate::report::float(units.max(1));
        Cost {
            cpu_s: cpu.as_secs_f64() / units,
            wall_s: self.begun.elapsed().as_secs_f64() / units,
        }
    }
}

/// Repeats what does so many units at once.
pub(super) fn repeat(
    units: usize,
    mut work: impl FnMut() -> std::io::Result<()>,
) -> std::io::Result<Cost> {
    // Once for the caches, the page tables and the clock of the processor.
    work()?;
    let (watch, mut done) = (Stopwatch::start(), 0);
    while !watch.is_over() {
        work()?;
        done += units as u64;
    }
    Ok(watch.cost(done))
}
