//! [`Throttle`]: lets one log line of a kind through each second, with a count of those it stands for.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// How long a line stands for those that follow.
const PERIOD_MS: u64 = 1_000;

/// Lines of one kind. As the log itself, there is one for the process.
#[derive(Default, Debug)]
pub(crate) struct Throttle {
    /// When the next line may pass, milliseconds since the first was asked about.
    next_ms: AtomicU64,
    suppressed: AtomicU64,
}

impl Throttle {
    pub(crate) const fn new() -> Self {
        Self { next_ms: AtomicU64::new(0), suppressed: AtomicU64::new(0) }
    }

    /// Whether a line may be written now: how many were held back since the last one, or `None` where this one is too.
    pub(crate) fn admit(&self) -> Option<u64> {
        static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
        self.admit_at(u64::try_from(BEGUN.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn admit_at(&self, now_ms: u64) -> Option<u64> {
        let next_ms = self.next_ms.load(Ordering::Relaxed);
        let is_mine = now_ms >= next_ms
            && self
                .next_ms
                .compare_exchange(next_ms, now_ms + PERIOD_MS, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if is_mine {
            return Some(self.suppressed.swap(0, Ordering::Relaxed));
        }
        self.suppressed.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_stands_for_the_others() {
        let throttle = Throttle::new();
        for (now_ms, expect) in [
            (5, Some(0)),
            (5, None),
            (900, None),
            (1_004, None),
            (1_005, Some(3)),
            (1_006, None),
            (9_000, Some(1)),
            (10_000, Some(0)),
        ] {
            assert_eq!(throttle.admit_at(now_ms), expect, "at {now_ms}");
        }
    }
}
