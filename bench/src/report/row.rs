//! [`Row`]: what one scenario took at one server, in figures. Pure.

use hdrhistogram::Histogram;
use serde::Serialize;

use super::{Origin, float};
use crate::limits::{Cost, Limits};
use crate::load::{Measured, Pace};
use crate::process::{BytesRead, Sample};
use crate::scenario::{Kind, Unit};

/// From this share on the load generator's thread had no time left.
const CLIENT_IS_LIMIT: f64 = 0.9;

/// From this share on what was offered was done.
const KEPT_UP: f64 = 0.95;

/// From this size on bytes cost more than calls.
const LARGE_BYTES: f64 = 65_536.0;

/// What was run, and what came of each round.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) scenario: Kind,
    pub(crate) server: String,
    pub(crate) connections: usize,
    pub(crate) pace: Pace,
    pub(crate) rounds: Vec<Round>,
    /// Why the server could not be measured.
    pub(crate) failure: Option<String>,
}

/// One round.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) measured: Measured,
    /// The server before and after.
    pub(crate) server: Option<(Sample, Sample)>,
}

/// The figures of a cell.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) scenario: Kind,
    pub(crate) server: String,
    pub(crate) connections: usize,
    /// Operations under way at a time; none in an open loop.
    pub(crate) in_flight: Option<usize>,
    /// Operations meant to begin in a second; none in a closed loop.
    pub(crate) offered_per_second: Option<f64>,
    pub(crate) unit: Unit,
    pub(crate) failure: Option<String>,
    pub(crate) operations: u64,
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
    pub(crate) per_second: f64,
    /// The slowest and the fastest round.
    pub(crate) rounds_per_second: [f64; 2],
    pub(crate) mb_per_second: f64,
    #[serde(rename = "latency_us")]
    pub(crate) latency: Latency,
    /// Of the load generator, a unit.
    pub(crate) client_cpu_us: f64,
    /// How busy the busiest thread of the load generator was, from 0 to 1.
    pub(crate) client_share: f64,
    pub(crate) client_is_limit: bool,
    pub(crate) cost: Option<ServerCost>,
    pub(crate) origin: Option<Origin>,
    pub(crate) limit: Option<LimitShare>,
}

/// In microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

/// What the server's process took.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct ServerCost {
    /// A unit.
    pub(crate) cpu_us: f64,
    /// A GB of decoded bytes, where operations are large enough that bytes are what they cost.
    pub(crate) cpu_s_per_gb: Option<f64>,
    pub(crate) rss_mib: u64,
    pub(crate) peak_rss_mib: u64,
}

/// Beside what the machine alone would take.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct LimitShare {
    /// The server's CPU time is so many times the limit's.
    pub(crate) cpu_times: Option<f64>,
    /// The throughput is this part of the limit's.
    pub(crate) speed: f64,
}

impl Cell {
    /// The figures of all rounds together.
    pub(crate) fn row(self, limits: &Limits) -> Row {
        let plan = self.scenario.plan();
        let speeds = self.rounds.iter().map(|round| round.measured.per_second());
        let rounds_per_second = speeds
            .fold([f64::INFINITY, 0.0], |[low, high]: [f64; 2], speed| {
                [low.min(speed), high.max(speed)]
            });
        let mut cpu_s = self.rounds.iter().any(|round| round.server.is_some()).then_some(0.0);
        let (mut all, mut last) = (Measured::default(), None);
        let mut read = Some(BytesRead::default());
        for round in self.rounds {
            all.join(round.measured);
            if let (Some(sum), Some((before, after))) = (&mut cpu_s, round.server) {
                *sum += after.cpu.saturating_sub(before.cpu).as_secs_f64();
                let round = after.read.zip(before.read).map(|(after, before)| after.since(before));
                read = read.zip(round).map(|(all, round)| all.and(round));
                last = Some(after);
            }
        }
        let units = float(all.operations.max(1)) * float(plan.unit.in_operation);
        let bytes = float(all.moved.bytes);
        let is_large = all.bytes_each() >= LARGE_BYTES;
        let seconds = all.elapsed.as_secs_f64().max(1e-9);
        let cost =
            cpu_s.zip(last).filter(|_| all.operations > 0).map(|(cpu_s, sample)| ServerCost {
                cpu_us: cpu_s * 1e6 / units,
                cpu_s_per_gb: is_large.then(|| cpu_s / bytes * 1e9),
                rss_mib: sample.rss_bytes >> 20,
                peak_rss_mib: sample.peak_rss_bytes >> 20,
            });
        let (in_flight, offered_per_second) = match self.pace {
            Pace::Closed { in_flight } => (Some(in_flight), None),
            Pace::Open { per_second, .. } => (None, Some(per_second)),
        };
        let bound = limits.bound(plan.bound, &all).filter(|_| all.operations > 0);
        Row {
            scenario: self.scenario,
            server: self.server,
            connections: self.connections,
            in_flight,
            offered_per_second,
            unit: plan.unit,
            failure: self.failure,
            operations: all.operations,
            errors: all.errors,
            first_error: all.first_error.as_ref().map(described),
            per_second: all.per_second(),
            rounds_per_second,
            mb_per_second: bytes / seconds / 1e6,
            latency: Latency::of(&all.latency),
            client_cpu_us: all.client_cpu.as_secs_f64() * 1e6 / units,
            client_share: all.client_share(),
            client_is_limit: all.client_share() >= CLIENT_IS_LIMIT,
            cost,
            origin: cost
                .and(read)
                .map(|read| Origin::of(read, float(all.operations), all.bytes_each())),
            limit: bound.map(|bound| share(bound, &all, cpu_s)),
        }
    }
}

impl Row {
    /// Why there are no figures: it could not begin, or not one operation succeeded.
    pub(crate) fn unmeasured(&self) -> Option<&str> {
        let first_error = self.first_error.as_deref().filter(|_| self.operations == 0);
        self.failure.as_deref().or(first_error)
    }

    /// Whether an open loop offered more than was done, so that its latencies are those of a queue that grew.
    pub(crate) fn fell_behind(&self) -> bool {
        self.offered_per_second.is_some_and(|offered| self.per_second < offered * KEPT_UP)
    }
}

fn share(bound: Cost, all: &Measured, cpu_s: Option<f64>) -> LimitShare {
    let cpu_each = cpu_s.map(|cpu_s| cpu_s / float(all.operations.max(1)));
    LimitShare {
        cpu_times: cpu_each.map(|cpu_s| cpu_s / bound.cpu_s),
        speed: bound.wall_s * all.per_second(),
    }
}

impl Latency {
    fn of(latency: &Histogram<u64>) -> Self {
        let at = |quantile| float(latency.value_at_quantile(quantile)) / 1e3;
        Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: float(latency.max()) / 1e3,
        }
    }
}

/// An error with its causes.
pub(crate) fn described(error: &(impl std::error::Error + ?Sized)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::limits::Limit;
    use crate::scenario::Moved;

    fn round(operations: u64, seconds: u64, cpu_ms: u64) -> Round {
        let sample = |cpu_ms| Sample {
            cpu: Duration::from_millis(cpu_ms),
            read: Some(BytesRead { files: 2 * cpu_ms, device: 0 }),
            rss_bytes: 5 << 20,
            peak_rss_bytes: 7 << 20,
        };
        let moved = Moved { bytes: operations * 1_000_000, wire_bytes: operations * 1_000_000 };
        let measured = Measured {
            operations,
            moved,
            elapsed: Duration::from_secs(seconds),
            busiest: Duration::from_secs(seconds),
            client_cpu: Duration::from_secs(seconds),
            ..Measured::default()
        };
        Round { measured, server: Some((sample(100), sample(100 + cpu_ms))) }
    }

    #[test]
    fn figures_are_those_of_all_rounds() {
        let cell = Cell {
            scenario: Kind::ReadLarge,
            server: "a".to_owned(),
            connections: 1,
            pace: Pace::Closed { in_flight: 4 },
            rounds: vec![round(1_000, 1, 300), round(1_000, 3, 500)],
            failure: None,
        };
        let tcp = Cost { cpu_s: 0.2e-9, wall_s: 0.25e-9 };
        let row = cell.row(&Limits(vec![(Limit::TcpSend, tcp)]));
        let near = |actual: f64, expected: f64| {
            assert!((actual - expected).abs() < 1e-9 * expected, "{actual}, not {expected}");
        };
        near(row.per_second, 500.0);
        near(row.rounds_per_second[0], 1_000.0 / 3.0);
        near(row.rounds_per_second[1], 1_000.0);
        near(row.mb_per_second, 500.0);
        near(row.client_share, 1.0);
        assert!(row.client_is_limit);
        let cost = row.cost.unwrap();
        near(cost.cpu_us, 400.0);
        near(cost.cpu_s_per_gb.unwrap(), 0.4);
        assert_eq!((cost.rss_mib, cost.peak_rss_mib), (5, 7));
        near(row.origin.unwrap().from_files, 0.8);
        let limit = row.limit.unwrap();
        near(limit.cpu_times.unwrap(), 2.0);
        near(limit.speed, 0.125);
    }

    #[test]
    fn nothing_measured_is_no_figure() {
        let cell = Cell {
            scenario: Kind::ReadLarge,
            server: "a".to_owned(),
            connections: 1,
            pace: Pace::Closed { in_flight: 4 },
            rounds: Vec::new(),
            failure: Some("refused".to_owned()),
        };
        let row = cell.row(&Limits::default());
        assert_eq!((row.operations, row.cost, row.limit), (0, None, None));
        assert_eq!(row.unmeasured(), Some("refused"));
        let wrong = Row { failure: None, first_error: Some("status 12".to_owned()), ..row };
        assert_eq!(wrong.unmeasured(), Some("status 12"));
        assert_eq!(Row { operations: 1, ..wrong }.unmeasured(), None);
    }
}
