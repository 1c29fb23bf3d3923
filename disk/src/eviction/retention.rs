//! [`Retention`]: how old the youngest entry was that was evicted lately.

/// How long an eviction counts, at least; twice that at most.
const WINDOW_S: u32 = 1_800;

/// How old the youngest entry was that was evicted lately: what is asked for again within that time is found.
#[derive(Copy, Clone, Default, Debug)]
pub(crate) struct Retention {
    /// When the window began, seconds since 1970.
    begun: u32,
    /// Ages in seconds, of this window and the one before.
    youngest_now: Option<u32>,
    youngest_before: Option<u32>,
}

impl Retention {
    /// Notes an eviction.
    pub(crate) fn note(&mut self, now_s: u32, recency_s: u32) {
        self.turn(now_s);
        let age_s = now_s.saturating_sub(recency_s);
        self.youngest_now =
            Some(self.youngest_now.map_or(age_s, |youngest_s| youngest_s.min(age_s)));
    }

    /// The age in seconds; `None` when nothing was evicted lately.
    pub(crate) fn youngest_s(mut self, now_s: u32) -> Option<u32> {
        self.turn(now_s);
        self.youngest_now.into_iter().chain(self.youngest_before).min()
    }

    fn turn(&mut self, now_s: u32) {
        let elapsed_s = now_s.saturating_sub(self.begun);
        if elapsed_s >= WINDOW_S {
            self.youngest_before = self.youngest_now.take().filter(|_| elapsed_s < 2 * WINDOW_S);
            self.begun = now_s;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evictions_count_for_a_while() {
        let mut retention = Retention::default();
        assert_eq!(retention.youngest_s(1_000_000), None);
        retention.note(1_000_000, 999_000);
        retention.note(1_000_001, 999_900);
        retention.note(1_000_002, 998_000);
        for (now_s, expect) in [
            (1_000_002, Some(101)),
            (1_001_799, Some(101)),
            (1_003_599, Some(101)),
            (1_003_600, None),
        ] {
            assert_eq!(retention.youngest_s(now_s), expect, "{now_s}");
        }
        retention.note(1_002_000, 1_001_000);
        assert_eq!(retention.youngest_s(1_002_000), Some(101));
        assert_eq!(retention.youngest_s(1_003_900), Some(1_000));
    }
}
