//! [`Tally`]: what those who serve a call note of it, for the metrics of who observes it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use http::Extensions;
use larder_protos::reapi::{ActionResult, ExecutedActionMetadata};
use larder_protos::well_known::Timestamp;

/// What a result says is its client's word; longer is counted as this.
const SAVED_MAX: Duration = Duration::from_hours(24);

/// What is noted of a call while it is served. It is among the request's extensions.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    received_bytes: AtomicU64,
    /// A [`Lookup`].
    lookup: AtomicU8,
    saved_micros: AtomicU64,
}

/// Whether an action result was asked for, and was there.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Lookup {
    None,
    Miss,
    Hit,
}

impl Tally {
    /// That of a request; one that nobody reads where no call is observed.
    pub(crate) fn of(extensions: &Extensions) -> Arc<Self> {
        extensions.get::<Arc<Self>>().cloned().unwrap_or_default()
    }

    /// Notes bytes of the request's body.
    pub(crate) fn note_received(&self, bytes: usize) {
        self.received_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Notes that an action result was asked for, and what was found.
    pub(crate) fn note_lookup(&self, found: Option<&ActionResult>) {
        let lookup = if found.is_some() { Lookup::Hit } else { Lookup::Miss };
        self.lookup.store(lookup as u8, Ordering::Relaxed);
        let saved = found.map(execution_time).unwrap_or_default();
        let saved_micros = u64::try_from(saved.as_micros()).unwrap_or(u64::MAX);
        self.saved_micros.store(saved_micros, Ordering::Relaxed);
    }

    /// Bytes of the request's body that were read.
    pub(crate) fn received_bytes(&self) -> u64 {
        self.received_bytes.load(Ordering::Relaxed)
    }

    /// What came of asking for an action result.
    pub(crate) fn lookup(&self) -> Lookup {
        match self.lookup.load(Ordering::Relaxed) {
            hit if hit == Lookup::Hit as u8 => Lookup::Hit,
            miss if miss == Lookup::Miss as u8 => Lookup::Miss,
            _ => Lookup::None,
        }
    }

    /// How long the action of the result that was found once ran.
    pub(crate) fn saved_micros(&self) -> u64 {
        self.saved_micros.load(Ordering::Relaxed)
    }
}

/// How long the action ran, as far as its result says: the execution, else all that the worker did.
fn execution_time(result: &ActionResult) -> Duration {
    let Some(metadata) = &result.execution_metadata else { return Duration::ZERO };
    let ExecutedActionMetadata {
        execution_start_timestamp,
        execution_completed_timestamp,
        worker_start_timestamp,
        worker_completed_timestamp,
        ..
    } = metadata;
    let execution =
        between(execution_start_timestamp.as_ref(), execution_completed_timestamp.as_ref());
    let worker = || between(worker_start_timestamp.as_ref(), worker_completed_timestamp.as_ref());
    execution.or_else(worker).unwrap_or_default().min(SAVED_MAX)
}

fn between(start: Option<&Timestamp>, end: Option<&Timestamp>) -> Option<Duration> {
    let (start, end) = (start?, end?);
    let seconds = u64::try_from(end.seconds.checked_sub(start.seconds)?).ok()?;
    let nanos = i64::from(end.nanos) - i64::from(start.nanos);
    let whole = Duration::from_secs(seconds);
    let part = Duration::from_nanos(nanos.unsigned_abs());
    if nanos < 0 { whole.checked_sub(part) } else { whole.checked_add(part) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: (Option<Timestamp>, Option<Timestamp>) = (None, None);

    #[test]
    fn the_execution_counts_and_else_the_worker() {
        let at = |seconds, nanos| Some(Timestamp { seconds, nanos });
        for (execution, worker, expect_micros) in [
            (NONE, NONE, 0),
            ((at(10, 0), at(12, 500_000_000)), (at(0, 0), at(99, 0)), 2_500_000),
            ((at(10, 900_000_000), at(12, 100_000_000)), NONE, 1_200_000),
            ((at(10, 0), None), (at(3, 0), at(4, 0)), 1_000_000),
            // Nonsense is nothing, or a day.
            ((at(10, 0), at(9, 0)), NONE, 0),
            ((at(10, 5), at(10, 4)), NONE, 0),
            ((at(i64::MIN, 0), at(i64::MAX, 0)), NONE, 0),
            ((at(0, i32::MIN), at(0, i32::MAX)), NONE, 4_294_967),
            ((at(0, 0), at(1 << 40, 0)), NONE, 86_400_000_000),
        ] {
            let result = ActionResult {
                execution_metadata: Some(ExecutedActionMetadata {
                    execution_start_timestamp: execution.0,
                    execution_completed_timestamp: execution.1,
                    worker_start_timestamp: worker.0,
                    worker_completed_timestamp: worker.1,
                    ..ExecutedActionMetadata::default()
                }),
                ..ActionResult::default()
            };
            let tally = Tally::default();
            tally.note_lookup(Some(&result));
            assert_eq!(tally.lookup(), Lookup::Hit);
            assert_eq!(tally.saved_micros(), expect_micros, "{execution:?} {worker:?}");
        }
    }
}
