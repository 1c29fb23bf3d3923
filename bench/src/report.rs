//! [`Row`]: one line of the report.

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;

use crate::process::Sample;
use crate::scenario::{Measured, Scenario};

/// What a scenario took.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) scenario: Scenario,
    pub(crate) measured: Measured,
    pub(crate) elapsed: Duration,
    /// The server before and after.
    pub(crate) server: Option<(Sample, Sample)>,
}

impl Row {
    pub(crate) const HEADER: &str = "scenario                 ops/s      MB/s    p50 µs    p99 µs   \
                                     server CPU µs/op   server CPU s/GB   RSS MiB   peak MiB";
}

impl fmt::Display for Row {
    #[expect(clippy::cast_precision_loss, reason = "a report needs three digits")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.scenario.to_possible_value();
        let name = name.as_ref().map_or("", |value| value.get_name());
        let (operations, bytes) = (self.measured.operations as f64, self.measured.bytes as f64);
        let seconds = self.elapsed.as_secs_f64();
        let latency = &self.measured.latency;
        write!(
            f,
            "{name:<21} {:>9.0} {:>9.1} {:>9} {:>9}",
            operations / seconds,
            bytes / seconds / 1e6,
            latency.value_at_quantile(0.5),
            latency.value_at_quantile(0.99),
        )?;
        let Some((before, after)) = &self.server else { return Ok(()) };
        let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64();
        write!(f, " {:>18.1}", cpu * 1e6 / operations)?;
        if bytes > 0.0 {
            write!(f, " {:>17.2}", cpu / bytes * 1e9)?;
        } else {
            write!(f, " {:>17}", "-")?;
        }
        write!(f, " {:>9} {:>10}", after.rss_bytes >> 20, after.peak_rss_bytes >> 20)
    }
}
