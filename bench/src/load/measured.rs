//! [`Measured`]: what operations took.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::error::CallError;
use crate::report::float;
use crate::scenario::Moved;

/// Digits of latencies that are kept.
const DIGITS: u8 = 3;
/// In nanoseconds: what takes longer counts as this.
const LONGEST: u64 = 600_000_000_000;

/// Operations of one phase. Those that went wrong are counted apart, and tell nothing of time.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) operations: u64,
    pub(crate) moved: Moved,
    pub(crate) errors: u64,
    /// The first that went wrong.
    pub(crate) first_error: Option<CallError>,
    /// In nanoseconds; in an open loop from when an operation was meant to begin.
    pub(crate) latency: Histogram<u64>,
    /// From the first beginning to the last end.
    pub(crate) elapsed: Duration,
    /// CPU time of the busiest thread of the load.
    pub(crate) busiest: Duration,
    /// CPU time of all of them.
    pub(crate) client_cpu: Duration,
}

impl Default for Measured {
    fn default() -> Self {
        Self {
            operations: 0,
            moved: Moved::default(),
            errors: 0,
            first_error: None,
            latency: Histogram::new_with_max(LONGEST, DIGITS).expect("both are allowed"),
            elapsed: Duration::ZERO,
            busiest: Duration::ZERO,
            client_cpu: Duration::ZERO,
        }
    }
}

impl Measured {
    /// Counts an operation.
    pub(super) fn count(&mut self, latency: Duration, outcome: Result<Moved, CallError>) {
        match outcome {
            Ok(moved) => {
                self.operations += 1;
                self.moved.add(moved);
                let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
                self.latency.saturating_record(nanoseconds.max(1));
            }
            Err(error) => {
                self.errors += 1;
                self.first_error.get_or_insert(error);
            }
        }
    }

    /// Counts an error where what was written is not there or is different.
    pub(crate) fn count_verified(&mut self, verified: Result<(), CallError>) {
        if let Err(error) = verified {
            self.count(Duration::ZERO, Err(error));
        }
    }

    /// Whether nothing but errors comes, so that going on tells nothing.
    pub(super) fn is_hopeless(&self) -> bool {
        self.operations == 0 && self.errors >= 100
    }

    /// Adds what another thread did at the same time.
    pub(crate) fn join_thread(&mut self, other: Self) {
        let elapsed = self.elapsed.max(other.elapsed);
        let busiest = self.busiest.max(other.busiest);
        self.join(other);
        (self.elapsed, self.busiest) = (elapsed, busiest);
    }

    /// Adds what was done at another time.
    pub(crate) fn join(&mut self, other: Self) {
        self.operations += other.operations;
        self.moved.add(other.moved);
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
        self.latency.add(&other.latency).expect("all have the same bounds");
        self.elapsed += other.elapsed;
        self.busiest += other.busiest;
        self.client_cpu += other.client_cpu;
    }

    /// Decoded bytes of an operation.
    pub(crate) fn bytes_each(&self) -> f64 {
        float(self.moved.bytes) / float(self.operations.max(1))
    }

    /// Bytes on the wire of an operation.
    pub(crate) fn wire_bytes_each(&self) -> f64 {
        float(self.moved.wire_bytes) / float(self.operations.max(1))
    }

    pub(crate) fn per_second(&self) -> f64 {
        float(self.operations) / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// How much of the time the busiest thread of the load was busy: near 1 the load generator itself is the limit.
    pub(crate) fn client_share(&self) -> f64 {
        self.busiest.as_secs_f64() / self.elapsed.as_secs_f64().max(1e-9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(latencies_ms: &[u64], seconds: u64) -> Measured {
        let mut measured = Measured::default();
        for latency in latencies_ms {
            measured.count(Duration::from_millis(*latency), Ok(Moved::plain(10)));
        }
        measured.elapsed = Duration::from_secs(seconds);
        measured.busiest = Duration::from_secs(1);
        measured
    }

    #[test]
    fn percentiles_are_those_of_all_threads_and_rounds() {
        let mut all = measured(&(1..=50).collect::<Vec<_>>(), 2);
        all.join_thread(measured(&(51..=100).collect::<Vec<_>>(), 4));
        assert_eq!((all.operations, all.moved.bytes, all.elapsed.as_secs()), (100, 1_000, 4));
        assert_eq!((all.busiest.as_secs(), all.per_second()), (1, 25.0));
        for (quantile, expected) in [(0.5, 50), (0.9, 90), (0.99, 99), (1.0, 100)] {
            let nanoseconds = all.latency.value_at_quantile(quantile);
            let apart = nanoseconds.abs_diff(expected * 1_000_000);
            assert!(apart <= expected * 1_000, "{quantile}: {nanoseconds}");
        }
        all.join(measured(&[1], 1));
        assert_eq!((all.operations, all.elapsed.as_secs(), all.busiest.as_secs()), (101, 5, 2));
    }

    #[test]
    fn errors_tell_nothing_of_time() {
        let mut measured = measured(&[1], 1);
        for what in ["first", "second"] {
            measured.count(Duration::from_secs(9), Err(CallError::Different { what }));
        }
        assert_eq!((measured.operations, measured.errors, measured.latency.len()), (1, 2, 1));
        let first = measured.first_error.map(|error| error.to_string());
        assert_eq!(first.as_deref(), Some("first: not what was stored"));
    }
}
